"""Runs `audiocnn detect` on damaged recordings. Each gets a record, and so does the intact one at the end.

python -m tests.helpers.fuzz.decoders --count 10000 --seed 0
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.helpers.fuzz.binaries import outside_seeds, seeds, spoil, written

ROOT = Path(__file__).resolve().parents[3]
CODE = "import sys; from audiocnn_cli.main import run; sys.exit(run())"
BATCH = 200
STDIN_SHARE = 100  # one in this many files is read from standard input
START_SECONDS = 2.0  # start of a process, not counted for the file
MOST_SECONDS, MOST_BYTES = 5.0, 1 << 30
SOUND_A_SECOND = 100.0  # a header that says 1 Hz makes hours of a few samples, and they are scored as such
# Messages about files whose header was refused.
REFUSED = re.compile(
    r"not a supported audio format|damaged, cut short, or"
    r"|states 0 channels|empty|raw samples|without ffmpeg|finds no audio in it"
)


@dataclass
class Figures:
    """Outcomes of the files."""

    count: int = 0
    whole: int = 0  # scored without a note
    noted: int = 0  # scored in part, with a note
    later: int = 0  # refused after the header
    refused: int = 0  # refused because of the header
    crashed: int = 0  # crashed a decoder
    slowest_seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    by_seed: collections.Counter[str] = field(default_factory=collections.Counter)
    crashes: list[str] = field(default_factory=list)

    @property
    def past_header(self) -> float:
        """The share of files that were read beyond the header."""
        return (self.whole + self.noted + self.later + self.crashed) / max(1, self.count)

    def lines(self) -> str:
        """The figures as lines of text."""
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        return (
            f"{self.count} files: {self.whole} whole, {self.noted} in part, {self.later} refused behind the header, "
            f"{self.refused} by the header, {self.crashed} crashed a decoder; {self.past_header:.0%} past the header; "
            f"slowest {self.slowest_seconds:.1f} s; most memory {peak:.0f} MB; {len(self.wrong)} wrong\n"
            + "".join(f"  wrong: {one}\n" for one in self.wrong)
            + "".join(f"  crash: {one}\n" for one in self.crashes)
        )


def fuzz(count, seed, folder, kept=None):
    """Make `count` mutants in a folder and run `detect` on batches of `BATCH`. Files that fail are kept."""
    random, figures = np.random.default_rng(seed), Figures()
    made = seeds() | outside_seeds()
    names, others = sorted(made), list(made.values())
    good = folder / "good.wav"
    good.write_bytes(written("WAV", "PCM_16", 1))
    for start in range(0, count, BATCH):
        paths = []
        for number in range(start, min(count, start + BATCH)):
            name = names[random.integers(len(names))]
            suffix = name.split("-")[0].lower() if random.random() < 0.9 else "wav"
            paths.append(folder / f"{number:06d}-{name}.{suffix}")
            paths[-1].write_bytes(spoil(made[name], others, random))
            figures.by_seed[name.split("-")[0]] += 1
        piped = paths[::STDIN_SHARE]
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
        detect_files([path for path in paths if path not in piped] + [good], figures, kept)
        for path in piped:
            detect_stdin(path, figures, kept)
        for path in paths:
            path.unlink()
        if start % 1000 == 0 and count > 1000:
            sys.stderr.write(f"{start}: {figures.lines()}")
    return figures


def processor_seconds(pid):
    """CPU time used by a process and its children, including those that have ended. CPU time does not depend on the
    load of the machine. A decoder that hangs without using CPU time hits its own limit, which counts as a crash."""
    if not Path("/proc").exists():
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    used = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # utime stime cutime cstime, see proc(5)
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread or child that has ended meanwhile
            used += sum(processor_seconds(int(child)) for child in thread.read_text().split())
    return used


def start_detect(*args, stdin):
    """`audiocnn detect` as a process."""
    environ = {**os.environ, "PYTHONPATH": ":".join(str(ROOT / one) for one in ("", "cli", "models"))}
    command = [sys.executable, "-c", CODE, "detect", "-f", "jsonl", *args]
    return subprocess.Popen(
        command, env=environ, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    )


def detect_files(paths, figures, kept):
    """Run `detect` on all files in one call, with their names on standard input."""
    with tempfile.TemporaryFile() as listed:
        listed.write(b"".join(os.fsencode(path) + b"\0" for path in paths))
        listed.seek(0)
        process = start_detect("-0", "--files-from", "-", stdin=listed)
    said = []
    listener = threading.Thread(target=lambda: said.append(process.stderr.read()))
    listener.start()
    records, last = {}, None
    for line in process.stdout:
        record = json.loads(line)
        if record["type"] in ("file", "error"):
            now = processor_seconds(process.pid)
            if last is not None:  # what comes before the first is the start
                seconds = now - last - record.get("duration", 0.0) / SOUND_A_SECOND
                judge_time(record["file"], seconds, figures, kept)
            last = now
            records[record["file"]] = record
    status = process.wait()
    listener.join()
    if status not in (0, 3) or re.search("Traceback|audiocnn: internal error", said[0]):
        figures.wrong.append(f"exit {status}: {worst(said[0])}")
    for path in paths:
        judge(str(path), records.get(str(path)), figures, kept)
    if records.get(str(paths[-1]), {}).get("type") != "file":
        figures.wrong.append(f"{paths[-1]}: the good one is not done")
    figures.count -= 1
    figures.whole -= 1


def detect_stdin(path, figures, kept):
    """Run `detect` on one file, through a pipe on standard input."""
    begun = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    with start_detect("-", stdin=subprocess.PIPE) as process:
        with suppress(BrokenPipeError):
            process.stdin.buffer.write(path.read_bytes())
            process.stdin.close()
        process.stdin = None
        out, err = process.communicate()
    records = [record for record in map(json.loads, out.splitlines()) if record["type"] in ("file", "error")]
    used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - begun
    sound = sum(record.get("duration", 0.0) for record in records)
    judge_time(str(path), used - START_SECONDS - sound / SOUND_A_SECOND, figures, kept)
    if process.returncode not in (0, 2, 3) or re.search("Traceback|audiocnn: internal error", err):
        figures.wrong.append(f"{path} on standard input: exit {process.returncode}: {worst(err)}")
    judge(str(path), records[0] if records else None, figures, kept)


def worst(said):
    """The most informative line."""
    lines = said.splitlines()
    return next((line for line in lines if "audiocnn: internal error" in line), "") or " ".join(lines[-3:])


def judge_time(name, seconds, figures, kept):
    """Check that a file did not take too long."""
    figures.slowest_seconds = max(figures.slowest_seconds, seconds)
    if seconds > MOST_SECONDS:
        figures.wrong.append(f"{name}: took {seconds:.1f} s")
        keep(name, kept)


def judge(name, record, figures, kept):
    """Count a record. Keep files without a record, and files that crashed a decoder."""
    figures.count += 1
    error = (record or {}).get("error", "")
    bad = record is None or "crashed" in error or "no answer" in error
    if record is None:
        figures.wrong.append(f"{name}: no record")
    elif record["type"] == "file":
        figures.whole += record["status"] == "ok"
        figures.noted += record["status"] != "ok"
    elif bad:
        figures.crashed += 1
        figures.crashes.append(error)
    elif REFUSED.search(error):
        figures.refused += 1
    else:
        figures.later += 1
    if bad:
        keep(name, kept)


def keep(name, kept):
    """Keep a file for inspection by hand."""
    if kept is not None:
        (kept / Path(name).name).write_bytes(Path(name).read_bytes())


def main():
    """Print the figures; exit code 1 if something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for files that crash a decoder or go wrong")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = fuzz(given.count, given.seed, Path(folder), given.keep)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    if peak > MOST_BYTES:
        figures.wrong.append(f"{peak / 1e6:.0f} MB of memory")
    sys.stdout.write(figures.lines())
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
