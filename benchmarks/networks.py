"""Compares the cost and accuracy of all shipped networks on the same task.

python -m benchmarks.networks [--spec NAME ...] [--seeds 3] [--clips N] [--results FOLDER]
    [--table docs/background/networks.md]

Each spec is trained with the recipe `benchmarks/networks.toml`: ten spoken digits, the same number of clips and the
same batches. Only the spec, including its `[train]`, and the seed change. The weights that were best on clips held out
of the training part are evaluated on the 300 clips of the split "dev", which take no part in training. The answer is
the label with the highest mean score over the clip.

- A spec is skipped if, by the arithmetic of `audiocnn describe`, a training takes longer than `--budget` minutes on two
  cores. No weights are made for this estimate.
- Each training runs in a separate process. If one fails, the table gives the reason, and the others continue.
- If the command is killed, running it again resumes. Results are stored in `results.jsonl`, one line per training. A
  training is repeated if the spec (except its summary) or the recipe has changed, or if it failed.
- With `--keep-rows`, specs that were not trained here keep their rows in the page, which lists them.
- `RESULTS/SPEC/seed0` keeps the model of the first seed, for `audiocnn filters` and `audiocnn explain`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from audiocnn.errors import AudiocnnError, SpecError, UsageError, did_you_mean
from audiocnn.model.model import spec_folders
from audiocnn.recipe.recipe import Recipe, read_recipe, to_toml_values
from audiocnn.spec.describe import Description, describe
from audiocnn.spec.spec import Spec, load_spec
from audiocnn.units import clock
from benchmarks.networks_runs import DIGITS, Job, Result, read_results, train_apart, write_result
from benchmarks.networks_table import Facts, Standing, read_earlier, to_markdown, write_page

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "benchmarks" / "networks.toml"

# Speed of two cores with bfloat16, within a factor of two: enough to distinguish minutes from hours.
MULTIPLY_ADDS_PER_SECOND = 150e9
PASSES = 3  # forward, and backward for the inputs and for the weights
SECONDS_PER_WEIGHT_AND_STEP = 6e-9
SECONDS_PER_CLIP = 5e-4  # for any network


@dataclass(frozen=True)
class Settings:
    """What is compared, and where results are stored. `budget_seconds`: the estimated time of one training."""

    recipe: Recipe
    results: Path
    seeds: int = 3
    budget_seconds: float = 120.0

    @property
    def clips(self) -> int:
        """The number of clips that each network sees."""
        return self.recipe.train.epochs * self.recipe.train.examples_per_epoch

    @property
    def log(self) -> Path:
        """A line for one training."""
        return self.results / "results.jsonl"


@dataclass(frozen=True)
class Candidate:
    """A spec file with one label per digit; if it cannot be read, `spec` is None and `problem` has the reason."""

    name: str
    spec: Spec | None
    problem: str = ""

    @cached_property
    def description(self) -> Description:
        """The description by `audiocnn describe`."""
        assert self.spec is not None
        return describe(self.spec)

    @property
    def facts(self) -> Facts:
        """The facts in the table that need no training."""
        if self.spec is None:
            return Facts(self.name)
        found, settings = self.description, self.spec.input
        geometry, per_second = found.geometry, found.multiply_adds_per_second
        assert geometry is not None and per_second is not None
        seen = settings.features + (f" x {settings.channels}" if settings.channels > 1 else "")
        axes = "samples" if settings.features == "waveform" and self.spec.dims == 1 else f"{seen}, {self.spec.dims}-D"
        return Facts(self.name, axes, found.parameters, geometry.window_seconds, geometry.hop_seconds, per_second)


def multiply_adds_per_clip(description: Description, clip_seconds: float) -> float:
    """Multiply-adds of a dense pass over a clip: the first window, and the addition of each further hop."""
    geometry, per_second = description.geometry, description.multiply_adds_per_second
    assert geometry is not None and per_second is not None
    return description.multiply_adds + per_second * max(0.0, clip_seconds - geometry.hop_seconds)


def expected_seconds(candidate: Candidate, recipe: Recipe) -> float:
    """The estimated time of one training on two cores."""
    settings = recipe.train
    clips = settings.epochs * settings.examples_per_epoch
    cost = multiply_adds_per_clip(candidate.description, recipe.mix.seconds)
    steps = clips / settings.batch_size
    weights = candidate.description.parameters
    a_clip = SECONDS_PER_CLIP + PASSES * cost / MULTIPLY_ADDS_PER_SECOND
    return clips * a_clip + steps * weights * SECONDS_PER_WEIGHT_AND_STEP


def left_out(candidate: Candidate, settings: Settings) -> str:
    """The reason why a spec is skipped, or nothing."""
    if candidate.spec is not None and candidate.spec.localises:
        return "says where events begin and end, not what a clip is"
    if expected_seconds(candidate, settings.recipe) <= settings.budget_seconds:
        return ""
    cost = multiply_adds_per_clip(candidate.description, settings.recipe.mix.seconds)
    return f"too large for two cores: {cost / 1e9:.2g} G multiply-adds a clip"


def find_candidates(classes: int) -> list[Candidate]:
    """All shipped specs, by name."""
    found = {}
    for path in sorted(path for folder in spec_folders() for path in folder.glob("*.toml")):
        try:
            found[path.stem] = Candidate(path.stem, load_spec(path, classes))
        except SpecError as problem:
            found[path.stem] = Candidate(path.stem, None, str(problem))
    return list(found.values())


def recipe_for(recipe: Recipe, spec: Spec, seed: int) -> Recipe:
    """The recipe with another network, its sample rate and name, and a seed."""
    data = recipe.data and dataclasses.replace(recipe.data, sample_rate=spec.input.sample_rate)
    return dataclasses.replace(recipe, name=spec.name, spec=spec, data=data, seed=seed)


def digest_of(recipe: Recipe) -> str:
    """Of everything that determines the result, without the place of the recordings and descriptive texts."""
    table = recipe.to_table() | {"card": "", "name": "", "seed": 0}
    if recipe.data:
        table["data"] = to_toml_values(
            dataclasses.asdict(recipe.data) | dict.fromkeys(("source", "recordings", "where"))
        )
    table["spec"] = {key: value for key, value in recipe.spec.table.items() if key != "summary"}
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]


def find_jobs(candidates: Sequence[Candidate], settings: Settings) -> list[Job]:
    """The missing trainings: the first seed of all specs before the second, the quick ones first."""
    done = read_results(settings.log)
    jobs = []
    for candidate in candidates:
        if candidate.spec is None or left_out(candidate, settings):
            continue
        for seed in range(settings.seeds):
            recipe = recipe_for(settings.recipe, candidate.spec, seed)
            job = Job(recipe, digest_of(recipe), settings.results, expected_seconds(candidate, recipe))
            before = done.get((candidate.name, job.digest, seed))
            if before is None or before.reason:
                jobs.append(job)
    return sorted(jobs, key=lambda job: (job.recipe.seed, job.expected_seconds, job.recipe.name))


def run_jobs(jobs: Sequence[Job], settings: Settings, say: Callable[[str], None]) -> Iterator[Result]:
    """Run them one after another; each result is written before the next begins."""
    spent = expected = 0.0
    for number, job in enumerate(jobs, 1):
        begin = time.monotonic()
        result = train_apart(job)
        write_result(settings.log, result)
        seconds = time.monotonic() - begin
        spent, expected = spent + seconds, expected + job.expected_seconds
        left = sum(later.expected_seconds for later in jobs[number:]) * spent / expected
        said = (
            result.reason or f"accuracy {100 * (result.accuracy or 0.0):.1f} %, {result.clips_per_second:.0f} clips/s"
        )
        say(
            f"[{number}/{len(jobs)}] {job.recipe.name}, seed {job.recipe.seed}: {said}, {clock(seconds)};"
            f" {clock(left)} left"
        )
        yield result


def standings(candidates: Sequence[Candidate], settings: Settings) -> list[Standing]:
    """A row per spec: its cost, and its results so far or the reason why there are none."""
    done = read_results(settings.log)
    found = []
    for candidate in candidates:
        results: list[Result] = []
        reason = candidate.problem
        if candidate.spec is not None:
            digest = digest_of(recipe_for(settings.recipe, candidate.spec, 0))
            mine = [done.get((candidate.name, digest, seed)) for seed in range(settings.seeds)]
            results = [result for result in mine if result is not None]
            failed = next((result.reason for result in results if result.reason), "")
            # A spec that was trained with another budget is not too large.
            reason = f"failed: {failed}" if failed else "" if results else left_out(candidate, settings)
        found.append(Standing(candidate.facts, [result for result in results if not result.reason], reason))
    return found


def with_earlier(rows: Sequence[Standing], page: Path) -> list[Standing]:
    """The rows; those of specs that were not trained here are taken from the page."""
    earlier, found = read_earlier(page), []
    for row in rows:
        old = None if row.results or row.reason else earlier.get(row.facts.name)
        facts = dataclasses.replace(row.facts, multiply_adds_per_second=old.multiply_adds_per_second) if old else None
        found.append(dataclasses.replace(row, facts=facts, earlier=old) if facts else row)
    return found


def plan(candidates: Sequence[Candidate], jobs: Sequence[Job], settings: Settings) -> str:
    """What would be trained, for `--list`."""
    lines = []
    for candidate in candidates:
        if candidate.spec is None:
            lines.append(f"{candidate.name:20} {candidate.problem}")
            continue
        mine = [job for job in jobs if job.recipe.name == candidate.name]
        cost = multiply_adds_per_clip(candidate.description, settings.recipe.mix.seconds)
        what = left_out(candidate, settings) or f"{len(mine)} of {settings.seeds} to train"
        seconds = expected_seconds(candidate, settings.recipe)
        lines.append(f"{candidate.name:20} {cost / 1e6:8.1f} M a clip  {clock(seconds):>8} a training  {what}")
    lines.append(
        f"{len(jobs)} trainings of {settings.clips} clips, about {clock(sum(j.expected_seconds for j in jobs))}"
    )
    return "\n".join(lines)


def chosen(candidates: Sequence[Candidate], names: Sequence[str] | None) -> list[Candidate]:
    """The named specs, or all. Raises UsageError for an unknown name."""
    known = {candidate.name: candidate for candidate in candidates}
    for name in names or ():
        if name not in known:
            raise UsageError(f'there is no spec "{name}"; {did_you_mean(name, known)}')
    return [known[name] for name in names or known]


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings, with the recipe for the requested data and number of clips."""
    recipe = read_recipe(options.recipe)
    if recipe.data is None:
        raise UsageError(f"{options.recipe}: has no [data]; name a recipe that has")
    if options.data:
        table = recipe.data.recordings and options.data / recipe.data.recordings.name
        recipe = dataclasses.replace(
            recipe, data=dataclasses.replace(recipe.data, source=options.data, recordings=table)
        )
    if options.clips:
        train = dataclasses.replace(recipe.train, examples_per_epoch=max(1, options.clips // recipe.train.epochs))
        recipe = dataclasses.replace(recipe, train=train)
    # With early stopping, a network would see fewer clips than the others.
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, patience=recipe.train.epochs))
    return Settings(recipe, options.results, options.seeds, 60 * options.budget)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description="Every network that ships, trained on the same digits.")
    parser.add_argument("--spec", nargs="+", metavar="NAME", help="train only these")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each spec")
    parser.add_argument("--clips", type=int, help="clips that each training sees [default: as in the recipe]")
    minutes = Settings.budget_seconds / 60
    parser.add_argument("--budget", type=float, default=minutes, help="most minutes of a training")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--data", type=Path, help="folder of the recordings [default: as in the recipe]")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "networks", help="folder of the results")
    parser.add_argument(
        "--table", type=Path, metavar="PAGE", help="write the table into this page, a picture beside it"
    )
    parser.add_argument("--keep-rows", action="store_true", help="keep the rows of specs that were not trained here")
    parser.add_argument("--no-training", action="store_true", help="only write the table from existing results")
    parser.add_argument("--list", action="store_true", help="show what would be trained")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        settings = settings_of(options)
        candidates = find_candidates(len(DIGITS))
        jobs = find_jobs(chosen(candidates, options.spec), settings)
        if options.list:
            print(plan(chosen(candidates, options.spec), jobs, settings))
            return 0
        failed = 0
        if not options.no_training:
            failed = sum(bool(r.reason) for r in run_jobs(jobs, settings, lambda line: print(line, file=sys.stderr)))
        rows = standings(candidates, settings)
        if options.table:
            rows = with_earlier(rows, options.table) if options.keep_rows else rows
            write_page(options.table, rows, settings.clips)
        else:
            print(to_markdown(rows, settings.clips))
    except AudiocnnError as error:
        print(f"networks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("networks: interrupted; run the same command again to resume", file=sys.stderr)
        return 130
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
