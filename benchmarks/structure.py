"""Figures about the structure of the code, and the number of files involved in detecting speech in a recording.

python -m benchmarks.structure [--calls] [-v] [--json] [--picture FILE] [TREE]

Counts, for `audiocnn/` and `cli/audiocnn_cli/` of this checkout or of another one (TREE):

- entries in the top folder, files of Python, their lines
- files with one importer: exactly one other file of the two packages imports them. Every import statement counts,
  including those inside functions and those for types only; imports of modules named in a string do not.
- public names with several homes: functions, classes and constants at the top level of more than one file; in brackets
  the number of functions and classes among them

With --calls, `audiocnn detect data/samples/greeting.flac` runs under a profiler, and two more figures are counted:

- files called: those with a function that ran, including lambdas and comprehensions. Bodies of modules and classes do
  not count, so importing a file is not a call
- calling pairs: ordered pairs of different files in which a function of the first directly called one of the second;
  resuming a generator is a call

With --picture, the rooms are drawn, each above those that it imports. Arrows implied by others are omitted.

Counting starts at `audiocnn_cli.main.run`. `library` excludes the files of the command and their calls.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"audiocnn": Path("audiocnn"), "audiocnn_cli": Path("cli", "audiocnn_cli")}
FREE_FILES = "errors, units, toml, files, prefetch, progress"
RECORDING = Path("data", "samples", "greeting.flac")
# Runs as a separate process with TREE on its path. Arguments: the tree, the file for the figures, the command.
TRACE = """
import inspect, json, sys, threading
from pathlib import Path

from audiocnn_cli.main import run

tree, target, *command = sys.argv[1:]
names, files, pairs = {}, {}, {}


def name_of(code):
    if code not in names:
        path = Path(code.co_filename)
        inside = path.is_relative_to(tree) and code.co_flags & inspect.CO_OPTIMIZED  # a function
        names[code] = path.relative_to(tree).as_posix() if inside else None
    return names[code]


def called(frame, event, argument):
    if event == "call" and (name := name_of(frame.f_code)):
        files[name] = True
        caller = frame.f_back and name_of(frame.f_back.f_code)
        if caller and caller != name:
            pairs[caller, name] = True


threading.setprofile(called)
sys.setprofile(called)
status = run(command)
sys.setprofile(None)
threading.setprofile(None)
Path(target).write_text(json.dumps({"files": list(files), "pairs": list(pairs)}))
sys.exit(int(status))
"""


class StructureError(Exception):
    """Something cannot be counted, and the reason."""


@dataclass(frozen=True)
class Source:
    """One file. name: `audiocnn.formats.csv`; imports: the names it imports, of any package; defined: public names at
    its top level, True for functions and classes."""

    name: str
    path: Path
    lines: int
    imports: frozenset[str]
    defined: Mapping[str, bool]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("tree", nargs="?", type=Path, default=ROOT, metavar="TREE", help="a checkout; this one")
    parser.add_argument("--calls", action="store_true", help="count the files involved in a detection")
    parser.add_argument("--json", action="store_true", help="print JSON, including the lists")
    parser.add_argument("-v", "--verbose", action="store_true", help="list the counted items")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the imports between rooms (.svg, .png)")
    given = parser.parse_args(arguments)
    try:
        figures = structure_of(given.tree.resolve())
        if given.calls:
            figures["calls"] = calls_of(given.tree.resolve())
        if given.picture:
            draw_rooms(room_imports(given.tree.resolve()), given.picture)
    except StructureError as problem:
        print(f"structure: {problem}", file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps(figures, indent=2))
    else:
        print(to_markdown(figures))
        if given.verbose:
            print("\n".join(listed(figures)))
    return 0


def structure_of(tree: Path) -> dict[str, Any]:
    """Figures and lists for each package, and for both together."""
    sources = [source for package in PACKAGES for source in sources_in(tree, package)]
    importers = importers_of(sources)
    figures: dict[str, Any] = {}
    for package in (*PACKAGES, "both"):
        those = [source for source in sources if package in ("both", source.name.partition(".")[0])]
        figures[package] = {
            "files": len(those),
            "lines": sum(source.lines for source in those),
            "one_importer": {
                source.path.as_posix(): importers[source.name][0].path.as_posix()
                for source in those
                if len(importers[source.name]) == 1
            },
            "several_homes": several_homes(those),
            "functions_and_classes": len(several_homes(those, constants=False)),
        }
        if package != "both":
            figures[package]["entries"] = len(list(entries(tree / PACKAGES[package])))
    return figures


def sources_in(tree: Path, package: str) -> Iterator[Source]:
    """All Python files of a package. Raises StructureError if there are none."""
    folder = tree / PACKAGES[package]
    if not folder.is_dir():
        raise StructureError(f"{folder}: no such folder; name a checkout of audiocnn")
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join((package, *parts)).removesuffix(".__init__")
        text = path.read_text(encoding="utf-8")
        top = ast.parse(text, str(path))
        inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
        lines = len(text.splitlines())
        yield Source(name, path.relative_to(tree), lines, frozenset(imports(top, inside)), dict(definitions(top)))


def entries(folder: Path) -> Iterator[Path]:
    """The entries of a folder, without files generated by Python. Folders without files at any depth do not count."""
    for path in folder.iterdir():
        inside = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
        if any("__pycache__" not in found.parts and not found.name.startswith(".") for found in inside):
            yield path


def imports(top: ast.Module, package: str) -> Iterator[str]:
    """Names in import statements; for `from a import b` both a and a.b, either of which may be a file."""
    for node in ast.walk(top):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            home = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{home}:{alias.name}" for alias in node.names)


def importers_of(sources: Sequence[Source]) -> dict[str, list[Source]]:
    """File name -> the other files that import it."""
    names = {source.name for source in sources}
    found: dict[str, list[Source]] = {name: [] for name in names}
    for source in sources:
        targets = set()
        for name in source.imports:
            home, _, inside = name.partition(":")
            targets.add(f"{home}.{inside}" if f"{home}.{inside}" in names else home)
        for target in (targets & names) - {source.name}:
            found[target].append(source)
    return found


def definitions(top: ast.Module) -> Iterator[tuple[str, bool]]:
    """Public names at the top level of a file; True: a function or a class."""
    for node in top.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from ((node.name, True) for _ in [0] if not node.name.startswith("_"))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store) and not name.id.startswith("_"):
                        yield name.id, False


def several_homes(sources: Sequence[Source], constants: bool = True) -> dict[str, list[str]]:
    """Public names defined in more than one file, with these files; the most frequent first."""
    homes: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        for name, is_function_or_class in source.defined.items():
            if constants or is_function_or_class:
                homes[name].append(source.path.as_posix())
    several = {name: paths for name, paths in homes.items() if len(paths) > 1}
    return dict(sorted(several.items(), key=lambda item: (-len(item[1]), item[0])))


def calls_of(tree: Path) -> dict[str, Any]:
    """Files in the order of their first call, and pairs (caller, called), for the library and for all. Raises
    StructureError if the command fails."""
    paths = [str(tree / part) for part in ("", "cli", "models")]
    with tempfile.TemporaryDirectory(prefix="audiocnn-structure-") as folder:
        target = Path(folder) / "calls.json"
        done = subprocess.run(
            [sys.executable, "-P", "-c", TRACE, str(tree), str(target), "detect", str(RECORDING)],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not target.exists():
            last = (done.stderr.strip().splitlines() or [""])[-1]
            raise StructureError(f"{tree}: detect {RECORDING} ended with {done.returncode}: {last}")
        traced = json.loads(target.read_text(encoding="utf-8"))
    figures = {}
    for name, packages in (("library", ["audiocnn"]), ("all", list(PACKAGES))):
        homes = tuple(PACKAGES[package].as_posix() + "/" for package in packages)
        figures[name] = {
            "files": [file for file in traced["files"] if file.startswith(homes)],
            "pairs": [pair for pair in traced["pairs"] if all(file.startswith(homes) for file in pair)],
        }
    return figures


def room_of(name: str) -> str:
    """audiocnn.audio.pcm -> audio. Files outside the rooms form one room, and the command another."""
    parts = name.split(".")
    if parts[0] == "audiocnn_cli":
        return "command"
    return parts[1] if len(parts) > 2 else FREE_FILES


def room_imports(tree: Path) -> dict[str, set[str]]:
    """Room -> the rooms that its files import, without the package itself, which only re-exports names."""
    sources = [source for package in PACKAGES for source in sources_in(tree, package)]
    rooms: dict[str, set[str]] = {room_of(source.name): set() for source in sources if source.name != "audiocnn"}
    packages = {source.name: source.path.name == "__init__.py" for source in sources}
    for target, importers in importers_of(sources).items():
        for source in importers:
            below, room = room_of(f"{target}." if packages[target] else target), room_of(source.name)
            if "audiocnn" not in (target, source.name) and below != room:
                rooms[room].add(below)
    return rooms


def draw_rooms(rooms: Mapping[str, set[str]], path: Path) -> None:
    """A box per room, as low as its imports allow, with arrows for imports not implied by others."""
    import matplotlib
    from matplotlib.figure import Figure

    def reached(room: str) -> set[str]:
        return rooms[room].union(*(reached(below) for below in rooms[room]))

    heights: dict[str, int] = {}
    for room in sorted(rooms, key=lambda room: len(reached(room))):
        heights[room] = 1 + max((heights[below] for below in rooms[room]), default=-1)
    rows = [sorted(room for room in rooms if heights[room] == row) for row in range(max(heights.values()) + 1)]
    places = {room: (column - (len(row) - 1) / 2, heights[room]) for row in rows for column, room in enumerate(row)}
    matplotlib.rcParams["svg.hashsalt"] = "rooms"
    figure = Figure((8.0, 0.62 * len(rows) + 0.3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-1.6, 1.6), ylim=(-0.6, len(rows) - 0.4))
    for room, below in rooms.items():
        for target in below - set().union(*(reached(other) for other in below)):
            (x, y), (to_x, to_y) = places[room], places[target]
            axes.annotate(
                "",
                (to_x + 0.12 * (x - to_x), to_y + 0.24),
                (x - 0.12 * (x - to_x), y - 0.24),
                arrowprops={"arrowstyle": "->", "color": "#8b949b"},
            )
    for room, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.4", "facecolor": "#eef3f8", "edgecolor": "#2166ac"}
        axes.text(x, y, room, ha="center", va="center", fontsize=11, bbox=box)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def to_markdown(figures: Mapping[str, Any]) -> str:
    """The tables."""
    packages = [*PACKAGES, "both"]
    rows = {
        "entries in the top folder": [str(figures[package].get("entries", "")) for package in packages],
        "files": [str(figures[package]["files"]) for package in packages],
        "lines": [f"{figures[package]['lines']:,}" for package in packages],
        "files with one importer": [str(len(figures[package]["one_importer"])) for package in packages],
        "public names with several homes": [
            f"{len(figures[package]['several_homes'])} ({figures[package]['functions_and_classes']})"
            for package in packages
        ],
    }
    heads = [path.as_posix() + "/" for path in PACKAGES.values()]
    lines = [f"| | `{heads[0]}` | `{heads[1]}` | both |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    if calls := figures.get("calls"):
        lines += [
            "",
            f"| `audiocnn detect {RECORDING.as_posix()}` | library | library and command |",
            "|---|---:|---:|",
        ]
        for title, key in (("files called", "files"), ("calling pairs", "pairs")):
            lines.append(f"| {title} | {len(calls['library'][key])} | {len(calls['all'][key])} |")
    return "\n".join(lines)


def listed(figures: Mapping[str, Any]) -> Iterator[str]:
    """The counted items, as lists."""
    yield "\nFiles with one importer:"
    yield from (f"  {path} <- {importer}" for path, importer in figures["both"]["one_importer"].items())
    yield "\nPublic names with several homes:"
    yield from (f"  {name}: {', '.join(paths)}" for name, paths in figures["both"]["several_homes"].items())
    if calls := figures.get("calls"):
        yield "\nFiles, in the order of their first call:"
        yield from (f"  {number} {file}" for number, file in enumerate(calls["all"]["files"], start=1))
        yield "\nCalling pairs, in the order of their first call:"
        yield from (f"  {caller} -> {called}" for caller, called in calls["all"]["pairs"])


if __name__ == "__main__":
    sys.exit(main())
