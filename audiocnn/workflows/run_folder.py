"""The folder of a run: what may be written to it, and `clear_run`, which removes only files that a run made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from audiocnn.errors import UsageError, show_name
from audiocnn.files import free_path
from audiocnn.recipe.recipe import RECIPE_FILE, Recipe, check_run
from audiocnn.training.runs import is_run

REPORT_FILE = "report.json"
_PICTURES = ("curves.png", "batch.png", "confusion.png", "precision_recall.png")
_OTHER_REPORTS = (REPORT_FILE, "report.html", *_PICTURES)
# The only files that a run makes, and that --force may remove. For a folder, those in it.
RUN_FILES = {
    ".": (RECIPE_FILE, "run.json", "clips.tsv", "metrics.csv", "metrics.jsonl", "log.jsonl", *_OTHER_REPORTS),
    "checkpoints": ("last.safetensors", "best.safetensors"),
    "model": ("model.toml", "model.safetensors", "model.onnx", "README.md", RECIPE_FILE),
    "tensorboard": ("events.out.tfevents.*",),
}
_REPEAT_FILES = ("folds.json", "folds.html", "learning_curve.json", "learning_curve.html")
# Left beside NAME by a process that was killed while writing it (`write_whole`, `part_path`).
_HALF_WRITTEN = re.compile(r"[.](?P<name>.+)[.]([a-z0-9_]{8}|audiocnn-part)")
_REPEAT_NAMES = re.compile("(fold|share)-.+")


def check_run_folder(
    recipe: Recipe,
    folder: Path,
    resume: bool,
    force: bool,
    moved: bool,
    repeated: bool,
    beside: Callable[[Path], str] | None = None,
) -> None:
    """Refuse, before recordings are read, a folder in which a run cannot be started or continued. repeated: folds or
    shares, which have their own folders in it. beside: gives the same command for another folder."""
    if resume and force:
        raise UsageError("--resume continues a run and --force starts again; give only one")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder; choose another with -o")
    if force or (resume and repeated):
        return
    if not resume and ((folder / RECIPE_FILE).exists() or (repeated and any(map(is_repeat, folder.glob("*"))))):
        what = (
            f"{folder}: already contains a run; continue it with --resume, start again with --force, or choose another"
            " -o"
        )
        raise UsageError(f"{what}: {beside(free_path(folder))}" if beside else what)
    if not repeated or (folder / RECIPE_FILE).exists():
        check_run(recipe, folder, resume, ("data",), moved)
    elif folder.exists():
        foreign = next(find_foreign_files(folder), None)
        if foreign is not None:
            what = f"contains other files, such as {show_name(foreign.relative_to(folder))}"
            raise UsageError(f"{folder}: {what}; choose a new folder with -o, or continue with --resume")


def clear_run(run: Path) -> None:
    """Remove the files made by a run, and nothing else. UsageError, and nothing is removed, if the folder has other
    files, or no run."""
    if not run.is_dir() or not any(run.iterdir()):
        return
    contents = list(_run_contents(run))
    foreign = next((path for path, made in contents if not made), None)
    if foreign is not None:
        what = f"{run}: contains other files, such as {show_name(foreign.relative_to(run))}"
        raise UsageError(f"{what}; nothing was removed: move them away, or choose a new folder with -o")
    if not _holds_run(run):
        raise UsageError(f"{run}: contains no run; nothing was removed: choose a new folder with -o")
    try:
        for path, _ in contents:  # not files added in the meantime
            path.unlink(missing_ok=True)
    except OSError as problem:
        raise UsageError(f"{run}: cannot be removed ({problem.strerror}); choose a new folder with -o") from None
    for folder in sorted((path for path in run.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):
            folder.rmdir()


def _holds_run(folder: Path) -> bool:
    own = (folder / RECIPE_FILE).is_file() and is_run(folder)
    return own or any((folder / name).is_file() for name in _REPEAT_FILES) or any(map(is_repeat, folder.iterdir()))


def find_foreign_files(run: Path) -> Iterator[Path]:
    """Files not made by a run, in the folder and in those of its folds and shares."""
    return (path for path, made in _run_contents(run) if not made)


def _run_contents(run: Path) -> Iterator[tuple[Path, bool]]:
    """All files in the folder of a run, and for each whether a run makes it."""
    for path in sorted(run.iterdir()):
        if is_repeat(path):
            yield from _run_contents(path)
        elif path.name in RUN_FILES and path.is_dir() and not path.is_symlink():
            yield from ((file, _is_made(file, RUN_FILES[path.name])) for file in sorted(path.iterdir()))
        else:
            yield path, _is_made(path, (*RUN_FILES["."], *_REPEAT_FILES))


def _is_made(path: Path, names: Sequence[str]) -> bool:
    """Whether a run gives a file this name, or left it half written under that name."""
    half = _HALF_WRITTEN.fullmatch(path.name)
    file = path.is_symlink() or not path.is_dir()
    return file and any(fnmatchcase(half["name"] if half else path.name, name) for name in names)


def is_repeat(path: Path) -> bool:
    return bool(_REPEAT_NAMES.fullmatch(path.name)) and not path.is_symlink() and (path / RECIPE_FILE).is_file()
