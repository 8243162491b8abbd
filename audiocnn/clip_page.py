"""Whole clips on the page of an evaluation: figures, confusions, labels, and clips to listen to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from audiocnn.clip_pictures import confusion_plot, label_plot, reliability_plot
from audiocnn.clip_sounds import ClipSound
from audiocnn.filenames import show_name
from audiocnn.report_parts import Figures, Said, figure_cell, figure_table, figures_of, picture, plural, table
from audiocnn.report_pictures import Side, condition_plot, legend, natural, side_class

Sounds = Mapping[str, ClipSound]
LABEL_FIGURES = ("precision", "recall", "f1", "average_precision", "auroc", "eer")
OPEN_LABELS = 40  # more are folded up
OVERALL = ("accuracy", "subset_accuracy", "macro_f1")


def clip_section(reports: Sequence[Said], titles: Mapping[str, str], sounds: Sounds) -> Iterator[str]:
    """Of those reports that have clips."""
    sides: list[Side] = [(k, str(r["model"]), r["clip"]) for k, r in enumerate(reports) if r["clip"]]
    if not sides:
        return
    first = sides[0][2]
    how = "each label that reaches its threshold" if first.get("answer") == "several" else "the one with the best score"
    yield f"<h2>Clips</h2><p class='soft'>{plural(first['clips'], 'clip')}; the answer is {how}, by the mean score</p>"
    found = [figures_of(report["clip"], titles) for report in reports]
    yield figure_table(reports, found, [figures_of(clip_difference(report), titles) for report in reports])
    yield from pictures(sides, titles)
    yield from groups(reports, sides, titles)
    yield from labels(sides, titles)
    for side in sides:
        yield from pairs(side, len(sides) > 1, sounds)
    for side in sides:
        yield from examples(side, len(sides) > 1, sounds)


def clip_difference(report: Said) -> Said | None:
    """The figures of clips as differences to the first report; None where there are none."""
    found: Said | None = (report.get("difference_to") or {}).get("clip")
    return found


def pictures(sides: Sequence[Side], titles: Mapping[str, str]) -> Iterator[str]:
    """Confusions of each, and reliability and labels side by side."""
    yield legend([(column, name) for column, name, _ in sides])
    yield '<div class="plots">'
    for _, name, clip in sides:
        if clip.get("confusion") and (drawn := confusion_plot(clip["confusion"], name)):
            yield picture(f"Answers of {name}", "rows: labels, columns: answers; stronger: more of the row", drawn)
    if any(clip.get("reliability") and clip["reliability"][0] for _, _, clip in sides):
        drawn = reliability_plot([side for side in sides if side[2].get("reliability")])
        yield picture("Reliability", "on the dotted line scores mean what they say", drawn)
    drawn, shown = label_plot("f1", titles.get("f1", "F1"), sides)
    if drawn:
        of_all = len({label for _, _, clip in sides for label in clip["labels"]})
        what = "the worst first" if shown == of_all else f"the {shown} worst of {of_all}"
        yield picture("F1 of each label", f"{what}, with 95 % intervals", drawn)
    yield "</div>"


def labels(sides: Sequence[Side], titles: Mapping[str, str]) -> Iterator[str]:
    """A row a label: how many clips it has, and its figures by each side."""
    names = list(dict.fromkeys(label for _, _, clip in sides for label in clip["labels"]))
    known = {name for _, _, clip in sides for part in clip["labels"].values() for name in part["figures"]}
    shown = [name for name in LABEL_FIGURES if name in known]
    shown += sorted(known - set(shown))
    thresholds = any(part.get("threshold") is not None for _, _, clip in sides for part in clip["labels"].values())
    heads = ["label", "clips"]
    for column, side, _ in sides:
        named = f' <span class="{side_class(column)} name">{escape(side)}</span>' if len(sides) > 1 else ""
        heads += [f"threshold{named}"] if thresholds else []
        heads += [f"{escape(titles.get(name, name.replace('_', ' ')))}{named}" for name in shown]
    rows = []
    for label in names:
        parts = [clip["labels"].get(label) for _, _, clip in sides]
        counts = [part["clips"] for part in parts if part and "clips" in part]
        row = [escape(show_name(label)), f"{counts[0]:,}" if counts else "-"]
        for part in parts:
            figures: Figures = figures_of(part, {})
            row += [number(part.get("threshold")) if part else "-"] if thresholds else []
            row += [figure_cell(figures.get(name.replace("_", " "))) for name in shown]
        rows.append(row)
    opened = " open" if len(names) <= OPEN_LABELS else ""
    yield f"<h3>By label</h3><details{opened}><summary>{plural(len(names), 'label')}</summary>"
    yield table(heads, rows)
    yield "</details>"


def groups(reports: Sequence[Said], sides: Sequence[Side], titles: Mapping[str, str]) -> Iterator[str]:
    """Each column that was asked for: a picture, and the figures of each of its values."""
    for tag in dict.fromkeys(tag for _, _, clip in sides for tag in clip.get("groups", {})):
        parts = [(column, name, clip.get("groups", {}).get(tag, {})) for column, name, clip in sides]
        values = sorted({value for _, _, part in parts for value in part}, key=natural)
        rows = [(value, [(k, name, part[value]) for k, name, part in parts if value in part]) for value in values]
        yield f"<h3>Clips by {escape(show_name(tag))}</h3>"
        yield '<div class="plots">'
        for figure in OVERALL:
            title = titles.get(figure, figure.replace("_", " "))
            if drawn := condition_plot(figure, title, rows):
                yield picture(title, "with 95 % intervals", drawn)
        yield "</div>"
        for value, found in rows:
            yield f"<details><summary>{escape(show_name(tag))} = {escape(show_name(value) or '(none)')}: "
            yield f"{plural(found[0][2]['clips'], 'clip')}</summary>"
            held = {column: figures_of(part, titles) for column, _, part in found}
            yield figure_table(reports, [held.get(k, {}) for k in range(len(reports))], [{}] * len(reports))
            yield "</details>"


def pairs(side: Side, named: bool, sounds: Sounds) -> Iterator[str]:
    """The labels that are taken for each other most, with clips to listen to."""
    column, name, clip = side
    if not clip.get("pairs"):
        return
    yield f"<h3>Taken for each other{of_side(column, name, named)}</h3>"
    rows = []
    for pair in clip["pairs"]:
        files = " ".join(played(file, sounds) for file in pair["files"])
        said = (f"{escape(show_name(pair['label']))} → {escape(show_name(pair['answer']))}", f"{pair['clips']:,}")
        rows.append([*said, f"{100 * pair['share']:.0f} %", f'<div class="clips">{files}</div>'])
    yield table(["label → answer", "clips", "of the label", "the surest of them"], rows)


def examples(side: Side, named: bool, sounds: Sounds) -> Iterator[str]:
    """Wrong answers and right ones."""
    column, name, clip = side
    found: Said = clip.get("examples") or {}
    heads = ["clip", "label", "answer", "score", "score of the label"]
    for kind, what in (("wrong", "Wrong answers, the surest first"), ("right", "Right answers, the least sure first")):
        if not found.get(kind):
            continue
        rows = []
        for one in found[kind]:
            said = [escape(show_name(", ".join(one[key]))) or "<i>none</i>" for key in ("labels", "answers")]
            rows.append([played(one["file"], sounds), *said, f"{one['score']:.3f}", f"{one['own_score']:.3f}"])
        opened = " open" if kind == "wrong" else ""
        yield f"<details{opened}><summary><h3>{what}{of_side(column, name, named)}</h3></summary>"
        yield table(heads, rows)
        yield "</details>"


def of_side(column: int, name: str, named: bool) -> str:
    """Whose it is, where there are several."""
    return f', <span class="{side_class(column)} name">{escape(name)}</span>' if named else ""


def played(file: str, sounds: Sounds) -> str:
    """A clip's name and what plays it, where the page holds its sound."""
    sound = sounds.get(file)
    name = f'<span class="file">{escape(show_name(file))}</span>'
    if sound is None:
        return f'<span class="heard">{name}</span>'
    note = f' <span class="soft">{escape(sound.note)}</span>' if sound.note else ""
    return f'<span class="heard"><audio controls preload="none" src="{sound.uri}"></audio>{name}{note}</span>'


def number(value: Any) -> str:
    """A threshold."""
    return "-" if value is None else f"{value:g}"
