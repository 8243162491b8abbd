"""Runs `audiocnn detect` and `ingest` on random folders with unreadable parts: each file is processed or reported.

python -m tests.helpers.fuzz.folders --count 2000 --seed 0

The expected counts are collected while a tree is made. Since root can read all files, the work is done in a process
that `setpriv` starts without that right.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.main import run

ROOT = Path(__file__).resolve().parents[3]
PATH = ":".join(map(str, (ROOT, ROOT / "cli", ROOT / "models")))
WITHOUT_RIGHTS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
NAMES = ("a", "b b", "größe", "x" * 200, "\udcff", "-", "new\nline", "*", "0")
SUFFIXES = (".wav", ".WAV", ".flac", ".mp3")
OTHERS = (".txt", ".jpg", ".wav~")
MODEL = "speech_1d"


@dataclass
class RandomTree:
    """The contents of a random folder: readable recordings, and names that must be reported."""

    root: Path
    sound: Path
    random: np.random.Generator
    found: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    forbidden: list[tuple[Path, int]] = field(default_factory=list)
    made: int = 0

    def fill(self, folder: Path, shown: Path, depth: int = 0, searchable: bool = True) -> None:
        """Put entries into a folder. shown: its name in messages, which may contain links."""
        folder.mkdir(parents=True)
        for _ in range(int(self.random.integers(0, 5 if depth else 12))):
            kind = KINDS[int(self.random.integers(len(KINDS)))]
            self.made += 1
            name = f"{self.made}{NAMES[int(self.random.integers(len(NAMES)))]}"
            hidden = self.random.random() < 0.05
            name = f".{name}" if hidden else name
            before = self.found | set(), self.told | set()
            kind(self, folder, shown, name, depth, searchable)
            if hidden:
                self.found, self.told = before

    def suffix(self, choices: tuple[str, ...] = SUFFIXES) -> str:
        return choices[int(self.random.integers(len(choices)))]

    def recording(self, folder: Path, shown: Path, name: str, depth: int, searchable: bool) -> None:
        name += self.suffix()
        shutil.copy(self.sound, folder / name)
        (self.found if searchable else self.told).add(str(shown / name))

    def no_recording(self, folder: Path, shown: Path, name: str, depth: int, searchable: bool) -> None:
        """Add a file that is empty, not audio, or unreadable."""
        name += self.suffix()
        (folder / name).write_bytes((b"", b"text" * 100)[int(self.random.integers(2))])
        if self.random.random() < 0.5:
            shutil.copy(self.sound, folder / name)
            (folder / name).chmod(0)
        self.told.add(str(shown / name))

    def other(self, folder: Path, shown: Path, name: str, depth: int, searchable: bool) -> None:
        name += self.suffix(OTHERS)
        if self.random.random() < 0.5:
            (folder / name).write_text("no audio")
        else:
            (folder / name).symlink_to("/nowhere/x.txt")

    def special(self, folder: Path, shown: Path, name: str, depth: int, searchable: bool) -> None:
        """Add a pipe, a socket or a device. Without an audio suffix it does not count as a recording."""
        named = self.random.random() < 0.7
        name += self.suffix() if named else ""
        kind = int(self.random.integers(3))
        if kind == 2:
            (folder / name).symlink_to("/dev/zero")
            named = named or not searchable  # nobody knows then where it leads
        else:
            os.mknod(folder / name, (stat.S_IFIFO, stat.S_IFSOCK)[kind] | 0o600)
            named = named or not searchable
        if named:
            self.told.add(str(shown / name))

    def dangling(self, folder: Path, shown: Path, name: str, depth: int, searchable: bool) -> None:
        """Add a broken link, or a link to itself. Without a suffix it may have been a link to a folder."""
        name += self.suffix() if self.random.random() < 0.7 else ""
        (folder / name).symlink_to(name if self.random.random() < 0.5 else "/nowhere/x")
        self.told.add(str(shown / name))

    def link(self, folder: Path, shown: Path, name: str, depth: int, searchable: bool) -> None:
        """Add a link to the parent folder, which adds no files, or to a folder or file elsewhere."""
        kind = int(self.random.integers(3))
        if kind == 0:
            (folder / name).symlink_to("..")
        elif kind == 1:
            name += self.suffix()
            (folder / name).symlink_to(self.sound)
            if searchable:
                self.found.add(str(shown / name))
        else:
            place = self.root.parent / "elsewhere" / str(self.made) / "folder"  # alone in the folder above it
            (folder / name).symlink_to(place)
            if searchable:
                self.fill(place, shown / name, depth + 1)
        if not searchable:
            self.told.add(str(shown / name))

    def folder(self, folder: Path, shown: Path, name: str, depth: int, searchable: bool) -> None:
        if depth < 4:
            before = self.found | set(), self.told | set()
            self.fill(folder / name, shown / name, depth + 1, searchable)
            if not searchable:
                self.found, self.told = before
                self.told.add(str(shown / name))

    def forbidden_folder(self, folder: Path, shown: Path, name: str, depth: int, searchable: bool) -> None:
        """Add a folder that cannot be listed, or whose files cannot be opened."""
        if depth == 4:
            return
        mode = (0, 0o111, 0o444)[int(self.random.integers(3))]
        before = self.found | set(), self.told | set()
        self.fill(folder / name, shown / name, depth + 1, searchable=False)
        self.forbidden.append((folder / name, mode))
        if mode != 0o444 or not searchable:
            self.found, self.told = before
            self.told.add(str(shown / name))

    def close(self) -> None:
        for folder, mode in self.forbidden:
            folder.chmod(mode)

    def remove(self) -> None:
        for folder, _ in reversed(self.forbidden):
            folder.chmod(0o700)
        for folder in (self.root, self.root.parent / "elsewhere"):
            shutil.rmtree(folder, ignore_errors=True)


KINDS = (
    *(RandomTree.recording, RandomTree.recording, RandomTree.folder, RandomTree.folder, RandomTree.no_recording),
    *(RandomTree.other, RandomTree.special, RandomTree.dangling, RandomTree.link, RandomTree.forbidden_folder),
)


def command(*args: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = run(args, Terminal(io.BytesIO(), out, err, {}))
    return int(status), out.getvalue(), err.getvalue()


def detect_problems(tree: RandomTree) -> list[str]:
    """Files that `detect` neither processes nor reports."""
    status, out, err = command("detect", str(tree.root), "-m", MODEL, "-j", "1")
    records = [json.loads(line) for line in out.splitlines()]
    done = sum(record["type"] == "file" for record in records)
    failed = [record["error"] for record in records if record["type"] == "error"]
    if not tree.found and not tree.told:
        expected = (0, 1, 2)
    else:
        expected = (len(tree.found), len(tree.told), (3 if tree.found else 2) if tree.told else 0)
    problems = []
    if (done, len(failed), status) != expected:
        problems.append(f"detect: {done} done, {len(failed)} failed, exit {status}; expected {expected}")
    if err.splitlines() != [f"audiocnn: error: {' '.join(line.split())}" for line in failed]:
        problems.append(f"detect: standard error says {err!r} and the records {failed}")
    return problems


def ingest_problems(tree: RandomTree) -> list[str]:
    """Files that `ingest` neither processes nor reports."""
    output = tree.root.parent / "dataset"
    status, out, err = command("ingest", str(tree.root), "-o", str(output))
    shutil.rmtree(output, ignore_errors=True)
    if not tree.found:
        return [] if (status, out) == (2, "") and err.count("error: ") == 1 else [f"ingest: exit {status}, {out}{err}"]
    done = json.loads(out)["done"]
    # `ingest` also reports broken links to annotation files, which `detect` does not look for.
    ends = tuple(f"{suffix}: a broken link; repair or remove it" for suffix in OTHERS if suffix)
    labels = sum(line.endswith(ends) for line in err.splitlines())
    expected = (len(tree.found), len(tree.told) + labels, 3 if tree.told or labels else 0)
    if (done["added"], done["refused"], status) == expected:
        return []
    return [f"ingest: {done}, exit {status}; expected {expected}\n{err}"]


def check_tree(place: Path, sound: Path, seed: int, figures: Counter[str]) -> list[str]:
    tree = RandomTree(place / "tree", sound, np.random.default_rng(seed))
    tree.fill(tree.root / "label", tree.root / "label")
    tree.close()
    figures.update(recordings=len(tree.found), told=len(tree.told))
    try:
        return [f"seed {seed}: {problem}" for problem in detect_problems(tree) + ingest_problems(tree)]
    finally:
        tree.remove()


def run_without_rights(count: int, seed: int) -> subprocess.CompletedProcess[str]:
    """Run this module in a process without the right to read all files."""
    given = [sys.executable, "-m", "tests.helpers.fuzz.folders", "--count", str(count), "--seed", str(seed)]
    before = WITHOUT_RIGHTS if os.geteuid() == 0 else ()
    environ = {**os.environ, "PYTHONPATH": PATH}
    return subprocess.run([*before, *given], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        forbidden = Path(folder) / "forbidden"
        forbidden.mkdir(0)
        try:
            os.listdir(forbidden)  # noqa: PTH208
        except PermissionError:
            pass
        else:
            done = run_without_rights(options.count, options.seed)
            sys.stderr.write(done.stderr)
            sys.stdout.write(done.stdout)
            return done.returncode
        sound = Path(folder) / "sound.wav"
        soundfile.write(sound, np.zeros(1600), 16000)
        problems, figures = [], Counter[str]()
        for seed in range(options.seed, options.seed + options.count):
            problems += check_tree(Path(folder), sound, seed, figures)
    sys.stdout.write("".join(f"{problem!a}\n" for problem in problems))
    counts = f"{figures['recordings']} recordings, {figures['told']} entries that cannot be read"
    sys.stdout.write(f"{options.count} folders, {counts}: {len(problems)} wrong\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
