"""Folders with entries that are no files, or cannot be read: each is told of, and the rest is gone through."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiocnn.audio.find import EntryError, files_in, find_recordings


def told(folder: Path) -> dict[str, str]:
    return {
        one.path.relative_to(folder).as_posix(): one.reason
        for one in find_recordings([folder])
        if isinstance(one, EntryError)
    }


def found(folder: Path) -> list[str]:
    entries = find_recordings([folder])
    return [one.relative_to(folder).as_posix() for one in entries if not isinstance(one, EntryError)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Recordings before, in and behind the folder b."""
    for name in ("a/1.wav", "b/2.wav", "c/3.wav", "4.wav"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "tree"


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.symlink_to("/nowhere/b.wav"), "a broken link"),
        (lambda path: path.symlink_to(path.name), "a broken link"),
        (lambda path: path.symlink_to("x" * 300), "a broken link"),
        (os.mkfifo, "a named pipe"),
        (bound_socket, "a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
def test_what_looks_like_a_recording_and_is_no_file_is_told_of(
    tree: Path, monkeypatch: pytest.MonkeyPatch, make: Any, reason: str
) -> None:
    monkeypatch.chdir(tree)  # the name of a socket must be short
    for name in ("x.wav", "x.txt", ".x.wav"):
        make(Path(name))
    (told_of,) = told(tree).items()
    assert told_of[0] == "x.wav" and told_of[1].startswith(reason)
    assert found(tree) == ["4.wav", "a/1.wav", "b/2.wav", "c/3.wav"]
    assert len(list(files_in(tree))) == 4


def test_a_link_without_a_suffix_may_have_led_to_a_folder(tree: Path) -> None:
    (tree / "archive").symlink_to("/nowhere/archive")
    assert list(told(tree)) == ["archive"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "Permission denied); check its permissions"),
        (errno.ENOENT, "removed in the meantime"),
        (errno.EMFILE, "Too many open files); raise the limit with ulimit -n"),
        (errno.EIO, "error"),
    ],
)
def test_a_folder_that_cannot_be_listed_does_not_end_the_tree(
    tree: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    scandir = os.scandir

    def forbid(folder: Path) -> Any:
        if Path(folder).name == "b":
            raise OSError(number, os.strerror(number))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", forbid)
    assert found(tree) == ["4.wav", "a/1.wav", "c/3.wav"]
    assert list(told(tree)) == ["b"] and remedy in told(tree)["b"]


def test_what_was_listed_before_a_disk_failed_is_taken(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, folder: Path) -> None:
            self.entries = scandir(folder)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            yield from self.entries
            raise OSError(errno.EIO, "Input/output error")

        def __exit__(self, *_: object) -> None:
            self.entries.close()

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: Failing(folder) if Path(folder).name == "b" else scandir(folder))
    assert found(tree) == ["4.wav", "a/1.wav", "b/2.wav", "c/3.wav"]
    assert list(told(tree)) == ["b"]


@pytest.mark.parametrize(("name", "reached"), [("d", True), ("longer", False)])
def test_a_tree_of_a_thousand_folders(tree: Path, monkeypatch: pytest.MonkeyPatch, name: str, reached: bool) -> None:
    """Where the whole path is longer than the system takes, this is said once."""
    monkeypatch.chdir(tree)
    try:
        for _ in range(1000):
            os.mkdir(name)  # noqa: PTH102
            os.chdir(name)
        Path("deep.wav").touch()
        os.chdir(tree)
        entries = found(tree)
        assert sum(path.endswith("deep.wav") for path in entries) == reached
        assert {"4.wav", "a/1.wav", "b/2.wav", "c/3.wav"} <= set(entries)
        assert len(told(tree)) == (0 if reached else 1)
    finally:
        subprocess.run(["rm", "-r", str(tree / name)], check=True)  # deeper than pytest removes
