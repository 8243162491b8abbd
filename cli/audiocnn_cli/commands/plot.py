"""`audiocnn plot`: waveform, spectrogram, scores and segments as a picture or an interactive page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from audiocnn.errors import UsageError, show_name
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import (
    BASIC,
    INPUT,
    OUTPUT,
    AudioTrack,
    Device,
    Force,
    ModelName,
    OneRecording,
    SegmentOptions,
    option,
    time_option,
)
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.batch import batch_status

if TYPE_CHECKING:
    from audiocnn.inference.detect import DetectSettings
    from audiocnn.inference.engine import Engine
    from audiocnn.inspection.plot import PlotData, TimeRange

_PAGES = (".html", ".htm")


@dataclass(frozen=True)
class PlotOutput:
    output: Annotated[
        str | None,
        option("--output", "FILE", "An interactive page (.html), or a picture (.png, .svg, .pdf).", OUTPUT, short="-o"),
        BASIC,
    ] = None
    force: Force = False

    def path(self) -> Path:
        """The path, checked before any work."""
        from audiocnn.report.figure import PICTURE_SUFFIXES, check_picture

        if self.output is None:
            raise UsageError("-o is missing; give a page, as in -o plot.html, or a picture, as in -o plot.png")
        path = Path(self.output)
        check_picture(path, self.force, (*_PAGES[:1], *PICTURE_SUFFIXES, *_PAGES[1:]))
        return path


@dataclass(frozen=True)
class PlotOptions:
    start: Annotated[
        float | None,
        time_option("--from", "--start", text="Start of the part to draw: seconds, or 1:30."),
        BASIC,
    ] = None
    end: Annotated[
        float | None,
        time_option("--to", "--end", text="End of the part to draw: seconds, or 1:30."),
        BASIC,
    ] = None
    channel: Annotated[
        str,
        typer.Option(
            "--channel",
            metavar="mix|each|N",
            help="mix: the mean of all channels; each: one below the other; or a channel number, from 0.",
            rich_help_panel=INPUT,
        ),
    ] = "mix"
    track: AudioTrack = None
    sound: Annotated[
        bool, typer.Option("--sound/--no-sound", help="Include the sound in the page.", rich_help_panel=OUTPUT), BASIC
    ] = True

    def time_range(self) -> TimeRange:
        from audiocnn.inspection.plot import TimeRange

        chosen = TimeRange(self.start, self.end)
        chosen.check()
        return chosen


def plot(
    terminal: Terminal,
    file: OneRecording,
    output: PlotOutput = PlotOutput(),
    model: ModelName = None,
    options: PlotOptions = PlotOptions(),
    rule: SegmentOptions = SegmentOptions(),  # noqa: B008 - frozen
    device: Device = "auto",
) -> ExitStatus:
    """The page is a single file that works offline: click a segment to hear it, or anywhere to play from there; zoom,
    change the speed, step from segment to segment. Scores and segments are those of `detect` for the whole recording.

    \b
    audiocnn plot interview.wav -o interview.html
    audiocnn plot interview.wav -o interview.png --from 60 --to 90 -m speech_2d
    """
    path, time_range = output.path(), options.time_range()
    from audiocnn.inspection.plot import plot_recording
    from audiocnn.model.model import DEFAULT_MODEL, find_model
    from audiocnn_cli.app.options import detect_settings
    from audiocnn_cli.app.progress import Bar
    from audiocnn_cli.io.inputs import only_recording, read_channel

    settings = detect_settings(rule, read_channel(options.channel))
    one = only_recording(file, terminal)
    chosen = find_model(model or DEFAULT_MODEL)
    settings.rules(chosen)
    from audiocnn.inference.engine import load_engine

    engine: Engine = load_engine(chosen, device)
    with _seekable_file(one.opened) as opened, Bar(terminal, "scoring") as bar:
        plotted = plot_recording(opened, engine, settings, time_range, bar.update, one.name, options.track)
        bar.what = "drawing"
        notes = write_plot(plotted, path, opened, settings, options.sound)
    report_plot(plotted, path, terminal, notes)
    return batch_status(1, 1 if plotted.detection.note else 0)


def write_plot(plotted: PlotData, path: Path, opened: Path, settings: DetectSettings, with_sound: bool) -> list[str]:
    """Write the page or the picture, and return notes to print."""
    notes = []
    if plotted.more_tracks:
        notes.append(f"{plotted.more_tracks} more channels are not drawn; select one with --channel")
    if path.suffix.lower() not in _PAGES:
        from audiocnn.report.plot_picture import draw_plot

        draw_plot(plotted, path)
        return notes
    from audiocnn.report.figure import save_bytes
    from audiocnn.report.plot_page import render_plot
    from audiocnn.report.sound import explain_silence, read_page_sound

    sound = read_page_sound(opened, plotted, settings.channel) if with_sound else None
    silent = explain_silence(plotted) if with_sound and sound is None else ""
    save_bytes(path, render_plot(plotted, sound, silent).encode("utf-8", "replace"))
    return [*notes, silent] if silent else notes


def report_plot(plotted: PlotData, path: Path, terminal: Terminal, notes: list[str]) -> None:
    from audiocnn.errors import show_name

    for note in notes:
        terminal.say(f"audiocnn: {show_name(plotted.detection.file)}: {note}")
    for remark in plotted.detection.remarks:
        terminal.note(remark)
    if plotted.detection.note:
        terminal.error(f"{plotted.detection.note}; copy it again", kind="warning")
    if terminal.shows_tables:
        from audiocnn.units import plural

        terminal.write(f"{show_name(path)}: {plural(plotted.segments, 'segment')} by {plotted.detection.model}\n")
        return
    from audiocnn.labels.formats import jsonl

    terminal.write(jsonl.dump_lines([plot_record(plotted, path)]))


def plot_record(plotted: PlotData, path: Path) -> dict[str, Any]:
    from audiocnn.labels.formats import jsonl
    from audiocnn.units import round_seconds

    found = plotted.detection
    return {
        **jsonl.record_head("plot", found.file),
        "picture": str(path),
        "model": found.model,
        "start": round_seconds(plotted.start),
        "end": round_seconds(plotted.end),
        "duration": round_seconds(found.duration_seconds),
        "segments": plotted.segments,
    }


@contextmanager
def _seekable_file(opened: Path | BinaryIO) -> Iterator[Path]:
    """A file that can be read twice, for the picture and for the sound. A stream is copied to a temporary file."""
    if isinstance(opened, Path) and (opened.is_file() or opened.is_dir() or not opened.exists()):
        yield opened
        return
    from audiocnn_cli.io.inputs import keep_stream

    copy, path = keep_stream(opened, show_name(opened if isinstance(opened, Path) else opened.name))
    with copy:
        yield path
