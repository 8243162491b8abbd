"""Compares the speed of `audiocnn train` with the same loop without data and with a plain loop, in one run.

python -m benchmarks.training [--recipe FILE ...] [--runs 3] [--seconds 20] [--datasets FOLDER]
                             [--table docs/background/performance.md]

In each run, the loops take turns in separate processes. A ratio compares two turns of the same run, and the table shows
the median over the runs. The loops are defined in `training_loops.py`. Recordings are first ingested into `--datasets`,
as by `audiocnn train`, and kept there. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocnn.data.dataset import is_dataset
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.errors import AudiocnnError, RecipeError, UsageError
from audiocnn.recipe.recipe import Recipe, read_recipe
from benchmarks.detect import machine
from benchmarks.measuring import ROOT, Figure, measure, module, usable_cores
from benchmarks.pages import around_table, put_table
from benchmarks.training_loops import LOOPS

RECIPES = ("speech_1d", "speech_2d", "speech_music_noise", "digits", "commands")
HEAD = (
    "recipe", "audio s/s", "without data", "share", "waiting", "step, ms", "plain loop", "against it", "memory, MB",
)  # fmt: skip
Run = dict[str, Figure]


@dataclass(frozen=True)
class Case:
    """A recipe, and the place of its dataset."""

    path: Path
    recipe: Recipe
    dataset: Path


def find_cases(paths: Sequence[Path], datasets: Path, say: Callable[[str], None]) -> list[Case]:
    """The recipes with their datasets; recordings not ingested yet are ingested."""
    cases = []
    for path in paths:
        recipe = read_recipe(path)
        if recipe.data is None:
            raise RecipeError(f"{path}: has no [data]; name a recipe with [data]")
        spec, folder = recipe.spec.input, datasets / f"{recipe.name}.dataset"
        if not is_dataset(folder):
            say(f"{recipe.name}: ingesting into {folder}")
        settings = IngestSettings(sample_rate=spec.sample_rate, channels=spec.channels)
        cached_dataset(folder if is_dataset(folder) else recipe.data, folder, settings)
        cases.append(Case(path, recipe, folder))
    return cases


def run_case(case: Case, seconds: float, say: Callable[[str], None]) -> Run:
    """Every loop once."""
    run: Run = {}
    for loop in LOOPS:
        run[loop] = measure(module("training_loops", loop, case.path, case.dataset, seconds))
        say(f"  {case.recipe.name} {loop}: {run[loop]['speed']:.0f} audio s/s, waiting {run[loop]['waiting']:.1%}")
    return run


def row_of(name: str, runs: Sequence[Run]) -> list[str]:
    """The row of a recipe: medians over the runs."""

    def median(value: Callable[[Run], float]) -> float:
        return statistics.median(value(run) for run in runs)

    return [
        f"`{name}`",
        f"{median(lambda run: run['ours']['speed']):.0f}",
        f"{median(lambda run: run['synthetic']['speed']):.0f}",
        f"{median(lambda run: run['ours']['speed'] / run['synthetic']['speed']):.2f}",
        f"{median(lambda run: run['ours']['waiting']):.1%}",
        f"{median(lambda run: 1e3 * run['ours']['step_seconds']):.0f}",
        f"{median(lambda run: run['plain']['speed']):.0f}",
        f"{median(lambda run: run['ours']['speed'] / run['plain']['speed']):.1f} x",
        f"{median(lambda run: run['ours']['peak_bytes'] / 1e6):.0f}",
    ]


def to_markdown(rows: Sequence[Sequence[str]], runs: int, seconds: float) -> str:
    """The table, and the machine it was measured on."""
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *rows]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"{table}\n\n{runs} run{'s' * (runs != 1)} of {seconds:g} s a loop, {machine(usable_cores())}.\n"


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--recipe", action="append", type=Path, metavar="FILE", help="default: the recipes of the released models"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each loop; default 20")
    parser.add_argument("--datasets", type=Path, default=Path("runs/datasets"), metavar="FOLDER")
    parser.add_argument("--table", type=Path, metavar="PAGE", help="write the table into this page")
    options = parser.parse_args(arguments)
    if options.runs < 1 or not options.seconds > 0:
        raise UsageError("--runs must be at least 1 and --seconds above 0")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write the page."""

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        options = options_of(arguments)
        if options.table:
            around_table(options.table, "training")  # fail before any work
        paths = options.recipe or [ROOT / "data/recipes" / f"{name}.toml" for name in RECIPES]
        cases = find_cases(paths, options.datasets, say)
        done: dict[str, list[Run]] = {case.recipe.name: [] for case in cases}
        failed = False
        for number in range(options.runs):
            say(f"run {number + 1} of {options.runs}")
            for case in cases:
                try:
                    done[case.recipe.name].append(run_case(case, options.seconds, say))
                except AudiocnnError as problem:
                    say(f"training: {problem}")
                    failed = True
                rows = [row_of(name, runs) for name, runs in done.items() if runs]
                if options.table and rows:
                    put_table(options.table, to_markdown(rows, number + 1, options.seconds), "training")
    except AudiocnnError as problem:
        say(f"training: {problem}")
        return 2
    print(json.dumps(done))
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
