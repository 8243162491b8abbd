"""What helps when there are few clips, or when some labels have many more than others.

python -m benchmarks.small_data benchmarks/small_data.toml -o FOLDER [--seeds 1,2,3] [--set NAME]... [--only NAME]...
    [--show] [--table FILE]

The file has a recipe, sets of clips, and trials, each of which is the recipe with one thing changed. All trials of a
set and a seed are trained on the same clips and tested on the same clips, by voices that are not in the training. Runs
in FOLDER are not repeated. The result is a table of means over the seeds, with the differences from the first trial.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray
from torch.nn import functional

from audiocnn.augment.effects import change_speed
from audiocnn.data.dataset import Dataset
from audiocnn.errors import AudiocnnError, RecipeError, UsageError
from audiocnn.model.model import Model, find_model
from audiocnn.model.network import Network
from audiocnn.model.weights import load_network
from audiocnn.recipe.recipe import read_recipe
from audiocnn.toml import read_toml
from audiocnn.training.events import TrainReport
from audiocnn.training.train import train
from benchmarks.small_sets import Parts, dataset_of, names_of, parts_of
from benchmarks.trials import changed

BATCH_SAMPLES = 2**20
BINS = 15
Table = dict[str, dict[str, dict[str, dict[str, float]]]]  # set -> trial -> seed -> figure -> value


def trained(table: Mapping[str, Any], home: Path, dataset: Dataset, run: Path) -> Model:
    """The model of a run, trained unless it exists, or resumed if it was interrupted."""
    if not (run / "model" / "model.toml").exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        path = home / f".{run.name.replace(' ', '_')}.toml"  # beside the plan, since its paths are relative to it
        try:
            path.write_text(tomli_w.dumps(dict(table)))
            recipe = read_recipe(path)
        finally:
            path.unlink(missing_ok=True)
        for report in train(recipe, dataset, run, resume=(run / "recipe.toml").exists()):
            if isinstance(report, TrainReport):
                return report.model
    return find_model(run)


def scores_of(network: Network, dataset: Dataset, parts: Parts, trial: Mapping[str, Any]) -> NDArray[np.float64]:
    """(clips, labels): the mean scores of the test clips, averaged over the readings."""
    shifts, speeds = trial.get("shifts", 1), trial.get("speeds", [1.0])
    hop = network.geometry.hop_samples
    clips = [dataset.waveform(entry)[0] for entry in parts.test]
    readings = []
    for speed in speeds:
        for number in range(shifts):
            before = round(number * hop / shifts)
            readings.append([np.pad(change_speed(clip, speed), (before, 0)) for clip in clips])
    return np.mean([mean_scores(network, reading) for reading in readings], axis=0)  # type: ignore[no-any-return]


@torch.no_grad()
def mean_scores(network: Network, clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """(clips, labels): the mean scores of clips of any length."""
    hop, network = network.geometry.hop_samples, network.eval()
    rows = [-(-len(clip) // hop) for clip in clips]
    out = np.zeros((len(clips), network.spec.classes))
    for count in sorted(set(rows)):
        alike = [number for number, many in enumerate(rows) if many == count]
        most = max(1, BATCH_SAMPLES // (count * hop))
        for start in range(0, len(alike), most):
            numbers = alike[start : start + most]
            batch = torch.stack(
                [functional.pad(torch.from_numpy(clips[n]), (0, count * hop - len(clips[n]))) for n in numbers]
            )[:, None]
            batch = batch.expand(-1, network.spec.input.channels, -1)
            out[numbers] = network(network.extended(batch)).mean(dim=1).numpy()
    return out


def figures_of(scores: NDArray[np.float64], wanted: NDArray[np.int64]) -> dict[str, float]:
    """(clips, labels) scores, (clips,) labels -> figures."""
    from sklearn.metrics import balanced_accuracy_score, f1_score

    answers, sure = scores.argmax(axis=1), scores.max(axis=1)
    right = answers == wanted
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs(sure[place == b].sum() - right[place == b].sum()) for b in range(BINS)]
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(balanced_accuracy_score(wanted, answers)),
        "macro_f1": float(f1_score(wanted, answers, average="macro")),
        "calibration_error": float(sum(gaps) / len(wanted)),
    }


def judged(
    plan: Mapping[str, Any],
    trial: Mapping[str, Any],
    job: tuple[Path, int, int],
    dataset: Dataset,
    recipe: tuple[Mapping[str, Any], Path],
) -> dict[str, float]:
    """The figures of one trial. job: folder of the set's runs, clips per label, seed. recipe: table and folder."""
    (folder, clips, seed), (table, home) = job, recipe
    parts = parts_of(plan, dataset, clips, seed)
    changes = changed(changed(plan.get("change", {}), trial.get("change", {})), {"seed": seed})
    name, scores = trial.get("of", trial["name"]), []
    for member in range(trial.get("members", 1)):
        new = changed(changed(table, changes), {"seed": seed + 100 * member})
        run = (
            folder / f"{'base' if member == 0 and 'members' in trial else name}-{seed}{f'-{member}' if member else ''}"
        )
        model = trained(new, home, parts.train, run)
        scores.append(scores_of(load_network(model), dataset, parts, trial))
    columns = {label: column for column, label in enumerate(model.labels)}
    return figures_of(np.mean(scores, axis=0), np.array([columns[str(entry.label)] for entry in parts.test]))


def run(options: argparse.Namespace) -> tuple[Table, dict[str, str]]:
    """The figures of all requested or existing runs, and the name of the figure shown for each set."""
    home, plan = options.plan.parent.resolve(), read_toml(options.plan, RecipeError)
    for asked, known in ((options.set, names_of(plan["sets"])), (options.only, names_of(plan["trials"]))):
        if unknown := sorted(set(asked) - set(known)):
            raise UsageError(f'there is no "{unknown[0]}" in {options.plan}; there are {", ".join(known)}')
    found: Table = {}
    shown: dict[str, str] = {}
    for seed in options.seeds:  # seed by seed, so that all trials have the same number of seeds, or one more
        for one in plan["sets"]:
            asked = not options.show and (not options.set or one["name"] in options.set)
            dataset = dataset_of(one, options.output / f"{one['name']}.dataset", home) if asked else None
            for clips in one.get("clips", [0]):
                name = f"{one['name']} {clips}" if clips else one["name"]
                shown[name] = one["figure"]
                for trial in trials_of(plan["trials"], one):
                    kept = options.output / name.replace(" ", "-") / f"{trial['name']}-{seed}.json"
                    if dataset and not kept.exists() and (not options.only or trial["name"] in options.only):
                        job = (kept.parent, clips, seed)
                        figures = judged(one, trial, job, dataset, (plan["recipe"], home))
                        kept.write_text(json.dumps(figures) + "\n")
                        print(f"{name}, {kept.stem}: {json.dumps(figures)}", file=sys.stderr, flush=True)
                    if kept.exists():
                        figures = json.loads(kept.read_text())
                        found.setdefault(name, {}).setdefault(trial["name"], {})[str(seed)] = figures
    return found, shown


def trials_of(trials: Sequence[Mapping[str, Any]], one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The trials of a set: those without `sets` or with this set in it; only those that the set names, if any."""
    fit = [trial for trial in trials if one["name"] in trial.get("sets", [one["name"]])]
    return [trial for trial in fit if trial["name"] in one.get("trials", [trial["name"]])]


def to_markdown(found: Table, shown: Mapping[str, str]) -> str:
    """A row per trial, a column per set: the mean, and the mean and spread of the differences from the first trial."""
    sets = list(found)
    trials = list(dict.fromkeys(trial for by in found.values() for trial in by))
    lines = [
        "| trial | " + " | ".join(f"{name}: {shown[name].replace('_', '-')}" for name in sets) + " |",
        "|" + "---|" * (len(sets) + 1),
    ]
    for trial in trials:
        cells = [cell(found[name], trial, shown[name]) for name in sets]
        lines.append(f"| {trial} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(by: Mapping[str, Mapping[str, Mapping[str, float]]], trial: str, figure: str) -> str:
    """The mean over the seeds; the difference from the first trial on the same seeds, with standard deviation."""
    if trial not in by:
        return ""
    values = {seed: figures[figure] for seed, figures in by[trial].items()}
    text = f"{np.mean(list(values.values())):.3f}"
    first = by[next(iter(by))]
    steps = [value - first[seed][figure] for seed, value in values.items() if seed in first]
    if by[trial] is first or not steps:
        return text + (f" ± {np.std(list(values.values()), ddof=1):.3f}" if len(values) > 1 else "")
    spread = f" ± {np.std(steps, ddof=1):.3f}" if len(steps) > 1 else ""
    return f"{text} ({np.mean(steps):+.3f}{spread})"


def write_table(path: Path, text: str) -> None:
    """Write the table into a page, between its two marks."""
    page = path.read_text(encoding="utf-8")
    begin, end = "<!-- table -->\n", "<!-- end of table -->"
    if begin not in page or end not in page:
        raise UsageError(f"{path}: has no place for a table; add `{begin.strip()}` and `{end}`")
    before, after = page.split(begin)[0], page.split(end)[1]
    path.write_text(f"{before}{begin}{text}\n{end}{after}", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The same short training on few clips with one thing changed.")
    parser.add_argument("plan", type=Path, help="a TOML file: recipe, sets, trials")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--set", action="append", default=[], help="one set; may be repeated")
    parser.add_argument("--only", action="append", default=[], help="one trial; may be repeated")
    parser.add_argument("--show", action="store_true", help="train nothing, show existing results")
    parser.add_argument("--table", type=Path, help="write the table into this page")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        text = to_markdown(*run(options))
        if options.table:
            write_table(options.table, text)
    except AudiocnnError as error:
        print(f"small_data: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
