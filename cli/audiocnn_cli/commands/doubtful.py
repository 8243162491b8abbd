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
from audiocnn.errors import LabelError, UsageError, as_argument, did_you_mean, format_command, printable, show_name
from audiocnn.files import free_path
from audiocnn.units import plural
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import (
    OUTPUT,
    Device,
    Force,
    Jobs,
    JudgedData,
    LabelOptions,
    ModelName,
    ReportFormat,
    SplitName,
    TableFormat,
    label_words,
    option,
)
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.ingest import TerminalListener
from audiocnn_cli.io.judge import JudgedSegments, clips_of, scorer_by_options
from audiocnn_cli.io.output import check_table, write_text

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.data.sources.corrections import Corrections
    from audiocnn.evaluation.doubtful import Doubt
    from audiocnn.evaluation.results import ClipEvaluation

_FILE = "doubtful.tsv"
REVIEW_TABLE = "corrections.csv"  # what `review` calls its table
_SOUND_BYTES = 24 * 2**20  # on the page
_DIGITS = 4
_WIDE = 60  # columns; narrower tables have no scores
_Top = Annotated[int, typer.Option("--top", "-k", min=1, metavar="N", help="Number of clips, the most doubtful first.")]
_Output = Annotated[
    str | None,
    option(
        "--output",
        "FILE",
        f"The table to correct, in TSV; the page to listen lies beside it. [default: {_FILE}, -2 ...]",
        OUTPUT,
        short="-o",
    ),
]
_Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="LABEL", help="Only clips with this one. May be repeated.")
]
_Corrections = Annotated[
    list[str] | None,
    option(
        "--corrections",
        "FILE",
        "Leave out what this table has settled. May be repeated; `none` for none. [default: those beside the output]",
    ),
]


def doubtful(
    terminal: Terminal,
    data: JudgedData,
    model: ModelName = None,
    top: _Top = 50,
    label: _Labels = None,
    corrections: _Corrections = None,
    split: SplitName = None,
    labels: LabelOptions = LabelOptions(),  # noqa: B008 - frozen
    format: TableFormat = ReportFormat.auto,
    output: _Output = None,
    force: Force = False,
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Clips are ranked by how strongly the model contradicts their label, and written to a table and to a page that
    plays them. Correct either, and train again with --corrections. Use a model that was not trained on these clips:
    labels that it has memorised are not found. Running the command again leaves out what was corrected or confirmed,
    and carries it over into the new table.

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
    if output is None and not force:
        output = free_table()
    files = check_doubtful_files("-o", output, top, [], force)
    part = resolve_split(data, split)
    engine = load_engine(find_model(model or DEFAULT_MODEL), device, jobs)
    candidate = model_candidate(engine.model, scorer_by_options(engine, JudgedSegments()))
    counts, listener = Counter[str](), TerminalListener(terminal)
    with open_judged_dataset(data, part, None, [engine], [candidate], listener, counts, labels) as (dataset, chosen):
        check_channels(dataset, engine)
        for name in label or ():
            if name not in dataset.labels:
                raise UsageError(f"--label {name}: nothing is labelled so; {did_you_mean(name, dataset.labels)}")
        settled = find_settled(dataset, corrections, files.table, terminal)
        rest = dataset.with_entries(entry for entry in dataset.entries if entry.filename not in settled)
        if settled and not rest.entries:
            terminal.say("audiocnn: nothing is left to doubt")
            return ExitStatus.OK
        settings = EvaluationSettings(resamples=0)
        evaluation, *_ = judge_dataset(rest, candidate.scorer, settings, chosen, candidate.name, listener)
        clips = clips_of(evaluation, "", data)
        doubts = write_doubtful(clips, (candidate.name, data), rest, files, terminal, label or (), settled)
    say_training(data, model, files, labels, terminal)
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


def free_table() -> str:
    """The first name for a table that neither a table nor a page has yet."""
    names = (_FILE, *(f"{Path(_FILE).stem}-{number}.tsv" for number in range(2, 10_000)))
    return next(name for name in names if not Path(name).exists() and not Path(name).with_suffix(".html").exists())


def find_settled(dataset: Dataset, given: list[str] | None, table: Path, terminal: Terminal) -> dict[str, Any]:
    """What tables of corrections have settled of a dataset, by file name: those that were named, else those that lie
    beside the output and are called as `doubtful` and `review` call theirs."""
    from audiocnn.data.sources.corrections import read_settled

    if given is not None and [*given] == ["none"]:
        return {}
    for name in given or ():
        if not Path(name).is_file():
            raise UsageError(f"--corrections {name}: no such file; check the name")
    stem = Path(_FILE).stem
    beside = [path for path in table.absolute().parent.glob("*") if path.is_file()]
    beside = [path for path in beside if path.suffix == ".tsv" and path.stem.startswith((stem, table.stem))] + [
        path for path in beside if path.name == REVIEW_TABLE
    ]
    paths = map(Path, given) if given is not None else sorted(beside, key=lambda path: path.stat().st_mtime)
    known = {entry.filename: entry.labels for entry in dataset.entries}
    settled: dict[str, Any] = {}
    for path in paths:
        try:
            found = read_settled(path, dataset.several, known)
        except LabelError:
            if given is not None:
                raise
            continue  # something else that is called so
        mine = {name: right for name, right in found.items() if name in known}
        if mine:
            shown = show_name(path.name if given is None else path)
            terminal.say(f"audiocnn: {plural(len(mine), 'clip')} that {shown} has settled: left out")
        settled |= mine
    return settled


def say_training(data: str, model: str | None, files: DoubtfulFiles, labels: LabelOptions, terminal: Terminal) -> None:
    """The command that trains with the corrected table, into a folder that is free."""
    from audiocnn.workflows.plan import name_after_data

    own = model is not None and (Path(model) / "recipe.toml").is_file()
    run = free_path(Path(model) if own and model is not None else Path("runs") / name_after_data(Path(data)))
    words = ["audiocnn", "train", as_argument(data), "--corrections", as_argument(files.table)]
    terminal.say_block("then", [format_command([*words, *label_words(labels), "-o", as_argument(run)])])


def write_doubtful(
    clips: ClipEvaluation,
    about: tuple[str, str],
    dataset: Dataset,
    files: DoubtfulFiles,
    terminal: Terminal,
    of: Sequence[str] = (),
    settled: Corrections | None = None,
) -> list[Doubt]:
    """Write the table and the page, and say what to do with them; returns the clips. about: the names of model and
    data. of: only clips with these labels. settled: what was corrected before, which the table has, too. UsageError
    where the model knows none of the labels."""
    from audiocnn.evaluation.doubtful import doubts_to_tsv, find_doubtful, settled_rows
    from audiocnn.report.doubtful import render_doubtful
    from audiocnn.report.sound import clip_sounds

    doubts, before = find_doubtful(clips, files.count, of), settled_rows(settled or {})
    sounds = clip_sounds(dataset, [doubt.filename for doubt in doubts], _SOUND_BYTES)
    labels = sorted({*clips.labels, *(label for doubt in doubts for label in doubt.labels)})
    corrected = f"{files.table.stem}-corrected.tsv"
    page = render_doubtful(doubts, sounds, labels, about, corrected, dataset.several, before)
    write_text(files.option, files.table, doubts_to_tsv(doubts, before))
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
