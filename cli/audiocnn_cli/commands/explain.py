"""`audiocnn explain`: the times and frequency bands that led to a score, as a picture and as rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError, printable, show_name
from audiocnn.labels.formats import jsonl
from audiocnn.units import round_seconds
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
    ReportFormat,
    TableFormat,
    flag,
    option,
    time_option,
)
from audiocnn_cli.app.progress import Bar
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.batch import batch_status
from audiocnn_cli.io.inputs import only_recording

if TYPE_CHECKING:
    from audiocnn.inspection.explain import Explanation
    from audiocnn.inspection.occlusion import Patch
    from audiocnn.inspection.settings import ExplainSettings

_WHAT = "What"
_how = partial(option, panel="How")
_FILL_TEXT = {"background": "the background", "mean": "the mean of each band", "silence": "silence"}
_DIGITS = 4
Channel = Annotated[
    str,
    typer.Option(
        "--channel",
        metavar="mix|N",
        help="mix: the mean of all channels; or a channel number, from 0.",
        rich_help_panel=INPUT,
    ),
    BASIC,
]


class Fill(StrEnum):
    """The level to which a patch is attenuated."""

    background = "background"
    mean = "mean"
    silence = "silence"


@dataclass(frozen=True)
class ExplainOptions:
    """What is explained, and how. None: the default of `ExplainSettings`."""

    label: Annotated[
        str | None,
        option("--label", "LABEL", "Label to explain. [default: the label with the highest score there]", _WHAT),
        BASIC,
    ] = None
    at: Annotated[
        float | None,
        time_option(
            "--at",
            text="Explain the score at this time. "
            "[default: that of the clip; for models that find segments, the highest]",
            panel=_WHAT,
        ),
        BASIC,
    ] = None
    whole: Annotated[
        bool, flag("--whole", "Explain the score of the whole recording, of at most 60 s.", _WHAT), BASIC
    ] = False
    group: Annotated[
        str | None, option("--group", "NAME", "Also show the feature maps of this group.", _WHAT), BASIC
    ] = None
    maps: Annotated[
        int | None, _how("--maps", "N", "Number of feature maps, the strongest first. [default: {maps}]", least=1)
    ] = None
    top: Annotated[int | None, _how("--top", "N", "Number of patches to list. [default: {top}]", least=1), BASIC] = None
    patch_seconds: Annotated[
        float | None, _how("--patch-seconds", "SECONDS", "Length of a patch. [default: a sixteenth of the window]")
    ] = None
    patch_bands: Annotated[
        int | None, _how("--patch-bands", "N", "Height of a patch in bands. [default: an eighth of all]", least=1)
    ] = None
    fill: Annotated[
        Fill | None,
        _how(
            "--fill",
            "LEVEL",
            "Value that patches are replaced with: background, mean or silence. [default: {fill}]",
        ),
    ] = None
    points: Annotated[
        int | None,
        _how(
            "--gradient-points",
            "N",
            "Number of points of the integrated gradients; 1: the plain gradient. [default: {points}]",
            least=1,
        ),
    ] = None

    def settings(self) -> ExplainSettings:
        from audiocnn.inspection.settings import ExplainSettings

        given = {name: value for name, value in vars(self).items() if value is not None and name != "at"}
        if self.fill is not None:
            given["fill"] = self.fill.value
        return ExplainSettings(at_seconds=self.at, **given)


@dataclass(frozen=True)
class PictureOptions:
    output: Annotated[
        str | None, option("--output", "FILE", "Picture to write: .png, .svg or .pdf.", OUTPUT, short="-o"), BASIC
    ] = None
    force: Force = False

    def path(self) -> Path | None:
        """The path, checked before any work; None if no picture is wanted."""
        from audiocnn.report.figure import check_picture

        if self.output is None:
            return None
        check_picture(Path(self.output), self.force)
        return Path(self.output)


def explain(
    terminal: Terminal,
    file: OneRecording,
    model: ModelName = None,
    output: PictureOptions = PictureOptions(),
    options: ExplainOptions = ExplainOptions(),
    channel: Channel = "mix",
    track: AudioTrack = None,
    device: Device = "auto",
    format: TableFormat = ReportFormat.auto,
) -> ExitStatus:
    """Patches of the spectrogram are attenuated one after the other; how much the score falls is the contribution of
    the patch (occlusion). Integrated gradients give the same at a finer resolution. The picture shows both over the
    spectrogram: red supports the label, blue contradicts it. The numbers are written to standard output.

    \b
    audiocnn explain interview.wav -o picture.png
    audiocnn explain interview.wav --at 12.5 --group B -m speech_2d -o picture.png
    """
    from audiocnn.model.model import DEFAULT_MODEL, find_model

    picture = output.path()
    one, rows = only_recording(file, terminal), _read_channel(channel)
    chosen = find_model(model or DEFAULT_MODEL)
    from audiocnn.inference.engine import load_engine
    from audiocnn.inspection.explain import explain_recording
    from audiocnn.report.explain_picture import draw_explanation

    engine = load_engine(chosen, device)
    with Bar(terminal, "") as bar:
        found = explain_recording(one.opened, engine, options.settings(), rows, _BarOfSteps(bar), track)
    if picture is not None:
        draw_explanation(found, picture)
    write_explanation(found, picture, terminal, terminal.wants_table(format))
    for remark in found.remarks:
        terminal.note(remark)
    if found.note:
        terminal.error(f"{found.note}; copy it again", kind="warning")
    return batch_status(1, 1 if found.note else 0)


class _BarOfSteps:
    """Updates the bar, which starts again for each kind of work."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar

    def __call__(self, what: str, done: float, total: float | None) -> None:
        if self.bar.what != what:
            self.bar.what = what
            if self.bar.progress is not None:
                self.bar.restart()
        self.bar.update(done, total)


def _read_channel(text: str) -> str | int:
    from audiocnn_cli.io.inputs import read_channel

    if text == "each" or not (text == "mix" or text.isdecimal()):
        raise UsageError(f'--channel cannot be "{text}" here; use mix, or a channel number, from 0')
    return read_channel(text)


def write_explanation(found: Explanation, picture: Path | None, terminal: Terminal, table: bool) -> None:
    if table:
        write_tables(found, picture, terminal)
        return
    rows = [explanation_record(found, picture), *effect_records(found), *map_records(found)]
    terminal.write(jsonl.dump_lines(rows))


def explanation_record(found: Explanation, picture: Path | None) -> jsonl.Record:
    """The record of the score. `start` and `end` belong to the explained rows, which depend on `window`."""
    return {
        **jsonl.record_head("explanation", found.file),
        "model": found.model,
        "label": found.label,
        "score": round(found.score, _DIGITS),
        "log_odds": round(found.log_odds, _DIGITS),
        "clip_score": round(found.clip_score, _DIGITS),
        "start": round_seconds(found.start),
        "end": round_seconds(found.end),
        "window": [round_seconds(seconds) for seconds in found.window],
        "fill": found.settings.fill,
        "score_of_fill": round(found.quiet_score, _DIGITS),
        "patch_seconds": round_seconds(found.occlusion.patch_seconds),
        "patch_bands": found.occlusion.patch_bands,
        "picture": None if picture is None else str(picture),
    }


def _patches_by_kind(found: Explanation) -> dict[str, tuple[Patch, ...]]:
    occlusion = found.occlusion
    return {"patch": occlusion.patches, "stretch": occlusion.stretches, "band": occlusion.bands}


def effect_records(found: Explanation) -> Iterator[jsonl.Record]:
    """A record for each patch, stretch and band, the strongest of each kind first."""
    for kind, patches in _patches_by_kind(found).items():
        for rank, patch in enumerate(patches, 1):
            row = jsonl.record_head(kind, found.file) | {"rank": rank}
            if patch.start is not None and patch.end is not None:
                row |= {"start": round_seconds(patch.start), "end": round_seconds(patch.end)}
            if patch.low_hertz is not None and patch.high_hertz is not None:
                row |= {"low_hertz": round(patch.low_hertz, 1), "high_hertz": round(patch.high_hertz, 1)}
            yield row | {"effect": round(patch.effect, _DIGITS), "score_without": round(patch.without, _DIGITS)}


def map_records(found: Explanation) -> Iterator[jsonl.Record]:
    if found.maps is None:
        return
    pairs = zip(found.maps.numbers, found.maps.strengths, strict=True)
    for rank, (number, strength) in enumerate(pairs, 1):
        row = jsonl.record_head("map", found.file) | {"rank": rank, "group": found.maps.group, "map": number}
        yield row | {"mean_activation": round(strength, _DIGITS)}


def write_tables(found: Explanation, picture: Path | None, terminal: Terminal) -> None:
    from rich.text import Text

    table = terminal.new_table()
    table.add_column("without", no_wrap=True)
    for title in ("time", "band", "effect", "score"):
        table.add_column(title, justify="right", no_wrap=True)
    for kind, patches in _patches_by_kind(found).items():
        table.add_section()
        for rank, patch in enumerate(patches, 1):
            effect = Text(f"{patch.effect:+.2f}", style="red" if patch.effect > 0 else "blue")
            table.add_row(f"{kind} {rank}", _time_text(patch), _band_text(patch), effect, f"{patch.without:.4f}")
    with terminal.paused():
        terminal.out.print(Text(printable(_headline(found)), style="bold"))
        terminal.out.print(f"{found.quiet_score:.4f} with everything attenuated to {_FILL_TEXT[found.settings.fill]}")
        terminal.out.print()
        if table.row_count:
            terminal.out.print(table)
        else:
            terminal.out.print("no patch, stretch or band changes the score")
        if found.maps is not None:
            strongest = ", ".join(str(number) for number in found.maps.numbers)
            terminal.out.print(f"\nstrongest maps of group {found.maps.group}: {strongest}")
    terminal.say(f"picture: {picture}" if picture is not None else "to draw a picture, give -o FILE.png")


def _headline(found: Explanation) -> str:
    when = f"the mean of {found.start:.2f} to {found.end:.2f} s" if found.whole else f"at {found.middle:.2f} s"
    if abs(found.clip_score - found.score) >= 0.5 * 10**-_DIGITS:
        when += f" ({found.clip_score:.4f} for the whole recording, as in `classify`)"
    window = "" if found.whole else f", window {found.window[0]:.2f} to {found.window[1]:.2f} s"
    return f"{show_name(found.file)}: {found.label} {found.score:.4f} {when}, by {found.model}{window}"


def _time_text(patch: Patch) -> str:
    return "all" if patch.start is None else f"{patch.start:.2f}-{patch.end:.2f} s"


def _band_text(patch: Patch) -> str:
    return "all" if patch.low_hertz is None else f"{patch.low_hertz:.0f}-{patch.high_hertz:.0f} Hz"
