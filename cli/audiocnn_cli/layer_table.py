"""The table of `describe`: a row a layer, then what it all comes to."""

from __future__ import annotations

from audiocnn.describing import Description, Row
from audiocnn_cli.terminal import Terminal, printable

# title -> from how many columns of the terminal on it is shown
COLUMNS = {"layer": 0, "output": 0, "padding": 120, "weights": 0, "mult-adds": 70, "hears": 55, "hop": 90}


def write_layers(found: Description, terminal: Terminal) -> None:
    """Draw a description."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = terminal.out
    titles = [title for title, width in COLUMNS.items() if console.width >= width]
    edges = box.SIMPLE_HEAD if terminal.unicode else box.ASCII
    table = Table(box=edges, pad_edge=False, show_edge=False)
    table.add_column("")
    for title in titles:
        table.add_column(title, justify="left" if title == "layer" else "right", overflow="fold")
    group = ""
    for row in found.rows:
        if row.group != group and group:
            table.add_section()
        cells = cells_of(row, in_seconds=found.geometry is not None)
        table.add_row(Text(row.group if row.group != group else "", style="bold"), *[Text(cells[t]) for t in titles])
        group = row.group
    with terminal.paused():
        console.print(Text(printable(found.name), style="bold").append(about(found), style="not bold"), soft_wrap=True)
        console.print(table)
        for line in totals(found):
            console.print(line, soft_wrap=True)


def about(found: Description) -> str:
    """The summary behind the name."""
    return f"  {printable(found.summary)}" if found.summary else ""


def cells_of(row: Row, in_seconds: bool) -> dict[str, str]:
    """The cells of a row by their titles; a row that only names a branch has none."""
    cells = dict.fromkeys(COLUMNS, "") | {"layer": "  " * row.depth + row.text}
    if row.output is None:
        return cells
    cells["output"] = str(row.output)
    cells["weights"] = f"{row.parameters:,}" if row.parameters else "-"
    cells["mult-adds"] = short(row.multiply_adds) if row.multiply_adds else "-"
    if any(any(pad) for pad in row.padding):
        cells["padding"] = " x ".join("+".join(map(str, pad)) for pad in row.padding)
    if row.reach is not None:
        cells["hears"] = seconds(row.reach) if in_seconds else f"{row.reach:g}"
        if row.hertz is not None:
            cells["hears"] += f", {row.hertz:,.0f} Hz"
        elif row.bands is not None:
            cells["hears"] += f" x {row.bands}"
    if row.hop is not None:
        cells["hop"] = seconds(row.hop) if in_seconds else f"{row.hop:g}"
    return cells


def totals(found: Description) -> list[str]:
    """The lines below the table."""
    lines = [f"{found.parameters:,} weights, {short(found.multiply_adds)} multiply-adds a window"]
    geometry = found.geometry
    if geometry is None or found.multiply_adds_per_second is None or found.latency_seconds is None:
        return lines
    lines[0] += f", {short(found.multiply_adds_per_second)} a second of sound"
    lines.append(
        f"window {seconds(geometry.window_seconds)}, one score each {seconds(geometry.hop_seconds)},"
        f" known {seconds(found.latency_seconds)} after its sound"
    )
    if geometry.shift_exact:
        lines.append("nothing is padded in time: each score is exactly that of its own window")
    else:
        pads = f"{geometry.pad_start / geometry.sample_rate:.3g} + {geometry.pad_end / geometry.sample_rate:.3g} s"
        lines.append(f"padded in time ({pads}): not shift-exact; chunks are read with a window more on both sides")
    if found.dense_weights:
        lines.append(
            f"the first group has {found.first_group_weights:,} weights; a dense layer from the window's samples to as"
            f" many outputs would have {short(found.dense_weights)}"
        )
    return lines


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
