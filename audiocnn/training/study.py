"""The study of a search, in an SQLite file that several processes may share: the trials so far, and the next one.

A process holds a lock for the trial that it trains. A trial without a lock was interrupted, and is queued again when
the study is resumed. `audiocnn.training.search` trains the trials.
"""

from __future__ import annotations

import sqlite3
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.errors import AudiocnnError, UsageError
from audiocnn.files import is_locked, locked
from audiocnn.packages import check_packages
from audiocnn.recipe.search_space import Parameter, Space, to_param

if TYPE_CHECKING:
    import optuna

NAME = "audiocnn"
LOCK_SECONDS = 120.0
STARTUP_TRIALS = 5  # before trials are pruned, and before values are chosen from earlier results
REDUCTION = 3
LOCKS = ".at"  # in the folder of a search: empty folders used as locks
STUDY_LOCK = f"{LOCKS}/study"
SEED_STEP = 100_003


class Study:
    def __init__(self, study: optuna.Study, folder: Path, space: Space, seed: int) -> None:
        self.study, self.folder, self.space, self.seed = study, folder, space, seed

    @contextmanager
    def next_trial(self, most: int) -> Iterator[optuna.Trial | None]:
        """The next trial, locked while it runs. None if enough trials have ended or are running."""
        with ExitStack() as stack:
            with exclusive(self.folder / STUDY_LOCK):
                trial = self.study.ask() if self.count_trials() < most else None
                if trial is not None:
                    stack.enter_context(locked(self.lock_path(trial.number)))
            yield trial

    def count_trials(self) -> int:
        """Number of trials that ended by themselves, or are running."""
        import optuna

        counted = [trial for trial in self.trials() if trial.state != optuna.trial.TrialState.WAITING]
        return len(counted) - len(self.cut_off())

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def cut_off(self) -> list[int]:
        """The numbers of interrupted trials that were continued under another number."""
        return list(self.study.user_attrs.get("cut_off", []))

    def lock_path(self, number: int) -> Path:
        return self.folder / LOCKS / str(number)

    def requeue_cut_off(self) -> int:
        """Queue interrupted trials again (after a signal, a kill or a power cut). Returns their number."""
        import optuna

        found = 0
        with exclusive(self.folder / STUDY_LOCK):
            for trial in self.trials():
                if trial.state == optuna.trial.TrialState.RUNNING and not is_locked(self.lock_path(trial.number)):
                    self.study.set_user_attr("cut_off", [*self.cut_off(), trial.number])
                    self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                    kept = {"folder": trial.user_attrs["folder"]} if "folder" in trial.user_attrs else {}
                    self.study.enqueue_trial(trial.params, user_attrs=kept)
                    found += 1
        return found

    def draw_values(self, trial: optuna.Trial) -> dict[str, Any]:
        """The values of a trial, by key, as the study stores them. Draws depend on its number, so that a search in one
        process is reproducible."""
        import optuna

        seed = (self.seed * SEED_STEP + trial.number) % 2**32
        self.study.sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, constant_liar=True, seed=seed)
        return {parameter.key: suggest_value(trial, parameter) for parameter in self.space}

    def importances(self) -> dict[str, float]:
        """The share of the variance of results due to each key (fANOVA, Hutter et al. 2014), largest first. Empty if
        there are too few trials."""
        import optuna

        complete = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        if len(complete) < STARTUP_TRIALS or len({trial.value for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.seed)
        try:
            found = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        except (ValueError, RuntimeError):  # values that never varied
            return {}
        return dict(found)


def suggest_value(trial: optuna.Trial, parameter: Parameter) -> Any:
    if parameter.choices:
        return trial.suggest_categorical(parameter.key, [to_param(choice) for choice in parameter.choices])
    if parameter.whole:
        apart = int(parameter.step) if parameter.step else 1
        return trial.suggest_int(parameter.key, int(parameter.low), int(parameter.high), step=apart, log=parameter.log)
    step = None if parameter.step is None else float(parameter.step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the last step ending before "high"
        return trial.suggest_float(
            parameter.key, float(parameter.low), float(parameter.high), step=step, log=parameter.log
        )


def open_study(path: Path, pruner: str, epochs: int, facts: Mapping[str, Any], resume: bool) -> optuna.Study:
    """The study in an SQLite file, with `facts`: a digest of what makes its results comparable, and the values of the
    first trial. UsageError: it exists and is not to be resumed, belongs to something else, or is not a study."""
    check_packages("a search", ["optuna"])
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if path.exists() and not resume:
        raise UsageError(f"{path}: already contains a study; continue with --resume, or choose another -o or --study")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Several processes write, one at a time. A name with ? or { in it does not work in a URL.
        connect = partial(sqlite3.connect, path, timeout=LOCK_SECONDS, check_same_thread=False)
        storage = optuna.storages.RDBStorage(f"sqlite:///{NAME}", engine_kwargs={"creator": connect})
        study = optuna.create_study(
            storage=storage,
            study_name=NAME,
            direction="maximize",
            load_if_exists=True,
            pruner=make_pruner(pruner, epochs),
        )
        digest = study.user_attrs.get("digest")
        if digest is None:
            study.set_user_attr("digest", facts["digest"])
            study.enqueue_trial(facts["params"])
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as problem:
        said = " ".join(str(problem).split())[:120]
        raise UsageError(f"{path}: not a readable study ({said}); give another with --study") from None
    if digest not in (None, facts["digest"]):
        raise UsageError(f"{path}: is the study of another recipe or other data; choose another -o or --study")
    return study


def make_pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    """Ends trials early: below the median of the others at the same epoch, or by Hyperband (Li et al. 2018)."""
    import optuna

    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=max(1, epochs // 5))
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(1, epochs, REDUCTION)
    return optuna.pruners.NopPruner()


@contextmanager
def exclusive(place: Path) -> Iterator[None]:
    """One process at a time; others wait."""
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(place))
                break
            except AudiocnnError:
                time.sleep(0.05)
        yield
