"""Options that several commands share, each declared once: name, help and default.

A command takes groups of them as frozen dataclasses; `commands.py` spreads the fields over the command line.
Defaults that belong to the library are None here and shown by `{...}` in the help, which the library fills in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

SEGMENTS, ANSWERS, OUTPUT, INPUT, RUNNING = "Segments", "Answers", "Output", "Input", "Running"


class DetectFormat(StrEnum):
    """What `detect` can write."""

    auto = "auto"
    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"
    rttm = "rttm"
    audacity = "audacity"
    textgrid = "textgrid"
    dcase = "dcase"
    srt = "srt"
    vtt = "vtt"
    kaldi = "kaldi"
    lhotse = "lhotse"
    nemo = "nemo"
    raven = "raven"
    elan = "elan"


class ClassifyFormat(StrEnum):
    """What `classify` can write."""

    auto = "auto"
    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"


class ScoreFormat(StrEnum):
    """What `score` can write."""

    auto = "auto"
    csv = "csv"
    tsv = "tsv"
    jsonl = "jsonl"
    npz = "npz"


class ReportFormat(StrEnum):
    """A table for people, JSON for programs."""

    auto = "auto"
    table = "table"
    json = "json"


Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE",
        help="Recordings, folders (everything inside that is audio), or - for audio on standard input.",
        show_default=False,
    ),
]

ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A name from `audiocnn models`, or a model folder. [default: {model}]",
        show_default=False,
    ),
]

Device = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=RUNNING),
]

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        metavar="N",
        help="Stretches of sound scored at the same time; they share the cores. [default: one a core]",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on a Ray cluster: local starts one, auto joins that of this machine, or HOST:PORT; -o is a folder.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]

Force = Annotated[bool, typer.Option("--force", help="Overwrite the output.", rich_help_panel=OUTPUT)]

Table = Annotated[
    ReportFormat,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="table or json; auto: a table on a terminal, else JSON.",
        rich_help_panel=OUTPUT,
    ),
]


def seconds_option(name: str, text: str) -> object:
    """An option of the segment rule, whose default the model or `SegmentRule` has."""
    return typer.Option(name, metavar="SECONDS", help=text, show_default=False, rich_help_panel=SEGMENTS)


def score_option(name: str, text: str) -> object:
    """An option of the segment rule that is a probability."""
    return typer.Option(name, metavar="SCORE", help=text, show_default=False, rich_help_panel=SEGMENTS)


@dataclass(frozen=True)
class SegmentOptions:
    """How scores become segments. None leaves it to the model, or to `SegmentRule`."""

    threshold: Annotated[
        float | None,
        score_option("--threshold", "A segment begins at this score. [default: the model's, else {threshold}]"),
    ] = None
    neg_threshold: Annotated[
        float | None,
        score_option(
            "--neg-threshold",
            "It ends below this score. [default: threshold - 0.15, at least 0.01; of a softmax at least 0.5]",
        ),
    ] = None
    min_speech: Annotated[
        float | None, seconds_option("--min-speech", "Drop shorter segments. [default: {min_speech_seconds}]")
    ] = None
    min_silence: Annotated[
        float | None, seconds_option("--min-silence", "Bridge shorter gaps. [default: {min_silence_seconds}]")
    ] = None
    pad: Annotated[float | None, seconds_option("--pad", "Widen segments on both sides. [default: {pad_seconds}]")] = (
        None
    )
    max_speech: Annotated[
        float | None, seconds_option("--max-speech", "Cut longer segments. [default: {max_speech_seconds}]")
    ] = None


@dataclass(frozen=True)
class InputOptions:
    """Which recordings, and what of them."""

    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from",
            metavar="FILE|-",
            help="Read names of recordings from a file, one a line.",
            rich_help_panel=INPUT,
        ),
    ] = None
    null: Annotated[
        bool,
        typer.Option("--null", "-0", help="Names in --files-from end with a zero byte.", rich_help_panel=INPUT),
    ] = False
    glob: Annotated[
        list[str] | None,
        typer.Option(
            "--glob",
            metavar="PATTERN",
            help="Files of a folder that fit it, not those that end as audio does: '*.flac'. May be repeated.",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Only the I-th of N parts of the list; all parts together are the whole list.",
            rich_help_panel=INPUT,
        ),
    ] = None
    channel: Annotated[
        str,
        typer.Option(
            "--channel",
            metavar="mix|each|N",
            help="mix: the mean of all; each: one by one; or a number, from 0.",
            rich_help_panel=INPUT,
        ),
    ] = "mix"
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad file.", rich_help_panel=INPUT)] = False


@dataclass(frozen=True)
class RawOptions:
    """What samples without a header are; they can be on standard input or in files."""

    raw: Annotated[
        str | None,
        typer.Option(
            "--raw",
            metavar="FORMAT",
            help="Samples have no header: s8, u8, s16le, s24le, s32le, f32le, f64le, these with be, mulaw or alaw.",
            rich_help_panel=INPUT,
        ),
    ] = None
    rate: Annotated[
        int | None,
        typer.Option("--rate", metavar="HERTZ", help="Raw samples a second.", rich_help_panel=INPUT),
    ] = None
    channels: Annotated[
        int | None,
        typer.Option(
            "--channels", metavar="N", help="Channels of raw samples. [default: {raw_channels}]", rich_help_panel=INPUT
        ),
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """Where the data goes."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to a file, which has its name when all is done. Its suffix picks the format.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    force: Force = False


@dataclass(frozen=True)
class ManyOutputs(OutputOptions):
    """Where the data goes: into one output, or into one for each recording."""

    output_dir: Annotated[
        str | None,
        typer.Option(
            "--output-dir",
            metavar="FOLDER",
            help="Write a file for each recording into this folder, with the same subfolders.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing", help="Leave out recordings whose output is there already.", rich_help_panel=OUTPUT
        ),
    ] = False


@dataclass(frozen=True)
class Talk:
    """How much is said on stderr. Every command has these; `commands.py` applies them to the terminal."""

    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.", rich_help_panel=RUNNING)] = (
        False
    )
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="More on stderr; tracebacks of bugs.", rich_help_panel=RUNNING)
    ] = False
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="No progress bar on a terminal.", rich_help_panel=RUNNING)
    ] = False
