"""What `explain` writes to stdout: the score, and the patches, stretches and bands that moved it most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.filenames import show_name
from audiocnn.formats import jsonl
from audiocnn.units import round_seconds
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from audiocnn.inspection.explaining import Explanation
    from audiocnn.inspection.occlusion import Patch

Record = dict[str, Any]
TITLES = {
    "patch": "patches, as numbered in the picture",
    "stretch": "stretches, all bands",
    "band": "bands, all the time",
}
LEVELS = {"background": "the background", "mean": "the mean of each band", "silence": "silence"}
DIGITS = 4


def write_explanation(found: Explanation, picture: Path | None, terminal: Terminal, table: bool) -> None:
    """A table for a person, JSON Lines for a program."""
    if table:
        write_tables(found, picture, terminal)
        return
    rows = [explanation_record(found, picture), *effect_records(found), *map_records(found)]
    terminal.write("".join(jsonl.dumps(row) + "\n" for row in rows))


def head(found: Explanation, kind: str) -> Record:
    """What every record begins with."""
    named = jsonl.error_record(found.file, "")
    return {"schema": jsonl.SCHEMA, "type": kind} | {k: v for k, v in named.items() if k.startswith("file")}


def explanation_record(found: Explanation, picture: Path | None) -> Record:
    """What was explained. `start` and `end` are of the rows, `window` is what they depend on."""
    return {
        **head(found, "explanation"),
        "model": found.model,
        "label": found.label,
        "score": round(found.score, DIGITS),
        "log_odds": round(found.log_odds, DIGITS),
        "start": round_seconds(found.start),
        "end": round_seconds(found.end),
        "window": [round_seconds(seconds) for seconds in found.window],
        "fill": found.settings.fill,
        "score_of_fill": round(found.quiet_score, DIGITS),
        "patch_seconds": round_seconds(found.occlusion.patch_seconds),
        "patch_bands": found.occlusion.patch_bands,
        "picture": None if picture is None else str(picture),
    }


def kinds_of(found: Explanation) -> dict[str, tuple[Patch, ...]]:
    """Patches, stretches, bands."""
    occlusion = found.occlusion
    return {"patch": occlusion.patches, "stretch": occlusion.stretches, "band": occlusion.bands}


def effect_records(found: Explanation) -> Iterator[Record]:
    """A record for each patch, stretch and band, the strongest of each kind first."""
    for kind, patches in kinds_of(found).items():
        for rank, patch in enumerate(patches, 1):
            row = head(found, kind) | {"rank": rank}
            if patch.start is not None and patch.end is not None:
                row |= {"start": round_seconds(patch.start), "end": round_seconds(patch.end)}
            if patch.low_hertz is not None and patch.high_hertz is not None:
                row |= {"low_hertz": round(patch.low_hertz, 1), "high_hertz": round(patch.high_hertz, 1)}
            yield row | {"effect": round(patch.effect, DIGITS), "score_without": round(patch.without, DIGITS)}


def map_records(found: Explanation) -> Iterator[Record]:
    """A record for each map that is shown."""
    if found.maps is None:
        return
    pairs = zip(found.maps.numbers, found.maps.strengths, strict=True)
    for rank, (number, strength) in enumerate(pairs, 1):
        row = head(found, "map") | {"rank": rank, "group": found.maps.group, "map": number}
        yield row | {"mean_activation": round(strength, DIGITS)}


def write_tables(found: Explanation, picture: Path | None, terminal: Terminal) -> None:
    """The score, then a table with a part for each kind."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if terminal.unicode else box.ASCII, pad_edge=False, show_edge=False)
    table.add_column("without", no_wrap=True)
    for title in ("time", "band", "effect", "score"):
        table.add_column(title, justify="right", no_wrap=True)
    for kind, patches in kinds_of(found).items():
        table.add_section()
        for rank, patch in enumerate(patches, 1):
            effect = Text(f"{patch.effect:+.2f}", style="red" if patch.effect > 0 else "blue")
            table.add_row(f"{kind} {rank}", times(patch), band(patch), effect, f"{patch.without:.4f}")
    with terminal.paused():
        terminal.out.print(Text(printable(sentence(found)), style="bold"), soft_wrap=True)
        terminal.out.print(
            f"{found.quiet_score:.4f} with everything turned down to {LEVELS[found.settings.fill]}", soft_wrap=True
        )
        terminal.out.print()
        if table.row_count:
            terminal.out.print(table)
        else:
            terminal.out.print("no patch, stretch or band moves the score")
        if found.maps is not None:
            strongest = ", ".join(str(number) for number in found.maps.numbers)
            terminal.out.print(f"\nstrongest maps of group {found.maps.group}: {strongest}", soft_wrap=True)
    terminal.say(f"picture: {picture}" if picture is not None else "for a picture, name one with -o FILE.png")


def sentence(found: Explanation) -> str:
    """What was explained."""
    when = f"the mean of its {found.end:.2f} s" if found.whole else f"at {(found.start + found.end) / 2:.2f} s"
    window = "" if found.whole else f", window {found.window[0]:.2f} to {found.window[1]:.2f} s"
    return f"{show_name(found.file)}: {found.label} {found.score:.4f} {when}, by {found.model}{window}"


def times(patch: Patch) -> str:
    """From and to, in seconds."""
    return "all" if patch.start is None else f"{patch.start:.2f}-{patch.end:.2f} s"


def band(patch: Patch) -> str:
    """From and to, in Hz."""
    return "all" if patch.low_hertz is None else f"{patch.low_hertz:.0f}-{patch.high_hertz:.0f} Hz"
