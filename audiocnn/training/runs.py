"""The runs in a folder as sortable rows: spec, data, results, time, state.

Everything is read from the files of a run. No heavy imports are needed, and a damaged run becomes a row that says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from audiocnn.errors import AudiocnnError, RecipeError
from audiocnn.files import RUN_FILE, is_locked, read_json
from audiocnn.toml import read_toml
from audiocnn.training.log import LogRow, best_row, log_path, read_facts, read_log

RECIPE, MODEL, _REPORT, CHECKPOINTS = "recipe.toml", "model/model.toml", "report.json", "checkpoints"
LAST_MADE = ("model/model.onnx", "model/README.md")  # of a model folder
PRUNED = "pruned"  # a trial of `tune` that was stopped early
STATES = ("ended", "running", "interrupted", PRUNED, "damaged")
INSIDE = ("model", CHECKPOINTS, "tensorboard")  # inside a run: contain no other run
# The main result of a report: the first that exists; for segments the mean over labels.
CLIP_FIGURES = ("accuracy", "mean_average_precision", "macro_f1")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Run:
    """A run. None: unknown. figure: the best validation result, named by figure_name; tested, tested_name: of the test
    part. epochs: done, of `wanted`. seconds: of training. revision: of git at the start; in older runs followed by "+"
    if files had been changed since."""

    name: str
    folder: Path
    state: str = ""
    model: str | None = None
    spec: str | None = None
    data: str | None = None
    labels: tuple[str, ...] = ()
    epochs: int = 0
    wanted: int | None = None
    best_epoch: int | None = None
    figure_name: str | None = None
    figure: float | None = None
    tested_name: str | None = None
    tested: float | None = None
    parameters: int | None = None
    seconds: float = 0.0
    started: str | None = None
    revision: str | None = None
    error: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)  # learning rate and so on, of `[train]`

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": 1, "type": "run", "name": self.name, "folder": str(self.folder), "state": self.state,
            "model": self.model, "spec": self.spec, "data": self.data, "labels": list(self.labels),
            "epochs": self.epochs, "wanted": self.wanted, "best_epoch": self.best_epoch,
            "figure": self.figure_name, "value": _round_figure(self.figure),
            "tested": self.tested_name, "tested_value": _round_figure(self.tested),
            "parameters": self.parameters, "seconds": round(self.seconds, 1),
            "started": self.started, "revision": self.revision, "train": self.settings,
            **({"error": self.error} if self.error else {}),
        }  # fmt: skip

    @property
    def sort_keys(self) -> dict[str, tuple[Any, ...]]:
        """Sort keys: results with the best first, grouped by kind of result; times and numbers with the largest first;
        unknown values last."""
        figure = (self.figure_name is None, self.figure_name, last_if_none(self.figure), self.name)
        return {
            "name": (self.name,),
            "state": (STATES.index(self.state), self.name),
            "figure": figure,
            "tested": (self.tested_name is None, self.tested_name or "", last_if_none(self.tested), *figure),
            "epochs": (-self.epochs, self.name),
            "weights": (*last_if_none(self.parameters), self.name),
            "time": (-self.seconds, self.name),
            "started": (self.started is None, tuple(-ord(letter) for letter in self.started or ""), self.name),
        }


def last_if_none(value: float | None) -> tuple[bool, float]:
    return (value is None, -(value or 0.0))


def _round_figure(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def find_runs(folder: Path) -> Iterator[Path]:
    """The folders of runs in a folder at any depth, including itself, by name; also those of folds and shares."""
    for place, folders, files in os.walk(folder):
        path = Path(place)
        found = RECIPE in files and (path / RECIPE).is_file() and "model.toml" not in files and is_run(path)
        hidden = [name for name in folders if name.startswith(".") or (found and name in INSIDE)]
        datasets = [name for name in folders if name.endswith(".dataset")]
        folders[:] = sorted(set(folders) - set(hidden) - set(datasets))
        if found:
            yield path


def is_run(folder: Path) -> bool:
    """Whether a folder with a recipe is a run: it has a file that only a training writes."""
    names = (RUN_FILE, MODEL, CHECKPOINTS)
    return log_path(folder) is not None or any((folder / name).exists() for name in names)


def read_runs(folder: Path) -> list[Run]:
    return [
        read_run(path, str(path.relative_to(folder)) if path != folder else path.resolve().name)
        for path in find_runs(folder)
    ]


def read_run(folder: Path, name: str) -> Run:
    """A run. If one of its files is damaged, with the problem and what could be read before."""
    run = Run(name, folder)
    try:
        run = with_recipe(run)
        run = with_facts(run)
        run = with_rows(run, read_log(folder))
        run = with_model(run)
        run = with_report(run)
    except AudiocnnError as problem:
        return replace(run, state="damaged", error=str(problem))
    return replace(run, state=_find_state(run))


def with_recipe(run: Run) -> Run:
    """Add the values of the recipe, read as plain TOML, so that newer versions can be read too."""
    table = read_toml(run.folder / RECIPE, RecipeError)
    train, data = table.get("train"), table.get("data")
    if not isinstance(train, dict) or not isinstance(table.get("spec"), dict):
        raise RecipeError(f"{run.folder / RECIPE}: not the recipe of a run; train again, or delete the run")
    name = table.get("name")
    source = data.get("source") if isinstance(data, dict) else None
    settings = {key: value for key, value in train.items() if isinstance(value, (int, float, str))}
    return replace(
        run,
        model=name if isinstance(name, str) else None,
        data=source if isinstance(source, str) else None,
        wanted=train["epochs"] if isinstance(train.get("epochs"), int) else None,
        settings=settings,
    )


def with_facts(run: Run) -> Run:
    """Add the facts in `run.json`. Runs of older versions have none."""
    facts = read_facts(run.folder)
    git, labels = facts.get("git"), facts.get("labels")
    revision = None
    if isinstance(git, dict) and isinstance(git.get("revision"), str):
        revision = git["revision"] + "+" * bool(git.get("changed"))
    return replace(
        run,
        spec=_typed_fact(facts, "spec", str),
        labels=tuple(map(str, labels)) if isinstance(labels, list) else (),
        parameters=_typed_fact(facts, "parameters", int),
        started=_typed_fact(facts, "started", str),
        revision=revision,
        state=PRUNED if facts.get("pruned") else "",
    )


def _typed_fact(facts: dict[str, Any], name: str, kind: type[_T]) -> _T | None:
    value = facts.get(name)
    return value if isinstance(value, kind) else None


def with_rows(run: Run, rows: list[LogRow]) -> Run:
    if not rows:
        return run
    best, last = best_row(rows), rows[-1]
    return replace(
        run,
        epochs=last["epoch"],
        wanted=last["epochs"],
        seconds=sum(row["seconds"] for row in rows),
        figure_name=last["figure_name"] or None,
        best_epoch=best["epoch"] if best else None,
        figure=best["figure"] if best else None,
    )


def with_model(run: Run) -> Run:
    from audiocnn.model.model import read_model

    if not (run.folder / MODEL).exists():
        return run
    model = read_model(run.folder / "model")
    return replace(run, labels=model.labels, parameters=model.parameters)


def with_report(run: Run) -> Run:
    """Add the main result on the test part, if it was tested."""
    path = run.folder / _REPORT
    if not path.exists():
        return run
    try:
        report = read_json(path)
        report = report[0] if isinstance(report, list) else report
        found = _clip_figure(report["clip"]) if report["clip"] else _segment_figure(report["labels"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError):
        raise AudiocnnError(f"{path}: not a report; evaluate the model again, or delete the file") from None
    return replace(run, tested_name=found[0], tested=found[1])


def _clip_figure(clip: dict[str, Any]) -> tuple[str | None, float | None]:
    """Name and value of the first known result."""
    values = {name: clip["figures"].get(name, {}).get("value") for name in CLIP_FIGURES}
    return next(((name, float(value)) for name, value in values.items() if value is not None), (None, None))


def _segment_figure(labels: dict[str, Any]) -> tuple[str | None, float | None]:
    """The F1 of segments, as the mean over labels."""
    values = [found["figures"]["f1"]["value"] for found in labels.values()]
    known = [float(value) for value in values if value is not None]
    return ("f1", sum(known) / len(known)) if known else (None, None)


def _find_state(run: Run) -> str:
    if any((run.folder / name).exists() for name in LAST_MADE):
        return "ended"
    return "running" if is_locked(run.folder) else run.state or "interrupted"
