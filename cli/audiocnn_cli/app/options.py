"""Options that several commands share, each declared once: name, help and default.

A command takes groups of options as frozen dataclasses; `command.py` turns their fields into command-line options.
If a command has many options, `--help` shows those marked `BASIC`, and `--help-all` shows all.
Defaults that belong to the library are None here. The help shows them with `{...}`, filled in from the library.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiocnn.errors import UsageError
from audiocnn.labels.formats import FORMATS
from audiocnn.units import parse_clock

if TYPE_CHECKING:
    from audiocnn.inference.detect import DetectSettings
    from audiocnn.model.model import Thresholds

BASIC = "basic"  # in Annotated: `--help` shows the option
SEGMENTS, OUTPUT, INPUT, RUNNING = "Segments", "Output", "Input", "Running"


def option(
    name: str, metavar: str, text: str, panel: str | None = None, short: str | None = None, least: int | None = None
) -> object:
    """An option that is None if not given. If the default is set elsewhere, the help text states it."""
    names = (name,) if short is None else (name, short)
    return typer.Option(*names, metavar=metavar, help=text, min=least, show_default=False, rich_help_panel=panel)


def time_option(*names: str, text: str, panel: str = INPUT) -> object:
    """A moment in a recording, in seconds or as minutes:seconds."""
    return typer.Option(
        *names, metavar="TIME", help=text, parser=_parse_time, show_default=False, rich_help_panel=panel
    )


def _parse_time(text: str) -> float:
    try:
        return parse_clock(text)
    except ValueError:
        raise typer.BadParameter("give seconds or minutes:seconds, such as 90 or 1:30") from None


def flag(name: str, text: str, panel: str | None = None, short: str | None = None) -> object:
    return typer.Option(*((name,) if short is None else (name, short)), help=text, rich_help_panel=panel)


def format_option(text: str) -> object:
    return typer.Option("--format", "-f", metavar="FORMAT", help=text, rich_help_panel=OUTPUT)


def seconds_option(name: str, text: str) -> object:
    """An option of the segment rule. Its default comes from the model or from `SegmentRule`."""
    return option(name, "SECONDS", text, SEGMENTS)


_MODELS = "[default: the model's, else"
_JUDGED_PAD = "Extend segments at both ends; 0.1,0.3: at the start and at the end."
JudgedPad = Annotated[str | None, seconds_option("--pad", f"{_JUDGED_PAD} [default: that of operating points, else 0]")]


def score_option(name: str, text: str) -> object:
    return option(name, "SCORE", text, SEGMENTS)


class DetectFormat(StrEnum):
    """Output formats of `detect`: a table to read, and all annotation formats."""

    auto = "auto"
    table = "table"
    vars().update({name: name for name in FORMATS})


class ClassifyFormat(StrEnum):
    auto = "auto"
    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"


class ScoreFormat(StrEnum):
    auto = "auto"
    csv = "csv"
    tsv = "tsv"
    jsonl = "jsonl"
    npz = "npz"


class ReportFormat(StrEnum):
    auto = "auto"
    table = "table"
    json = "json"


Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE",
        help="Recordings, folders (searched for audio files), or - for audio on standard input.",
        show_default=False,
    ),
]
OneRecording = Annotated[
    str, typer.Argument(metavar="FILE", help="A recording, or - for audio on standard input.", show_default=False)
]
JudgedData = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder of annotated recordings, a table, a dataset, or a recipe; `ingest --help` has all sources.",
        show_default=False,
    ),
]
SplitName = Annotated[
    str | None,
    option("--split", "NAME", "Use only this split of the data. [default: the recipe's, else all; for conditions dev]"),
    BASIC,
]
ModelName = Annotated[
    str | None,
    option("--model", "MODEL", "A name from `audiocnn models`, or a model folder. [default: {model}]", short="-m"),
    BASIC,
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name from `audiocnn models`, or a model folder.")
]
Device = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=RUNNING),
]
Jobs = Annotated[
    int | None,
    option(
        "--jobs",
        "N",
        "Number of chunks scored in parallel, one core each. [default: all cores]",
        RUNNING,
        short="-j",
        least=1,
    ),
]
Ray = Annotated[
    str | None,
    option(
        "--ray",
        "ADDRESS",
        "Run on a Ray cluster: local starts one, auto joins the one of this machine, or HOST:PORT; -o is a folder.",
        RUNNING,
    ),
]
AudioTrack = Annotated[
    int | None,
    option("--track", "N", "Audio track of a video file, from 0. [default: the default track of the file]", INPUT),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the output.", rich_help_panel=OUTPUT)]
TableFormat = Annotated[ReportFormat, format_option("table or json; auto: a table on a terminal, else JSON.")]


@dataclass(frozen=True)
class SegmentRuleOptions:
    """How scores become segments. None: the default of the model or of `SegmentRule`."""

    threshold: Annotated[
        str | None,
        option(
            "--threshold",
            "SCORE",
            f"Score at which a segment begins; or dog=0.6,cat=0.4 for single labels. {_MODELS} {{threshold}}]",
            SEGMENTS,
        ),
        BASIC,
    ] = None
    neg_threshold: Annotated[
        float | None,
        score_option(
            "--neg-threshold",
            f"Score below which a segment ends. {_MODELS} threshold - {{closing_drop}}, at least {{least_closing}}; "
            "for a softmax at least {softmax_closing}]",
        ),
    ] = None
    min_duration: Annotated[
        float | None,
        seconds_option("--min-duration", f"Drop shorter segments. {_MODELS} {{min_speech_seconds}}]"),
        BASIC,
    ] = None
    min_silence: Annotated[
        float | None, seconds_option("--min-silence", f"Bridge shorter gaps. {_MODELS} {{min_silence_seconds}}]")
    ] = None
    pad: Annotated[
        str | None,
        seconds_option(
            "--pad", f"Extend segments at both ends; 0.1,0.3: at the start and at the end. {_MODELS} {{pad_seconds}}]"
        ),
    ] = None
    max_duration: Annotated[
        float | None, seconds_option("--max-duration", "Cut longer segments. [default: {max_speech_seconds}]")
    ] = None


def sensitivity_option(panel: str = SEGMENTS) -> object:
    """An operating point, for models that have them."""
    text = (
        "Operating point of the model: balanced; sensitive misses less, but finds many more segments where there is "
        "no speech; precise has fewer false alarms, but misses more. `audiocnn describe MODEL` lists the figures. "
        "Options below take precedence. [default: balanced]"
    )
    return option("--sensitivity", "NAME", text, panel)


@dataclass(frozen=True)
class _SensitivityOption:
    sensitivity: Annotated[str | None, sensitivity_option(), BASIC] = None


@dataclass(frozen=True)
class SegmentOptions(SegmentRuleOptions, _SensitivityOption):
    """`SegmentRuleOptions` with an operating point of the model. The help lists the bases in reverse order."""


@dataclass(frozen=True)
class InputOptions:
    files_from: Annotated[
        str | None, option("--files-from", "FILE|-", "Read the names of recordings from a file, one per line.", INPUT)
    ] = None
    null: Annotated[
        bool, flag("--null", "Names in --files-from end with a zero byte (find -print0).", INPUT, short="-0")
    ] = False
    glob: Annotated[
        list[str] | None,
        option(
            "--glob",
            "PATTERN",
            "In folders, take the files that match, instead of all audio files: '*.flac'. May be repeated.",
            INPUT,
        ),
    ] = None
    shard: Annotated[
        str | None,
        option("--shard", "I/N", "Process only part I of N of the list, to divide work among machines.", INPUT),
    ] = None
    exclude: Annotated[
        list[str] | None,
        option(
            "--exclude",
            "PATTERN|@FILE",
            "Leave out recordings and subfolders that match the pattern, or a pattern in the file. May be repeated.",
            INPUT,
        ),
    ] = None
    settled: Annotated[
        float | None,
        option(
            "--settled",
            "MINUTES",
            "Leave out files that were changed, renamed or copied here in the last MINUTES: they may not be complete.",
            INPUT,
        ),
    ] = None
    channel: Annotated[
        str,
        typer.Option(
            "--channel",
            metavar="mix|each|N",
            help="mix: the mean of all channels; each: every channel separately; or a channel number, from 0.",
            rich_help_panel=INPUT,
        ),
    ] = "mix"
    start: Annotated[
        float | None, time_option("--start", text="Start at this time in each recording: seconds, or 1:30.")
    ] = None
    end: Annotated[
        float | None, time_option("--end", text="Stop at this time in each recording: seconds, or 1:30.")
    ] = None
    track: AudioTrack = None
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad file.", rich_help_panel=INPUT)] = False


LabelColumnName = Annotated[
    str | None,
    option("--label-column", "NAME", "Column that contains the labels, if a table has several text columns."),
]


LabelMapText = Annotated[
    str | None,
    option("--label-map", "LABEL=NAME", "Rename labels: talk=speech,song=music; *=speech renames all others."),
]


@dataclass(frozen=True)
class LabelOptions:
    """Where to find the labels of recordings, if the data alone does not determine it."""

    label_column: LabelColumnName = None
    labels: Annotated[
        str | None,
        option("--labels", "PATH", "Annotations that are stored elsewhere: one file for all recordings, or a folder."),
    ] = None
    label_map: LabelMapText = None


@dataclass(frozen=True)
class RawOptions:
    """The format of samples without a header, from standard input or files."""

    raw: Annotated[
        str | None,
        option(
            "--raw",
            "FORMAT",
            "Format of samples without a header: s8, u8, s16le, s24le, s32le, f32le, f64le (or be), mulaw or alaw.",
            INPUT,
        ),
    ] = None
    rate: Annotated[int | None, option("--rate", "HERTZ", "Sample rate of raw samples.", INPUT)] = None
    channels: Annotated[
        int | None, option("--channels", "N", "Channels of raw samples. [default: {raw_channels}]", INPUT)
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    output: Annotated[
        str | None,
        option(
            "--output",
            "FILE",
            "Write to this file; it appears when it is complete. Its suffix selects the format.",
            OUTPUT,
            short="-o",
        ),
        BASIC,
    ] = None
    force: Force = False


@dataclass(frozen=True)
class ManyOutputs(OutputOptions):
    """Where results are written: one output for all recordings, or one per recording."""

    output_dir: Annotated[
        str | None,
        option(
            "--output-dir",
            "FOLDER",
            "Write a file for each recording into this folder, with the subfolders below a folder that was given, or "
            "those of a file name as it was given.",
            OUTPUT,
        ),
        BASIC,
    ] = None
    skip_existing: Annotated[bool, flag("--skip-existing", "Skip recordings whose output exists.", OUTPUT)] = False


@dataclass(frozen=True)
class RecordingOutputs(ManyOutputs):
    """`ManyOutputs` for outputs that can be made again from their recordings."""

    update: Annotated[
        bool,
        flag(
            "--update",
            "Like --skip-existing, but redo outputs that are older than their recording; with JSON Lines also those of "
            "damaged recordings, or made with another model or other settings.",
            OUTPUT,
        ),
    ] = False


@dataclass(frozen=True)
class Talk:
    """How much is printed to stderr. Every command has these options; `command.py` applies them to the terminal."""

    quiet: Annotated[bool, flag("--quiet", "Print only errors and warnings to stderr.", RUNNING, short="-q")] = False
    verbose: Annotated[
        bool, flag("--verbose", "Print more to standard error, and tracebacks of bugs.", RUNNING, short="-v")
    ] = False
    no_progress: Annotated[bool, flag("--no-progress", "Show no progress bar.", RUNNING)] = False


def read_thresholds(text: str | None) -> Thresholds:
    """Parse `0.5`, `dog=0.6,cat=0.4`, or `0.5,dog=0.6`, where the bare number applies to all other labels."""
    if text is None:
        return None
    found: dict[str | None, float] = {}
    part = ""
    for piece in text.split(","):
        part = f"{part},{piece}" if part else piece
        label, equals, score = part.rpartition("=")
        key, value = label if equals else None, _number(score)
        if value is None:
            continue  # a label may contain commas
        if key == "" or key in found:
            break
        found[key], part = value, ""
    if part or not found:
        raise UsageError(
            f'--threshold cannot be "{text}"; give one score, as 0.5, or one per label, as dog=0.6,cat=0.4'
        )
    return found[None] if found.keys() == {None} else found


def read_pads(text: str | None) -> dict[str, float]:
    """Parse `0.1`, or `0.1,0.3` for start and end. The keys are fields of `SegmentRule`; empty without the option."""
    if text is None:
        return {}
    pads = [_number(part) for part in text.split(",")]
    if len(pads) > 2 or None in pads:
        raise UsageError(f'--pad cannot be "{text}"; give seconds, as 0.1, or 0.1,0.3 for start and end')
    return {name: pad for name, pad in zip(("pad_seconds", "end_pad_seconds"), pads, strict=False) if pad is not None}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def detect_settings(rule: SegmentRuleOptions, channel: str | int = "mix") -> DetectSettings:
    from audiocnn.inference.detect import DetectSettings

    pads = read_pads(rule.pad)
    return DetectSettings(
        threshold=read_thresholds(rule.threshold),
        neg_threshold=rule.neg_threshold,
        min_speech_seconds=rule.min_duration,
        min_silence_seconds=rule.min_silence,
        **pads,
        max_speech_seconds=rule.max_duration,
        channel=channel,
        sensitivity=rule.sensitivity if isinstance(rule, SegmentOptions) else None,
    )


def flag_of(name: str) -> str:
    """The flag of a field: min_duration -> --min-duration."""
    return {"source": "--from", "goal": "--for"}.get(name, "--" + name.replace("_", "-"))


def option_words(options: Sequence[Any], leave_out: Sequence[str] = ()) -> list[str]:
    """The options that were given, as words of a command line. leave_out: names of fields to omit."""
    words: list[str] = []
    for part in options:
        for field in dataclasses.fields(part):
            value, flag = getattr(part, field.name), flag_of(field.name)
            if field.name in leave_out or value is None or value is False:
                continue
            values = [] if value is True else value if isinstance(value, list) else [value]
            words += [flag] if value is True else [word for one in values for word in (flag, str(one))]
    return words


@dataclass(frozen=True)
class ClusterOptions:
    """The settings from --ray, --jobs and --device. workers None: as many as the cluster has room for."""

    address: str
    workers: int | None
    device: str
