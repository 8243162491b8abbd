"""`audiocnn plot`: waveform, spectrogram, scores and segments as a picture, or as a page that plays."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from audiocnn.errors import UsageError
from audiocnn_cli.exits import ExitStatus, of_batch
from audiocnn_cli.options import INPUT, OUTPUT, Device, Force, ModelName, SegmentOptions
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.detection import DetectSettings
    from audiocnn.engine import Engine
    from audiocnn.inspection.plotting import Plotted, Stretch

PAGES = (".html", ".htm")
COPY_BYTES = 1 << 20
File = Annotated[str, typer.Argument(metavar="FILE", help="A recording, or - for audio on standard input.")]


@dataclass(frozen=True)
class Target:
    """Where the picture goes."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A page that plays (.html), or a picture (.png, .svg, .pdf).",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    force: Force = False

    def path(self) -> Path:
        """Where to, checked before any work."""
        from audiocnn.pictures import PICTURES, check_picture

        if self.output is None:
            raise UsageError("-o is missing: name a page that plays, as in -o plot.html, or a picture, -o plot.png")
        path = Path(self.output)
        check_picture(path, self.force, (*PAGES[:1], *PICTURES, *PAGES[1:]))
        return path


@dataclass(frozen=True)
class Drawn:
    """What of the recording is drawn."""

    start: Annotated[
        float | None,
        typer.Option("--from", metavar="SECONDS", help="Draw from here on.", rich_help_panel=INPUT),
    ] = None
    end: Annotated[
        float | None, typer.Option("--to", metavar="SECONDS", help="Draw as far as this.", rich_help_panel=INPUT)
    ] = None
    channel: Annotated[
        str,
        typer.Option(
            "--channel",
            metavar="mix|each|N",
            help="mix: the mean of all; each: one below the other; or a number, from 0.",
            rich_help_panel=INPUT,
        ),
    ] = "mix"
    sound: Annotated[
        bool, typer.Option("--sound/--no-sound", help="Carry the sound in the page.", rich_help_panel=OUTPUT)
    ] = True

    def stretch(self) -> Stretch:
        """As the library has it, checked."""
        from audiocnn.inspection.plotting import Stretch

        stretch = Stretch(self.start, self.end)
        stretch.check()
        return stretch


def plot(
    terminal: Terminal,
    file: File,
    target: Target = Target(),
    model: ModelName = None,
    drawn: Drawn = Drawn(),
    rule: SegmentOptions = SegmentOptions(),  # noqa: B008 - frozen
    device: Device = "auto",
) -> ExitStatus:
    """The page is one file that needs no network: click a segment to hear it, or anywhere to play on from there; zoom,
    change the speed, step from segment to segment. Scores and segments are those of `detect` on the whole recording.

    \b
    audiocnn plot interview.wav -o interview.html
    audiocnn plot interview.wav -o interview.png --from 60 --to 90 -m speech_2d
    """
    path, stretch = target.path(), drawn.stretch()
    from audiocnn.inspection.plotting import plot_recording
    from audiocnn.model import DEFAULT_MODEL, find_model
    from audiocnn_cli.detect import detect_settings
    from audiocnn_cli.explain import only_recording
    from audiocnn_cli.inputs import read_channel
    from audiocnn_cli.progress import Bar

    settings = detect_settings(rule, read_channel(drawn.channel))
    one = only_recording(file, terminal)
    chosen = find_model(model or DEFAULT_MODEL)
    settings.rules(chosen)
    from audiocnn.engine import load_engine

    engine: Engine = load_engine(chosen, device)
    with twice(one.opened) as opened, Bar(terminal, "listening") as bar:
        plotted = plot_recording(opened, engine, settings, stretch, bar.update, one.name)
        bar.what = "drawing"
        notes = write(plotted, path, opened, settings, drawn.sound)
    say(plotted, path, terminal, notes)
    return of_batch(1, 1 if plotted.detection.note else 0)


def write(plotted: Plotted, path: Path, opened: Path, settings: DetectSettings, with_sound: bool) -> list[str]:
    """The page or the picture. Returns what a person should know about it."""
    notes = []
    if plotted.more_tracks:
        notes.append(f"{plotted.more_tracks} more channels are not drawn; choose one with --channel")
    if path.suffix.lower() not in PAGES:
        from audiocnn.inspection.plot_picture import draw_plot

        draw_plot(plotted, path)
        return notes
    from audiocnn.inspection.plot_page import to_page
    from audiocnn.inspection.plot_sound import sound_of, why_none
    from audiocnn.pictures import save_bytes

    sound = sound_of(opened, plotted, settings.channel) if with_sound else None
    silent = why_none(plotted) if with_sound and sound is None else ""
    save_bytes(path, to_page(plotted, sound, silent).encode("utf-8", "replace"))
    return [*notes, silent] if silent else notes


def say(plotted: Plotted, path: Path, terminal: Terminal, notes: list[str]) -> None:
    """A line for a person, a record for a program; warnings on stderr."""
    from audiocnn.filenames import show_name

    for note in notes:
        terminal.say(f"audiocnn: {show_name(plotted.detection.file)}: {note}")
    if plotted.detection.note:
        terminal.error(f"{plotted.detection.note}; copy it again", kind="warning")
    if terminal.shows_tables:
        from audiocnn_cli.findings import plural

        terminal.write(f"{show_name(path)}: {plural(plotted.segments, 'segment')} by {plotted.detection.model}\n")
        return
    from audiocnn.formats import jsonl

    terminal.write(jsonl.dumps(plot_record(plotted, path)) + "\n")


def plot_record(plotted: Plotted, path: Path) -> dict[str, Any]:
    """What was drawn, and where it is."""
    from audiocnn.formats import jsonl
    from audiocnn.units import round_seconds

    found = plotted.detection
    named = {key: value for key, value in jsonl.error_record(found.file, "").items() if key.startswith("file")}
    return {
        "schema": jsonl.SCHEMA,
        "type": "plot",
        **named,
        "picture": str(path),
        "model": found.model,
        "start": round_seconds(plotted.start),
        "end": round_seconds(plotted.end),
        "duration": round_seconds(found.duration_seconds),
        "segments": plotted.segments,
    }


@contextmanager
def twice(opened: Path | BinaryIO) -> Iterator[Path]:
    """A file that can be read twice, to look and to listen: of a stream a copy in a temporary file."""
    if isinstance(opened, Path) and (opened.is_file() or opened.is_dir() or not opened.exists()):
        yield opened
        return
    source = opened.open("rb") if isinstance(opened, Path) else opened
    with tempfile.NamedTemporaryFile(prefix="audiocnn-") as copy:
        try:
            shutil.copyfileobj(source, copy, COPY_BYTES)
        finally:
            if source is not opened:
                source.close()
        copy.flush()
        yield Path(copy.name)
