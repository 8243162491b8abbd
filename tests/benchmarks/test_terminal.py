"""Pictures of the terminal show what a command printed, and fetch nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLOURED = "print('\\x1b[32mgreen\\x1b[0m and plain'); print('second')"


def picture(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.terminal", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
def test_a_picture_holds_what_was_printed_in_its_colours(tmp_path: Path) -> None:
    target = tmp_path / "t.svg"
    done = picture("--columns", "60", str(target), sys.executable, "-c", COLOURED)
    assert done.returncode == 0, done.stderr
    text = target.read_text(encoding="utf-8")
    words = re.sub("&#160;", " ", re.sub(r"<[^>]+>", "", text.split("</style>")[1]))
    assert "green" in words and "and plain" in words and "second" in words
    styles = re.findall(r'class="[^"]*(r\d+)"[^>]*>([^<]+)<', text)
    assert len({style for style, shown in styles if "green" in shown or "plain" in shown}) == 3  # bold, green, plain
    assert not re.search(r"url\((?!#)|(?:src|href)=", text)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
def test_a_command_that_fails_makes_no_picture(tmp_path: Path) -> None:
    done = picture(str(tmp_path / "t.svg"), sys.executable, "-c", "raise SystemExit(3)")
    assert done.returncode == 1 and "exit code 3" in done.stderr
    assert not (tmp_path / "t.svg").exists()
