"""The rooms of the house, proved from the syntax trees: who may import whom, what must stay light, what a name means.

Every import counts, also those inside functions and those for types alone.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOMES = {"audiocnn": ROOT, "audiocnn_cli": ROOT / "cli", "audiocnn_models": ROOT / "models"}

# A room may import from itself and from the lines above its own. The first line are files of no room: they are one.
ROOMS = """
errors packages units toml files prefetch progress
segments
audio spec
labels model
data inference
augment inspection
evaluation
recipe
training
report
workflows
"""
COMMAND_ROOMS = """
app
io
cluster
commands
main
entry
__main__
"""
NO_ROOM = ROOMS.split("\n")[1].split()
LINES = {f"audiocnn.{room}": line for line, rooms in enumerate(ROOMS.split("\n")) for room in rooms.split()} | {
    f"audiocnn_cli.{room}": line for line, room in enumerate(COMMAND_ROOMS.split(), start=100)
}

HEAVY = {"torch", "librosa", "scipy", "sklearn", "matplotlib", "onnx", "onnxscript"}
# Only these import torch when they are imported; all others import what is heavy where they use it.
TORCH_ROOMS = {"audiocnn.training"}
TORCH_FILES = {
    "audiocnn.augment.spectral",
    "audiocnn.inspection.feature_maps",
    "audiocnn.inspection.views",
    "audiocnn.model.frontend",
    "audiocnn.model.modules",
    "audiocnn.model.network",
    "audiocnn.model.streaming",
    "audiocnn.model.weights",
}
# A function that is a command, or does what a command does, has its name, which others may have, too.
NAMED_BY_COMMAND = ("audiocnn_cli.commands.", "audiocnn.workflows.")
LIGHT_ROOMS = ("segments", "audio", "spec", "labels", "data", "inference", "evaluation", "recipe")


def module_name(path):
    """cli/audiocnn_cli/main.py -> audiocnn_cli.main"""
    base = next(home for name, home in HOMES.items() if path.is_relative_to(home / name))
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_name(path): path for name, home in HOMES.items() for path in sorted((home / name).rglob("*.py"))}
LIBRARY = sorted(name for name in FILES if name.split(".")[0] == "audiocnn")


def room_of(name):
    """audiocnn.audio.streams -> audiocnn.audio; None for the packages themselves and the models."""
    room = ".".join(name.split(".")[:2])
    if room in HOMES or name.startswith("audiocnn_models"):
        return None
    return "audiocnn.errors" if room.removeprefix("audiocnn.") in NO_ROOM else room


def imports(tree):
    """(node, name) of every import; `from a import b` names a.b where that is a file, else a."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides its room"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield node, inside if inside in FILES else node.module


def types_only(node):
    """What stands under `if TYPE_CHECKING:`."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        for statement in node.body:
            yield from ast.walk(statement)


def parsed(name):
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def ours(name):
    return name.split(".")[0] in HOMES


def defined(tree):
    """The names that a file defines at its top level."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (x.id for target in targets if target for x in ast.walk(target) if isinstance(x, ast.Name))


def test_every_file_is_in_a_room():
    assert {room_of(name) for name in FILES} - {None} == {
        "audiocnn.errors" if name.removeprefix("audiocnn.") in NO_ROOM else name for name in LINES
    }


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_imports_from_its_own_room_or_from_those_below(name):
    room = room_of(name)
    for node, target in imports(parsed(name)):
        if not ours(target):
            continue
        assert target in FILES, f"{FILES[name]}:{node.lineno}: there is no {target}"
        below = room_of(target)
        if None not in (room, below) and below != room:
            assert LINES[below] < LINES[room], f"{FILES[name]}:{node.lineno}: {room} may not import {target}"


def test_imports_make_no_circle():
    graph = {name: {x for _, x in imports(parsed(name)) if x in FILES and x != name} for name in FILES}
    graph["audiocnn"] = set()  # it hands names out, and is below all
    done, path = set(), []

    def visit(name):
        assert name not in path, "a circle: " + " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for target in sorted(graph[name]):
            visit(target)
        path.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)
    assert done == set(FILES)


def test_a_public_name_means_one_thing():
    homes = defaultdict(set)
    for name in FILES:
        for word in defined(parsed(name)):
            if not word.startswith("_") and not any(f"{name}.".startswith(f"{one}{word}.") for one in NAMED_BY_COMMAND):
                homes[word].add(name)
    assert {word: sorted(names) for word, names in homes.items() if len(names) > 1} == {}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_neither_prints_nor_knows_the_terminal(name):
    tree = parsed(name)
    for node, target in imports(tree):
        assert target.split(".")[0] not in {"typer", "rich", "click"}, f"{FILES[name]}:{node.lineno}: {target}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "input", "breakpoint"}, f"{FILES[name]}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            assert node.attr not in {"stdout", "stderr"}, f"{FILES[name]}:{node.lineno}: sys.{node.attr}"


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.startswith("audiocnn.spec")))
def test_specs_know_nothing_of_torch_not_even_late(name):
    assert not {target.split(".")[0] for _, target in imports(parsed(name))} & {"torch", "onnx"}


@pytest.mark.parametrize(
    "name", sorted(name for name in FILES if name not in TORCH_FILES and room_of(name) not in TORCH_ROOMS)
)
def test_what_is_heavy_is_imported_where_it_is_used(name):
    tree = parsed(name)
    late = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for inside in ast.walk(node)
    }
    late |= {id(inside) for node in ast.walk(tree) for inside in types_only(node)}
    for node, target in imports(tree):
        if id(node) not in late:
            assert target.split(".")[0] not in HEAVY, f"{FILES[name]}:{node.lineno}: {target}"


def test_light_rooms_bring_nothing_heavy_with_them():
    light = [name for name in LIBRARY if name.split(".")[1:2] and name.split(".")[1] in (*LIGHT_ROOMS, *NO_ROOM)]
    light += ["audiocnn.model.model"]
    assert len(light) > 60
    code = (
        f"import importlib, sys\nfor name in {light!r}: importlib.import_module(name)\n"
        f"heavy = {HEAVY | {'onnxruntime', 'typer', 'rich'}!r} & set(sys.modules)\n"
        "sys.exit(f'{sorted(heavy)} came along' if heavy else 0)"
    )
    path = ":".join(str(home) for home in HOMES.values())
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("folder", ["cli", "models", "data", "tests"])
def test_the_outer_folders_are_not_packages(folder):
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("name", sorted(HOMES))
def test_the_tests_look_at_the_files_of_this_checkout(name):
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert Path(spec.origin) == HOMES[name] / name / "__init__.py"
