"""The files of `evaluate` besides the JSON report: the HTML page and the answers to clips."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError
from audiocnn_cli.app.options import BASIC, OUTPUT, option
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.doubtful import DoubtfulFiles, check_doubtful_files, write_doubtful
from audiocnn_cli.io.judge import clips_of
from audiocnn_cli.io.output import check_new_file, check_table, write_text

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.evaluation.report import EvaluationReport
    from audiocnn.evaluation.results import ClipEvaluation

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
Html = Annotated[
    str | None,
    option("--html", "FILE", "Write an HTML report with figures and curves.", OUTPUT),
    BASIC,
]


@dataclass(frozen=True)
class ClipOutputs:
    """Files about clips. The options for doubtful clips are former names of the command `doubtful`."""

    predictions: Annotated[
        str | None,
        option("--predictions", "FILE", "Write a CSV or TSV with the answer and the scores of each clip.", OUTPUT),
    ] = None
    doubtful: Annotated[int | None, typer.Option("--doubtful", min=1, metavar="N", hidden=True)] = None
    doubtful_to: Annotated[str | None, typer.Option("--doubtful-to", metavar="FILE", hidden=True)] = None


@dataclass(frozen=True)
class _ClipPaths:
    """The files; None if not wanted."""

    predictions: Path | None
    doubtful: DoubtfulFiles | None


def check_page(html: str | None, output: Path | None, force: bool) -> Path | None:
    """The path of the page; None without one. Raises UsageError, before any work, for an unusable name."""
    if html is None:
        return None
    path = Path(html)
    if html == "-" or path.is_dir():
        raise UsageError(f"--html {html}: not a file name; give one, such as report.html")
    if output is not None and path.absolute() == output.absolute():
        raise UsageError(f"--html {html}: -o writes to the same file; choose another name")
    check_new_file("--html", path, force)
    return path


def check_clip_outputs(wanted: ClipOutputs, taken: Sequence[Path | None], models: int, force: bool) -> _ClipPaths:
    """The files to write. Raises UsageError, before any work, for unusable names, and if there are several models.
    taken: files of other options."""
    if wanted.doubtful_to is not None and wanted.doubtful is None:
        raise UsageError("--doubtful-to needs the number of clips to write; give --doubtful N too")
    if models > 1 and (wanted.predictions or wanted.doubtful):
        option = "--predictions" if wanted.predictions else "--doubtful"
        raise UsageError(f"{option}: needs a single model, and {models} are given; give one")
    known = [path.absolute() for path in taken if path is not None]
    predictions = Path(wanted.predictions) if wanted.predictions is not None else None
    if predictions is not None:
        check_table("--predictions", predictions, tuple(_DELIMITERS), known, force)
    doubtful = None
    if wanted.doubtful is not None:
        doubtful = check_doubtful_files("--doubtful-to", wanted.doubtful_to, wanted.doubtful, known, force)
    return _ClipPaths(predictions, doubtful)


def write_page(reports: Sequence[EvaluationReport], path: Path, dataset: Dataset | None = None) -> None:
    """Write the page atomically. With a dataset, it plays some of the clips."""
    from audiocnn.report.evaluation import evaluation_page

    write_text("--html", path, evaluation_page(reports, dataset))


def write_clip_files(report: EvaluationReport, dataset: Dataset, paths: _ClipPaths, terminal: Terminal) -> None:
    """Write the files about clips. Raises UsageError if no clip has labels."""
    if paths.predictions is not None:
        clip = clips_of(report.evaluation, "--predictions", report.data)
        delimiter = _DELIMITERS[paths.predictions.suffix.lower()]
        write_text("--predictions", paths.predictions, _predictions(clip, delimiter))
    if paths.doubtful is not None:
        clip = clips_of(report.evaluation, "--doubtful", report.data)
        write_doubtful([(clip, dataset)], (report.name, report.data), paths.doubtful, terminal)


def _predictions(clip: ClipEvaluation, delimiter: str) -> str:
    """Columns filename, label, answer, score, right, then the score of each label. Several labels are joined by ;."""
    from audiocnn.data.sources.corrections import LABEL_SEPARATOR

    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["filename", "label", "answer", "score", "right", *(f"score {label}" for label in clip.labels)])
    right = {True: "yes", False: "no", None: ""}
    for one in clip.answers:
        cells = [
            LABEL_SEPARATOR.join(one.labels),
            LABEL_SEPARATOR.join(one.answers),
            f"{one.score:.4f}",
            right[one.right],
        ]
        writer.writerow([one.filename, *cells, *(f"{score:.4f}" for score in one.scores)])
    return text.getvalue()
