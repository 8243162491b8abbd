"""Sources: every kind of them gives the recordings and labels that it names; what is wrong is said."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import brief, counts, run, text
from sounds import noise, write

from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import IngestSettings, ingest
from audiocnn.data.sources import read_source
from audiocnn.data.sources.settings import DataSettings, data_settings
from audiocnn.errors import AudiocnnError, DatasetError, LabelError, RecipeError, RecordingError, UsageError


def test_a_folder_a_label(corpus: Path, tmp_path: Path) -> None:
    write(corpus / "dog/deep/5.wav", noise(1, 16000), 16000)
    write(corpus / "lost.wav", noise(1, 16000), 16000)
    text(corpus / "dog/0.txt", "a transcript without tabs")
    text(corpus / "dog/._0.wav", "what macOS leaves behind")
    steps = run(corpus, tmp_path / "ds")
    assert counts(steps) == {"added": 11, "refused": 1}
    assert [step.done for step in steps] == list(range(1, 13))
    assert {step.total for step in steps} == {12}
    dataset = Dataset.open(tmp_path / "ds")
    assert dataset.labels == ("cat", "dog")
    assert brief(dataset)["dog/deep/5.wav"] == "dog"
    assert brief(dataset)["cat/3.flac"] == "cat"
    assert dataset.refused == [("lost.wav", "lies beside the label folders; move it into one of them")]
    for entry in dataset.entries:
        seed = {"d": 0, "c": 10}[entry.filename[0]] + (
            0 if "deep" in entry.filename else int(Path(entry.filename).stem)
        )
        assert np.array_equal(dataset.samples(entry), noise(1, 16000, seed)[None]), "16 bit at the same rate is exact"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are UTF-8, or changed to it")
def test_a_folder_whose_name_is_no_text_is_refused(corpus: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"h\xfchner")
    write(corpus / "bird/1.wav", noise(1, 16000), 16000)
    (corpus / "bird").rename(corpus / name)
    assert counts(run(corpus, tmp_path / "ds")) == {"added": 10, "refused": 1}
    dataset = Dataset.open(tmp_path / "ds")
    assert dataset.refused == [
        (f"{name}/1.wav", "the name of its folder is not UTF-8, so it cannot be a label; rename it")
    ]
    assert dataset.labels == ("cat", "dog")


def test_folders_of_splits_hold_folders_of_labels(tmp_path: Path) -> None:
    for name in ("train/dog/a.wav", "train/cat/b.wav", "test/dog/c.wav"):
        write(tmp_path / "corpus" / name, noise(0.1, 16000), 16000)
    run(tmp_path / "corpus", tmp_path / "ds")
    dataset = Dataset.open(tmp_path / "ds")
    assert {e.filename: (e.split, e.label) for e in dataset.entries} == {
        "train/dog/a.wav": ("train", "dog"), "train/cat/b.wav": ("train", "cat"), "test/dog/c.wav": ("test", "dog")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Train", "Test"), {"train", "test"}),
        (("training", "validation", "testing"), {"train", "validation", "test"}),
        (("TRAIN", "Valid"), {"train", "valid"}),
        (("Development", "Evaluation"), {"dev", "eval"}),
        (("train", "test", "other"), {None}),  # not all of them are parts, so they are labels
        (("trainer", "test"), {None}),
    ],
)
def test_parts_are_known_however_they_are_written(tmp_path: Path, folders: tuple[str, ...], splits: set[str]) -> None:
    for part in folders:
        for label in ("dog", "cat"):
            write(tmp_path / "corpus" / part / label / "a.wav", noise(0.1, 16000), 16000)
    run(tmp_path / "corpus", tmp_path / "ds")
    dataset = Dataset.open(tmp_path / "ds")
    assert {entry.split for entry in dataset.entries} == splits
    assert dataset.labels == (("cat", "dog") if None not in splits else tuple(sorted(folders)))


@pytest.mark.parametrize(
    ("values", "splits"), [(("Train", "TEST"), ["train", "test"]), (("Train", "mine"), ["train", "mine"])]
)
def test_parts_in_a_table_are_known_however_they_are_written(
    tmp_path: Path, values: tuple[str, str], splits: list[str]
) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.wav", noise(0.1, 16000), 16000)
    rows = [f"{name}.wav,x,{value}" for name, value in zip(("a", "b"), values, strict=True)]
    table = text(tmp_path / "table.csv", "filename,label,split", *rows)
    items = read_source(DataSettings(tmp_path, table)).items
    assert [item.split for item in items] == splits
    assert [item.filename for item in read_source(DataSettings(tmp_path, table, split=values[0])).items] == ["a.wav"]


def test_labels_beside_the_recordings(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav", "x/a.wav", "x/d.wav", "x/e.wav", "x/f.wav"):
        write(tmp_path / "corpus" / name, noise(2, 8000), 8000)
    corpus = tmp_path / "corpus"
    text(corpus / "a.rttm", "SPEAKER a 1 0.5 1 <NA> <NA> ann", "SPEAKER a 1 1 0.25 <NA> <NA> bob")
    text(corpus / "b.rttm")
    text(corpus / "c.txt", "0.5\t0.75\tdog bark")
    text(corpus / "x/d.tsv", "onset\toffset\tevent_label", "0.25\t0.5\tcat")
    text(corpus / "x/all.rttm", "SPEAKER f 1 0 1 <NA> <NA> ann", "SPEAKER gone 1 0 1 <NA> <NA> ann")
    text(corpus / "x/a.rttm", "SPEAKER a 1 0.5", "")
    steps = run(corpus, tmp_path / "ds")
    dataset = Dataset.open(tmp_path / "ds")
    assert brief(dataset) == {
        "a.wav": [(0.5, 1.5, "speech"), (1.0, 1.25, "speech")],
        "b.wav": [],
        "c.wav": [(0.5, 0.75, "dog bark")],
        "x/d.wav": [(0.25, 0.5, "cat")],
        "x/f.wav": [(0, 1, "speech")],
    }
    assert dataset.labels == ("cat", "dog bark", "speech")
    refused = dict(dataset.refused)
    assert set(refused) == {"gone", "x/a.rttm", "x/a.wav", "x/e.wav"}
    assert refused["gone"].endswith("all.rttm, but there is no such recording; correct the name")
    assert "a.rttm:1: found" in refused["x/a.rttm"]
    assert refused["x/a.wav"] == "the label file beside it cannot be read; correct it"
    assert refused["x/e.wav"].startswith("no label file beside it, but others have one; add one")
    assert {step.filename: step.reason for step in steps if step.reason} == refused


def test_a_table_of_clips(corpus: Path, tmp_path: Path) -> None:
    table = text(
        corpus / "clips.csv",
        "filename,label,split,group,mood",
        "dog/0.wav,bark,train,rex,",
        "./cat/0.flac,meow,dev,,sad",
    )
    run(table, tmp_path / "ds")
    dataset = Dataset.open(tmp_path / "ds")
    dog, cat = sorted(dataset.entries, key=lambda e: str(e.label))
    assert (dog.filename, dog.label, dog.split, dog.group, dog.tags) == ("dog/0.wav", "bark", "train", "rex", {})
    assert (cat.filename, cat.label, cat.split, cat.group, cat.tags) == (
        "cat/0.flac", "meow", "dev", "cat/0.flac", {"mood": "sad"}
    )  # fmt: skip
    assert not dog.annotated


def test_a_table_of_events(corpus: Path, tmp_path: Path) -> None:
    table = text(
        corpus / "events.tsv", "filename\tonset\toffset\tevent_label", "dog/0.wav\t0.25\t0.5\tbark",
        "dog/0.wav\t0.5\t0.75\tgrowl", "dog/1.wav\t\t\t", "dog/2.wav\t\t\tbark",
    )  # fmt: skip
    run(table, tmp_path / "ds")
    dataset = Dataset.open(tmp_path / "ds")
    events = [(0.25, 0.5, "bark"), (0.5, 0.75, "growl")]
    assert brief(dataset) == {"dog/0.wav": events, "dog/1.wav": [], "dog/2.wav": "bark"}


RECORDINGS = (
    "filename\tkind\tspeaker\tgroup\tsplit",
    "dog/0.wav\tpet\trex\trex\ttrain",
    "dog/1.wav\tpet\trex\trex\tdev",
    "cat/0.flac\tpet\tmimi\t\ttrain",
    "cat/1.flac\twild\ttom\ttom\ttrain",
    "cat/2.flac\tmusic\t\t\ttrain",
    "cat/gone.flac\tpet\t\t\ttrain",
)
SEGMENTS = ("filename\tonset\toffset\tevent_label", "dog/0.wav\t0.25\t0.5\tbark", "dog/0.wav\t0.5\t1.0\tyelp",
            "dog/1.wav\t0\t1\tbark", "nobody.wav\t0\t1\tbark")  # fmt: skip


def test_a_recipe(corpus: Path, tmp_path: Path) -> None:
    text(corpus / "recordings.tsv", *RECORDINGS)
    text(corpus / "segments.tsv", *SEGMENTS)
    recipe = text(
        tmp_path / "recipes/r.toml", "[data]", 'source = "../corpus"', 'recordings = "recordings.tsv"',
        'segments = "segments.tsv"', 'keep.kind = ["pet", "wild"]', 'drop = { speaker = "tom" }', 'split = "train"',
        'labels = ["bark", "howl"]', "sample_rate = 8000", "[train]", "epochs = 3",
    )  # fmt: skip
    run(recipe, tmp_path / "ds")
    dataset = Dataset.open(tmp_path / "ds")
    assert dataset.sample_rate == 8000
    assert dataset.labels == ("bark", "howl")
    assert brief(dataset) == {"dog/0.wav": [(0.25, 0.5, "bark")], "cat/0.flac": []}
    assert {e.filename: e.tags for e in dataset.entries}["dog/0.wav"] == {"kind": "pet", "speaker": "rex"}
    assert {e.filename: e.group for e in dataset.entries} == {"dog/0.wav": "rex", "cat/0.flac": "cat/0.flac"}
    refused = dict(dataset.refused)
    assert set(refused) == {"cat/gone.flac", "nobody.wav"}
    assert refused["cat/gone.flac"].endswith("recordings.tsv:7, but there is no such file; correct the name")
    assert refused["nobody.wav"].endswith("segments.tsv, but there is no such recording; correct the name")
    assert run(recipe, tmp_path / "other", sample_rate=4000)[-1].seconds == 1.0
    assert Dataset.open(tmp_path / "other").sample_rate == 4000, "what is asked for wins over the recipe"


def test_a_recipe_may_name_the_label(corpus: Path, tmp_path: Path) -> None:
    text(corpus / "recordings.tsv", *RECORDINGS)
    data = {"source": "corpus", "recordings": "recordings.tsv", "drop": {"filename": ["cat/gone.flac"]}}
    for label, expected in (("kind", "wild"), ("folder", "cat")):
        settings = data_settings({**data, "label": label}, tmp_path, "r.toml: [data]")
        list(ingest([settings], tmp_path / label))
        assert brief(Dataset.open(tmp_path / label))["cat/1.flac"] == expected
    settings = data_settings({**data, "label": "folder", "labels": ["dog"]}, tmp_path, "r.toml: [data]")
    list(ingest([settings], tmp_path / "one"))
    assert brief(Dataset.open(tmp_path / "one")) == {
        "cat/0.flac": "cat", "cat/1.flac": "cat", "cat/2.flac": "cat", "dog/0.wav": "dog", "dog/1.wav": "dog"
    }  # fmt: skip
    # Beside recordings with segments a clip of another label is one without any segment.
    text(corpus / "timed.tsv", "filename\tonset\toffset\tlabel", "dog/0.wav\t0.1\t0.2\tdog", "cat/0.flac\t\t\tcat")
    settings = data_settings({"source": "corpus/timed.tsv", "labels": ["dog"]}, tmp_path, "r.toml: [data]")
    list(ingest([settings], tmp_path / "timed"))
    assert brief(Dataset.open(tmp_path / "timed")) == {"cat/0.flac": [], "dog/0.wav": [(0.1, 0.2, "dog")]}


WHOLE = [
    {"label": "miaow", "where": {"kind": "pet", "filename": ["cat/?.flac"]}},
    {"label": "noise", "where": {"kind": ["pet", "w*d", "music"]}},
]


def whole_settings(corpus: Path, **changes: Any) -> Any:
    data = {"source": "corpus", "recordings": "recordings.tsv", "drop": {"filename": "cat/gone.flac"}, "whole": WHOLE}
    return data_settings({**data, **changes}, corpus.parent, "r.toml: [data]")


def test_the_first_label_of_whole_recordings_that_fits_counts_where_they_sound(corpus: Path, tmp_path: Path) -> None:
    """White noise at full level sounds throughout; of the last cat only the first half second does."""
    text(corpus / "recordings.tsv", *RECORDINGS)
    text(corpus / "segments.tsv", *SEGMENTS)
    half = noise(1, 16000, 12)
    half[8000:] = 0
    write(corpus / "cat/2.flac", half, 16000)
    list(ingest([whole_settings(corpus)], tmp_path / "ds"))
    dataset = Dataset.open(tmp_path / "ds")
    everywhere = {"dog/0.wav": "noise", "dog/1.wav": "noise", "cat/0.flac": "miaow", "cat/1.flac": "noise"}
    assert brief(dataset) == {name: [(0, 1, label)] for name, label in everywhere.items()} | {
        "cat/2.flac": [(0, 0.5, "noise")]
    }
    assert dataset.labels == ("miaow", "noise")
    # With segments, both stay; a label that does not count leaves a recording without any.
    settings = whole_settings(corpus, segments="segments.tsv", labels=["miaow", "bark"])
    list(ingest([settings], tmp_path / "both"))
    assert brief(Dataset.open(tmp_path / "both")) == {
        "dog/0.wav": [(0.25, 0.5, "bark")], "dog/1.wav": [(0, 1, "bark")], "cat/0.flac": [(0, 1, "miaow")],
        "cat/1.flac": [], "cat/2.flac": [],
    }  # fmt: skip


def test_other_labels_of_whole_recordings_need_no_new_samples(corpus: Path, tmp_path: Path) -> None:
    text(corpus / "recordings.tsv", *RECORDINGS)
    list(ingest([whole_settings(corpus)], tmp_path / "ds"))
    assert counts(list(ingest([whole_settings(corpus)], tmp_path / "ds"))) == {"kept": 5}
    before = {path.name: path.read_bytes() for path in (tmp_path / "ds").glob("*.npy")}
    assert counts(list(ingest([whole_settings(corpus, whole=WHOLE[1:])], tmp_path / "ds"))) == {"kept": 4, "updated": 1}
    assert brief(Dataset.open(tmp_path / "ds"))["cat/0.flac"] == [(0, 1, "noise")]
    assert {path.name: path.read_bytes() for path in (tmp_path / "ds").glob("*.npy")} == before


def test_a_recipe_with_segments_alone(corpus: Path, tmp_path: Path) -> None:
    text(corpus / "segments.tsv", *SEGMENTS)
    recipe = text(corpus / "r.toml", "[data]", 'segments = "segments.tsv"')
    run(recipe, tmp_path / "ds")
    dataset = Dataset.open(tmp_path / "ds")
    assert len(dataset.entries) == 10
    assert brief(dataset)["dog/1.wav"] == [(0, 1, "bark")]
    assert brief(dataset)["cat/4.flac"] == []


def test_several_sources_are_named_apart(corpus: Path, tmp_path: Path) -> None:
    write(tmp_path / "more/corpus/dog/0.wav", noise(0.5, 16000), 16000)
    both = [corpus, tmp_path / "more/corpus"]
    assert counts(run(corpus, tmp_path / "ds")) == {"added": 10}
    steps = list(ingest(both, tmp_path / "ds"))
    assert counts(steps) == {"added": 1, "updated": 10}, "what got another name is not decoded again"
    names = {entry.filename for entry in Dataset.open(tmp_path / "ds").entries}
    assert {"corpus/dog/0.wav", "corpus-2/dog/0.wav"} <= names
    assert len(names) == 11
    assert counts(list(ingest(both, tmp_path / "ds"))) == {"kept": 11}


# Bad sources

BAD_RECIPES: list[tuple[dict[str, Any], str]] = [
    ({"recordigns": "r.tsv"}, r'^r\.toml: \[data\]: unknown key "recordigns"; did you mean "recordings"\?'),
    ({"source": 3}, r'"source" must be a string, not 3'),
    ({"source": "gone"}, r'"source": no such file or folder .*gone; its path is relative to the recipe'),
    ({"keep": ["pet"]}, r"\[data\]: \[keep\]: expected a table, not \['pet'\]"),
    ({"keep": {"kind": [1]}}, r'"keep.kind" must be texts such as \["one", "two"\], not \[1\]'),
    ({"keep": {"kind": []}}, r'"keep.kind" must be texts'),
    ({"labels": "bark"}, r'"labels" must be a list of strings, not \'bark\''),
    ({"labels": []}, r'"labels" must name at least one'),
    ({"sample_rate": 0}, r'"sample_rate" must be a whole number from 1'),
    ({"sample_rate": True}, r'"sample_rate" must be a whole number from 1'),
    ({"recordings": "recordings.tsv", "keep": {"knid": "pet"}}, r'has no column "knid"; did you mean "kind"\?'),
    ({"recordings": "recordings.tsv", "label": "kind", "group": "knid"}, r'no column "knid"; did you mean "kind"'),
    ({"recordings": "recordings.tsv", "label": "knid"}, r'recordings\.tsv has no column "knid"; did you mean "kind"'),
    (
        {"recordings": "recordings.tsv", "label": "kind", "split": "tset"},
        r"keep, drop and split leave no row of .*\.tsv",
    ),
    ({"keep": {"kind": "pet"}}, r'keep, drop, split, whole and label = "folder" need a table; name it in "recordings"'),
    ({"whole": WHOLE}, r'need a table; name it in "recordings"'),
    ({"whole": "noise"}, r'"whole" must be a list of tables \{ label, where \}, not \'noise\''),
    ({"whole": [{"label": "noise"}]}, r'\[data\]: whole 1: "label" and "where" must not be empty, as in'),
    ({"whole": [{**WHOLE[0], "were": 1}]}, r'\[data\]: whole 1: unknown key "were"; did you mean "where"\?'),
    ({"recordings": "recordings.tsv", "whole": [{"label": "a", "where": {"knid": "pet"}}]}, r'no column "knid"; did'),
    (
        {"recordings": "recordings.tsv", "whole": [WHOLE[0], {"label": "a", "where": {"kind": "pat"}}]},
        r'\[data\]: whole 2: no kind in .*recordings\.tsv is "pat"; did you mean "pet"\?',
    ),
    (
        {"recordings": "recordings.tsv", "whole": [{"label": "a", "where": {"filename": ["cow/*"]}}]},
        r'no filename in .*recordings\.tsv is "cow/\*"; correct it, or remove it',
    ),
]


@pytest.mark.parametrize(("table", "message"), BAD_RECIPES)
def test_bad_recipes(corpus: Path, table: dict[str, Any], message: str) -> None:
    text(corpus / "recordings.tsv", *RECORDINGS)
    with pytest.raises(RecipeError, match=message) as caught:
        read_source(data_settings(table, corpus, "r.toml: [data]"))
    assert "\n" not in str(caught.value)


def test_bad_tables(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r'a\.csv:1: no column "filename"; did you mean "filenam"\?'):
        read_source(text(corpus / "a.csv", "filenam,label", "dog/0.wav,dog"))
    with pytest.raises(LabelError, match=r"a\.csv:1: no label column, found filename size; name one "):
        read_source(text(corpus / "a.csv", "filename,size", "dog/0.wav,3"))
    with pytest.raises(LabelError, match=r"a\.csv:3: no label; add it"):
        read_source(text(corpus / "a.csv", "filename,label", "dog/0.wav,dog", "dog/1.wav,"))
    with pytest.raises(LabelError, match=r'a\.csv:2: found "soon", expected the onset in seconds'):
        read_source(text(corpus / "a.csv", "filename,label,onset,offset", "dog/0.wav,dog,soon,1"))
    with pytest.raises(DatasetError, match=r"a\.csv: none of its recordings can be read.*is: x\.wav: "):
        read_source(text(corpus / "a.csv", "filename,label", "x.wav,dog"))
    with pytest.raises(LabelError, match=r"segments\.tsv: no such file; check the name"):
        read_source(data_settings({"segments": "segments.tsv"}, corpus, "[data]"))
    steps = run(text(corpus / "a.csv", "filename,label", "dog/0.wav,a", "dog/0.wav,b", "dog/1.wav,a"), tmp_path / "ds")
    assert steps[0].reason is not None
    assert steps[0].reason.endswith(
        'a.csv gives it 2 labels (a, b); keep one, or write labels_per_clip = "several" in [data] of a recipe'
    )
    assert counts(steps) == {"refused": 1, "added": 1}


def test_bad_sources(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "flat/a.wav", noise(0.1, 8000), 8000)
    run(corpus, tmp_path / "ds")
    cases: list[tuple[Path, type[AudiocnnError], str]] = [
        (tmp_path / "gone", DatasetError, "gone: no such file or folder; check the name"),
        (tmp_path / "empty", RecordingError, "empty: no recordings in this folder; they must end in"),
        (
            tmp_path / "flat",
            LabelError,
            r"flat: no labels; make a subfolder for each label, put a label file \(\.rttm",
        ),
        (tmp_path / "flat/a.wav", DatasetError, r"a\.wav: a single recording; name a folder, a table"),
        (text(tmp_path / "a.json", "{}"), DatasetError, r"a\.json: not a source; name a folder, a table"),
        (tmp_path / "ds", DatasetError, "ds: already a dataset; use it as it is"),
        (text(tmp_path / "a.toml", "[dta]"), RecipeError, r"a\.toml: no \[data\] table"),
        (text(tmp_path / "b.toml", "[data"), RecipeError, r"b\.toml: not valid TOML"),
    ]
    for path, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            run(path, tmp_path / "out")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="no source; name a folder"):
        list(ingest([], tmp_path / "out"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": 0}, "sample rate 0: not a sample rate; give it in Hz, such as 16000"),
        ({"channels": 0}, "channels 0: must be 1 or more"),
        ({"jobs": -1}, "jobs -1: must be 1 or more, or 0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        IngestSettings(**settings)


def voices_and_more(folder: Path) -> dict[str, Any]:
    """Two folders with tables of recordings and segments; the [data] that takes both."""
    for place, names in (("one", ("a", "b")), ("more", ("a", "c"))):
        rows = ["filename\tkind\tgroup\tsplit"]
        for name in names:
            write(folder / place / f"{name}.wav", noise(1, 16000), 16000)
            rows.append(f"{name}.wav\tvoice\t{place}-{name}\ttrain")
        text(folder / place / "recordings.tsv", "\n".join([*rows, f"gone.wav\tvoice\t{place}\tdev"]))
        marks = ["filename\tonset\toffset\tevent_label", "a.wav\t0.1\t0.4\tspeech", "a.wav\t0.4\t0.6\tunsure"]
        text(folder / place / "segments.tsv", "\n".join([*marks, "a.wav\t0.7\t0.8\tdog"]))
    tables = {"recordings": "recordings.tsv", "segments": "segments.tsv"}
    return {
        "source": "one", **tables, "split": "train", "labels": ["speech"], "unsure": "unsure",
        "more": [{"source": "more", **tables}],
    }  # fmt: skip


def test_further_sources_have_the_labels_and_the_split_of_the_first(tmp_path: Path) -> None:
    steps = list(ingest([data_settings(voices_and_more(tmp_path), tmp_path, "[data]")], tmp_path / "ds"))
    assert counts(steps) == {"added": 4}
    dataset = Dataset.open(tmp_path / "ds")
    assert [entry.filename for entry in dataset.entries] == ["a.wav", "b.wav", "more/a.wav", "more/c.wav"]
    assert [entry.group for entry in dataset.entries] == ["one-a", "one-b", "more-a", "more-c"]
    assert (dataset.labels, dataset.unsure) == (("speech",), "unsure")
    marks = [[(n.onset, n.label) for n in dataset.annotations(entry)] for entry in dataset.entries]
    assert marks == [[(0.1, "speech"), (0.4, "unsure")], [], [(0.1, "speech"), (0.4, "unsure")], []]
    assert all(entry.annotated for entry in dataset.entries)


def test_unsure_is_never_a_label(tmp_path: Path) -> None:
    table = voices_and_more(tmp_path) | {"labels": None, "more": []}
    del table["labels"]
    run(data_settings(table, tmp_path, "[data]"), tmp_path / "ds")
    assert Dataset.open(tmp_path / "ds").labels == ("dog", "speech")


def test_a_table_of_segments_may_lie_beside_the_recipe(tmp_path: Path) -> None:
    table = voices_and_more(tmp_path) | {"segments": "marks.tsv", "more": []}
    text(tmp_path / "marks.tsv", "filename\tonset\toffset\tevent_label\nb.wav\t0.2\t0.3\tspeech")
    settings = data_settings(table, tmp_path, "[data]")
    assert settings.segments == tmp_path / "marks.tsv"
    text(tmp_path / "one/marks.tsv", "filename\tonset\toffset\tevent_label")
    assert data_settings(table, tmp_path, "[data]").segments == tmp_path / "one/marks.tsv"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"more": {"source": "more"}}, '"more" must be a list of tables'),
        ({"more": [{"recordings": "x.tsv"}]}, '[data]: more 1: "source" is missing'),
        ({"more": [{"source": "more", "recordngs": "x"}]}, 'unknown key "recordngs"'),
        ({"more": [{"source": "more", "more": []}]}, 'unknown key "more"'),
        ({"unsure": "speech"}, '"unsure" and "labels" both name "speech"'),
    ],
)
def test_what_is_wrong_with_further_sources_is_said(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as problem:
        data_settings(voices_and_more(tmp_path) | change, tmp_path, "[data]")
    assert said in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_further_source_that_is_not_there_is_said(tmp_path: Path) -> None:
    table = voices_and_more(tmp_path) | {"more": [{"source": "elsewhere"}]}
    with pytest.raises(RecipeError, match=r"more 1.*no such file or folder"):
        read_source(data_settings(table, tmp_path, "[data]"))
