"""Recordings at addresses: the same as files, by their addresses; and what cannot be reached is one line."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn.audio.find import is_url
from audiocnn.audio.recording import open_recording
from audiocnn.audio.remote import Remote, absolute, below_root, recordings_at
from audiocnn.data.dataset import Dataset, as_int16
from audiocnn.errors import RecordingError
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.cluster.ingest import decode_whole, from_anywhere
from audiocnn_cli.cluster.run import absolute_input
from audiocnn_cli.io.inputs import Input

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
        ("memory://all/*.ogg", r"memory://all/\*\.ogg: no file matches; check the address"),
        ("memory://all/notes.txt", r"memory://all/notes\.txt: not a supported audio"),
        ("nothing://a.wav", "not an address that fsspec knows; check its scheme"),
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
    with pytest.raises(
        RecordingError, match=r"^memory://a\.wav: access denied; check the address and your credentials$"
    ):
        Remote("memory://a.wav").fetched()
    refuse(TimeoutError("the network\nis down"))
    with pytest.raises(
        RecordingError, match=r"cannot be read \(TimeoutError: the network is down\); check the address"
    ):
        Remote("memory://a.wav").fetched()
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(
        RecordingError, match=r"^s3://bucket/a\.wav: s3:// needs s3fs, which is not installed: pip install s3fs$"
    ):
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


@pytest.mark.parametrize("command", ["evaluate {}", "tune {} -m tone", "search r.toml {}", "doubtful {}",
                                     "train {} -o run"])  # fmt: skip
def test_what_must_lie_here_is_no_address(here, command):
    url = "zip://au/::a.zip"
    done = audiocnn(*command.format(url).split())
    assert done.status == ExitStatus.USAGE
    said = f"{url}: addresses are accepted for recordings only; ingest it, or copy it here first"
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
    one = absolute_input(Input("zip://all/a.wav::all.zip", Remote("zip://all/a.wav::all.zip")))
    assert one.name == "zip://all/a.wav::all.zip" and one.source.url == f"zip://all/a.wav::{here}/all.zip"
    with one.source.fetched() as file:
        assert file.read(4) == b"RIFF"


# ingest


def put(folder, names=("bell/a.wav", "bell/b.wav", "horn/c.wav")):
    """Recordings by labels, as files and in memory."""
    for number, name in enumerate(names):
        path = write(folder / name, tone((0.2, 0.4 + number / 10), seconds=0.8), RATE)
        fsspec.filesystem("memory").pipe(f"/{folder.name}/{name}", path.read_bytes())


def contents(folder):
    """What a dataset holds: names, labels, samples."""
    dataset = Dataset.open(folder)
    return {one.filename: (one.label, dataset.samples(one).tolist()) for one in dataset.entries}


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "sounds")
    yield tmp_path / "sounds"
    fsspec.filesystem("memory").rm("/sounds", recursive=True)


def test_a_folder_at_an_address_makes_the_dataset_of_a_folder(sounds):
    here, there = audiocnn("ingest", "sounds", "-o", "here"), audiocnn("ingest", "memory://sounds", "-o", "there")
    assert (here.status, there.status) == (ExitStatus.OK, ExitStatus.OK), there.err
    assert contents("there") == contents("here")
    assert set(contents("there")) == {"bell/a.wav", "bell/b.wav", "horn/c.wav"}
    assert "3 recordings" in there.out or '"recordings": 3' in there.out


def test_it_takes_what_has_changed_there(sounds):
    memory = fsspec.filesystem("memory")

    def done():
        said = audiocnn("ingest", "memory://sounds", "-o", "there", "-f", "json")
        assert said.status == ExitStatus.OK, said.err
        return {kind: count for kind, count in json.loads(said.out)["done"].items() if count}

    assert done() == {"added": 3}
    assert done() == {"kept": 3}
    memory.pipe("/sounds/bell/a.wav", memory.cat("/sounds/horn/c.wav"))
    memory.rm("/sounds/bell/b.wav")
    assert done() == {"updated": 1, "kept": 1, "removed": 1}
    found = contents("there")
    assert found["bell/a.wav"][1] == found["horn/c.wav"][1]


def test_what_cannot_be_reached_now_is_kept_and_what_is_gone_goes(sounds, monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    rows = [
        "filename,label",
        "sounds/bell/b.wav,bell",
        "memory://sounds/bell/a.wav,bell",
        "memory://sounds/horn/c.wav,horn",
    ]
    Path("labels.csv").write_text("\n".join(rows))
    assert audiocnn("ingest", "labels.csv", "-o", "ds").status == ExitStatus.OK
    before = contents("ds")
    fsspec.filesystem("memory").rm("/sounds/horn/c.wav")
    size = MemoryFileSystem.size

    def down(self, path):
        if path.endswith("a.wav"):
            raise TimeoutError("the network is down")
        return size(self, path)

    monkeypatch.setattr(MemoryFileSystem, "size", down)
    done = audiocnn("ingest", "labels.csv", "-o", "ds")
    assert done.status == ExitStatus.SOME_FAILED
    assert "memory://sounds/bell/a.wav: cannot be read (TimeoutError: the network is down)" in done.err
    assert "recordings read earlier are kept" in done.err
    assert contents("ds") == {name: found for name, found in before.items() if not name.endswith("c.wav")}


def test_a_table_names_files_and_addresses(sounds):
    rows = [
        "filename,label",
        "sounds/bell/a.wav,bell",
        "memory://sounds/horn/c.wav,horn",
        "memory://sounds/gone.wav,horn",
    ]
    Path("labels.csv").write_text("\n".join(rows))
    done = audiocnn("ingest", "labels.csv", "-o", "ds")
    assert done.status == ExitStatus.SOME_FAILED
    assert "memory://sounds/gone.wav: no such file; check the address" in done.err
    found = contents("ds")
    labels = {name: label for name, (label, _) in found.items()}
    assert labels == {"sounds/bell/a.wav": "bell", "memory://sounds/horn/c.wav": "horn"}
    assert found["memory://sounds/horn/c.wav"][1] == contents_of_file(sounds / "horn/c.wav")


def contents_of_file(path):
    with open_recording(path) as recording:
        return as_int16(np.concatenate(list(recording.blocks(16000, "mix")), axis=1)).tolist()


def test_parts_and_several_sources_at_addresses(sounds):
    put(sounds.parent / "more", ["train/bell/a.wav", "dev/horn/b.wav"])
    assert audiocnn("ingest", "memory://more", "sounds", "-o", "ds").status == ExitStatus.OK
    found = {one.filename: (one.label, one.split) for one in Dataset.open("ds").entries}
    assert found["more/train/bell/a.wav"] == ("bell", "train") and found["more/dev/horn/b.wav"] == ("horn", "dev")
    assert found["sounds/horn/c.wav"] == ("horn", None)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://sounds/bell/a.wav", "not a folder; name the folder with the recordings, or a local table"),
        ("memory://sounds/*/a.wav", "not a folder; name the folder with the recordings, or a local table"),
        ("memory://sounds/bell", "no labels; at an address, subfolders give the labels"),
        ("memory://gone", "no such file; check the address|not a folder; name the folder"),
    ],
)
def test_what_no_dataset_can_be_made_of(sounds, url, message):
    done = audiocnn("ingest", url, "-o", "ds")
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert done.err.count("\n") == 1 and re.search(message, done.err), done.err


def test_a_cluster_decodes_what_lies_at_addresses(sounds):
    url = f"file://{sounds}/bell/a.wav"
    assert from_anywhere(Remote(url)) == Remote(url)
    brought = decode_whole(Remote(url), 16000, 1)
    assert np.concatenate(brought.blocks, axis=1).tolist() == contents_of_file(sounds / "bell/a.wav")
