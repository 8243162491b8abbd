"""Lint, format and types: as `pyproject.toml` sets them, over everything that is tracked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "command", ["ruff check .", "ruff format --check .", pytest.param("mypy", marks=pytest.mark.long)]
)
def test_clean(command: str) -> None:
    tool, *arguments = command.split()
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_two_files_quote_words_of_a_shell():
    """A command that a person pastes comes from `format_command`; what pip installs, from `packages`."""
    files = [*(ROOT / "audiocnn").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]
    quoting = {path.relative_to(ROOT).as_posix() for path in files if "shlex" in path.read_text("utf-8")}
    assert quoting == {"audiocnn/errors.py", "audiocnn/packages.py"}
