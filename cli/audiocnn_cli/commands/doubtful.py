"""`audiocnn doubtful`: clips whose label and score disagree most, as a table to correct and a page to listen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiocnn.audio.remote import refuse_urls
from audiocnn.errors import printable
from audiocnn.units import plural
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import (
    OUTPUT,
    Device,
    Force,
    Jobs,
    JudgedData,
    ModelName,
    ReportFormat,
    SplitName,
    TableFormat,
    option,
)
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.ingest import TerminalListener
from audiocnn_cli.io.judge import JudgedSegments, clips_of, scorer_by_options
from audiocnn_cli.io.output import check_table, write_text

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.evaluation.doubtful import Doubt
    from audiocnn.evaluation.results import ClipEvaluation

_FILE = "doubtful.tsv"
_SOUND_BYTES = 24 * 2**20  # on the page
_DIGITS = 4
_WIDE = 60  # columns; narrower tables have no scores
_Top = Annotated[int, typer.Option("--top", "-k", min=1, metavar="N", help="Number of clips, the most doubtful first.")]
_Output = Annotated[
    str | None,
    option(
        "--output",
        "FILE",
        f"The table to correct, in TSV; the page to listen lies beside it. [default: {_FILE}]",
        OUTPUT,
        short="-o",
    ),
]


def doubtful(
    terminal: Terminal,
    data: JudgedData,
    model: ModelName = None,
    top: _Top = 50,
    split: SplitName = None,
    format: TableFormat = ReportFormat.auto,
    output: _Output = None,
    force: Force = False,
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Clips are ranked by how strongly the model contradicts their label, and written to a table and to a page that
    plays them. Correct either, and train again with --corrections. Use a model that was not trained on these clips:
    labels that it has memorised are not found.

    \b
    audiocnn doubtful birds/ -m runs/birds
    audiocnn doubtful birds/ -m runs/birds --top 12 -o birds.tsv
    audiocnn train birds/ --corrections doubtful-corrected.tsv
    """
    from audiocnn.evaluation.results import EvaluationSettings
    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import DEFAULT_MODEL, find_model
    from audiocnn.workflows.judge import (
        check_channels,
        judge_dataset,
        model_candidate,
        open_judged_dataset,
        resolve_split,
    )

    refuse_urls(data)
    files = check_doubtful_files("-o", output, top, [], force)
    part = resolve_split(data, split)
    engine = load_engine(find_model(model or DEFAULT_MODEL), device, jobs)
    candidate = model_candidate(engine.model, scorer_by_options(engine, JudgedSegments()))
    counts, listener = Counter[str](), TerminalListener(terminal)
    with open_judged_dataset(data, part, None, [engine], [candidate], listener, counts) as (dataset, chosen):
        check_channels(dataset, engine)
        settings = EvaluationSettings(resamples=0)
        evaluation, *_ = judge_dataset(dataset, candidate.scorer, settings, chosen, candidate.name, listener)
        clips = clips_of(evaluation, "", data)
        doubts = write_doubtful(clips, (candidate.name, data), dataset, files, terminal)
    if terminal.wants_table(format):
        _draw(doubts, terminal)
    else:
        terminal.write("".join(json.dumps(_record(doubt), ensure_ascii=False) + "\n" for doubt in doubts))
    return ExitStatus.SOME_FAILED if counts["refused"] or evaluation.failures else ExitStatus.OK


@dataclass(frozen=True)
class DoubtfulFiles:
    """Where `count` doubtful clips go. option: what names the table."""

    option: str
    table: Path
    page: Path
    count: int


def check_doubtful_files(option: str, table: str | None, count: int, taken: list[Path], force: bool) -> DoubtfulFiles:
    """UsageError, before any work, for names that cannot be written to. taken: as for `check_table`."""
    files = DoubtfulFiles(option, Path(table or _FILE), Path(table or _FILE).with_suffix(".html"), count)
    check_table(option, files.table, (".tsv",), taken, force)
    check_table(option, files.page, (".html",), taken, force)
    return files


def write_doubtful(
    clips: ClipEvaluation, about: tuple[str, str], dataset: Dataset, files: DoubtfulFiles, terminal: Terminal
) -> list[Doubt]:
    """Write the table and the page, and say what to do with them; returns the clips. about: the names of model and
    data. UsageError where the model knows none of the labels."""
    from audiocnn.evaluation.doubtful import doubts_to_tsv, find_doubtful
    from audiocnn.report.doubtful import render_doubtful
    from audiocnn.report.sound import clip_sounds

    doubts = find_doubtful(clips, files.count)
    sounds = clip_sounds(dataset, [doubt.filename for doubt in doubts], _SOUND_BYTES)
    labels = sorted({*clips.labels, *(label for doubt in doubts for label in doubt.labels)})
    page = render_doubtful(doubts, sounds, labels, about, f"{files.table.stem}-corrected.tsv", dataset.several)
    write_text(files.option, files.table, doubts_to_tsv(doubts))
    write_text(files.option, files.page, page)
    likely = sum(doubt.likely_wrong for doubt in doubts)
    terminal.say(
        f"{plural(len(doubts), 'doubtful clip')}, {likely} of them likely wrong: listen in {files.page},"
        f" correct there or in {files.table}, and train again with --corrections"
    )
    return doubts


def _record(doubt: Doubt) -> dict[str, Any]:
    from audiocnn.labels.formats.jsonl import record_head

    return {
        **record_head("doubtful", doubt.filename),
        "labels": list(doubt.labels),
        "suggested": list(doubt.suggested),
        "score": round(doubt.score, _DIGITS),
        "label_score": round(doubt.label_score, _DIGITS),
        "doubt": round(doubt.doubt, _DIGITS),
        "likely_wrong": doubt.likely_wrong,
    }


def _draw(doubts: Sequence[Doubt], terminal: Terminal) -> None:
    """A row a clip, as wide as the terminal."""
    from rich.text import Text

    wide = terminal.out.width >= _WIDE
    table = terminal.new_table()
    for title in ("clip", "label", *(["score"] if wide else []), "model", *(["score"] if wide else []), ""):
        table.add_column(title, justify="right" if title == "score" else "left", no_wrap=True, overflow="ellipsis")
    for doubt in doubts:
        label, suggested = (" ".join(map(printable, names)) or "-" for names in (doubt.labels, doubt.suggested))
        cells = [printable(doubt.filename), label, f"{doubt.label_score:.2f}", suggested, f"{doubt.score:.2f}"]
        shown = cells if wide else [cells[0], cells[1], cells[3]]
        mark = Text("likely wrong" if wide else "!", style="yellow")
        table.add_row(*map(Text, shown), mark if doubt.likely_wrong else "")
    terminal.out.print(table)
