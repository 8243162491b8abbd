"""What `filters` writes to stdout: a row a filter, a row a tower, a row a strongest sound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.formats import jsonl
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from rich.table import Table

    from audiocnn.inspection.filters import FilterBank
    from audiocnn.inspection.strongest_sounds import Found
    from audiocnn.network import Network

Record = dict[str, Any]
SHARES = ("level", "frequency", "time", "both", "between_channels")


def filter_records(bank: FilterBank) -> list[Record]:
    """One record a filter, in the order of the picture; then one a tower."""
    from audiocnn.inspection.filters import tower_figures

    head = {"schema": 1, "type": "filter", "model": bank.model, "group": bank.group}
    rows: list[Record] = [
        head
        | {"filter": one.index}
        | ({"tower": one.tower} if one.tower is not None else {})
        | {"strength": rounded(one.strength)}
        | {name: rounded(value) for name, value in one.figures.items()}
        for one in bank.filters
    ]
    towers, chance = tower_figures(bank)
    by_chance = {name: rounded(value) for name, value in chance.items()}
    return rows + [
        head
        | {"type": "tower", "tower": tower.tower, "filters": tower.filters}
        | {name: rounded(value) for name, value in tower.means.items()}
        | {"by_chance": by_chance}
        for tower in towers
    ]


def rounded(value: float) -> float | int:
    """Four digits that count; whole numbers of bands as such."""
    if value == int(value):
        return int(value)
    return round(value, max(0, 3 - math.floor(math.log10(abs(value)))))


def write_filters(bank: FilterBank, terminal: Terminal, table: bool) -> None:
    """The rows, as a table or as JSON Lines."""
    records = filter_records(bank)
    if not table:
        terminal.write("".join(jsonl.dumps(row) + "\n" for row in records))
        return
    rows = [row for row in records if row["type"] == "filter"]
    towers = [row for row in records if row["type"] == "tower"]
    from rich.text import Text

    with terminal.paused():
        terminal.out.print(Text(printable(f"{bank.model}, group {bank.group}: {bank.layer}"), style="bold"))
        terminal.out.print(table_of(rows, ["filter", "tower"], terminal))
        if towers:
            terminal.out.print()
            terminal.out.print(table_of(towers, ["tower", "filters"], terminal))
            for name, value in towers[0]["by_chance"].items():
                words = "specialise" if value < 0.01 else "may specialise" if value < 0.05 else "do not differ"
                terminal.out.print(
                    f"{TITLES.get(name, name)}: the towers {words}; of random divisions {value:.1%} lie as far apart",
                    soft_wrap=True,
                )


TITLES = {"centre_hertz": "centre", "bandwidth_hertz": "bandwidth", "between_channels": "between channels"}


def table_of(rows: Sequence[Record], first: list[str], terminal: Terminal) -> Table:
    """The columns that the rows have."""
    names = [*first, "centre_hertz", "bandwidth_hertz", "range", *SHARES, "strength"]
    columns = [name for name in names if any(name in row or (name == "range" and "low_hertz" in row) for row in rows)]
    table = new_table(terminal)
    for name in columns:
        table.add_column(TITLES.get(name, name), justify="right")
    for row in rows:
        table.add_row(*(cell(row, name) for name in columns))
    return table


def new_table(terminal: Terminal) -> Table:
    """In the manner of the other tables."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD if terminal.unicode else box.ASCII, pad_edge=False, show_edge=False)


def cell(row: Record, name: str) -> str:
    """A value with its unit."""
    if name == "range":
        return f"{row['low_hertz']:.0f}-{row['high_hertz']:.0f} Hz" if "low_hertz" in row else "-"
    value = row.get(name)
    if value is None:
        return "-"
    if name.endswith("hertz"):
        return f"{value:.0f} Hz"
    return f"{value:.0%}" if name in SHARES else f"{value:.3g}"


def strongest_record(one: Found, network: Network, group: str, cut: tuple[Path, float] | None) -> Record:
    """Where a filter is moved most: seconds in the recording, Hz where a 2-D filter sees some of the bands."""
    from audiocnn.features import band_edges_hertz

    sample_rate, edges = network.geometry.sample_rate, band_edges_hertz(network.spec.input)
    named = jsonl.error_record(one.sound.name, "")
    row = {"schema": 1, "type": "strongest", "model": network.spec.name, "group": group, "filter": one.filter}
    row |= {"rank": one.rank, "activation": rounded(one.activation)}
    row |= {key: value for key, value in named.items() if key.startswith("file")}
    row |= {"label": one.sound.label} if one.sound.label is not None else {}
    row |= {"start": round(one.span[0] / sample_rate, 6), "end": round(one.span[1] / sample_rate, 6)}
    if edges is not None and network.spec.dims == 2:
        row |= {"low_hertz": rounded(edges[one.bands[0], 0]), "high_hertz": rounded(edges[one.bands[1], 1])}
    if cut is not None:
        row |= {"clip": str(cut[0]), "clip_start": round(cut[1], 6)}
    return row


def write_strongest(records: Sequence[Record], terminal: Terminal, table: bool) -> None:
    """Every place as JSON Lines; as a table the first of each filter."""
    if not table:
        terminal.write("".join(jsonl.dumps(row) + "\n" for row in records))
        return
    shown = [row for row in records if row["rank"] == 1]
    drawn = new_table(terminal)
    clips = any("clip" in row for row in shown)
    drawn.add_column("filter", justify="right")
    drawn.add_column("activation", justify="right")
    drawn.add_column("moved most by", overflow="fold")
    drawn.add_column("from", justify="right")
    drawn.add_column("to", justify="right")
    for row in shown:
        times = (f"{row['start']:.3f} s", f"{row['end']:.3f} s")
        drawn.add_row(str(row["filter"]), f"{row['activation']:.3g}", printable(row["file"]), *times)
    with terminal.paused():
        terminal.out.print()
        terminal.out.print(drawn)
        if clips:
            folder = Path(shown[0]["clip"]).parents[1]
            words = f"{len(records)} sounds cut out, as FILTER/RANK.wav in {folder}, listed in strongest.jsonl there"
            terminal.out.print(printable(words), soft_wrap=True)
