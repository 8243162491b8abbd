"""Measures whole processes: elapsed time, CPU time and peak memory.

A started process initially counts the memory of its parent as its own. The measuring process therefore stays small: it
does not import numpy, and other processes make the recordings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from audiocnn.errors import AudiocnnError

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = Path(sys.executable).with_name("audiocnn")
ON_THE_TREE = "import sys; from audiocnn_cli.main import run; sys.exit(run())"
Figure = dict[str, Any]
"""What was measured of one contender: `seconds`, and whatever else there is to say."""


class BenchmarkError(AudiocnnError):
    """Something cannot be measured here, and the reason."""


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def audiocnn(*arguments: str | Path) -> list[str]:
    """The command: the one installed beside this Python, otherwise the one of the tree."""
    start = [str(INSTALLED)] if INSTALLED.exists() else [sys.executable, "-c", ON_THE_TREE]
    return [*start, *map(str, arguments)]


def module(name: str, *arguments: str | Path | float) -> list[str]:
    """A module of this folder as a separate process."""
    return [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]


def environment() -> dict[str, str]:
    """The environment with the tree on the path, in case it is not installed."""
    paths = [str(ROOT / part) for part in ("", "cli", "models")]
    return os.environ | {"PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])}


def measure(*commands: Sequence[str], output: Path | None = None) -> Figure:
    """Start all commands at once and wait until all have ended.

    seconds: from the first start to the last end; cpu_seconds: of all; peak_bytes: of the largest. JSON that a process
    prints on its last line is included (`inside` is the time of the work alone; the slowest counts).
    output: a file for the output of the first one. Raises BenchmarkError if one fails.
    """
    with ExitStack() as files:
        outputs = [files.enter_context(tempfile.TemporaryFile()) for _ in commands]
        errors = [files.enter_context(tempfile.TemporaryFile()) for _ in commands]
        if output is not None:
            outputs[0] = files.enter_context(output.open("wb+"))
        begin = time.perf_counter()
        running = [
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment())
            for command, out, err in zip(commands, outputs, errors, strict=True)
        ]
        try:
            return ended(running, begin, outputs, errors)
        finally:
            for process in running:  # those still running after a failure or an interrupt
                if process.returncode is None:
                    process.kill()
                    process.wait()


def ended(running: Sequence[Any], begin: float, outputs: Sequence[Any], errors: Sequence[Any]) -> Figure:
    """Wait for processes that were started at `begin`, and combine their figures."""
    figure: Figure = {"seconds": 0.0, "cpu_seconds": 0.0, "peak_bytes": 0}
    for process, out, err in zip(running, outputs, errors, strict=True):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        figure["seconds"] = time.perf_counter() - begin
        figure["cpu_seconds"] += usage.ru_utime + usage.ru_stime
        figure["peak_bytes"] = max(figure["peak_bytes"], usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        if process.returncode:
            why = last_line(err) or f"ended with {process.returncode}"
            raise BenchmarkError(f"{' '.join(process.args[:6])}: {why}")
        if process.args[1:2] == ["-m"]:
            merge(figure, json.loads(last_line(out) or "{}"))
    return figure


def merge(figure: Figure, said: dict[str, Any]) -> None:
    """Add the figures that one more process printed; the slowest counts."""
    for key, value in said.items():
        figure[key] = max(figure[key], value) if isinstance(figure.get(key), float) else value


def last_line(file: Any) -> str:
    """The last line that a process wrote, or nothing."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - (1 << 16)))
    lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
