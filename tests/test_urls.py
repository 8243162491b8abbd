"""Recordings at addresses: the same as files, by their addresses; and what cannot be reached is one line."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn.errors import RecordingError
from audiocnn_cli.cluster_run import sendable
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.inputs import Input
from audiocnn_cli.urls import Remote, absolute, below_root, is_url, recordings_at

fsspec = pytest.importorskip("fsspec")
SPANS = {"a.wav": (0.2, 0.6), "x/b.wav": (0.5, 1.1), "x/.hidden.wav": (0.1, 0.9), "x/c.flac": (0.3, 0.7)}


@pytest.fixture(scope="module")
def place(tmp_path_factory, tone_model):  # noqa: F811
    """The same recordings as files, in memory, and in an archive."""
    place = tmp_path_factory.mktemp("urls")
    memory = fsspec.filesystem("memory")
    with zipfile.ZipFile(place / "all.zip", "w") as archive:
        for name, span in SPANS.items():
            path = write(place / "all" / name, tone(span, seconds=1.3), RATE)
            memory.pipe(f"/all/{name}", path.read_bytes())
            archive.write(path, f"all/{name}")
    memory.pipe("/all/notes.txt", b"no audio")
    (place / "tone").symlink_to(tone_model)
    return place


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize(
    ("address", "root", "rest"),
    [
        ("memory://all", "memory:///all/", ""),
        ("memory://all/", "memory:///all/", ""),
        ("zip://all::file://{place}/all.zip", "zip://all/", "::file://{place}/all.zip"),
        ("file://{place}/all", "file://{place}/all/", ""),
    ],
)
def test_a_folder_at_an_address_is_as_a_folder(here, address, root, rest):
    done = audiocnn("detect", address.format(place=here), "-m", "tone", "-f", "jsonl")
    assert done.status == ExitStatus.OK, done.err
    own = lines(audiocnn("detect", "all", "-m", "tone", "-f", "jsonl").out)
    root, rest = root.format(place=here), rest.format(place=here)
    assert lines(done.out) == [record | {"file": root + record["file"][4:] + rest} for record in own]
    assert len({record["file"] for record in own}) == 3


def test_patterns_and_lists(here):
    def found(*args):
        done = audiocnn("detect", *args, "-m", "tone", "-f", "jsonl")
        assert done.status == ExitStatus.OK, done.err
        return [record["file"] for record in lines(done.out) if record["type"] == "file"]

    assert found("memory://all/*.wav") == ["memory:///all/a.wav"]
    assert found("memory://all/x/?.*") == ["memory:///all/x/b.wav", "memory:///all/x/c.flac"]
    assert found("memory://all", "--glob", "*.flac") == ["memory:///all/x/c.flac"]
    Path("list.txt").write_text("memory://all/a.wav\nall/x/b.wav\n")
    assert found("--files-from", "list.txt") == ["memory://all/a.wav", "all/x/b.wav"]


def test_results_lie_in_a_tree_below_the_folder(here, tmp_path):
    named = audiocnn("detect", "memory://all", "-m", "tone", "--output-dir", tmp_path / "out")
    alone = audiocnn("detect", "memory://all/x/b.wav", "-m", "tone", "--output-dir", tmp_path / "out")
    assert (named.status, alone.status) == (ExitStatus.OK, ExitStatus.OK)
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jsonl"))
    assert found == ["a.wav.jsonl", "all/x/b.wav.jsonl", "x/b.wav.jsonl", "x/c.flac.jsonl"]


@pytest.mark.parametrize(
    "command", ["score", "classify", "split --output-dir cuts", "plot -o one.png", "explain -o why.png"]
)
def test_other_commands_read_addresses(here, tmp_path, monkeypatch, command):
    (tmp_path / "tone").symlink_to(here / "tone")
    monkeypatch.chdir(tmp_path)
    name, *more = command.split()
    done = audiocnn(name, "memory://all/a.wav", "-m", "tone", *more)
    assert done.status == ExitStatus.OK, done.err
    assert "memory://all/a.wav" in done.out + done.err or name in ("plot", "explain")


def test_what_is_split_is_what_a_file_gives(here, tmp_path):
    for source, out in (("memory://all/a.wav", "there"), ("all/a.wav", "own")):
        assert audiocnn("split", source, "-m", "tone", "--output-dir", tmp_path / out).status == ExitStatus.OK
    there, own = (sorted((tmp_path / out).rglob("*.wav")) for out in ("there", "own"))
    assert len(there) == len(own) == 1
    assert there[0].read_bytes() == own[0].read_bytes()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://all/gone.wav", r"memory://all/gone\.wav: no such file; check the address"),
        ("memory://all/*.ogg", r"memory://all/\*\.ogg: no file fits; check the address"),
        ("memory://all/notes.txt", r"memory://all/notes\.txt: not audio"),
        ("nothing://a.wav", "fsspec knows no such kind of address; check how it begins"),
        ("zip://a.wav::file:///gone.zip", "no such file; check the address"),
    ],
)
def test_what_cannot_be_read_is_one_line(here, url, message):
    done = audiocnn("detect", url, "-m", "tone")
    assert (done.status, done.out[:6]) == (ExitStatus.USAGE, '{"sche')
    assert done.err.count("\n") == 1
    assert re.search(message, done.err)


def test_nobody_may_look_and_no_package(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    def refuse(problem):
        def opened(*args, **more):
            raise problem

        monkeypatch.setattr(MemoryFileSystem, "open", opened)

    refuse(PermissionError(13, "Forbidden"))
    with pytest.raises(RecordingError, match=r"^memory://a\.wav: no access; check the address, and who you are there$"):
        Remote("memory://a.wav").fetched()
    refuse(TimeoutError("the network\nis down"))
    with pytest.raises(
        RecordingError, match=r"cannot be read \(TimeoutError: the network is down\); check the address"
    ):
        Remote("memory://a.wav").fetched()
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(RecordingError, match=r"^s3://bucket/a\.wav: s3:// needs s3fs; pip install s3fs$"):
        list(recordings_at("s3://bucket/a.wav"))


def test_a_copy_has_its_address_as_its_name(here):
    with Remote("memory://all/a.wav").fetched() as copied:
        assert copied.name == "memory://all/a.wav"
        assert copied.read() == (here / "all" / "a.wav").read_bytes()


@pytest.mark.parametrize(
    ("name", "answer"),
    [("s3://a/b", True), ("zip://a::s3://b", True), ("C://a", False), ("a/b", False), ("a:b", False)],
)
def test_what_an_address_is(name, answer):
    assert is_url(name) is answer


@pytest.mark.parametrize(
    ("url", "place"),
    [("s3://b/x/a.wav", "b/x/a.wav"), ("file:///../../etc/a.wav", "etc/a.wav"), ("zip://a.wav::s3://b", "a.wav")],
)
def test_nothing_lies_above_the_root(url, place):
    assert below_root(url) == Path(place)


@pytest.mark.parametrize("command", ["ingest {} -o ds", "evaluate {}", "tune {} -m tone", "tune {} --recipe r.toml",
                                     "train {} -o run"])  # fmt: skip
def test_what_must_lie_here_is_no_address(here, command):
    url = "zip://au/::a.zip"
    done = audiocnn(*command.format(url).split())
    assert done.status == ExitStatus.USAGE
    said = f"{url}: addresses are for detect, score and classify; copy it here first"
    assert done.err.strip().endswith(said) and done.err.count("\n") == 1, done.err


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("zip://x/b.wav::a.zip", "zip://x/b.wav::{here}/a.zip"),
        ("zip://x::sub/all", "zip://x::{here}/sub/all"),
        ("zip://x::file://a.zip", "zip://x::file://{here}/a.zip"),
        ("zip://x::/data/a.zip", "zip://x::/data/a.zip"),
        ("zip://x::simplecache::s3://b/a.zip", "zip://x::simplecache::s3://b/a.zip"),
        ("s3://b/a.wav", "s3://b/a.wav"),
        ("memory://all/a.wav", "memory://all/a.wav"),
    ],
)
def test_another_machine_finds_files_by_paths_from_the_root(here, url, wanted):
    assert absolute(url) == wanted.format(here=here)


def test_what_a_cluster_gets_is_absolute(here):
    one = sendable(Input("zip://all/a.wav::all.zip", Remote("zip://all/a.wav::all.zip")))
    assert one.name == "zip://all/a.wav::all.zip" and one.source.url == f"zip://all/a.wav::{here}/all.zip"
    with one.source.fetched() as file:
        assert file.read(4) == b"RIFF"
