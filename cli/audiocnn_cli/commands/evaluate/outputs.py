"""The files of `evaluate` besides report.json: the page, the answer to each clip, doubtful clips to correct."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from audiocnn.errors import UsageError
from audiocnn.units import plural
from audiocnn_cli.app.options import BASIC, OUTPUT, option
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.evaluation.results import ClipEvaluation
    from audiocnn_cli.commands.evaluate.tables import EvaluationReport

_DOUBTFUL_FILE = "doubtful.tsv"
_DOUBTFUL_BYTES = 24 * 2**20  # of sounds on the page
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
Html = Annotated[
    str | None,
    option("--html", "FILE", "Write a page with figures, curves and conditions, to open in a browser.", OUTPUT),
    BASIC,
]


@dataclass(frozen=True)
class ClipOutputs:
    predictions: Annotated[
        str | None,
        option("--predictions", "FILE", "Write a CSV or TSV with the answer and the scores of each clip.", OUTPUT),
    ] = None
    doubtful: Annotated[
        int | None,
        option(
            "--doubtful",
            "N",
            "Write the N clips whose label and score disagree most, as a TSV to correct and a page to listen.",
            OUTPUT,
            least=1,
        ),
    ] = None
    doubtful_to: Annotated[
        str | None,
        option(
            "--doubtful-to",
            "FILE",
            f"Where that TSV goes; the page lies beside it. [default: {_DOUBTFUL_FILE}]",
            OUTPUT,
        ),
    ] = None


@dataclass(frozen=True)
class _ClipPaths:
    """The files, None where not asked for. count: of doubtful clips."""

    predictions: Path | None
    table: Path | None
    page: Path | None
    count: int


def check_page(html: str | None, output: Path | None, force: bool) -> Path | None:
    """The path of the page, None for none. UsageError, before any work, for a name that it cannot have."""
    if html is None:
        return None
    path = Path(html)
    if html == "-" or path.is_dir():
        raise UsageError(f"--html {html}: is no file; name one, such as report.html")
    if output is not None and path.absolute() == output.absolute():
        raise UsageError(f"--html {html}: is what -o names; give the page a name of its own")
    _check_new_file("--html", path, force)
    return path


def check_clip_outputs(wanted: ClipOutputs, taken: Sequence[Path | None], models: int, force: bool) -> _ClipPaths:
    """Names that can be written to. UsageError, before any work, for others, and for several models. taken: what other
    options name."""
    if wanted.doubtful_to is not None and wanted.doubtful is None:
        raise UsageError("--doubtful-to: needs --doubtful N, how many clips to write")
    if models > 1 and (wanted.predictions or wanted.doubtful):
        option = "--predictions" if wanted.predictions else "--doubtful"
        raise UsageError(f"{option}: is of one model, and {models} are named; name one")
    predictions = Path(wanted.predictions) if wanted.predictions is not None else None
    table = Path(wanted.doubtful_to or _DOUBTFUL_FILE) if wanted.doubtful is not None else None
    page = table.with_suffix(".html") if table is not None else None
    known = [path.absolute() for path in taken if path is not None]
    for option, path in (("--predictions", predictions), ("--doubtful-to", table), ("--doubtful-to", page)):
        if path is None:
            continue
        suffixes = [".html"] if path is page else [".tsv"] if path is table else list(_DELIMITERS)
        if path.suffix.lower() not in suffixes:
            raise UsageError(f"{option} {path}: is no table; end its name in {' or '.join(suffixes)}")
        if path.is_dir():
            raise UsageError(f"{option} {path}: is a folder; name a file in it")
        _check_new_file(option, path, force)
        if path.absolute() in known:
            raise UsageError(f"{option} {path}: another option names it, too; name another file")
        known.append(path.absolute())
    return _ClipPaths(predictions, table, page, wanted.doubtful or 0)


def _check_new_file(option: str, path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise UsageError(f"{option} {path}: is there already; overwrite it with --force, or name another file")
    check_folder_writable(option, path)


def check_folder_writable(option: str, path: Path) -> None:
    """UsageError where a new file of this name cannot be made in its folder."""
    there = next((folder for folder in path.parents if folder.exists()), path.parent)
    if not there.is_dir():
        raise UsageError(f"{option} {path}: {there} is no folder; name another file")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{option} {path}: {there} cannot be written to; name another file")


def write_page(reports: Sequence[EvaluationReport], path: Path, dataset: Dataset | None = None) -> None:
    """The page, whole or not at all; with a dataset it plays some of its clips."""
    from audiocnn.report.evaluation import render_evaluation
    from audiocnn.report.folds import find_learning_curve
    from audiocnn.report.sound import clip_sounds

    clips = [report.evaluation.clip for report in reports if report.evaluation.clip]
    files = list(dict.fromkeys(file for clip in clips for file in clip.files_to_hear()))
    sounds = clip_sounds(dataset, files) if dataset is not None else {}
    curves = (find_learning_curve(Path(report.folder)) for report in reports if report.folder is not None)
    curve = next((found for found in curves if found), None)
    page = render_evaluation([report.to_dict() for report in reports], sounds, curve)
    _write_file("--html", path, page)


def write_clip_files(report: EvaluationReport, dataset: Dataset, paths: _ClipPaths, terminal: Terminal) -> None:
    """UsageError where no clip has labels."""
    if paths.predictions is None and paths.table is None:
        return
    clip = report.evaluation.clip
    if clip is None:
        option = "--predictions" if paths.predictions else "--doubtful"
        raise UsageError(f"{option}: needs clips that have a label as a whole, and {report.data} has segments alone")
    if paths.predictions is not None:
        delimiter = _DELIMITERS[paths.predictions.suffix.lower()]
        _write_file("--predictions", paths.predictions, _predictions(clip, delimiter))
    if paths.table is not None and paths.page is not None:
        _write_doubtful(report, clip, dataset, paths, terminal)


def _predictions(clip: ClipEvaluation, delimiter: str) -> str:
    """filename, label, answer, score, right, then the score of each label. Several labels have ; between them."""
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


def _write_doubtful(
    report: EvaluationReport, clip: ClipEvaluation, dataset: Dataset, paths: _ClipPaths, terminal: Terminal
) -> None:
    from audiocnn.evaluation.doubtful import doubts_to_tsv, find_doubtful
    from audiocnn.report.doubtful import render_doubtful
    from audiocnn.report.sound import clip_sounds

    assert paths.table is not None and paths.page is not None
    doubts = find_doubtful(clip, paths.count)
    sounds = clip_sounds(dataset, [doubt.filename for doubt in doubts], _DOUBTFUL_BYTES)
    labels = sorted({*clip.labels, *(label for doubt in doubts for label in doubt.labels)})
    corrected = f"{paths.table.stem}-corrected.tsv"
    page = render_doubtful(doubts, sounds, labels, (report.name, report.data), corrected, dataset.several)
    _write_file("--doubtful-to", paths.table, doubts_to_tsv(doubts))
    _write_file("--doubtful-to", paths.page, page)
    likely = sum(doubt.likely_wrong for doubt in doubts)
    terminal.say(
        f"{plural(len(doubts), 'doubtful clip')}, {likely} of them likely wrong: listen in {paths.page},"
        f" correct there or in {paths.table}, and train again with --corrections"
    )


def _write_file(option: str, path: Path, text: str) -> None:
    from audiocnn.files import write_whole

    try:
        write_whole(path, text.encode("utf-8", "surrogateescape"))
    except OSError as problem:
        raise UsageError(f"{option} {path}: cannot be written ({problem.strerror}); name another file") from None
