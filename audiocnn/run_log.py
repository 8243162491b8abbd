"""What a run tells while it goes on: `metrics.jsonl` and `metrics.csv`, a row an epoch, and `run.json`, what it is.

Both tables hold the same rows, whole at every moment: the columns are those of `training.EpochReport`. `run.json` says
when, where and from which git revision a run was begun, and gone on with.
"""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.errors import AudiocnnError
from audiocnn.whole_files import write_whole

if TYPE_CHECKING:
    from audiocnn.batches import Material
    from audiocnn.recipe import Recipe

JSONL, CSV, FACTS = "metrics.jsonl", "metrics.csv", "run.json"
OLD_JSONL = "log.jsonl"  # what runs of version 0.1 have instead of metrics.jsonl
GIT_SECONDS = 5.0

Row = dict[str, Any]


def write_log(run: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of all epochs so far, as JSON Lines and as CSV."""
    rows = [{name: known(value) for name, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(run / JSONL, "".join(json.dumps(row) + "\n" for row in rows).encode())
    write_whole(run / CSV, text.getvalue().encode())


def known(value: Any) -> Any:
    """A value as JSON has it: what is no number there is not known."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def log_path(run: Path) -> Path | None:
    """Where the rows of a run are; None where no epoch has ended."""
    return next((run / name for name in (JSONL, OLD_JSONL) if (run / name).is_file()), None)


def read_log(run: Path) -> list[Row]:
    """The rows of a run, none where no epoch has ended. AudiocnnError, with the line, where they are damaged."""
    path = log_path(run)
    if path is None:
        return []
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise AudiocnnError(f"{path}: cannot be read ({problem}); train again, or remove the run") from None
    for number, line in enumerate(lines, 1):
        try:
            rows.append(checked(json.loads(line)))
        except (ValueError, TypeError, KeyError):
            fact = f"{path}:{number}: is no row of a training"
            raise AudiocnnError(f"{fact}; train again, or remove the run") from None
    return rows


def checked(row: Any) -> Row:
    """A row with what everything here reads of one. ValueError, TypeError or KeyError where it lacks that."""
    numbers = [row["epoch"], row["epochs"], row["loss"], row["seconds"]]
    numbers += [row[name] for name in ("validation_loss", "figure") if row[name] is not None]
    if not isinstance(row["figure_name"], str) or not all(math.isfinite(float(number)) for number in numbers):
        raise ValueError(row)
    return dict(row)


def best_of(rows: Sequence[Row]) -> Row | None:
    """The row of the best epoch, as the training has marked it; None before the first."""
    return next((row for row in reversed(rows) if row.get("best")), None)


def facts_of(recipe: Recipe, material: Material, device: str, processes: int) -> dict[str, Any]:
    """What `run.json` says of a training besides when it began."""
    import torch

    from audiocnn import __version__

    return {
        "name": recipe.name,
        "spec": recipe.spec.name,
        "data": str(recipe.data.source.resolve()) if recipe.data else None,
        "labels": list(material.labels),
        "groups": material.groups,
        "hours": round(material.seconds / 3600, 3),
        "parameters": recipe.spec.with_classes(len(material.labels)).parameters(),
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "audiocnn": __version__,
        "torch": torch.__version__,
    }


def write_facts(run: Path, facts: Mapping[str, Any]) -> None:
    """Say what a run is when it begins; where it goes on, only when and from which revision is added."""
    now = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "git": git_revision(Path.cwd())}
    before = read_facts(run)
    if before:
        table = before | {"resumed": [*before.get("resumed", []), now]}
        table.pop("pruned", None)
    else:
        table = {"schema": 1, "type": "run", "started": now["at"], "git": now["git"], **facts}
    put_facts(run, table)


def put_facts(run: Path, table: Mapping[str, Any]) -> None:
    """Write `run.json`."""
    write_whole(run / FACTS, (json.dumps(table, ensure_ascii=False, indent=2) + "\n").encode())


def mark_pruned(run: Path) -> None:
    """Say that a run was ended since others were better; one that is learned on is not."""
    put_facts(run, read_facts(run) | {"pruned": True})


def read_facts(run: Path) -> dict[str, Any]:
    """What `run.json` says; empty where there is none, as in older runs, or none that can be read."""
    try:
        table = json.loads((run / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def git_revision(folder: Path) -> dict[str, Any] | None:
    """The commit of the git repository that a folder lies in, and whether files that git knows were changed since; None
    outside of one, or where git is not installed."""
    revision = git(folder, "rev-parse", "HEAD")
    if revision is None:
        return None
    return {"revision": revision, "changed": bool(git(folder, "status", "--porcelain", "--untracked-files=no"))}


def git(folder: Path, *words: str) -> str | None:
    """What git answers; None where it does not."""
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
