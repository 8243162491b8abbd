"""The table of `describe`: a row a layer, then what it all comes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from audiocnn.describing import Description, Row
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from rich.padding import Padding
    from rich.table import Table

TITLES = ("layer", "output", "padding", "weights", "mult-adds", "hears", "hop")
LEAST_NEEDED = ("hop", "padding", "mult-adds", "hears")  # left out in this order where the terminal is too narrow
LEAST_WIDTH = 26  # what the text of a layer is folded to before anything is left out
GAP = 2  # between columns


def write_layers(found: Description, terminal: Terminal) -> None:
    """Draw a description."""
    from rich.text import Text

    console = terminal.out
    widths = widths_of(found)
    titles = [title for title in TITLES if title != "padding" or any(map(any_padding, found.rows))]
    for title in LEAST_NEEDED:
        if console.width - space(widths, titles) < min(LEAST_WIDTH, widths["layer"]):
            titles = [kept for kept in titles if kept != title]
    room = max(LEAST_WIDTH, console.width - space(widths, titles))
    with terminal.paused():
        console.print(Text(printable(found.name), style="bold").append(about(found), style="not bold"), soft_wrap=True)
        console.print(layers_table(found, titles, terminal, room))
        console.print()
        console.print(facts_table(facts(found)))


def widths_of(found: Description) -> dict[str, int]:
    """The widest cell of each column, by its title; that of the groups by ""."""
    widths = {title: len(title) for title in TITLES} | {"": max(len(row.group) for row in found.rows)}
    for row in found.rows:
        widths["layer"] = max(widths["layer"], 2 * row.depth + len(row.text))
        for title, cell in cells_of(row, in_seconds=found.geometry is not None).items():
            widths[title] = max(widths[title], len(cell))
    return widths


def space(widths: Mapping[str, int], titles: Iterable[str]) -> int:
    """What these columns and that of the groups take, but for the text of layers, which is folded to what is left."""
    return widths[""] + sum(GAP + (0 if title == "layer" else widths[title]) for title in titles)


def empty_table(terminal: Terminal) -> Table:
    """A table as all of `describe` looks."""
    from rich import box
    from rich.table import Table

    edges = box.SIMPLE_HEAD if terminal.unicode else box.ASCII
    return Table(box=edges, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)


def layers_table(found: Description, titles: Sequence[str], terminal: Terminal, width: int) -> Table:
    """The layers with these columns."""
    from rich.text import Text

    table = empty_table(terminal)
    table.add_column("")
    for title in titles:
        left = title == "layer"
        table.add_column(title, justify="left" if left else "right", overflow="fold", max_width=width if left else None)
    group = ""
    for row in found.rows:
        if row.group != group and group:
            table.add_section()
        cells = cells_of(row, in_seconds=found.geometry is not None)
        head = Text(row.group if row.group != group else "", style="bold")
        table.add_row(head, *[indented(row) if title == "layer" else Text(cells[title]) for title in titles])
        group = row.group
    return table


def indented(row: Row) -> Padding:
    """The text of a layer, as deep as it lies inside others, also where it is folded."""
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text(row.text, style="" if row.output else "dim"), (0, 0, 0, 2 * row.depth))


def about(found: Description) -> str:
    """The summary behind the name."""
    return f"  {printable(found.summary)}" if found.summary else ""


def any_padding(row: Row) -> bool:
    """Whether a row has anything in the column `padding`."""
    return any(any(pad) for pad in row.padding)


def cells_of(row: Row, in_seconds: bool) -> dict[str, str]:
    """The cells of a row by their titles; a row that only names a branch has none."""
    cells = dict.fromkeys(TITLES, "")
    if row.output is None:
        return cells
    cells["output"] = str(row.output)
    cells["weights"] = f"{row.parameters:,}" if row.parameters else "-"
    cells["mult-adds"] = short(row.multiply_adds) if row.multiply_adds else "-"
    if any_padding(row):
        pads = [str(start) if start == end else f"{start}+{end}" for start, end in row.padding]
        cells["padding"] = pads[0] if len(set(pads)) == 1 else "x".join(pads)
    if row.reach is not None:
        cells["hears"] = hears(row, in_seconds)
    if row.hop is not None:
        cells["hop"] = seconds(row.hop) if in_seconds else f"{row.hop:g}"
    return cells


def hears(row: Row, in_seconds: bool) -> str:
    """The receptive field of a row that has one."""
    if not in_seconds:  # of a size, as it was written: frequency, then time
        return f"{row.reach:g}" if row.bands is None else f"{row.bands}x{row.reach:g}"
    text = seconds(row.reach or 0.0)
    if row.hertz is not None:
        return f"{text}, {row.hertz:,.0f} Hz"
    return text if row.bands is None else f"{text}, {bands_of(row.bands)}"


def bands_of(count: int) -> str:
    """So many bands."""
    return f"{count} band" + ("s" if count > 1 else "")


def facts_table(rows: Iterable[tuple[str, str]]) -> Table:
    """Sentences, each behind its word."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for word, sentence in rows:
        grid.add_row(Text(word, style="bold"), Text(sentence))
    return grid


def facts(found: Description) -> list[tuple[str, str]]:
    """What stands below the table."""
    many = f"{found.layers} layer" + ("s" if found.layers != 1 else "")
    lines = [("weights", f"{found.parameters:,} in {many}")]
    lines.append(("mult-adds", f"{short(found.multiply_adds)} a window"))
    geometry = found.geometry
    if geometry is not None:
        lines[-1] = ("mult-adds", f"{lines[-1][1]}, {short(found.multiply_adds_per_second or 0)} a second of sound")
        times = [geometry.window_seconds, geometry.hop_seconds, found.latency_seconds or 0.0]
        window, hop, latency = map(seconds, times)
        lines.append(("window", f"{window}, one score each {hop}, known {latency} after its sound"))
        lines.append(("live", live(found)))
        lines.append(("padding", padding_in_time(found)))
    lines.append(("if dense", if_dense(found)))
    return lines


def live(found: Description) -> str:
    """How long an onset takes to be told."""
    from audiocnn.segments import SegmentRule

    shortest = SegmentRule.min_speech_seconds
    latest = seconds(found.onset_latency_seconds or 0.0)
    return f"detect --follow tells an onset at most {latest} after it, with --min-speech {shortest:g}"


def padding_in_time(found: Description) -> str:
    """Whether a score is that of its own window."""
    geometry = found.geometry
    if geometry is None or geometry.shift_exact:
        return "none in time: each score is exactly that of its own window"
    pads = f"{geometry.pad_start / geometry.sample_rate:.3g} + {geometry.pad_end / geometry.sample_rate:.3g} s"
    return f"{pads} in time: not shift-exact; chunks are read with a window more on both sides"


def if_dense(found: Description) -> str:
    """What the first group costs, and what the dense layer of the same reach would."""
    if found.first_group is None or not found.dense_weights:
        return "it is: with no group of layers, no position shares its weights with another"
    given = "the input's" if found.geometry is None else "the window's"
    unit = "numbers" if found.geometry is None else "samples"
    group, weights, dense = found.first_group, found.first_group_weights, found.dense_weights
    times = f", {short(round(dense / weights))} times as many" if weights else ""
    return (
        f"{group} has {weights:,} weights; a dense layer from {given} {found.dense_inputs:,} {unit} to the"
        f" {found.dense_outputs:,} numbers that {group} gives would have {short(dense)}{times}"
    )


def short(number: int) -> str:
    """Three digits and a unit: 32.0 M."""
    value = float(number)
    for unit in ("", " k", " M", " G", " T"):
        if value < 999.5 or unit == " T":
            return f"{value:.0f}{unit}" if value >= 99.5 or not unit else f"{value:.1f}{unit}"
        value /= 1000
    return str(number)


def seconds(value: float) -> str:
    """Milliseconds where that is shorter."""
    return f"{value * 1000:.3g} ms" if value < 0.1 else f"{value:.3g} s"
