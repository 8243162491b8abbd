"""Two or more networks side by side: what they come to in one table, and their layers group by group in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING

from audiocnn.describing import Description, Row
from audiocnn_cli.layer_table import (
    GAP,
    cells_of,
    empty_table,
    indented,
    seconds,
    short,
    space,
    widths_of,
    write_layers,
)
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

# What each network's layers show beside their text, the most first; what fits is taken.
LAYER_COLUMNS = (
    ("output", "weights", "mult-adds", "hears", "hop"),
    ("output", "weights", "mult-adds", "hears"),
    ("output", "weights", "hears"),
    ("output", "weights"),
)
LEAST_WIDTH = 22  # what the text of a layer is folded to before anything is left out
TOTALS_WIDTH = 30
WIDER_GAP = 2  # an empty column between networks


def write_side_by_side(found: Sequence[Description], terminal: Terminal) -> None:
    """Draw the totals, then the layers; each network by itself where the terminal is too narrow for that."""
    console = terminal.out
    totals, layers = totals_that_fit(found, terminal), layers_that_fit(found, terminal)
    with terminal.paused():
        if totals is not None:
            console.print(totals)
        if layers is not None:
            terminal.write("\n" if totals is not None else "")
            console.print(layers)
    if layers is None:
        for number, one in enumerate(found):
            terminal.write("\n" if number or totals is not None else "")
            write_layers(one, terminal)


# title -> the cell of a network; empty where a size replaces the features
TOTALS: dict[str, Callable[[Description], str]] = {
    "input": lambda found: found.rows[0].text if found.size is None else str(found.size),
    "layers": lambda found: f"{found.layers}",
    "weights": lambda found: f"{found.parameters:,}",
    "if dense": lambda found: (
        f"{short(found.dense_weights)} for {found.first_group}" if found.dense_weights else "it is"
    ),
    "mult-adds a window": lambda found: short(found.multiply_adds),
    "a second of sound": lambda found: short(found.multiply_adds_per_second) if found.multiply_adds_per_second else "",
    "window": lambda found: seconds(found.geometry.window_seconds) if found.geometry else "",
    "one score each": lambda found: seconds(found.geometry.hop_seconds) if found.geometry else "",
    "known after": lambda found: "" if found.latency_seconds is None else seconds(found.latency_seconds),
    "onset after": lambda found: "" if found.onset_latency_seconds is None else seconds(found.onset_latency_seconds),
    "shift-exact": lambda found: ("yes" if found.geometry.shift_exact else "no") if found.geometry else "",
}


def totals_that_fit(found: Sequence[Description], terminal: Terminal) -> Table | None:
    """A column a network; None where there is no room for so many."""
    from rich.text import Text

    names = [printable(one.name) for one in found]
    rows = {title: [cell(one) for one in found] for title, cell in TOTALS.items()}
    first = max(map(len, TOTALS))
    widths = [min(TOTALS_WIDTH, max(map(len, cells))) for cells in zip(names, *rows.values(), strict=True)]
    if first + sum(GAP + width for width in widths) > terminal.out.width:
        return None
    table = empty_table(terminal)
    table.add_column("")
    for name in names:
        table.add_column(Text(name, style="bold"), justify="right", overflow="fold", max_width=TOTALS_WIDTH)
    for title, cells in rows.items():
        if any(cells):
            table.add_row(Text(title, style="bold"), *[Text(text) for text in cells])
    return table


def layers_that_fit(found: Sequence[Description], terminal: Terminal) -> Table | None:
    """The layers with as many columns as there is room for; None where there is not even for the fewest."""
    widths = [widths_of(one) for one in found]
    room = terminal.out.width - (WIDER_GAP + 2 * GAP) * (len(found) - 1)
    for titles in LAYER_COLUMNS:
        width = (room - sum(space(wide, ["layer", *titles]) for wide in widths)) // len(found)
        if width >= LEAST_WIDTH:
            return layers_table(found, titles, terminal, width)
    return None


def layers_table(found: Sequence[Description], titles: Sequence[str], terminal: Terminal, width: int) -> Table:
    """Group beside group; networks are a wide gap apart."""
    from rich.text import Text

    table = empty_table(terminal)
    for number, one in enumerate(found):
        if number:
            table.add_column("", min_width=WIDER_GAP)
        table.add_column("")
        table.add_column(Text(printable(one.name), style="bold"), overflow="fold", max_width=width)
        for title in titles:
            table.add_column(title, justify="right")
    for number, groups in enumerate(lined_up([grouped(one) for one in found])):
        if number:
            table.add_section()
        for line, rows in enumerate(zip_longest(*[rows for _, rows in groups])):
            cells: list[RenderableType] = []
            for one, (name, _), row in zip(found, groups, rows, strict=True):
                cells += [""] * bool(cells)  # the gap
                cells += [Text(name if line == 0 else "", style="bold"), *row_cells(one, row, titles)]
            table.add_row(*cells)
    return table


def row_cells(found: Description, row: Row | None, titles: Sequence[str]) -> list[RenderableType]:
    """The cells of one network in one line; empty where it has no more layers in this group."""
    from rich.text import Text

    if row is None:
        return [""] * (1 + len(titles))
    cells = cells_of(row, in_seconds=found.geometry is not None)
    return [indented(row), *[Text(cells[title]) for title in titles]]


def grouped(found: Description) -> list[tuple[str, list[Row]]]:
    """The rows by their groups, in order."""
    return [(name, list(rows)) for name, rows in groupby(found.rows, key=lambda row: row.group)]


def lined_up(networks: Sequence[list[tuple[str, list[Row]]]]) -> Iterator[list[tuple[str, list[Row]]]]:
    """Groups that stand beside each other: those of one name, else those of one place between such; F with F."""
    names = [name for name, _ in networks[0]]
    lines: list[list[tuple[str, list[Row]]]] = [[group] for group in networks[0]]
    for number, groups in enumerate(networks[1:], 1):
        own = [name for name, _ in groups]
        merged, merged_names = [], []
        for _, a, b, c, d in SequenceMatcher(None, names, own, autojunk=False).get_opcodes():
            for line, group, name, new in zip_longest(lines[a:b], groups[c:d], names[a:b], own[c:d]):
                merged.append([*(line or [("", [])] * number), group or ("", [])])
                merged_names.append(name or new)
        lines, names = merged, merged_names
    return iter(lines)
