"""`audiocnn split`: cut recordings into audio files at their segments."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import (
    BASIC,
    Device,
    Files,
    InputOptions,
    Jobs,
    LabelColumnName,
    ModelName,
    OutputOptions,
    RawOptions,
    SegmentOptions,
    flag,
    format_option,
    option,
)
from audiocnn_cli.app.terminal import Terminal

_SUFFIXES = {"jsonl": (".jsonl", ".ndjson", ".json"), "csv": (".csv",), "tsv": (".tsv",), "table": (".txt",)}
_CUTS = "Cuts"


class SoundKind(StrEnum):
    wav = "wav"
    flac = "flac"
    opus = "opus"


class ManifestFormat(StrEnum):
    auto = "auto"
    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"


@dataclass(frozen=True)
class SplitOptions:
    output_dir: Annotated[
        str | None,
        option(
            "--output-dir",
            "DIR",
            "Folder for the pieces, with the same subfolders as the recordings. Required.",
            _CUTS,
        ),
        BASIC,
    ] = None
    to: Annotated[
        SoundKind, typer.Option("--to", metavar="KIND", help="wav, flac or opus.", rich_help_panel=_CUTS), BASIC
    ] = SoundKind.wav
    labels: Annotated[
        str | None,
        option(
            "--labels",
            "FILE",
            "Cut at these annotations instead of running a model; any format that `convert` reads.",
            _CUTS,
        ),
        BASIC,
    ] = None
    label_column: LabelColumnName = None
    only: Annotated[
        list[str] | None, option("--only", "LABEL", "Use only segments with this label. May be repeated.", _CUTS)
    ] = None
    join: Annotated[bool, flag("--join", "Join all segments of a label into one file for each recording.", _CUTS)] = (
        False
    )
    invert: Annotated[bool, flag("--invert", "Keep everything outside the segments.", _CUTS)] = False


_Format = Annotated[
    ManifestFormat,
    format_option(
        "Format of the list of pieces: jsonl, csv, tsv or table; auto: by the suffix of -o, a table on a terminal, "
        "else JSON Lines."
    ),
]


def split(
    terminal: Terminal,
    files: Files = None,
    cuts: SplitOptions = SplitOptions(),
    model: ModelName = None,
    rule: SegmentOptions = SegmentOptions(),  # noqa: B008
    given: InputOptions = InputOptions(),  # noqa: B008
    samples: RawOptions = RawOptions(),  # noqa: B008
    format: _Format = ManifestFormat.auto,
    output: OutputOptions = OutputOptions(),  # noqa: B008
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Cuts are exact to the sample and keep the sample rate, channels and bit depth of the recording. The files
    written are listed on standard output, or in the file given with -o. With --channel each or N, a piece contains
    only that channel. Existing files are only overwritten with --force.

    \b
    audiocnn split interview.wav --output-dir cuts
    audiocnn split recordings/ --output-dir speech --join --to flac -o speech.csv
    audiocnn split interview.wav --output-dir silence --invert
    audiocnn split interview.wav --output-dir cuts --labels interview.TextGrid
    """
    from audiocnn.labels.split import SplitSettings
    from audiocnn.units import plural
    from audiocnn_cli.commands.split.manifest import split_writer
    from audiocnn_cli.commands.split.splitter import (
        LabelledSegments,
        Splitter,
        check_pieces_folder,
        leave_out_pieces,
        segments_from,
    )
    from audiocnn_cli.io.batch import BatchRun
    from audiocnn_cli.io.inputs import find_inputs, read_channel, read_raw
    from audiocnn_cli.io.mirror import check_places
    from audiocnn_cli.io.output import check_output, format_of_output, open_output
    from audiocnn_cli.io.results import ResultWriter

    path = check_output(output.output, output.force)
    fallback = "table" if path is None and terminal.shows_tables else "jsonl"
    kind = format_of_output(path, format.value, _SUFFIXES, fallback)
    settings = SplitSettings(cuts.to.value, cuts.join, cuts.invert, tuple(cuts.only or ()))
    check_only(settings.only, cuts.labels, model)
    channel = read_channel(given.channel)
    folder = check_pieces_folder(cuts.output_dir, files, given.shard)
    inputs = leave_out_pieces(find_inputs(files, given, terminal, read_raw(samples), check_places), folder, files)
    ask = segments_from(cuts.labels, cuts.label_column, model, rule, channel, device, jobs)
    splitter = Splitter(terminal, folder, settings, channel, output.force)
    with open_output(path, terminal, replace=output.force) as out:
        manifest = ResultWriter(split_writer(kind), out, terminal)
        manifest.begin()
        batch = BatchRun(terminal, given.strict, manifest.failed)
        with batch, closing(ask(splitter.kept(inputs), batch, given.files_from is not None)) as recordings:
            for one, found in recordings:
                with batch.attempt(one.name):
                    splitter.split(one, found, manifest, batch)
                if batch.stopped:
                    break
        out.drop = batch.failed > 0 and not batch.done and not splitter.pieces
    batch.report(f"{plural(splitter.pieces, 'piece')} of ", ask.device)
    if isinstance(ask, LabelledSegments) and ask.tell_unnamed(terminal):
        return ExitStatus.USAGE
    return batch.status()


def check_only(only: Sequence[str], labels: str | None, model: str | None) -> None:
    """Raises UsageError for a label that the model does not have. The labels of a file are checked when it is read."""
    if not only or labels is not None:
        return
    from audiocnn.errors import UsageError, did_you_mean
    from audiocnn.model.model import DEFAULT_MODEL, find_model

    known = find_model(model or DEFAULT_MODEL).labels
    if wrong := [label for label in only if label not in known]:
        raise UsageError(f'--only: unknown label "{wrong[0]}"; {did_you_mean(wrong[0], known)}')
