"""`audiocnn split`: recordings in, the stretches that are their segments out, as files of sound."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.options import (
    OUTPUT,
    Device,
    Files,
    InputOptions,
    Jobs,
    ModelName,
    OutputOptions,
    RawOptions,
    SegmentOptions,
)
from audiocnn_cli.terminal import Terminal

SUFFIXES = {"jsonl": (".jsonl", ".ndjson", ".json"), "csv": (".csv",), "tsv": (".tsv",), "table": (".txt",)}
CUTS = "Cuts"


class SoundKind(StrEnum):
    """The files of sound that `split` writes."""

    wav = "wav"
    flac = "flac"
    opus = "opus"


class ManifestFormat(StrEnum):
    """How `split` tells what it wrote."""

    auto = "auto"
    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"


@dataclass(frozen=True)
class SplitOptions:
    """What is cut out, and into what."""

    output_dir: Annotated[
        str | None,
        typer.Option(
            "--output-dir",
            metavar="DIR",
            help="The folder for the pieces; subfolders are as those of the recordings. Must be named.",
            rich_help_panel=CUTS,
        ),
    ] = None
    to: Annotated[
        SoundKind,
        typer.Option("--to", metavar="KIND", help="wav, flac or opus.", rich_help_panel=CUTS),
    ] = SoundKind.wav
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Cut at these labels, in any format that `convert` reads; no model is asked.",
            rich_help_panel=CUTS,
        ),
    ] = None
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="LABEL", help="Segments of this label; may be given again.", rich_help_panel=CUTS
        ),
    ] = None
    join: Annotated[
        bool,
        typer.Option("--join", help="One file of all stretches of a label, one after the other.", rich_help_panel=CUTS),
    ] = False
    invert: Annotated[bool, typer.Option("--invert", help="Keep what belongs to no segment.", rich_help_panel=CUTS)] = (
        False
    )


Format = Annotated[
    ManifestFormat,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="Of the list of pieces: jsonl, csv, tsv or table; auto: by the suffix of -o, a table on a terminal, "
        "else JSON Lines.",
        rich_help_panel=OUTPUT,
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
    format: Format = ManifestFormat.auto,
    output: OutputOptions = OutputOptions(),  # noqa: B008
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Cuts are exact to the sample, at the recording's own rate, channels and depth. What was written is listed on
    standard output, or with -o in a file. With --channel each or N a piece holds that channel alone. No file is
    overwritten without --force.

    \b
    audiocnn split interview.wav --output-dir cuts
    audiocnn split recordings/ --output-dir speech --join --to flac -o speech.csv
    audiocnn split interview.wav --output-dir silence --invert
    audiocnn split interview.wav --output-dir cuts --labels interview.TextGrid
    """
    from audiocnn.splitting import SplitSettings
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.findings import plural
    from audiocnn_cli.inputs import find_inputs, read_channel, read_raw
    from audiocnn_cli.manifest import manifest_for
    from audiocnn_cli.output import check_output, format_of_output, open_output
    from audiocnn_cli.splitter import Splitter, check_folder, outside, segments_from

    path = check_output(output.output, output.force)
    fallback = "table" if path is None and terminal.shows_tables else "jsonl"
    kind = format_of_output(path, format.value, SUFFIXES, fallback)
    settings = SplitSettings(cuts.to.value, cuts.join, cuts.invert, tuple(cuts.only or ()))
    check_only(settings.only, cuts.labels, model)
    channel = read_channel(given.channel)
    folder = check_folder(cuts.output_dir, files, given.shard)
    inputs = outside(find_inputs(files, given, terminal, read_raw(samples)), folder, files)
    ask = segments_from(cuts.labels, model, rule, channel, device, jobs)
    with (
        open_output(path, terminal, replace=output.force) as out,
        Splitter(terminal, folder, settings, channel, output.force) as splitter,
    ):
        manifest = manifest_for(kind, terminal.write if out.path is None else out.write, terminal)
        manifest.begin()
        batch = Batch(terminal, given.strict, manifest.failed)
        with batch, closing(ask(splitter.kept(inputs), batch, given.files_from is not None)) as recordings:
            for one, found in recordings:
                with batch.attempt(one.name):
                    splitter.split(one, found, manifest, out, batch)
                if batch.stopped:
                    break
        out.drop = batch.failed > 0 and not batch.done and not splitter.pieces
    batch.report(f"{plural(splitter.pieces, 'piece')} of ", ask.device)
    return batch.status


def check_only(only: Sequence[str], labels: str | None, model: str | None) -> None:
    """UsageError for a label that the model does not have; what a file of labels holds is seen when it is read."""
    if not only or labels is not None:
        return
    from audiocnn.errors import UsageError, did_you_mean
    from audiocnn.model import DEFAULT_MODEL, find_model

    known = find_model(model or DEFAULT_MODEL).labels
    if wrong := [label for label in only if label not in known]:
        raise UsageError(f'--only: there is no label "{wrong[0]}"; {did_you_mean(wrong[0], known)}')
