"""`audiocnn explain`: which stretch of time and which band of a recording moved the score, as a picture and as rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError
from audiocnn_cli.exits import ExitStatus, of_batch
from audiocnn_cli.options import (
    INPUT,
    OUTPUT,
    RUNNING,
    Force,
    InputOptions,
    ModelName,
    ReportFormat,
    Table,
)
from audiocnn_cli.progress import Bar
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.inspection.explaining import ExplainSettings
    from audiocnn_cli.inputs import Input

WHAT, HOW = "What", "How"

File = Annotated[str, typer.Argument(metavar="FILE", help="A recording, or - for audio on standard input.")]


class Fill(StrEnum):
    """What a patch is turned down to."""

    background = "background"
    mean = "mean"
    silence = "silence"


def how(name: str, metavar: str, text: str, least: int | None = None) -> object:
    """An option of how it is done, whose default the library has."""
    return typer.Option(name, metavar=metavar, help=text, min=least, show_default=False, rich_help_panel=HOW)


@dataclass(frozen=True)
class Asked:
    """What is explained, and how. None leaves it to `ExplainSettings`."""

    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            metavar="LABEL",
            help="Whose score. [default: the label with the highest score there]",
            rich_help_panel=WHAT,
        ),
    ] = None
    at: Annotated[
        float | None,
        typer.Option(
            "--at",
            metavar="SECONDS",
            help="The score at this time. [default: the highest; in a recording of at most two windows, the mean]",
            rich_help_panel=WHAT,
        ),
    ] = None
    whole: Annotated[
        bool,
        typer.Option("--whole", help="The mean of all scores, of a recording of at most 60 s.", rich_help_panel=WHAT),
    ] = False
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="NAME", help="Show the maps of this group, too.", rich_help_panel=WHAT),
    ] = None
    maps: Annotated[int | None, how("--maps", "N", "So many maps, the strongest. [default: 16]", 1)] = None
    top: Annotated[int | None, how("--top", "N", "Name so many patches. [default: 5]", 1)] = None
    patch_seconds: Annotated[
        float | None, how("--patch-seconds", "SECONDS", "How long a patch is. [default: a 16th of the window]")
    ] = None
    patch_bands: Annotated[
        int | None, how("--patch-bands", "N", "How many bands a patch has. [default: an 8th of them]", 1)
    ] = None
    fill: Annotated[
        Fill | None,
        how("--fill", "LEVEL", "Turn patches down to background, mean or silence. [default: background]"),
    ] = None
    points: Annotated[
        int | None,
        how("--gradient-points", "N", "Take slopes at so many points; 1: at the sound itself. [default: 16]", 1),
    ] = None

    def settings(self) -> ExplainSettings:
        """What was given, over the defaults of the library."""
        from audiocnn.inspection.explaining import ExplainSettings

        given = {name: value for name, value in vars(self).items() if value is not None and name != "at"}
        if self.fill is not None:
            given["fill"] = self.fill.value
        return ExplainSettings(at_seconds=self.at, **given)


@dataclass(frozen=True)
class Drawing:
    """Where the picture goes."""

    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="The picture: .png, .svg or .pdf.", rich_help_panel=OUTPUT),
    ] = None
    force: Force = False

    def path(self) -> Path | None:
        """The picture's path, checked; None where none was asked for."""
        from audiocnn.pictures import check_picture

        if self.output is None:
            return None
        check_picture(Path(self.output), self.force)
        return Path(self.output)


@dataclass(frozen=True)
class Reading:
    """How the recording is read, and where the network runs."""

    channel: Annotated[
        str,
        typer.Option("--channel", metavar="mix|N", help="mix: the mean of all; or one, from 0.", rich_help_panel=INPUT),
    ] = "mix"
    device: Annotated[
        str,
        typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=RUNNING),
    ] = "auto"


def explain(
    terminal: Terminal,
    file: File,
    model: ModelName = None,
    drawing: Drawing = Drawing(),
    asked: Asked = Asked(),
    reading: Reading = Reading(),
    format: Table = ReportFormat.auto,
) -> ExitStatus:
    """Patches of time and band are turned down one after the other, and the fall of the score is what they did for it;
    slopes say it cell by cell. The picture lays both over the spectrogram: red speaks for the label, blue against it.
    The rows on stdout have the numbers, those of the patches as in the picture.

    \b
    audiocnn explain interview.wav -o picture.png
    audiocnn explain interview.wav --at 12.5 --group B -m speech_2d -o picture.png
    """
    from audiocnn.model import DEFAULT_MODEL, find_model

    picture = drawing.path()
    one, channel = only_recording(file, terminal), read_one_channel(reading.channel)
    chosen = find_model(model or DEFAULT_MODEL)
    from audiocnn.engine import load_engine
    from audiocnn.inspection.explain_picture import draw_explanation
    from audiocnn.inspection.explaining import explain_recording
    from audiocnn_cli.explanations import write_explanation

    engine = load_engine(chosen, reading.device)
    with Bar(terminal, "") as bar:
        found = explain_recording(one.opened, engine, asked.settings(), channel, Watch(bar))
    if picture is not None:
        draw_explanation(found, picture)
    write_explanation(found, picture, terminal, terminal.wants_table(format))
    if found.note:
        terminal.error(f"{found.note}; copy it again", kind="warning")
    return of_batch(1, 1 if found.note else 0)


class Watch:
    """Moves the bar, from the start for each kind of work."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar

    def __call__(self, what: str, done: float, total: float | None) -> None:
        if self.bar.what != what:
            self.bar.what = what
            if self.bar.progress is not None:
                self.bar.restart()
        self.bar.update(done, total)


def only_recording(file: str, terminal: Terminal) -> Input:
    """The one recording that a name stands for."""
    from itertools import islice

    from audiocnn_cli.inputs import find_inputs

    known = list(islice(find_inputs([file], InputOptions(), terminal), 2))
    if len(known) != 1:
        raise UsageError(f"{file}: holds several recordings; name one of them")
    return known[0]


def read_one_channel(text: str) -> str | int:
    """mix, or a number from 0."""
    from audiocnn_cli.inputs import read_channel

    if text == "each" or not (text == "mix" or text.isdecimal()):
        raise UsageError(f'--channel cannot be "{text}" here; use mix, or a number from 0')
    return read_channel(text)
