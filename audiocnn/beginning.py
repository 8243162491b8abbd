"""Whether a run can begin, or go on: found out before any time is spent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from audiocnn.checkpoint import LAST, clear_temporaries, progress_in
from audiocnn.errors import AudiocnnError
from audiocnn.model import Model
from audiocnn.recipe import AUTO, KEPT, Recipe, check_run, read_recipe
from audiocnn.transfer import check_transfer


def begun(recipe: Recipe, run: Path, resume: bool) -> tuple[Recipe, bool]:
    """The recipe, with the batch size that the run has already if it was left open; and whether there is a checkpoint
    to go on from. AudiocnnError: the run is not the one to go on with."""
    if recipe.train.batch_size == AUTO and resume and (run / KEPT).exists():
        size = read_recipe(run / KEPT).train.batch_size
        recipe = replace(recipe, train=replace(recipe.train, batch_size=size))
    clear_temporaries(run)
    clear_temporaries(run / LAST.parent)
    check_run(recipe, run, resume)
    return recipe, resume and (run / LAST).exists()


def check_division(division: str, run: Path, resume: bool) -> None:
    """AudiocnnError where a run that has learned something would go on with other recordings, labels or parts: it would
    be tested on what it learned from. A run of a version that kept no digest goes on."""
    before = progress_in(run / LAST).get("division") if resume and (run / LAST).exists() else None
    if before and before != division:
        what = "the recordings, their labels or their parts are not those of this run"
        raise AudiocnnError(f"{run}: {what}; begin anew with --force instead of --resume, or name another -o")


def check_source(recipe: Recipe, run: Path, resume: bool) -> Model | None:
    """The model to begin from, if there is one that fits; none for a run that has weights of its own to go on with."""
    return None if recipe.transfer is None or (resume and (run / LAST).exists()) else check_transfer(recipe)
