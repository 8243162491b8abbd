"""Compares `--ray` on one machine with the plain command: equal records, cost per recording, a worker that is killed.

python -m benchmarks.cluster [--recordings 2000] [--seconds 3] [--workers 2] [--json FILE]

Recordings are stretches of `data/samples/walk.flac`. `audiocnn detect` runs on them three times, in separate processes:
without Ray; with --ray local; and with --ray local while one worker is killed. Prints a Markdown table. The exit code
is 1 if the records are not byte for byte those of the plain command.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from audiocnn_cli.cluster.parts import PART_RECORDINGS
from benchmarks.measuring import ROOT, BenchmarkError, audiocnn, environment, usable_cores

SAMPLE = ROOT / "data" / "samples" / "walk.flac"
STEP_SAMPLES = 977
LOOK_SECONDS = 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--recordings", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=3.0, help="the length of each")
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    given = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="audiocnn-cluster-") as folder:
            make_recordings(Path(folder) / "many", given.recordings, given.seconds)
            rows = compare(Path(folder), given.recordings, given.workers)
    except BenchmarkError as problem:
        print(f"cluster: {problem}", file=sys.stderr)
        return 2
    print(to_markdown(rows))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["same"] for row in rows) else 1


def make_recordings(folder: Path, number: int, seconds: float) -> None:
    """Stretches of the sample, each from a different position."""
    import soundfile

    samples, rate = soundfile.read(SAMPLE, dtype="int16")
    length = min(round(seconds * rate), len(samples) - 1)
    folder.mkdir()
    for at in range(number):
        start = at * STEP_SAMPLES % (len(samples) - length)
        soundfile.write(folder / f"{at:05d}.wav", samples[start : start + length], rate)


def compare(folder: Path, number: int, workers: int) -> list[dict[str, Any]]:
    """One row per way to run it. start_seconds: until the first records are written."""
    rows: list[dict[str, Any]] = []
    plain = b""
    for name in ("plain", "--ray local", "--ray local, a worker killed"):
        print(f"{name} ...", file=sys.stderr)
        output = folder / ("plain.jsonl" if name == "plain" else f"found-{len(rows)}")
        command = audiocnn("detect", "many", "-o", output, *more_for(name, workers))
        row = timed(command, folder, output, kill_after=number // 2 if "killed" in name else None)
        plain = plain or output.read_bytes()
        row["same"] = output.is_file() or b"".join(path.read_bytes() for path in parts(output)) == plain
        row |= {"name": name, "recordings": number, "ms_each": ms_each(row, number)}
        rows.append(row)
    return rows


def ms_each(row: dict[str, Any], number: int) -> float:
    """Milliseconds per recording, without the first part."""
    rest = number - PART_RECORDINGS if row["start_seconds"] else number
    return 1000 * float(row["seconds"] - row["start_seconds"]) / max(1, rest)


def more_for(name: str, workers: int) -> list[str]:
    """The options of a way to run it."""
    return ["--jobs", str(workers)] + ([] if name == "plain" else ["--ray", "local"])


def timed(command: list[str], folder: Path, output: Path, kill_after: int | None) -> dict[str, Any]:
    """Run it; with kill_after, one worker gets SIGKILL after so many recordings."""
    began = time.monotonic()
    first, killed = None, 0
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while process.poll() is None:
        time.sleep(LOOK_SECONDS)
        written = parts(output)
        if first is None and written:
            first = time.monotonic() - began
        if kill_after is not None and not killed and PART_RECORDINGS * len(written) >= kill_after:
            killed = kill_worker(process.pid)
    said = process.stderr.read().decode() if process.stderr else ""
    if process.returncode:
        raise BenchmarkError(f"{' '.join(command)}: ended with {process.returncode}: {said.strip()}")
    if kill_after is not None and not killed:
        raise BenchmarkError("no worker could be killed in the middle; take more recordings")
    return {"seconds": time.monotonic() - began, "start_seconds": first or 0.0, "killed": killed, "said": said}


def kill_worker(process: int) -> int:
    """Send SIGKILL to one of the workers below a process. Returns 1, or 0 if none is running."""
    for number in below(process):
        with suppress(OSError):
            if b"ray::MapWorker" in Path(f"/proc/{number}/cmdline").read_bytes():
                os.kill(number, signal.SIGKILL)
                return 1
    return 0


def below(process: int) -> Iterator[int]:
    """All descendants of a process."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
    waiting = [process]
    while waiting:
        children = parents.get(waiting.pop(), [])
        yield from children
        waiting += children


def parts(folder: Path) -> list[Path]:
    """The contents of a folder of parts, in order."""
    return sorted(folder.glob("part-*.jsonl")) if folder.is_dir() else []


def to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table. The time per recording of the plain command includes its start, which is short."""
    lines = [
        "| | seconds | of them until the first part lies there | ms a recording behind that | workers killed | same |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        first = f"{row['start_seconds']:.1f}" if row["start_seconds"] else "-"
        same = "yes" if row["same"] else "**no**"
        cells = [row["name"], f"{row['seconds']:.1f}", first, f"{row['ms_each']:.1f}", str(row["killed"]), same]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
