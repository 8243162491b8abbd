"""Datasets: what is read is what was written, and nothing half is ever visible."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audiocnn.data import shards
from audiocnn.data.dataset import INDEX_NAME, Dataset, Entry, as_int16
from audiocnn.data.features import FeatureLayout
from audiocnn.data.shards import ShardWriter
from audiocnn.data.writer import DatasetWriter, Item
from audiocnn.errors import DatasetError, RecordingError
from audiocnn.segments.segment import Annotation
from audiocnn.spec.features import default_input


def ramp(length: int, start: int = 0, channels: int = 1) -> NDArray[np.int16]:
    """int16 (channels, length) whose values say where they belong."""
    values = np.arange(channels * length).reshape(length, channels).T + start
    return values.astype(np.int16)


def put(writer: DatasetWriter, item: Item, samples: NDArray[np.int16], parts: int = 3) -> int:
    number, length = writer.add(item, (1, 2), np.array_split(samples, parts, axis=1))
    assert length == samples.shape[1]
    writer.describe(number, item, item.digest())
    return number


def make(folder: Path, *names: str) -> Path:
    with DatasetWriter(folder, 16000, 1) as writer:
        for i, name in enumerate(names):
            put(writer, Item(Path("/x") / name, name), ramp(100, i))
        writer.finish([], ["/x"])
    return folder


def loadable(folder: Path) -> dict[str, int]:
    """Every shard as np.load sees it."""
    return {path.name: len(np.load(path, mmap_mode="r")) for path in sorted(folder.glob("*.npy"))}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    full = Item(
        path=Path("/corpus/b.wav"), filename="b.wav", label="dog", annotated=True,
        annotations=(Annotation(0.5, 1.0, "dog"), Annotation(0.0, 0.75, "cat")),
        group="ann", split="train", tags={"kind": "pet", "größe": "1"},
    )  # fmt: skip
    with DatasetWriter(tmp_path, 8000, 1) as writer:
        put(writer, full, ramp(9000, 5))
        put(writer, Item(Path("/corpus/a.wav"), "a.wav"), ramp(7, -3))
        writer.refuse("c.wav", "not audio")
        writer.finish(["dog", "cat"], ["/corpus"])
    dataset = Dataset.open(tmp_path)
    assert (dataset.sample_rate, dataset.channels, dataset.labels) == (8000, 1, ("dog", "cat"))
    assert dataset.refused == [("c.wav", "not audio")]
    a, b = dataset.entries
    assert a == Entry(2, "a.wav", 7, None, False, "a.wav", None, {})
    assert b == Entry(1, "b.wav", 9000, "dog", True, "ann", "train", {"kind": "pet", "größe": "1"})
    assert dataset.annotations(a) == []
    assert dataset.annotations(b) == [Annotation(0.0, 0.75, "cat"), Annotation(0.5, 1.0, "dog")]
    assert dataset.duration_seconds(b) == 9000 / 8000
    for same in (dataset, pickle.loads(pickle.dumps(dataset))):
        assert np.array_equal(same.samples(b), ramp(9000, 5))
        assert np.array_equal(same.samples(a), ramp(7, -3))
        assert same.samples(a).dtype == np.int16
        assert not same.samples(a).flags.writeable


def test_channels_are_rows(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, 16000, 3) as writer:
        put(writer, Item(Path("a"), "a"), ramp(50, 0, 3))
        put(writer, Item(Path("b"), "b"), ramp(20, 7, 3))
        writer.finish([], [])
    dataset = Dataset.open(tmp_path)
    assert np.array_equal(dataset.samples(dataset.entries[0]), ramp(50, 0, 3))
    assert np.array_equal(dataset.samples(dataset.entries[1]), ramp(20, 7, 3))


def test_shards_hold_whole_recordings_and_numpy_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_VALUES", 150)
    names = "abcde"
    with DatasetWriter(tmp_path, 16000, 1) as writer:
        for i, name in enumerate(names):
            put(writer, Item(Path(name), name), ramp(1000 if name == "c" else 100, i))
            writer.commit()
            assert loadable(tmp_path)
        writer.finish([], [])
    assert loadable(tmp_path) == {"samples-00000.npy": 200, "samples-00001.npy": 1000, "samples-00002.npy": 200}
    dataset = Dataset.open(tmp_path)
    for i, entry in enumerate(dataset.entries):
        assert np.array_equal(dataset.samples(entry)[:, :100], ramp(100, i))


def test_a_recording_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[NDArray[np.int16]]:
        yield ramp(5000)
        raise RecordingError("a.wav: a sample is NaN")

    with DatasetWriter(tmp_path, 16000, 1) as writer:
        put(writer, Item(Path("a"), "a"), ramp(10, 1))
        with pytest.raises(RecordingError, match="is NaN"):
            writer.add(Item(Path("b"), "b"), (0, 0), broken())
        put(writer, Item(Path("c"), "c"), ramp(10, 2))
        writer.finish([], [])
    dataset = Dataset.open(tmp_path)
    assert [entry.filename for entry in dataset.entries] == ["a", "c"]
    assert np.array_equal(dataset.samples(dataset.entries[1]), ramp(10, 2))
    assert loadable(tmp_path) == {"samples-00000.npy": 20}


def test_an_error_forgets_what_was_not_committed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), DatasetWriter(tmp_path, 16000, 1) as writer:
        put(writer, Item(Path("a"), "a"), ramp(10, 1))
        writer.commit()
        put(writer, Item(Path("b"), "b"), ramp(10, 2))
        raise KeyboardInterrupt
    assert [entry.filename for entry in Dataset.open(tmp_path, unfinished=True).entries] == ["a"]
    with pytest.raises(DatasetError, match="its ingest was interrupted after 1 recordings; run it again to continue"):
        Dataset.open(tmp_path)
    with DatasetWriter(tmp_path, 16000, 1) as writer:
        assert [one.filename for one in writer.stored()] == ["a"]
        put(writer, Item(Path("b"), "b"), ramp(10, 3))
        writer.finish([], [])
    dataset = Dataset.open(tmp_path)
    assert np.array_equal(dataset.samples(dataset.entries[1]), ramp(10, 3))
    assert loadable(tmp_path) == {"samples-00000.npy": 20}


def test_a_reader_does_not_see_what_comes_later(tmp_path: Path) -> None:
    make(tmp_path, "a")
    before = Dataset.open(tmp_path)
    with DatasetWriter(tmp_path, 16000, 1) as writer:
        put(writer, Item(Path("b"), "b"), ramp(10))
        assert [entry.filename for entry in Dataset.open(tmp_path).entries] == ["a"]
    assert np.array_equal(before.samples(before.entries[0]), ramp(100))


def test_empty_shards_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_VALUES", 1)
    make(tmp_path, "a", "b", "c")
    with DatasetWriter(tmp_path, 16000, 1) as writer:
        for one in writer.stored():
            if one.filename != "b":
                writer.remove(one.id)
        writer.finish([], [])
    assert list(loadable(tmp_path)) == ["samples-00001.npy"]
    with DatasetWriter(tmp_path, 16000, 1) as writer:
        put(writer, Item(Path("d"), "d"), ramp(5, 9))
        writer.finish([], [])
    dataset = Dataset.open(tmp_path)
    assert np.array_equal(dataset.samples(dataset.entries[0]), ramp(100, 1))
    assert np.array_equal(dataset.samples(dataset.entries[1]), ramp(5, 9))


def frames_of(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return np.stack([samples[0, ::10] / 2, samples[0, ::10] / 4], axis=1).astype(np.float32)


def layout(bands: int) -> FeatureLayout:
    spec = dataclasses.replace(default_input("mel", 16000), mels=bands, frame_seconds=0.000625, hop_seconds=0.000625)
    return FeatureLayout("halves", spec.powers, 0)


def test_features(tmp_path: Path) -> None:
    two = layout(2)
    with DatasetWriter(tmp_path, 16000, 1, two) as writer:
        for i, name in enumerate("ab"):
            writer.add_features(put(writer, Item(Path(name), name), ramp(100, i)), [frames_of(ramp(100, i))])
        put(writer, Item(Path("c"), "c"), ramp(100))
        writer.add_features(put(writer, Item(Path("d"), "d"), ramp(100)), [frames_of(ramp(90))])
        writer.finish([], [])
    dataset = pickle.loads(pickle.dumps(Dataset.open(tmp_path)))
    assert (dataset.feature_name, dataset.layout) == ("halves", two)
    for i, entry in enumerate(dataset.entries[:2]):
        assert np.array_equal(dataset.features(entry), frames_of(ramp(100, i)).T)
        assert dataset.features(entry).dtype == np.float32
    assert [dataset.has_features(entry) for entry in dataset.entries] == [True, True, False, False]  # d lacks a frame
    with pytest.raises(DatasetError, match="no features of c; ingest again with --features SPEC"):
        dataset.features(dataset.entries[2])
    assert loadable(tmp_path) == {"features-00000.npy": 29, "samples-00000.npy": 400}
    with DatasetWriter(tmp_path, 16000, 1) as writer:  # goes on with them
        assert writer.features == two
        writer.add_features(3, [frames_of(ramp(50)), frames_of(ramp(50, 50))])
        writer.finish([], [])
    dataset = Dataset.open(tmp_path)
    assert np.array_equal(dataset.features(dataset.entries[2]), frames_of(ramp(100)).T)
    with DatasetWriter(tmp_path, 16000, 1, layout(5)) as writer:
        assert not any(one.has_features for one in writer.stored())
        writer.add_features(1, [np.zeros((4, 5), np.float32)])
        writer.finish([], [])
    dataset = Dataset.open(tmp_path)
    assert dataset.features(dataset.entries[0]).shape == (5, 4)
    assert loadable(tmp_path)["features-00000.npy"] == 4


def old_features(folder: Path) -> NDArray[np.float16]:
    """A dataset as older versions made it: features of a kind with a name alone, half precision."""
    make(folder, "a", "b")
    values = np.arange(24, dtype=np.float16).reshape(12, 2)
    with ShardWriter(folder, "features", 2, "<f2", {}) as old:
        old.append([values])
    with contextlib.closing(sqlite3.connect(folder / INDEX_NAME)) as index:
        index.execute("UPDATE recordings SET feature_shard=0, feature_start=6 * (id - 1), frames=6")
        index.execute("INSERT INTO shards VALUES ('features', 0, 12)")
        index.executemany("INSERT INTO meta VALUES (?, ?)", [("features", "log_mel"), ("feature_rows", "2")])
        index.commit()
    return values


def test_features_of_older_versions_stay_readable(tmp_path: Path) -> None:
    values = old_features(tmp_path)
    for _ in range(2):
        dataset = Dataset.open(tmp_path)
        assert (dataset.feature_name, dataset.layout) == ("log_mel", None)
        assert np.array_equal(dataset.features(dataset.entries[1]), values[6:].T)
        assert not any(map(dataset.has_features, dataset.entries))
        with DatasetWriter(tmp_path, 16000, 1) as writer:  # which leaves them alone
            assert writer.features is None
            writer.finish([], [])
    with DatasetWriter(tmp_path, 16000, 1, layout(2)) as writer:
        assert not any(one.has_features for one in writer.stored())
        writer.add_features(2, [frames_of(ramp(100, 1))])
        writer.finish([], [])
    dataset = Dataset.open(tmp_path)
    assert np.array_equal(dataset.features(dataset.entries[1]), frames_of(ramp(100, 1)).T)
    with pytest.raises(DatasetError, match="no features of a"):
        dataset.features(dataset.entries[0])


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"spec": "x"}',
        '{"spec": "x", "phase": 0, "input": 3}',
        '{"spec": "x", "phase": 0, "input": {"features": "log_mal"}}',
        '{"spec": "x", "phase": 160, "input": {"features": "mel"}}',
        '{"spec": "x", "phase": -1, "input": {"features": "mel"}}',
        '{"spec": "x", "phase": 0.5, "input": {"features": "mel"}}',
        '{"spec": 7, "phase": 0, "input": {"features": "mel"}}',
        '{"spec": "x", "phase": 0, "input": {"features": "mel", "mels": 1e99}}',
        '{"spec": "x", "phase": 0, "input": {"features": "mel", "frame_seconds": 60, "fft_samples": 960000}}',
    ],
)
def test_features_that_cannot_be_are_a_damaged_index(text: str, tmp_path: Path) -> None:
    make(tmp_path, "a")
    with contextlib.closing(sqlite3.connect(tmp_path / INDEX_NAME)) as index:
        index.execute("INSERT INTO meta VALUES ('features', ?)", (text,))
        index.commit()
    for use in (Dataset.open, lambda folder: DatasetWriter(folder, 16000, 1)):
        with pytest.raises(DatasetError, match=r"index.sqlite: damaged \(.*delete .* and ingest again") as caught:
            use(tmp_path)
        assert "\n" not in str(caught.value)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"gr\xf6sse\n'1'.wav")
    with DatasetWriter(tmp_path, 16000, 1) as writer:
        put(writer, Item(Path("/x") / name, name), ramp(3))
        writer.finish([], [])
    (entry,) = Dataset.open(tmp_path).entries
    assert (entry.filename, entry.group) == (name, name)


def test_int16_is_exact_and_clips() -> None:
    every = np.arange(-32768, 32768, dtype=np.int16)
    assert np.array_equal(as_int16(every / np.float32(32768)), every)
    assert as_int16(np.array([1.0, -1.5, 1e30, 0.4 / 32768], np.float32)).tolist() == [32767, -32768, 32767, 0]


def test_opening_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gone: no such folder; create one with `audiocnn ingest SOURCE -o"):
        Dataset.open(tmp_path / "gone")
    with pytest.raises(DatasetError, match="not a dataset; create one with `audiocnn ingest"):
        Dataset.open(tmp_path)
    (tmp_path / INDEX_NAME).touch()
    with pytest.raises(DatasetError, match="its ingest was interrupted at the start; run it again"):
        Dataset.open(tmp_path)
    (tmp_path / INDEX_NAME).write_text("this is no SQLite file" * 50)
    with pytest.raises(DatasetError, match=r"index\.sqlite: damaged \(file is not a database\); delete .* and ingest"):
        Dataset.open(tmp_path)


def _change(folder: Path, statement: str) -> None:
    index = sqlite3.connect(folder / INDEX_NAME)
    index.execute(statement)
    index.commit()
    index.close()


# what is done to a dataset, what opening it or reading the first recording says
DAMAGE = {
    "newer": ("UPDATE meta SET value='4' WHERE key='format_version'", r"dataset format 4 .* up to 3\); update"),
    "foreign": ("DROP TABLE meta", r"index\.sqlite: not the index of a dataset; choose another folder"),
    "half": ("DROP TABLE annotations", r"index\.sqlite: damaged \(no such table: annotations\); delete"),
    "meta": ("DELETE FROM meta WHERE key='sample_rate'", r"index\.sqlite: damaged \(.*sample_rate.*\); delete"),
    "tags": ("UPDATE recordings SET tags='{'", r"index\.sqlite: damaged \(.*\); delete"),
    "place": ("UPDATE recordings SET start=90", r"samples-00000\.npy: shorter than the index states; delete"),
    "gone": ("rm", r"samples-00000\.npy: missing; delete .* and ingest again"),
    "short": ("cut", r"samples-00000\.npy: damaged \(.*\); delete .* and ingest again"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_datasets(tmp_path: Path, kind: str) -> None:
    action, message = DAMAGE[kind]
    make(tmp_path, "a")
    shard = tmp_path / "samples-00000.npy"
    if action == "rm":
        shard.unlink()
    elif action == "cut":
        os.truncate(shard, 200)
    else:
        _change(tmp_path, action)
    with pytest.raises(DatasetError, match=message) as caught:
        dataset = Dataset.open(tmp_path)
        dataset.samples(dataset.entries[0])
    assert "\n" not in str(caught.value)


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
NESTED = "'" + "[" * 100_000 + "]" * 100_000 + "'"
VALUES = ("'text'", "x'ff00'", "-1", "1.5", "9e18", "1 << 60", "NULL", "'[1]'", "'{\"a\":1}'", NESTED)
WRONG = [
    *(("recordings", column, value) for column in ("samples", "shard", "start", "file_rate") for value in VALUES),
    *(("recordings", column, value) for column in ("filename", "tags", "labels") for value in ("7", NESTED, "'3'")),
    *(("recordings", "scale", value) for value in ("'a'", "x'ff'", "-1", "0", "0.3", "9e999", "1e-30", "2e30")),
    *(("annotations", column, value) for column in ("onset", "offset") for value in ("'text'", "x'00'", "9e999")),
    *(("meta", "value", value) for value in ("0", "-1", "'text'", "x'ff'", "'1e9'", NESTED)),
    *(("labels", "label", value) for value in ("3", "1.5")),
]


@pytest.mark.parametrize(("table", "column", "value"), WRONG, ids=lambda text: text[:12])
def test_an_index_with_values_that_cannot_be(tmp_path: Path, table: str, column: str, value: str) -> None:
    folder = tmp_path / "dataset"
    with DatasetWriter(folder, 16000, 1) as writer:
        item = Item(Path("/x/a"), "a", None, True, (Annotation(0.0, 0.001, "b"),))
        put(writer, item, ramp(100))
        writer.finish(["b"], ["/x"])
    index = sqlite3.connect(folder / INDEX_NAME)
    rate = " WHERE key='sample_rate'" if table == "meta" else ""
    try:
        index.execute(f"UPDATE {table} SET {column}={value}{rate}")
    except sqlite3.IntegrityError:
        pytest.skip("the index has a rule against it")
    index.commit()
    index.close()
    try:
        dataset = Dataset.open(folder)
        assert dataset.samples(dataset.entries[0]).shape == (1, 100)
    except DatasetError as problem:
        assert "delete" in str(problem) and len(str(problem)) < 400
    else:
        assert value in ("'3'", "'text'", "'[1]'") or column in ("filename", "label", "tags", "labels"), (
            "is read as it is"
        )
    with contextlib.suppress(DatasetError), DatasetWriter(folder, 16000, 1) as writer:
        writer.stored()


@pytest.mark.parametrize("table", ["recordings", "labels", "refused", "annotations", "meta"])
@pytest.mark.parametrize("kind", ["VIEW", "TABLE", "VIRTUAL TABLE"])
def test_an_index_without_an_end_is_refused(tmp_path: Path, table: str, kind: str) -> None:
    folder = make(tmp_path / "dataset", "a")
    index = sqlite3.connect(folder / INDEX_NAME)
    for view in ("splits", "groups"):
        index.execute(f"DROP VIEW {view}")
    index.execute(f"ALTER TABLE {table} RENAME TO other")
    if kind == "VIEW":
        index.execute(f"CREATE VIEW {table} AS {ENDLESS} SELECT other.* FROM c LEFT JOIN other")
    elif kind == "TABLE":
        index.execute(f"CREATE TABLE {table} (x INTEGER, tags TEXT AS (hex(zeroblob(100000000))))")
        index.execute(f"INSERT INTO {table} (x) VALUES (1)")
    else:
        index.execute(f"CREATE VIRTUAL TABLE {table} USING fts5(x)")
    index.commit()
    index.close()
    with pytest.raises(DatasetError, match=f"{table} is not a plain table; delete"):
        Dataset.open(folder)
    with pytest.raises(DatasetError, match=f"{table} is not a plain table; delete"):
        DatasetWriter(folder, 16000, 1)


def test_writing_where_it_must_not(tmp_path: Path) -> None:
    dataset = make(tmp_path / "ds", "a")
    with pytest.raises(
        DatasetError, match="ds: made with sample rate 16000, but 8000 was requested; choose another folder"
    ):
        DatasetWriter(dataset, 8000, 1)
    with pytest.raises(DatasetError, match="ds: made with channels 1, but 2 was requested; choose another folder"):
        DatasetWriter(dataset, 16000, 2)
    with (
        DatasetWriter(dataset, 16000, 1),
        pytest.raises(DatasetError, match="another ingest is writing to it; wait until it ends"),
    ):
        DatasetWriter(dataset, 16000, 1)
    (tmp_path / "other").mkdir()
    precious = tmp_path / "other" / "samples-00000.npy"
    precious.write_text("mine")
    with pytest.raises(DatasetError, match="contains something other than a dataset; choose a new or empty folder"):
        DatasetWriter(tmp_path / "other", 16000, 1)
    assert precious.read_text() == "mine"
    with pytest.raises(DatasetError, match=r"samples-00000\.npy: cannot be written \(File exists\); choose another"):
        DatasetWriter(precious, 16000, 1)
    os.truncate(dataset / "samples-00000.npy", 200)
    with pytest.raises(DatasetError, match=r"samples-00000\.npy: shorter than the index states; delete"):
        DatasetWriter(dataset, 16000, 1)
    (dataset / INDEX_NAME).write_text("not SQLite at all" * 100)
    with pytest.raises(DatasetError, match=r"index\.sqlite: damaged \(file is not a database\); delete"):
        DatasetWriter(dataset, 16000, 1)


def test_where_there_are_no_locks_one_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have none."""

    def refuse(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    with DatasetWriter(tmp_path / "ds", 8000, 1):
        pass


def test_the_index_answers_questions(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, 16000, 1) as writer:
        for name, split in (("a", "train"), ("b", "train"), ("c", "dev")):
            put(writer, Item(Path(name), name, group=name[:1], split=split), ramp(10))
        writer.finish(["x"], [])
    index = sqlite3.connect(tmp_path / INDEX_NAME)
    assert index.execute("SELECT * FROM splits ORDER BY split").fetchall() == [("dev", 1, 10), ("train", 2, 20)]
    assert index.execute('SELECT "group", split FROM groups').fetchall() == [
        ("a", "train"),
        ("b", "train"),
        ("c", "dev"),
    ]
    index.close()
