"""What lies in the folder of a run."""

from __future__ import annotations

import shutil
from pathlib import Path

# What a run makes, and what --force may remove.
RUN_PARTS = ("recipe.toml", "log.jsonl", "checkpoints", "model", "report.json", "report.html")


def clear(run: Path) -> None:
    """Remove what a run makes, and nothing else."""
    for part in RUN_PARTS:
        path = run / part
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
