"""Hyperparameter search: trainings with different recipe values, which Optuna chooses from earlier results.

Each trial is a run in a folder. Its result is reported epoch by epoch, and a trial that falls behind the others is
pruned. The first trial is the unchanged recipe. An interrupted trial continues in its folder, under another number.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import tomli_w

from audiocnn.data.dataset import Dataset
from audiocnn.errors import AudiocnnError, RecipeError, UsageError
from audiocnn.files import is_file_name, write_whole
from audiocnn.recipe.recipe import RECIPE_FILE, Recipe, read_recipe
from audiocnn.recipe.search_space import MIXED, Space, default_space, from_param, get_value, set_value, to_param
from audiocnn.toml import repr_value
from audiocnn.training.batches import are_clips, select_entries
from audiocnn.training.events import EpochReport, StepReport, StopReport, TrainReport
from audiocnn.training.interrupt import StopSignals
from audiocnn.training.log import mark_pruned, read_log
from audiocnn.training.study import Study
from audiocnn.training.train import train

if TYPE_CHECKING:
    import optuna

BEST_RECIPE, RECIPES = "best.toml", "recipes"  # in the folder of a search


@dataclass(frozen=True)
class Search:
    """table: the complete recipe as TOML values. folder: where the trials are."""

    table: Mapping[str, Any]
    space: Space
    dataset: Dataset
    folder: Path
    device: str

    def recipe(self, params: Mapping[str, Any], path: Path) -> Recipe:
        """The recipe with these values of a study, written to a file. RecipeError or SpecError if it is invalid."""
        return self.changed(
            {parameter.key: from_param(parameter, params[parameter.key]) for parameter in self.space}, path
        )

    def changed(self, values: Mapping[str, Any], path: Path) -> Recipe:
        """The same with recipe values, for some keys or all."""
        table = copy.deepcopy(dict(self.table))
        for key, value in values.items():
            set_value(table, key, value, "[tune]")
        write_whole(path, tomli_w.dumps(table).encode())
        return read_recipe(path)

    @property
    def facts(self) -> dict[str, Any]:
        """A digest of everything that comparable results must share, and the recipe's own values, if the search space
        includes them."""
        entries = [(entry.filename, entry.samples, entry.labels, entry.split) for entry in self.dataset.entries]
        space = [(parameter.key, parameter.to_dict()) for parameter in self.space]
        content = json.dumps([self.table, space, entries], sort_keys=True, default=str)
        digest = hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()
        values = {parameter.key: (parameter, get_value(self.table, parameter.key)) for parameter in self.space}
        params = {key: to_param(value) for key, (parameter, value) in values.items() if parameter.holds(value)}
        return {"digest": digest, "params": params}


@dataclass(frozen=True)
class Trial:
    """A trial. state: complete, pruned, failed, running, waiting, or cut off. value: the best result of its epochs."""

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    folder: Path | None
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        value = None if self.value is None else round(self.value, 6)
        return {
            "schema": 1, "type": "trial", "trial": self.number, "state": self.state,
            "figure": self.facts.get("figure"), "value": value, "params": self.params,
            "epochs": self.facts.get("epochs", 0), "seconds": round(self.facts.get("seconds", 0.0), 1),
            "parameters": self.facts.get("parameters"), "folder": str(self.folder) if self.folder else None,
            **({"error": self.facts["error"]} if "error" in self.facts else {}),
        }  # fmt: skip


@dataclass(frozen=True)
class TrialBegun:
    """again: continues an interrupted trial."""

    number: int
    params: dict[str, Any]
    again: bool


def make_search(recipe: Recipe, space: Space, dataset: Dataset, folder: Path, device: str) -> Search:
    """RecipeError, before time is spent, if trials could not be compared, or a key or value is invalid."""
    clips = are_clips(select_entries(recipe, dataset))
    recipe = recipe.with_defaults(clips)
    table = recipe.to_table()
    space = space or default_space(table)
    mixed = [parameter.key for parameter in space if parameter.key.startswith(MIXED)]
    if mixed and not clips and recipe.evaluate.conditions is None:
        fact = f'[tune]: "{mixed[0]}" changes the mixtures that trials are judged by'
        raise RecipeError(f"{fact}; set [evaluate] conditions, or remove the key")
    if recipe.train.validation_share == 0 and recipe.evaluate.conditions is None:
        raise RecipeError("[train] validation_share = 0: there is no validation part to judge trials by; set a share")
    for parameter in space:
        set_value(copy.deepcopy(table), parameter.key, parameter.first, "[tune]")
    wanted = Search(table, space, dataset, folder, device)
    check_values(wanted)
    return wanted


def check_values(wanted: Search) -> None:
    """RecipeError for an invalid value. Each choice, or both ends of a range, is tried on its own."""
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as scratch:
        path = Path(scratch) / "recipe.toml"
        for parameter in wanted.space:
            for value in parameter.ends:
                try:
                    wanted.changed({parameter.key: value}, path)
                except AudiocnnError as problem:
                    said = str(problem).replace(f"{path}: ", "")
                    raise RecipeError(f'[tune]: "{parameter.key}" cannot be {repr_value(value)}: {said}') from None


def search(
    wanted: Search, study: Study, trials: int, stop_signals: StopSignals
) -> Iterator[TrialBegun | StepReport | EpochReport | StopReport | Trial]:
    """Run trials until the study has this many. Each is reported at its start, during its course and at its end. A
    trial that cannot be trained is reported as failed, and the others continue."""
    study.requeue_cut_off()
    while True:
        with study.next_trial(trials) as trial:
            if trial is None:
                return
            yield from run_trial(wanted, study, trial, stop_signals)
            if stop_signals.requested:
                return
        write_best(wanted, study)


def run_trial(
    wanted: Search, study: Study, trial: optuna.Trial, stop_signals: StopSignals
) -> Iterator[TrialBegun | StepReport | EpochReport | StopReport | Trial]:
    """Train with the values of a trial, and report the result to the study."""
    from optuna.trial import TrialState

    name = trial.user_attrs.get("folder", f"trial-{trial.number:04d}")
    if not is_file_name(name):
        raise UsageError(f"{wanted.folder}: its study uses a folder elsewhere ({name!r}); give another with --study")
    trial.set_user_attr("folder", name)
    params, run = study.draw_values(trial), wanted.folder / name
    again = (run / RECIPE_FILE).exists()
    yield TrialBegun(trial.number, params, again)
    value, pruned = None, False
    try:
        recipe = wanted.recipe(params, wanted.folder / RECIPES / f"{name}.toml")
        for row in read_log(run):
            if _is_finite(row["figure"]):
                trial.report(row["figure"], row["epoch"])
        reports: Any = train(recipe, wanted.dataset, run, wanted.device, again, stop_signals)
        with closing(reports):
            for report in reports:
                if isinstance(report, TrainReport):
                    value = report.figure
                    if not _is_finite(value):
                        raise AudiocnnError(f"{run}: no epoch has a finite result; lower the learning rate")
                elif isinstance(report, EpochReport):
                    yield report
                    pruned = report_figure(trial, report)
                elif isinstance(report, StepReport | StopReport):
                    yield report
                if pruned or isinstance(report, StopReport):
                    break
    except AudiocnnError as problem:
        trial.set_user_attr("error", str(problem))
        study.study.tell(trial, state=TrialState.FAIL)
    else:
        if value is None and not pruned:
            return  # stopped: the trial continues with the study
        store_outcome(trial, run)
        if pruned:
            mark_pruned(run)
        study.study.tell(trial, value, TrialState.PRUNED if pruned else TrialState.COMPLETE)
    yield next(one for one in list_trials(wanted, study) if one.number == trial.number)


def _is_finite(figure: float | None) -> TypeGuard[float]:
    return figure is not None and math.isfinite(figure)


def report_figure(trial: optuna.Trial, report: EpochReport) -> bool:
    """Report the result of an epoch if it is finite. Returns whether to prune the trial, which is never done at the
    last epoch."""
    if not _is_finite(report.figure):
        return False
    trial.report(report.figure, report.epoch)
    return report.epoch < report.epochs and trial.should_prune()


def store_outcome(trial: optuna.Trial, run: Path) -> None:
    """Store in the study what the table of trials shows."""
    from audiocnn.training.log import read_facts

    rows = read_log(run)
    trial.set_user_attr("epochs", rows[-1]["epoch"])
    trial.set_user_attr("figure", rows[-1]["figure_name"])
    trial.set_user_attr("seconds", sum(row["seconds"] for row in rows))
    trial.set_user_attr("parameters", read_facts(run).get("parameters"))


def list_trials(wanted: Search, study: Study) -> list[Trial]:
    """All trials by number, without interrupted ones that were resumed under another number."""
    names = {"FAIL": "failed"}
    cut_off = set(study.cut_off())
    found = []
    for one in study.trials():
        if one.number in cut_off:
            continue
        state = names.get(one.state.name, one.state.name.lower())
        value = one.value if one.state.name == "COMPLETE" else max(one.intermediate_values.values(), default=None)
        folder = one.user_attrs.get("folder")
        place = wanted.folder / folder if folder else None
        found.append(Trial(one.number, state, value, dict(one.params), place, dict(one.user_attrs)))
    return found


def best_trial(wanted: Search, study: Study) -> Trial | None:
    """The complete trial with the best result, the first of equals. None if there is none."""
    complete = [one for one in list_trials(wanted, study) if one.state == "complete" and one.value is not None]
    return max(complete, key=lambda one: (one.value or 0.0, -one.number), default=None)


def write_best(wanted: Search, study: Study) -> Path | None:
    best = best_trial(wanted, study)
    if best is None or best.folder is None:
        return None
    path = wanted.folder / BEST_RECIPE
    write_whole(path, (wanted.folder / RECIPES / f"{best.folder.name}.toml").read_bytes())
    return path
