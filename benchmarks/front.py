"""Smaller networks for one task: the time each takes, and its quality after the same short training.

    python -m benchmarks.front benchmarks/front.toml -o runs/front [--table docs/background/performance.md]
    python -m benchmarks.front benchmarks/front.toml -o runs/front --no-training    # only times

The file contains trials (`benchmarks.trials`), each with another spec; the first is the reference network. Times are
those of ONNX Runtime on one thread, for `--seconds` of noise and with initial weights. The networks take turns, so that
all are measured under the same load, and the least CPU time counts. Prints a Markdown table sorted by time. With
--table it is written into the page, with a picture of time against quality beside it, in which a line joins the
networks that no other one beats in both.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audiocnn.errors import AudiocnnError, RecipeError
from audiocnn.model.export import untrained_onnx
from audiocnn.model.onnx import open_session
from audiocnn.report.figure import new_figure, save_figure
from audiocnn.spec.describe import describe
from audiocnn.spec.spec import Spec
from audiocnn.toml import read_toml
from benchmarks import trials
from benchmarks.pages import around_table, put_table

QUALITY = "tune auroc"
MARK = "front"  # the mark of the table in its page
HEAD = ("network", "ms", "x", "multiply-adds/s", "weights", *trials.FIGURES)


@dataclass(frozen=True)
class Candidate:
    """A trial. seconds: CPU time for the noise; figures: those of `trials`, means over the seeds, none if it was not
    trained."""

    name: str
    seconds: float
    multiply_adds_per_second: float
    weights: int
    figures: Mapping[str, float] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("trials", type=Path, help="a TOML file of trials, each with another spec")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1])
    parser.add_argument("--only", action="append", default=[], help="train one trial; may be repeated")
    parser.add_argument("--dataset", type=Path, help="the ingested [data] of the recipe")
    parser.add_argument("--no-training", action="store_true", help="only times, and figures of existing runs")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds of noise")
    parser.add_argument("--rounds", type=int, default=60, help="rounds over all networks")
    parser.add_argument(
        "--table", type=Path, metavar="PAGE", help="write the table into this page, a picture beside it"
    )
    options = parser.parse_args(arguments)
    try:
        if options.table:
            around_table(options.table, MARK)  # fail before any work
        specs = specs_of(options.trials)
        taken = times_of(specs, options.seconds, options.rounds)
        if not options.no_training:
            trials.run(options)
        found = candidates(specs, taken, figures_in(options.output, specs, options.seeds))
        if options.table:
            picture = options.table.with_name(f"{MARK}.png")
            draw(picture, found, options.seconds)
            what = f"![Time against {QUALITY}]({picture.name})"
            put_table(options.table, f"{to_markdown(found)}\n\n{what}\n", MARK)
        else:
            print(to_markdown(found))
    except AudiocnnError as problem:
        print(f"front: {problem}", file=sys.stderr)
        return 2
    return 0


def specs_of(path: Path) -> dict[str, Spec]:
    """Trial -> its spec."""
    plan = read_toml(path, RecipeError)
    base = (path.parent / plan["recipe"]).resolve()
    return {
        trial["name"]: trials.recipe_with(base, trials.changed(plan.get("change", {}), trial.get("change", {}))).spec
        for trial in plan["trials"]
    }


def times_of(specs: Mapping[str, Spec], seconds: float, rounds: int) -> dict[str, float]:
    """Trial -> the least CPU time for so many seconds of noise."""
    sessions = {name: open_session(untrained_onnx(spec), 1) for name, spec in specs.items()}
    least = dict.fromkeys(specs, np.inf)
    for _ in range(rounds):
        for name, session in sessions.items():
            settings = specs[name].input
            noise = np.random.default_rng(0).normal(
                0, 0.05, (1, settings.channels, round(seconds * settings.sample_rate))
            )
            samples = noise.astype(np.float32)
            begin = time.process_time()
            session.run(None, {"samples": samples})
            least[name] = min(least[name], time.process_time() - begin)
    return least


def figures_in(folder: Path, specs: Mapping[str, Spec], seeds: Sequence[int]) -> dict[str, dict[str, float]]:
    """Trial -> the mean of each figure over the finished seeds."""
    found = trials.figures_in(folder, specs, seeds)
    return {
        name: {key: float(np.mean([figures[key] for figures in runs.values()])) for key in trials.FIGURES}
        for name, runs in found.items()
    }


def candidates(
    specs: Mapping[str, Spec], seconds: Mapping[str, float], figures: Mapping[str, Mapping[str, float]]
) -> list[Candidate]:
    """One per trial, in the order of the file."""
    found = []
    for name, spec in specs.items():
        described = describe(spec)
        cost = described.multiply_adds_per_second
        assert cost is not None
        found.append(Candidate(name, seconds[name], cost, described.parameters, figures.get(name, {})))
    return found


def front(found: Sequence[Candidate], quality: str = QUALITY) -> list[Candidate]:
    """Those that no other one beats in both time and quality, the fastest first."""
    best, kept = -np.inf, []
    for one in sorted(
        (one for one in found if quality in one.figures), key=lambda one: (one.seconds, -one.figures[quality])
    ):
        if one.figures[quality] > best:
            best = one.figures[quality]
            kept.append(one)
    return kept


def to_markdown(found: Sequence[Candidate]) -> str:
    """A row per network, the fastest first; x: the speed relative to the first of the file."""
    on_front = {one.name for one in front(found)}
    lines = [f"| {' | '.join(HEAD)} |", f"|---|{'---:|' * (len(HEAD) - 1)}"]
    for one in sorted(found, key=lambda one: one.seconds):
        cells = [
            f"**`{one.name}`**" if one.name in on_front else f"`{one.name}`",
            f"{1000 * one.seconds:.2f}",
            f"{found[0].seconds / one.seconds:.2f}",
            f"{one.multiply_adds_per_second / 1e6:.1f} M",
            f"{one.weights:,}",
            *(f"{one.figures[key]:.4f}" if key in one.figures else "" for key in trials.FIGURES),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(path: Path, found: Sequence[Candidate], seconds: float) -> None:
    """Time against quality with a dot per network, and a line along the front."""
    figure = new_figure(7.5, 4.5)
    axes: Any = figure.add_subplot()
    shown = [one for one in found if QUALITY in one.figures]
    line = front(found)
    axes.plot([1000 * one.seconds for one in line], [one.figures[QUALITY] for one in line], color="#2166ac", lw=1.0)
    for one in shown:
        x, y = 1000 * one.seconds, one.figures[QUALITY]
        axes.plot(x, y, "o", ms=5, color="#2166ac" if one in line else "#8b949b")
        axes.annotate(one.name, (x, y), (5, 5), textcoords="offset points", fontsize=8)
    axes.set_xlabel(f"ms of one core for {seconds:g} s of sound")
    axes.set_ylabel(QUALITY.replace("auroc", "AUROC"))
    axes.margins(x=0.15, y=0.12)
    axes.grid(color="#dddddd", lw=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


if __name__ == "__main__":
    sys.exit(main())
