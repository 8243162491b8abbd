"""Every network that ships, on the same task: how much it costs, and how often it is right.

python -m benchmarks.networks [--spec NAME ...] [--seeds 3] [--clips N] [--results FOLDER]
    [--table docs/background/networks.md]

Each spec is trained by one recipe, `benchmarks/networks.toml`: ten spoken digits, the same number of clips seen, the
same batches; only the spec, with what its `[train]` says, and the seed change. The accuracy is that of the weights
which were best on clips held out of the training part, on the 300 clips of the split "dev", which take no part in
training: the answer is the label with the highest mean score over the clip.

- A spec is left out where the arithmetic of `audiocnn describe` says that one training takes longer than `--budget`
  minutes on two cores. No weight is made to find that out.
- Each training runs in a process of its own: one that fails has its reason in the table, and the others go on.
- Killed at any moment, the same command goes on. What is done stands in `results.jsonl`, one line a training. It is
  done again where the spec (but for its summary) or the recipe says something else now, and where it failed.
- With `--keep-rows` what was not trained here keeps its row in the page, which then says so.
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

# What two cores do whose processor knows bfloat16, within a factor of two: enough to tell minutes from hours.
MULTIPLY_ADDS_PER_SECOND = 150e9
PASSES = 3  # forward, and backward to the inputs and to the weights
SECONDS_PER_WEIGHT_AND_STEP = 6e-9
SECONDS_PER_CLIP = 5e-4  # whatever the network


@dataclass(frozen=True)
class Settings:
    """What is compared, and where it is kept. `budget_seconds`: of one training, by arithmetic."""

    recipe: Recipe
    results: Path
    seeds: int = 3
    budget_seconds: float = 120.0

    @property
    def clips(self) -> int:
        """How many each network sees."""
        return self.recipe.train.epochs * self.recipe.train.examples_per_epoch

    @property
    def log(self) -> Path:
        """One line a training."""
        return self.results / "results.jsonl"


@dataclass(frozen=True)
class Candidate:
    """A spec file, with as many labels as there are digits; `spec` is None where it cannot be read: `problem`."""

    name: str
    spec: Spec | None
    problem: str = ""

    @cached_property
    def description(self) -> Description:
        """What `audiocnn describe` says."""
        assert self.spec is not None
        return describe(self.spec)

    @property
    def facts(self) -> Facts:
        """What the table says before anything is trained."""
        if self.spec is None:
            return Facts(self.name)
        found, settings = self.description, self.spec.input
        geometry, per_second = found.geometry, found.multiply_adds_per_second
        assert geometry is not None and per_second is not None
        seen = settings.features + (f" x {settings.channels}" if settings.channels > 1 else "")
        axes = "samples" if settings.features == "waveform" and self.spec.dims == 1 else f"{seen}, {self.spec.dims}-D"
        return Facts(self.name, axes, found.parameters, geometry.window_seconds, geometry.hop_seconds, per_second)


def multiply_adds_per_clip(description: Description, clip_seconds: float) -> float:
    """Of one pass over a clip: the first window, and what each further hop adds in the dense pass."""
    geometry, per_second = description.geometry, description.multiply_adds_per_second
    assert geometry is not None and per_second is not None
    return description.multiply_adds + per_second * max(0.0, clip_seconds - geometry.hop_seconds)


def expected_seconds(candidate: Candidate, recipe: Recipe) -> float:
    """How long one training takes on two cores, about."""
    settings = recipe.train
    clips = settings.epochs * settings.examples_per_epoch
    cost = multiply_adds_per_clip(candidate.description, recipe.mix.seconds)
    steps = clips / settings.batch_size
    weights = candidate.description.parameters
    a_clip = SECONDS_PER_CLIP + PASSES * cost / MULTIPLY_ADDS_PER_SECOND
    return clips * a_clip + steps * weights * SECONDS_PER_WEIGHT_AND_STEP


def left_out(candidate: Candidate, settings: Settings) -> str:
    """Why a spec is left out, or nothing."""
    if candidate.spec is not None and candidate.spec.localises:
        return "says where events begin and end, not what a clip is"
    if expected_seconds(candidate, settings.recipe) <= settings.budget_seconds:
        return ""
    cost = multiply_adds_per_clip(candidate.description, settings.recipe.mix.seconds)
    return f"too large for two cores: {cost / 1e9:.2g} G multiply-adds a clip"


def find_candidates(classes: int) -> list[Candidate]:
    """Every spec that ships, by name."""
    found = {}
    for path in sorted(path for folder in spec_folders() for path in folder.glob("*.toml")):
        try:
            found[path.stem] = Candidate(path.stem, load_spec(path, classes))
        except SpecError as problem:
            found[path.stem] = Candidate(path.stem, None, str(problem))
    return list(found.values())


def recipe_for(recipe: Recipe, spec: Spec, seed: int) -> Recipe:
    """The recipe with another network: its sample rate, its name, and a seed."""
    data = recipe.data and dataclasses.replace(recipe.data, sample_rate=spec.input.sample_rate)
    return dataclasses.replace(recipe, name=spec.name, spec=spec, data=data, seed=seed)


def digest_of(recipe: Recipe) -> str:
    """Of all that decides what comes out: not where the recordings lie, nor words about it."""
    table = recipe.to_table() | {"card": "", "name": "", "seed": 0}
    if recipe.data:
        table["data"] = to_toml_values(
            dataclasses.asdict(recipe.data) | dict.fromkeys(("source", "recordings", "where"))
        )
    table["spec"] = {key: value for key, value in recipe.spec.table.items() if key != "summary"}
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]


def find_jobs(candidates: Sequence[Candidate], settings: Settings) -> list[Job]:
    """What is left to do: the first seed of all before the second, the quick ones first."""
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
    """Do them one after another; each result is written down before the next begins."""
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
    """A row a spec: what it costs, what came out so far, or why nothing did."""
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
            # What was trained all the same, under another budget, is not too large.
            reason = f"failed: {failed}" if failed else "" if results else left_out(candidate, settings)
        found.append(Standing(candidate.facts, [result for result in results if not result.reason], reason))
    return found


def with_earlier(rows: Sequence[Standing], page: Path) -> list[Standing]:
    """The rows, with what the page has of those that were not trained here."""
    earlier, found = read_earlier(page), []
    for row in rows:
        old = None if row.results or row.reason else earlier.get(row.facts.name)
        facts = dataclasses.replace(row.facts, multiply_adds_per_second=old.multiply_adds_per_second) if old else None
        found.append(dataclasses.replace(row, facts=facts, earlier=old) if facts else row)
    return found


def plan(candidates: Sequence[Candidate], jobs: Sequence[Job], settings: Settings) -> str:
    """What would be done, for `--list`."""
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
    """Those that were named, or all. Raises UsageError for a name that no spec has."""
    known = {candidate.name: candidate for candidate in candidates}
    for name in names or ():
        if name not in known:
            raise UsageError(f'there is no spec "{name}"; {did_you_mean(name, known)}')
    return [known[name] for name in names or known]


def settings_of(options: argparse.Namespace) -> Settings:
    """The recipe with the data and the number of clips that were asked for."""
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
    # Out of patience, a network would have seen fewer clips than the others.
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, patience=recipe.train.epochs))
    return Settings(recipe, options.results, options.seeds, 60 * options.budget)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description="Every network that ships, trained on the same digits.")
    parser.add_argument("--spec", nargs="+", metavar="NAME", help="train only these")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each spec")
    parser.add_argument("--clips", type=int, help="that each training sees [default: what the recipe says]")
    minutes = Settings.budget_seconds / 60
    parser.add_argument("--budget", type=float, default=minutes, help="minutes of a training; larger ones are left out")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--data", type=Path, help="where the recordings are [default: what the recipe says]")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "networks", help="what is done is kept here")
    parser.add_argument(
        "--table", type=Path, metavar="PAGE", help="a page to write the table into, a picture beside it"
    )
    parser.add_argument("--keep-rows", action="store_true", help="of the page, where a spec was not trained here")
    parser.add_argument("--no-training", action="store_true", help="only the table, of what is done")
    parser.add_argument("--list", action="store_true", help="say what would be trained, and end")
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
        print("networks: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
