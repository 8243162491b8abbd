"""What `evaluate` writes of single clips: the answer of each as a table, doubtful ones to listen to and to correct."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError
from audiocnn_cli.findings import plural
from audiocnn_cli.options import OUTPUT
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.clip_evaluation import ClipEvaluation
    from audiocnn.dataset import Dataset
    from audiocnn_cli.reports import Report

DOUBTFUL_FILE = "doubtful.tsv"
DOUBTFUL_BYTES = 24 * 2**20  # of sounds on the page
TABLES = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class ClipOutputs:
    """What is asked for of single clips."""

    predictions: Annotated[
        str | None,
        typer.Option(
            "--predictions",
            metavar="FILE",
            help="Write a CSV or TSV with the answer and the scores of each clip.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None
    doubtful: Annotated[
        int | None,
        typer.Option(
            "--doubtful",
            min=1,
            metavar="N",
            help="Write the N clips whose label and score disagree most, as a TSV to correct and a page to listen.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None
    doubtful_to: Annotated[
        str | None,
        typer.Option(
            "--doubtful-to",
            metavar="FILE",
            help=f"Where that TSV goes; the page lies beside it. [default: {DOUBTFUL_FILE}]",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None


@dataclass(frozen=True)
class ClipPaths:
    """The files, None where none is asked for; count: of doubtful clips."""

    predictions: Path | None
    table: Path | None
    page: Path | None
    count: int


def clip_paths(asked: ClipOutputs, taken: Sequence[Path | None], models: int, force: bool) -> ClipPaths:
    """Names that can be written to. UsageError, before any work, for others, and for several models. taken: what other
    options name."""
    if asked.doubtful_to is not None and asked.doubtful is None:
        raise UsageError("--doubtful-to: needs --doubtful N, how many clips to write")
    if models > 1 and (asked.predictions or asked.doubtful):
        option = "--predictions" if asked.predictions else "--doubtful"
        raise UsageError(f"{option}: is of one model, and {models} are named; name one")
    predictions = Path(asked.predictions) if asked.predictions is not None else None
    table = Path(asked.doubtful_to or DOUBTFUL_FILE) if asked.doubtful is not None else None
    page = table.with_suffix(".html") if table is not None else None
    known = [path.absolute() for path in taken if path is not None]
    for option, path in (("--predictions", predictions), ("--doubtful-to", table), ("--doubtful-to", page)):
        if path is None:
            continue
        check_file(option, path, force, page=path is page)
        if path.absolute() in known:
            raise UsageError(f"{option} {path}: another option names it, too; name another file")
        known.append(path.absolute())
    return ClipPaths(predictions, table, page, asked.doubtful or 0)


def check_file(option: str, path: Path, force: bool, page: bool) -> None:
    """UsageError for a name that no table can have, or that is there already."""
    from audiocnn_cli.sides import check_place

    wanted = [".tsv"] if option == "--doubtful-to" else list(TABLES)
    if not page and path.suffix.lower() not in wanted:
        raise UsageError(f"{option} {path}: is no table; end its name in {' or '.join(wanted)}")
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; name a file in it")
    if path.exists() and not force:
        raise UsageError(f"{option} {path}: is there already; overwrite it with --force, or name another file")
    check_place(option, path)


def write_clip_files(report: Report, dataset: Dataset, paths: ClipPaths, terminal: Terminal) -> None:
    """What was asked for. UsageError where there are no clips with labels."""
    if paths.predictions is None and paths.table is None:
        return
    clip = report.evaluation.clip
    if clip is None:
        option = "--predictions" if paths.predictions else "--doubtful"
        raise UsageError(f"{option}: needs clips that have a label as a whole, and {report.data} has segments alone")
    if paths.predictions is not None:
        delimiter = TABLES[paths.predictions.suffix.lower()]
        write_file("--predictions", paths.predictions, predictions_of(clip, delimiter))
    if paths.table is not None and paths.page is not None:
        write_doubtful(report, clip, dataset, paths, terminal)


def predictions_of(clip: ClipEvaluation, delimiter: str) -> str:
    """filename, label, answer, score, right, then the score of each label. Several labels have ; between them."""
    from audiocnn.doubtful import SEPARATOR

    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["filename", "label", "answer", "score", "right", *(f"score {label}" for label in clip.labels)])
    right = {True: "yes", False: "no", None: ""}
    for one in clip.answers:
        said = [SEPARATOR.join(one.labels), SEPARATOR.join(one.answers), f"{one.score:.4f}", right[one.right]]
        writer.writerow([one.filename, *said, *(f"{score:.4f}" for score in one.scores)])
    return text.getvalue()


def write_doubtful(
    report: Report, clip: ClipEvaluation, dataset: Dataset, paths: ClipPaths, terminal: Terminal
) -> None:
    """The table, and the page beside it."""
    from audiocnn.clip_sounds import sounds_of
    from audiocnn.doubtful import find_doubtful, to_table
    from audiocnn.doubtful_page import to_page

    assert paths.table is not None and paths.page is not None
    doubts = find_doubtful(clip, paths.count)
    sounds = sounds_of(dataset, [doubt.filename for doubt in doubts], DOUBTFUL_BYTES)
    labels = sorted({*clip.labels, *(label for doubt in doubts for label in doubt.labels)})
    corrected = f"{paths.table.stem}-corrected.tsv"
    page = to_page(doubts, sounds, labels, (report.name, report.data), corrected, dataset.several)
    write_file("--doubtful-to", paths.table, to_table(doubts))
    write_file("--doubtful-to", paths.page, page)
    likely = sum(doubt.likely_wrong for doubt in doubts)
    terminal.say(
        f"{plural(len(doubts), 'doubtful clip')}, {likely} of them likely wrong: listen in {paths.page},"
        f" correct there or in {paths.table}, and train again with --corrections"
    )


def write_file(option: str, path: Path, text: str) -> None:
    """Whole or not at all."""
    from audiocnn.whole_files import write_whole

    try:
        write_whole(path, text.encode("utf-8", "surrogateescape"))
    except OSError as problem:
        raise UsageError(f"{option} {path}: cannot be written ({problem.strerror}); name another file") from None
