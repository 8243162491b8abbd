"""Text of model cards, which are Markdown: `card_text` for a name or label, `card_body` for text by others,
`operating_points_section` and `pooling_section` for facts about a model, and `with_section` to insert a section."""

from __future__ import annotations

import math
import re
from html import escape

from audiocnn.errors import show_controls, show_name
from audiocnn.model.model import POINT_FIGURES, SENSITIVITIES, Model

POINTS_TITLE, POOLING_TITLE = "Operating points", "Whole recordings"
_POINT_HEADS = (  # of POINT_FIGURES
    "detection error",
    "missed",
    "false alarm in the rest",
    "recordings without it that have a segment",
)
_TAG = re.compile(r"<(?!(https?|mailto):[^\s<>\"']*>)")


def card_text(text: str) -> str:
    """One line without HTML that is safe inside a table cell."""
    return escape(show_name(text), quote=False).replace("|", "\\|")


def card_body(text: str) -> str:
    """Markdown written by others, without HTML and control characters; addresses are kept."""
    return _TAG.sub("&lt;", show_controls(text))


def operating_points_section(model: Model) -> str:
    """A table with a row for each label and operating point, and the data that they were measured on; "" if there are
    none."""
    if not model.points:
        return ""
    heads = ["label", "`--sensitivity`", "threshold", "ends below", "min-duration", "min-silence", "pad", *_POINT_HEADS]
    lines = [f"## {POINTS_TITLE}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for label, own in model.points.items():
        for name in SENSITIVITIES:
            rule, figures = model.rule(label, name), own[name].figures
            times = (rule.min_speech_seconds, rule.min_silence_seconds, rule.pad_seconds)
            cells = [card_text(label), name, f"{rule.threshold:g}", f"{rule.closing_threshold:g}"]
            cells += [f"{seconds:g} s" for seconds in times]
            cells += [f"{100 * figures[key]:.1f} %" if key in figures else "-" for key in POINT_FIGURES]
            lines.append(f"| {' | '.join(cells)} |")
    origins = dict.fromkeys(own[name].measured_on for own in model.points.values() for name in SENSITIVITIES)
    return "\n".join([*lines, "", *[f"Measured on {card_text(origin)}." for origin in origins if origin]]) + "\n"


def pooling_section(model: Model) -> str:
    """How `classify` computes the scores of a recording; "" if they are the mean."""
    lines = [f"## {POOLING_TITLE}", ""]
    if clip := model.clip_pooling:
        lines.append(
            f"`audiocnn classify` uses the mean score of a recording of up to {clip.clip_seconds:g} s; for a longer one"
            f" it also uses the {clip.pool_seconds:g} s with the highest score."
        )
    elif model.label_pooling:
        heads = ["label", "score of a recording", *(f"threshold, {name}" for name in SENSITIVITIES)]
        lines += [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for label, own in model.label_pooling.items():
            how = "mean" if math.isinf(own.seconds) else f"highest mean over {own.seconds:g} s"
            known = [own.thresholds.get(name) for name in SENSITIVITIES]
            cells = ["that of segments" if threshold is None else f"{threshold:g}" for threshold in known]
            calibrated = "" if (own.gain, own.shift) == (1.0, 0.0) else ", calibrated"
            lines.append(f"| {card_text(label)} | {how}{calibrated} | {' | '.join(cells)} |")
    else:
        return ""
    return "\n".join(lines) + "\n"


def with_section(card: str, title: str, section: str) -> str:
    """The card with its section of this title replaced, or with a new section after the first table."""
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    if found:
        return card[: found.start()] + section + ("\n" if found.end() < len(card) else "") + card[found.end() :]
    head, mark, rest = card.partition("\n## ")
    return head.rstrip() + "\n\n" + section + (mark + rest if mark else "")
