"""The floors of the house, proved from the syntax trees: who may import whom, and what must stay light.

A new file must be given a floor here. Every import counts, also those inside functions and those for types alone; in
circles only those count that run, since a type cannot wait for itself.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOMES = {"audiocnn": ROOT, "audiocnn_cli": ROOT / "cli", "audiocnn_models": ROOT / "models"}

# The files of the library, by floor; the command is floor 4 altogether. `audiocnn` itself only hands names out.
FLOORS = {
    0: "errors units tables whole_files",
    1: "sizes describing costs windows layers modules spectrogram"
    " kinds kinds.reading kinds.convolution kinds.pooling kinds.elementwise"
    " kinds.combining kinds.head features folding front_end architecture fitting"
    " augment backgrounds made_sounds mixing sounding clip_examples blending"
    " labels segment_rule segment_rows segments localising intervals"
    " metrics smoothing filenames"
    " depth sound_writer label_lookup globs addresses locks"
    " containers decoder_process ffmpeg helped helper outside sniffing"
    " svg ahead pieces pcm streams headers soundfiles opening recording shards dataset dataset_writer decoding"
    " formats.found formats.sniffing formats.naming formats.cues formats.csv formats.tsv formats.srt formats.vtt"
    " formats.textgrid formats.jsonl_reading locating sources.label_files"
    " formats formats.audacity formats.columns formats.dcase formats.delimited formats.jsonl"
    " formats.rows formats.rttm formats.text"
    " clip_means"
    " formats.eaf formats.elan formats.escapes formats.gathering formats.kaldi formats.lhotse formats.manifests"
    " formats.nemo formats.raven"
    " sources sources.folders sources.settings sources.tables"
    " sources.corrections sources.grouping duplicates stratifying survey search_space",
    2: "warping onnx_check onnx_session network model workers engine weights checkpoint ranks run_lock stopping"
    " train_settings",
    3: "batch_fit beginning blaming label_check learning optimizing rehearsal run_reports"
    " run_log run_pictures run_board run_table sweeping retuning kept_scores sweep_pictures"
    " searching studies search_pictures"
    " choosing originals own_sounds ingest ingest_plan recipe batches validation training release export detection"
    " readers parallel live evaluation figures"
    " converting splitting curves judging comparing cutting calibrating"
    " clip_calibrating mix_reading distilling edge_loss losses tuning resampling"
    " classification"
    " clips clip_evaluation clip_figures confusion doubtful doubtful_page clip_sounds clip_pictures clip_page"
    " report_parts"
    " repeats_page"
    " pictures ensemble transfer peers report_page report_pictures report_style"
    " conditions condition_mixtures condition_sets repeats"
    " inspection inspection.filters inspection.filter_figures inspection.filter_cells"
    " inspection.filter_pictures inspection.strongest inspection.strongest_sounds inspection.strongest_pictures"
    " inspection.explaining inspection.views inspection.stretches inspection.occlusion inspection.feature_maps"
    " inspection.explain_picture inspection.pooling inspection.plotting inspection.plot_sound inspection.plot_picture"
    " inspection.plot_page",
}
FLOOR = {f"audiocnn.{name}": floor for floor, names in FLOORS.items() for name in names.split()} | {"audiocnn": 3}

HEAVY = {"torch", "librosa", "scipy", "sklearn", "matplotlib", "onnx", "onnxscript"}
LIGHT = (
    [name for name, floor in FLOOR.items() if floor <= 1 and name not in ("audiocnn.modules", "audiocnn.front_end")]
    + [
        f"audiocnn.{name}"
        for name in ("model", "engine", "detection", "readers", "parallel", "ingest", "evaluation", "recipe")
    ]
    + ["audiocnn.classification"]
)


def module_name(path):
    """cli/audiocnn_cli/main.py -> audiocnn_cli.main"""
    base = next(home for name, home in HOMES.items() if path.is_relative_to(home / name))
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_name(path): path for name, home in HOMES.items() for path in sorted((home / name).rglob("*.py"))}
LIBRARY = sorted(name for name in FILES if name.split(".")[0] == "audiocnn")


def floor_of(name):
    """The floor of a file; 4 for the command, 0 for the package of models, which holds no code."""
    top = name.split(".")[0]
    assert top != "audiocnn" or name in FLOOR, f"{name} has no floor yet: give it one in FLOORS"
    return FLOOR[name] if top == "audiocnn" else {"audiocnn_cli": 4, "audiocnn_models": 0}[top]


def imports(tree, for_types=True):
    """(node, name) of every import; `from a import b` names a.b where that is a file, else a."""
    skipped = set() if for_types else {id(inside) for node in ast.walk(tree) for inside in types_only(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides its floor"
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


def test_every_file_has_a_floor():
    assert set(FLOOR) == set(LIBRARY), "give each new file a floor in FLOORS, and drop those that went"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_imports_from_its_own_floor_or_lower_ones(name):
    for node, target in imports(parsed(name)):
        if ours(target):
            assert target in FILES, f"{FILES[name]}:{node.lineno}: there is no {target}"
            assert floor_of(target) <= floor_of(name), f"{FILES[name]}:{node.lineno}: {target} is a higher floor"


def test_imports_make_no_circle():
    graph = {name: {x for _, x in imports(parsed(name), for_types=False) if x in FILES and x != name} for name in FILES}
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


@pytest.mark.parametrize("name", LIGHT)
def test_light_files_import_nothing_heavy_when_they_are_imported(name):
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
            assert target.split(".")[0] not in HEAVY, (
                f"{FILES[name]}:{node.lineno}: {target}; import it where it is used"
            )


def test_light_files_bring_nothing_heavy_with_them():
    code = (
        f"import importlib, sys\nfor name in {LIGHT!r}: importlib.import_module(name)\n"
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
