"""What lies in the folder of a run, and the command that goes on with one."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.errors import UsageError

if TYPE_CHECKING:
    from audiocnn.recipe import Recipe

KEPT = "recipe.toml"
# What a run makes, and what --force may remove.
RUN_PARTS = (
    KEPT, "run.json", "metrics.csv", "metrics.jsonl", "log.jsonl", "checkpoints", "model", "report.json", "report.html",
    "curves.png", "tensorboard",
)  # fmt: skip
TABLES = ("folds.json", "folds.html", "learning_curve.json", "learning_curve.html")
REPEATS = re.compile("(fold|share)-.+")
NOT_AGAIN = ("output", "resume", "force")


def check_folder(recipe: Recipe, folder: Path, resume: bool, force: bool, repeated: bool) -> None:
    """Refuse, before recordings are read, a folder that a run cannot be made in, or gone on with. repeated: folds or
    shares, which have folders of their own in it."""
    from audiocnn.recipe import check_run

    if resume and force:
        raise UsageError("--resume goes on with a run and --force begins anew; name one")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is no folder; name another one with -o")
    if force or (resume and repeated):
        return
    if not repeated or (folder / KEPT).exists():
        check_run(recipe, folder, resume, ("data",))
    elif folder.exists():
        foreign = next(foreign_in(folder), None)
        if foreign is not None:
            what = f"holds other files, such as {foreign.relative_to(folder)}"
            raise UsageError(f"{folder}: {what}; name a new folder with -o, or go on with --resume")
        if any(folder.iterdir()):
            what = "there are runs already; go on with --resume, begin anew with --force, or name another -o"
            raise UsageError(f"{folder}: {what}")


def clear(run: Path) -> None:
    """Remove what a run makes, and nothing else. UsageError, and all is left, where something else lies there."""
    if not run.is_dir():
        return
    foreign = next(foreign_in(run), None)
    if foreign is not None:
        what = f"{run}: holds other files, such as {foreign.relative_to(run)}"
        raise UsageError(f"{what}; nothing is removed: move them, or name a new folder with -o")
    for path in list(run.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def foreign_in(run: Path) -> Iterator[Path]:
    """What no run makes, in the folder and in those of its folds and shares."""
    for path in sorted(run.iterdir()):
        if is_repeat(path):
            yield from foreign_in(path)
        elif path.name not in (*RUN_PARTS, *TABLES):
            yield path


def is_repeat(path: Path) -> bool:
    """Whether this is the run of a fold, or of a share."""
    return bool(REPEATS.fullmatch(path.name)) and not path.is_symlink() and (path / KEPT).is_file()


def going_on(folder: Path, data: str | None, options: list[Any], repeated: bool, device: str) -> str:
    """The command that goes on with an interrupted run: its folder says all once its recipe is there; until then, and
    for folds and shares, what was given is given again."""
    from audiocnn.recipe import DEFAULT_RECIPE

    said = {field.name: getattr(part, field.name) for part in options for field in dataclasses.fields(part)}
    where = [] if device == "auto" else ["--device", device]
    where += ["--tensorboard"] if said.get("tensorboard") else []
    if (folder / KEPT).exists():
        return shlex.join(["audiocnn", "train", "-o", str(folder), *where, "--resume"])
    stated = {name: value for name, value in said.items() if not isinstance(value, bool) and value is not None}
    given = {name: str(value) for name, value in stated.items() if name not in NOT_AGAIN}
    if data is None:
        given.setdefault("recipe", DEFAULT_RECIPE)
    words = [word for name, value in given.items() for word in (flag_of(name), value)]
    whole = ["audiocnn", "train", *([data] if data else []), "-o", str(folder), *words, *where]
    return shlex.join([*whole, "--resume"] if repeated else whole)


def flag_of(name: str) -> str:
    """group_pattern -> --group-pattern."""
    return "--from" if name == "source" else "--" + name.replace("_", "-")
