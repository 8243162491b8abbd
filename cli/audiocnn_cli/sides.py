"""What `evaluate` sets side by side, models and with --against other detectors, and the page of --html."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError
from audiocnn_cli.options import OUTPUT, SegmentOptions

if TYPE_CHECKING:
    from audiocnn.dataset import Dataset
    from audiocnn.evaluation import Scorer
    from audiocnn.model import Model
    from audiocnn.segments import SegmentRule
    from audiocnn_cli.reports import Report

Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="NAME[,NAME]",
        help="Judge other detectors, too: silero, webrtc. They keep their thresholds.",
        show_default=False,
    ),
]
Html = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page with figures, curves and conditions, to open in a browser.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]


@dataclass(frozen=True)
class Side:
    """A model or a peer, ready to be judged. A model has a folder, a peer a version."""

    name: str
    scorer: Scorer
    tuned_on: str
    thresholds: Mapping[str, float]
    folder: str | None = None
    version: str | None = None


def model_side(model: Model, scorer: Scorer) -> Side:
    """A model with what makes its scores."""
    return Side(model.name, scorer, model.tuned_on, model.thresholds, folder=str(model.folder))


def peer_sides(against: str | None, given: SegmentOptions) -> list[Side]:
    """The peers named in --against, each once, in order."""
    from audiocnn.peers import LABEL, load_peer

    names = dict.fromkeys(name.strip() for name in against.split(",")) if against is not None else []
    peers = [load_peer(name) for name in names]
    return [
        Side(
            peer.name,
            peer.scorer(peer_rule(peer.rule, given)),
            peer.origin,
            {LABEL: peer.rule.threshold},
            None,
            peer.version,
        )
        for peer in peers
    ]


def peer_rule(rule: SegmentRule, given: SegmentOptions) -> SegmentRule:
    """The rule of a peer: lengths that are given are for all alike, thresholds are for models alone."""
    lengths = {
        "min_speech_seconds": given.min_speech,
        "min_silence_seconds": given.min_silence,
        "pad_seconds": given.pad,
        "max_speech_seconds": given.max_speech,
    }
    return replace(rule, **{name: seconds for name, seconds in lengths.items() if seconds is not None})


def check_page(html: str | None, output: Path | None, force: bool) -> Path | None:
    """The path of the page, None for none. UsageError, before any work, for a name that it cannot have."""
    if html is None:
        return None
    path = Path(html)
    if html == "-" or path.is_dir():
        raise UsageError(f"--html {html}: is no file; name one, such as report.html")
    if output is not None and path.absolute() == output.absolute():
        raise UsageError(f"--html {html}: is what -o names; give the page a name of its own")
    if path.exists() and not force:
        raise UsageError(f"--html {html}: is there already; overwrite it with --force, or name another file")
    check_place("--html", path)
    return path


def check_place(option: str, path: Path) -> None:
    """UsageError where a new file of this name cannot be made, for want of a folder to write to."""
    there = next((folder for folder in path.parents if folder.exists()), path.parent)
    if not there.is_dir():
        raise UsageError(f"{option} {path}: {there} is no folder; name another file")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{option} {path}: {there} cannot be written to; name another file")


def write_page(reports: Sequence[Report], path: Path, dataset: Dataset | None = None) -> None:
    """The page, whole or not at all; with a dataset it plays some of its clips."""
    from audiocnn.clip_sounds import sounds_of
    from audiocnn.repeats_page import curve_near
    from audiocnn.report_page import to_page
    from audiocnn.whole_files import write_whole
    from audiocnn_cli.reports import titles_of

    clips = [report.evaluation.clip for report in reports if report.evaluation.clip]
    files = list(dict.fromkeys(file for clip in clips for file in clip.files_to_hear()))
    sounds = sounds_of(dataset, files) if dataset is not None else {}
    curves = (curve_near(Path(report.folder)) for report in reports if report.folder is not None)
    curve = next((found for found in curves if found), None)
    page = to_page([report.to_dict() for report in reports], titles_of(reports), sounds, curve)
    try:
        write_whole(path, page.encode("utf-8", "surrogateescape"))
    except OSError as problem:
        raise UsageError(f"--html {path}: cannot be written ({problem.strerror}); name another file") from None
