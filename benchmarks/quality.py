"""Makes the tables of model cards, or of a page, from the reports of `audiocnn evaluate`.

for model in speech_1d speech_2d; do
    audiocnn evaluate data/recipes/speech_conditions.toml -m $model --against silero,webrtc \\
        --by condition --by kind --by source -o runs/$model.json --html runs/$model.html
done
python -m benchmarks.quality runs/speech_1d.json runs/speech_2d.json \\
    --card speech_1d --card speech_2d

`--page FILE` writes all tables between the two marks of a page. In a card, they are the section "Figures".
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from audiocnn.errors import AudiocnnError, UsageError
from audiocnn.model.model import CARD, find_model
from benchmarks.pages import around_table

LABEL = "speech"
PEER = "silero"
Report = dict[str, Any]
Cell = dict[str, float | None]


def figure_of(report: Report, column: str, value: str, name: str, smoothed: str = "") -> Cell:
    """A figure for one value of a column."""
    label = report["groups"][column][value][LABEL]
    held: Cell = (label["smoothed"][smoothed] if smoothed else label["figures"])[name]
    return held


def shown(cell: Cell, digits: int = 3, percent: bool = False) -> str:
    """A figure and its interval."""
    if cell["value"] is None:
        return "-"
    values = [
        100 * number if percent else number
        for number in (cell["value"], cell["low"], cell["high"])
        if number is not None
    ]
    first, *rest = [f"{rounded(number, digits):.{digits}f}" for number in values]
    return f"{first} [{', '.join(rest)}]" if rest else first


def rounded(number: float, digits: int) -> float:
    """Rounded for display, and never -0."""
    return round(number, digits) + 0.0


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *[f"| {' | '.join(row)} |" for row in rows]])


def conditions_of(report: Report) -> list[str]:
    """The conditions with speech, mixtures first, in the order of the file."""
    known = report["groups"]["condition"]
    spoken = [name for name in known if known[name][LABEL]["figures"]["auroc"]["value"] is not None]
    order = ["clean", "noise_20db", "noise_10db", "noise_5db", "noise_0db", "noise_-5db"]
    return sorted(spoken, key=lambda name: (order.index(name) if name in order else len(order), name == "meetings"))


def by_condition(reports: Sequence[Report], name: str, smoothed: str = "", digits: int = 3) -> str:
    """A row per condition, a column per detector."""

    def rows() -> Iterator[list[str]]:
        for condition in conditions_of(reports[0]):
            yield [condition] + [shown(figure_of(r, "condition", condition, name, smoothed), digits) for r in reports]

    return table(["condition", *[report["model"] for report in reports]], rows())


def false_segments(reports: Sequence[Report]) -> str:
    """Percentage of clips without speech that have a segment, over all and by source."""

    def rows() -> Iterator[list[str]]:
        yield ["all"] + [shown(figure_of(r, "condition", "nonspeech", "false_segment_share"), 1, True) for r in reports]
        for source in nonspeech_sources(reports[0]):
            cells = [figure_of(report, "source", source, "false_segment_share") for report in reports]
            yield [source] + [shown(cell, 1, True) for cell in cells]

    return table(["source", *[report["model"] for report in reports]], rows())


def nonspeech_sources(report: Report) -> list[str]:
    """The sources with clips without speech."""
    sources = report["groups"]["source"]
    return [name for name in sources if figure_of(report, "source", name, "false_segment_share")["value"] is not None]


def more(reports: Sequence[Report]) -> str:
    """Calibration, edges and errors at the threshold, for all mixtures and for the meetings."""
    wanted: list[tuple[str, str, int]] = [
        ("calibration error", "calibration_error", 3),
        ("FPR at 5 % miss", "fpr_at_5pct_miss", 3),
        ("onset error, ms", "onset_error_ms", 0),
        ("offset error, ms", "offset_error_ms", 0),
        ("detection error rate", "detection_error_rate", 3),
        ("the same, collar 0.5 s", "detection_error_rate_collar", 3),
        ("detection cost", "detection_cost", 3),
        ("F1", "f1", 3),
    ]

    def rows() -> Iterator[list[str]]:
        for kind in ("mixture", "meetings"):
            for title, name, digits in wanted:
                cells = [shown(figure_of(report, "kind", kind, name), digits) for report in reports]
                yield [f"{kind}s: {title}" if kind == "mixture" else f"{kind}: {title}", *cells]

    return table(["figure", *[report["model"] for report in reports]], rows())


COMPARED = (
    ("meetings: AUROC", "condition", "meetings", "auroc", ""),
    ("meetings: AUROC, smoothed 0.6 s", "condition", "meetings", "auroc", "0.6"),
    ("meetings: FPR at 5 % miss", "condition", "meetings", "fpr_at_5pct_miss", ""),
    ("noise at 0 dB: AUROC", "condition", "noise_0db", "auroc", ""),
    ("noise at -5 dB: AUROC", "condition", "noise_-5db", "auroc", ""),
    ("non-speech clips with a false segment", "condition", "nonspeech", "false_segment_share", ""),
    ("mixtures: onset error, ms", "kind", "mixture", "onset_error_ms", ""),
    ("mixtures: offset error, ms", "kind", "mixture", "offset_error_ms", ""),
    ("meetings: onset error, ms", "kind", "meetings", "onset_error_ms", ""),
    ("meetings: offset error, ms", "kind", "meetings", "offset_error_ms", ""),
)


def less(report: Report, column: str, value: str, name: str, smoothed: str) -> str:
    """The advantage of the first model over this one: the negated difference of the report; - for none."""
    label = report["difference_to"]["groups"].get(column, {}).get(value, {}).get(LABEL)
    if label is None:
        return "-"
    held: Cell = (label["smoothed"][smoothed] if smoothed else label["figures"])[name]
    numbers = [held["value"], held["high"], held["low"]]
    if any(number is None for number in numbers):
        return "-"
    digits = 1 if name.endswith("_ms") else 3
    first, low, high = (f"{rounded(-float(number or 0.0), digits):+.{digits}f}" for number in numbers)
    sure = float(held["low"] or 0.0) > 0 or float(held["high"] or 0.0) < 0
    return f"{first} [{low}, {high}]" + (" *" if sure else "")


def differences(files: Sequence[Sequence[Report]]) -> str:
    """Each first model minus the peer of the same file, paired; * if the interval does not contain 0."""
    pairs = [(reports[0], report) for reports in files for report in reports[1:] if report["model"] == PEER]
    sources = dict.fromkeys(source for model, _ in pairs for source in nonspeech_sources(model))
    clips = [(f"{name}: clips with a false segment", "source", name, "false_segment_share", "") for name in sources]
    rows = [[title, *[less(peer, *key) for _, peer in pairs]] for title, *key in COMPARED]
    by_source = [[title, *[less(peer, *key) for _, peer in pairs]] for title, *key in clips]
    rows += [row for row in by_source if set(row[1:]) != {"-"}]
    return table([f"less {PEER}", *[model["model"] for model, _ in pairs]], iter(rows))


def page_text(files: Sequence[Sequence[Report]]) -> str:
    """All tables of the page, each detector once."""
    each: dict[str, Report] = {}
    for report in itertools.chain(*files):
        each.setdefault(report["model"], report)
    reports = sorted(each.values(), key=lambda report: report["folder"] is None)
    parts: list[tuple[str, Callable[[], str]]] = [
        ("AUROC of 10 ms frames, scores as they are", lambda: by_condition(reports, "auroc")),
        ("AUROC, scores smoothed over 0.6 s", lambda: by_condition(reports, "auroc", "0.6")),
        ("Non-speech clips with a false segment, %", lambda: false_segments(reports)),
        ("Calibration, edges, errors", lambda: more(reports)),
        (f"Paired differences to {PEER}", lambda: differences(files)),
    ]
    return "\n\n".join(f"**{title}**\n\n{make()}" for title, make in parts)


def card_text(report: Report, peers: Sequence[Report]) -> str:
    """The section of a card: the model and one peer."""
    return (
        "## Figures\n\nOn the part `dev` of `data/recipes/speech_conditions.toml`; "
        "docs/background/quality.md says how.\n\n" + page_text([[report, *peers]])
    )


def with_figures(card: str, text: str) -> str:
    """The card with its section replaced, or added before the next section."""
    found = re.search(r"^## Figures\n.*?(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    if found:
        return card[: found.start()] + text + "\n\n" + card[found.end() :]
    head, mark, rest = card.partition("\n## ")
    return head.rstrip() + "\n\n" + text + "\n" + (mark + rest if mark else "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Tables of a page and of model cards, from report.json.")
    parser.add_argument("reports", type=Path, nargs="+", help="reports of `audiocnn evaluate -o`, one per model")
    parser.add_argument("--page", type=Path, help="write the tables into this page")
    parser.add_argument("--card", action="append", default=[], help="a released model; may be repeated")
    options = parser.parse_args(arguments)
    files: list[list[Report]] = [json.loads(path.read_text(encoding="utf-8")) for path in options.reports]
    try:
        if options.page:
            before, after = around_table(options.page)
            options.page.write_text(before + page_text(files) + "\n" + after, encoding="utf-8")
        for name in options.card:
            path = find_model(name).part(CARD)
            mine = [reports for reports in files if reports[0]["model"] == name]
            if not mine:
                raise UsageError(f"no report begins with {name}; evaluate that model first")
            peers = [report for report in mine[0] if report["model"] == PEER]
            path.write_text(
                with_figures(path.read_text(encoding="utf-8"), card_text(mine[0][0], peers)), encoding="utf-8"
            )
    except AudiocnnError as error:
        print(f"quality: {error}", file=sys.stderr)
        return 2
    if not options.page and not options.card:
        print(page_text(files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
