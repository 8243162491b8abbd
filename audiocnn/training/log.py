"""The log of a run: `metrics.jsonl` and `metrics.csv`, one row per epoch, `run.json`, and TensorBoard's event files.

Both tables have the same rows and are replaced atomically; the columns are those of `EpochReport`. `run.json` records
when, where and from which git revision a run was started and resumed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from audiocnn.errors import AudiocnnError
from audiocnn.files import RUN_FILE, parse_json, read_json, read_regular, write_whole
from audiocnn.toml import is_number

if TYPE_CHECKING:
    from audiocnn.recipe.recipe import Recipe
    from audiocnn.training.batches import TrainingSet
    from audiocnn.training.events import EpochReport

JSONL, CSV = "metrics.jsonl", "metrics.csv"
OLD_JSONL = "log.jsonl"  # the name of metrics.jsonl in runs of version 0.1
_MOST_GIT_BYTES = 10_000_000
_GIT_HASH = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
LogRow = dict[str, Any]
_Report = TypeVar("_Report")


def write_log(run: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    rows = [{name: finite_or_none(value) for name, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(run / JSONL, "".join(json.dumps(row) + "\n" for row in rows).encode())
    write_whole(run / CSV, text.getvalue().encode())


def finite_or_none(value: Any) -> Any:
    """None for NaN and infinity, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def log_path(run: Path) -> Path | None:
    """The table with the rows of a run. None if no epoch has ended."""
    return next((run / name for name in (JSONL, OLD_JSONL) if (run / name).is_file()), None)


def read_log(run: Path) -> list[LogRow]:
    """The rows of a run; empty if no epoch has ended. AudiocnnError with the line if they are damaged."""
    path = log_path(run)
    if path is None:
        return []
    rows = []
    try:
        lines = read_regular(path).decode().splitlines()
    except (OSError, ValueError) as problem:
        raise AudiocnnError(f"{path}: cannot be read ({problem}); train again, or delete the run") from None
    for number, line in enumerate(lines, 1):
        try:
            rows.append(check_row(parse_json(line)))
        except (ValueError, TypeError, KeyError):
            fact = f"{path}:{number}: not a row of a training log"
            raise AudiocnnError(f"{fact}; train again, or delete the run") from None
    return rows


def check_row(row: Any) -> LogRow:
    """Check that a row has everything that is read here. ValueError, TypeError or KeyError if something is missing."""
    numbers = [row["loss"], row["seconds"]]
    numbers += [row[name] for name in ("validation_loss", "figure") if row[name] is not None]
    numbers += [row[name] for name in _TAGS if row.get(name) is not None]
    whole = [row["epoch"], row["epochs"]]
    if not isinstance(row["figure_name"], str) or not all(map(is_number, numbers)):
        raise ValueError(row)
    if not all(type(number) is int and 0 <= number < 2**31 for number in whole):
        raise ValueError(row)
    return dict(row)


def best_row(rows: Sequence[LogRow]) -> LogRow | None:
    """The row of the best epoch, as marked by the training. None before the first."""
    return next((row for row in reversed(rows) if row.get("best")), None)


def describe_run(recipe: Recipe, training_set: TrainingSet, device: str, processes: int) -> dict[str, Any]:
    """The contents of `run.json`, except for its start."""
    import torch

    from audiocnn import __version__

    return {
        "name": recipe.name,
        "spec": recipe.spec.name,
        "data": str(recipe.data.source.resolve()) if recipe.data else None,
        "labels": list(training_set.labels),
        "groups": training_set.groups,
        "hours": round(training_set.seconds / 3600, 3),
        "parameters": recipe.spec.with_classes(len(training_set.labels)).parameters(),
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "audiocnn": __version__,
        "torch": torch.__version__,
    } | ({"features": training_set.features} if training_set.features else {})


def write_facts(run: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts of a run when it starts. When it continues, add time and revision, and update the places of the
    run and its data."""
    now = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "git": git_revision(Path.cwd())}
    facts = {**facts, "folder": str(run.resolve())}
    before = read_facts(run)
    if before:
        earlier = before.get("resumed")
        table = before | {"resumed": [*(earlier if isinstance(earlier, list) else []), now]}
        table |= {key: facts[key] for key in ("folder", "data") if key in facts}
        table.pop("pruned", None)
    else:
        table = {"schema": 1, "type": "run", "started": now["at"], "git": now["git"], **facts}
    _write_run_file(run, table)


def _write_run_file(run: Path, table: Mapping[str, Any]) -> None:
    write_whole(run / RUN_FILE, (json.dumps(table, ensure_ascii=False, indent=2) + "\n").encode())


def mark_pruned(run: Path) -> None:
    """Record that a run was pruned, because others were better. Resuming it removes the mark."""
    _write_run_file(run, read_facts(run) | {"pruned": True})


def read_facts(run: Path) -> dict[str, Any]:
    """The contents of `run.json`. Empty if it is missing, as in older runs, or unreadable."""
    try:
        table = read_json(run / RUN_FILE)
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def git_revision(folder: Path) -> dict[str, Any] | None:
    """The commit of the git repository that contains a folder; None outside of one.

    Read from its files, because git itself would run commands from the settings of the repository, which may be
    untrusted. So it is not known whether files were changed since that commit.
    """
    place = folder.absolute()
    git = next((path / ".git" for path in (place, *place.parents) if (path / ".git").exists()), None)
    if git is None:
        return None
    try:
        git = _resolve_git_folder(git)
        revision = _read_git_text(git / "HEAD")
        if revision.startswith("ref: "):
            revision = _resolve_git_ref(git, revision.removeprefix("ref: "))
    except (OSError, ValueError):
        return None
    return {"revision": revision} if _GIT_HASH.fullmatch(revision) else None


def _read_git_text(path: Path) -> str:
    return read_regular(path, _MOST_GIT_BYTES).decode(errors="replace").strip()


def _resolve_git_folder(git: Path) -> Path:
    """`.git`, or the folder that it refers to as a file, as in worktrees and submodules."""
    return git if git.is_dir() else git.parent / _read_git_text(git).removeprefix("gitdir: ")


def _resolve_git_ref(git: Path, name: str) -> str:
    """The commit of a branch, from its own file or from the list of all branches; for worktrees these are in another
    folder. OSError, ValueError."""
    if not name.startswith("refs/") or ".." in name:
        raise ValueError(name)
    shared = git / _read_git_text(git / "commondir") if (git / "commondir").is_file() else git
    for place in (git, shared):
        if (place / name).is_file():
            return _read_git_text(place / name)
    lines = (line.partition(" ") for line in _read_git_text(shared / "packed-refs").splitlines())
    return next((revision for revision, _, ref in lines if ref == name), "")


TENSORBOARD_FOLDER = "tensorboard"
_TAGS = {
    "loss": "loss/training",
    "validation_loss": "loss/held_out",
    "learning_rate": "learning_rate",
    "audio_seconds_per_second": "speed/audio_seconds_per_second",
    "waiting": "speed/waiting",
    "seconds": "speed/seconds_per_epoch",
    "dead_units": "dead_units",
}


class TensorBoardWriter:
    """Writes event files as epochs end. A resumed run continues its curves; TensorBoard ignores entries in older files
    for epochs that are repeated."""

    def __init__(self, run: Path, epoch: int = 1) -> None:
        """epoch: the next one."""
        from torch.utils.tensorboard import SummaryWriter

        # TensorBoard discards earlier entries for steps from purge_step on.
        self.writer: Any = SummaryWriter(str(run / TENSORBOARD_FOLDER), purge_step=epoch if epoch > 1 else None)

    def recipe(self, text: str) -> None:
        self.writer.add_text("recipe", "\n".join(f"    {line}" for line in text.splitlines()))

    def epoch(self, report: EpochReport) -> None:
        self.row(asdict(report))
        self.writer.flush()

    def row(self, row: Mapping[str, Any]) -> None:
        figure = {"figure": f"figure/{row['figure_name']}"} if row["figure_name"] else {}
        for name, tag in (_TAGS | figure).items():
            if row.get(name) is not None:
                self.writer.add_scalar(tag, row[name], row["epoch"])

    def close(self) -> None:
        self.writer.close()


def log_to_tensorboard(reports: Iterable[_Report], run: Path, wanted: bool) -> Iterator[_Report]:
    """The same reports. If wanted, each epoch is also written to TensorBoard."""
    if not wanted:
        yield from reports
        return
    from audiocnn.training.events import EpochReport

    board = None
    try:
        for report in reports:
            if isinstance(report, EpochReport):
                board = board or _open_tensorboard(run, report.epoch)
                board.epoch(report)
            yield report
    finally:
        if board is not None:
            board.close()


def _open_tensorboard(run: Path, epoch: int) -> TensorBoardWriter:
    """The event files of a run, from an epoch on. A new run adds its recipe; one that was started without TensorBoard
    adds its earlier epochs."""
    new = not (run / TENSORBOARD_FOLDER).is_dir()
    board = TensorBoardWriter(run, 1 if new else epoch)
    if new:
        board.recipe((run / "recipe.toml").read_text(encoding="utf-8"))
        for row in read_log(run):
            if row["epoch"] < epoch:
                board.row(row)
    return board
