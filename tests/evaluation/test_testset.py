"""Sets: the truth to the sample, the levels that were asked for, the same bytes again, and nobody in two parts.

The voices are constants, so that a sample is spoken if and only if it is not zero; lengths tell recordings apart.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures_cli import audiocnn, tone_model, write_tones
from fixtures_models import RATE, write_dataset
from sounds import write

from audiocnn.augment import effects
from audiocnn.data.dataset import INDEX_NAME, Dataset, Entry
from audiocnn.data.sources import read_source
from audiocnn.data.sources.settings import data_settings
from audiocnn.data.splits import hold_out_groups
from audiocnn.data.writer import DatasetWriter, Item
from audiocnn.errors import DatasetError, RecipeError
from audiocnn.evaluation.conditions import MixtureSettings, read_conditions
from audiocnn.evaluation.mixtures import MixtureMaker
from audiocnn.evaluation.testset import MADE_OF, SOURCES, make_set, part_entries, unmixed
from audiocnn.recipe.recipe import read_recipe
from audiocnn.segments.segment import Annotation

assert tone_model  # a fixture

RECIPES = Path(__file__).resolve().parents[2] / "data" / "recipes"
BARE = MixtureSettings(mixtures=3, seconds=3.0, gap_seconds=(0.1, 0.5), gain_db=(-20.0, -20.0), floor_db=None)
LEVEL = 0.01  # of voices, after 20 dB of gain
TEXT = """
seed = 3
[data]
source = "."
labels = ["tone"]
drop = { kind = "digits" }
[parts.tune]
split = "train"
held_out = 0.25
[parts.dev]
split = "dev"
[mix]
balance = "source"
seconds = 3.0
mixtures = 4
gap_seconds = [0.1, 0.5]
background = { kind = "noise" }
[[conditions]]
name = "clean"
[[conditions]]
name = "loud"
snr_db = 0
[[conditions]]
name = "noise"
as_they_are = { kind = "noise" }
"""


def voice(*lengths, value=0.3, pause=0.3):
    """Stretches of so many seconds of a constant, with pauses before, between and after, and where they are."""
    samples, notes = [np.zeros(round(pause * RATE))], []
    for seconds in lengths:
        onset = sum(map(len, samples)) / RATE
        notes.append(Annotation(onset, onset + round(seconds * RATE) / RATE, "tone"))
        samples += [np.full(round(seconds * RATE), value), np.zeros(round(pause * RATE))]
    return np.concatenate(samples), tuple(notes)


def recordings(groups=8):
    """Three recordings of each speaker and two of each thing; the last quarter of them is `dev`."""
    made = []
    for number in range(groups):
        split = "dev" if number >= groups * 3 // 4 else "train"
        for take in range(3):
            samples, notes = voice(0.2 + 0.03 * take, 0.4 + 0.01 * number)
            tags = {"kind": "voice", "source": "abc"[number % 2], "language": f"l{number}"}
            fields = {"annotated": True, "annotations": notes, "group": f"who{number}", "split": split, "tags": tags}
            made.append((f"voice/{number}-{take}.wav", samples, fields))
        for take in range(2):
            samples = np.random.default_rng([number, take]).normal(0, 0.1, RATE * (1 + 5 * take))
            tags = {"kind": "noise", "source": "hiss"}
            fields = {"annotated": True, "group": f"thing{number}", "split": split, "tags": tags}
            made.append((f"noise/{number}-{take}.wav", samples, fields))
    samples, notes = voice(0.5)
    digits = {"annotated": True, "annotations": notes, "group": "who0", "split": "dev", "tags": {"kind": "digits"}}
    return [*made, ("digits/0.wav", samples, digits)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("sets") / "dataset", recordings())


def maker_of(dataset):
    return MixtureMaker(dataset, [e for e in dataset.entries if e.tags["kind"] != "digits"], ("tone",), "source")


def conditions_of(tmp_path, text=TEXT):
    path = tmp_path / "sets.toml"
    path.write_text(text)
    return read_conditions(path)


def inside(mixture):
    """(samples,) whether a label is there."""
    mask = np.zeros(mixture.samples.shape[1], bool)
    for note in mixture.annotations:
        onset, offset = note.onset * RATE, note.offset * RATE
        assert onset == pytest.approx(round(onset), abs=1e-6)  # whole samples
        mask[round(onset) : round(offset)] = True
    return mask


def scaled(mixture):
    return mixture.samples[0] / 32768


def rms(samples):
    return math.sqrt(np.mean(np.square(samples)))


def said(made):
    """All that a set holds."""
    return [
        (e.filename, e.group, e.split, e.tags, made.annotations(e), made.samples(e).tobytes()) for e in made.entries
    ]


# One mixture


def test_the_truth_is_exact(dataset):
    cut = 0
    for number in range(40):
        mixture = maker_of(dataset).mixture(BARE, number)
        assert (mixture.samples.shape, mixture.samples.dtype) == ((1, 3 * RATE), np.int16)
        mask = inside(mixture)
        assert mask.any()
        assert np.array_equal(mixture.samples[0, :-1] != 0, mask[:-1])  # the very last sample is the end of a fade
        cut += int(mask[-1])
    assert cut > 0  # some end with the mixture


def test_a_mixture_has_one_speaker_who_says_nothing_twice(dataset):
    for number in range(20):
        mixture = maker_of(dataset).mixture(BARE, number)
        who = int(mixture.group.removeprefix("who"))
        assert mixture.tags == {"source": "abc"[who % 2], "language": f"l{who}"}
        lengths = [round(note.offset - note.onset, 3) for note in mixture.annotations if note.offset < 3.0]
        firsts = [seconds for seconds in lengths if seconds < 0.3]
        assert set(firsts) <= {0.2, 0.23, 0.26}
        assert len(set(firsts)) == len(firsts)
        assert {seconds for seconds in lengths if seconds > 0.3} <= {round(0.4 + 0.01 * who, 3)}


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
@pytest.mark.parametrize("coloured", [0.0, 1.0])
def test_the_background_is_as_loud_as_asked_where_the_voice_is(dataset, snr_db, coloured):
    maker = maker_of(dataset)
    for number in range(6):
        clean = maker.mixture(BARE, number)
        noisy = maker.mixture(dataclasses.replace(BARE, snr_db=snr_db, coloured_share=coloured), number)
        assert noisy.annotations == clean.annotations
        mask, noise = inside(clean), scaled(noisy) - scaled(clean)
        assert rms(scaled(clean)[mask]) == pytest.approx(LEVEL, rel=0.01)
        measured = 20 * math.log10(rms(scaled(clean)[mask]) / rms(noise[mask]))
        assert measured == pytest.approx(snr_db, abs=0.1)
        assert rms(noise[~mask]) > 0.3 * rms(noise[mask])
        assert noisy.tags["snr_db"] == f"{snr_db:g}"
        assert noisy.tags["background"] == ("coloured" if coloured else "hiss")
        assert ("background_file" in noisy.tags) == (not coloured)


def test_a_background_is_heard_behind_the_voice_and_not_only_elsewhere(tmp_path):
    """Of a click and a hiss, equally likely, the hiss: the click lies within 10 ms of 3 s."""
    samples, notes = voice(1.0)
    quiet, click = np.random.default_rng(0).normal(0, 0.001, 3 * RATE), np.arange(3 * RATE) < RATE // 100
    rows = [
        ("a.wav", samples, {"annotated": True, "annotations": notes}),
        ("click.wav", quiet + 0.9 * click, {"annotated": True}),
        ("hiss.wav", quiet, {"annotated": True}),
    ]
    made = write_dataset(tmp_path / "d", rows)
    maker = MixtureMaker(made, made.entries, ("tone",), "")
    settings = dataclasses.replace(BARE, snr_db=10.0)
    files = [maker.mixture(settings, number).tags["background_file"] for number in range(30)]
    assert files.count("hiss.wav") > 25


def test_without_anything_added_there_is_a_floor(dataset):
    floor = maker_of(dataset).mixture(dataclasses.replace(BARE, floor_db=30.0), 0)
    clean = maker_of(dataset).mixture(BARE, 0)
    assert rms(scaled(floor) - scaled(clean)) == pytest.approx(LEVEL / 10**1.5, rel=0.05)
    assert floor.tags == clean.tags


def test_the_voice_is_as_loud_as_asked_also_in_a_room(dataset):
    far = dataclasses.replace(BARE, room_seconds=(0.3, 0.3), direct_db=(-3.0, -3.0))
    for number in range(5):
        mixture = maker_of(dataset).mixture(far, number)
        mask = inside(mixture)
        assert 20 * math.log10(rms(scaled(mixture)[mask])) == pytest.approx(-40.0, abs=0.1)
        assert rms(scaled(mixture)[~mask]) > 0.05 * LEVEL  # the tail, which is not marked


def test_clipping_cuts_peaks_and_a_band_lets_no_constant_through(dataset):
    settings = dataclasses.replace(BARE, snr_db=0.0)
    plain = maker_of(dataset).mixture(settings, 1)
    clipped = maker_of(dataset).mixture(dataclasses.replace(settings, clip_peak=(0.2, 0.2)), 1)
    peak = np.abs(plain.samples).max()
    assert np.abs(clipped.samples).max() == pytest.approx(0.2 * peak, abs=1)
    assert np.mean(np.abs(clipped.samples) == np.abs(clipped.samples).max()) > 0.05
    banded = maker_of(dataset).mixture(dataclasses.replace(BARE, band_hertz=(300.0, 3400.0)), 1)
    assert abs(scaled(banded).mean()) < 1e-4
    assert banded.annotations == plain.annotations


def test_what_does_not_fit_is_made_quieter_and_not_cut(dataset):
    quiet = maker_of(dataset).mixture(dataclasses.replace(BARE, snr_db=0.0), 2)
    loud = maker_of(dataset).mixture(dataclasses.replace(BARE, snr_db=0.0, gain_db=(30.0, 30.0)), 2)
    assert 32700 <= np.abs(loud.samples.astype(int)).max() < 32767
    assert np.corrcoef(quiet.samples[0], loud.samples[0])[0, 1] > 0.9999


def test_backgrounds_are_chosen_by_column(dataset):
    with pytest.raises(DatasetError, match=r"no unlabelled recording has source rain, kind noise;"):
        settings = dataclasses.replace(BARE, snr_db=0.0, background={"source": ("rain",), "kind": ("noise",)})
        maker_of(dataset).mixture(settings, 0)


def test_silence_cannot_be_added(tmp_path):
    samples, notes = voice(1.0)
    rows = [("a.wav", samples, {"annotated": True, "annotations": notes})]
    made = write_dataset(tmp_path / "d", [*rows, ("none.wav", np.zeros(RATE), {"annotated": True})])
    maker = MixtureMaker(made, made.entries, ("tone",), "")
    with pytest.raises(DatasetError, match=r"none\.wav and other backgrounds are silent; remove them$"):
        maker.mixture(dataclasses.replace(BARE, snr_db=0.0), 0)


def test_coloured_noise_that_is_never_heard_is_told(dataset, monkeypatch):
    monkeypatch.setattr(effects, "draw_noise", lambda random, length, slope: np.zeros(length, np.float32))
    settings = dataclasses.replace(BARE, snr_db=0.0, coloured_share=1.0)
    with pytest.raises(DatasetError, match=r"coloured noise was nearly inaudible .* in 50 attempts; set"):
        maker_of(dataset).mixture(settings, 0)


def test_of_several_channels_the_mean_is_taken(tmp_path):
    """The voice is on the left, at twice the level of the one-channel file: the same bytes come out."""
    samples, notes = voice(1.0)
    left = np.round(samples * 16384).astype(np.int16)[None, :]
    made = {}
    for name, pcm in (("one", left), ("two", np.concatenate([2 * left, 0 * left]))):
        with DatasetWriter(tmp_path / name, RATE, len(pcm)) as writer:
            for filename, marks in (("voice.wav", notes), ("none.wav", ())):
                item = Item(Path(filename), filename, annotated=True, annotations=marks)
                number, _ = writer.add(item, (0, 0), [pcm])
                writer.describe(number, item, item.digest())
            writer.finish(["tone"], [])
        made[name] = Dataset.open(tmp_path / name)
    mixed = {name: MixtureMaker(one, one.entries, ("tone",), "").mixture(BARE, 0).samples for name, one in made.items()}
    assert np.array_equal(mixed["one"], mixed["two"])
    for one in made.values():
        assert np.array_equal(unmixed(one, one.entries[0], MixtureMaker(one, one.entries, ("tone",), "")).samples, left)


def test_without_voices_there_is_nothing_to_mix(dataset):
    with pytest.raises(DatasetError, match=r"no recording of the part has a segment labelled dog$"):
        MixtureMaker(dataset, dataset.entries, ("dog",), "")


# A set


def test_a_set_has_every_condition_and_says_what_it_is(dataset, tmp_path):
    steps = []
    made = make_set(conditions_of(tmp_path), dataset, "dev", tmp_path / "set", lambda *step: steps.append(step))
    names = [entry.filename for entry in made.entries]
    assert names == [
        *(f"clean/{k:04d}" for k in range(4)),
        *(f"loud/{k:04d}" for k in range(4)),
        *(f"noise/noise/{thing}-{take}.wav" for thing in (6, 7) for take in (0, 1)),
    ]
    assert {(e.split, e.annotated, e.label) for e in made.entries} == {("dev", True, None)}
    assert [(done, total) for done, total, _ in steps] == [(k, 12) for k in range(1, 13)]
    assert made.labels == ("tone",)
    clean, loud, noise = made.entries[0], made.entries[4], made.entries[8]
    assert set(clean.tags) == {"condition", "kind", "source", "language"}
    assert clean.tags["kind"] == "mixture"
    assert loud.tags["condition"] == "loud"
    assert loud.tags["background_file"].startswith(("noise/6", "noise/7"))
    assert noise.tags == {"condition": "noise", "kind": "noise", "source": "hiss"}
    whole = next(entry for entry in dataset.entries if entry.filename == "noise/6-0.wav")
    assert np.array_equal(made.samples(noise), dataset.samples(whole))
    assert made.annotations(noise) == []


def test_recordings_that_are_dropped_are_in_no_part(dataset, tmp_path):
    """The dataset may hold more than [data] asks for."""
    for part in ("tune", "dev"):
        assert "digits/0.wav" not in [e.filename for e in part_entries(conditions_of(tmp_path), dataset, part)]


def test_a_mixture_is_the_same_whatever_else_is_made(dataset, tmp_path):
    one = said(make_set(conditions_of(tmp_path), dataset, "dev", tmp_path / "one"))
    assert said(make_set(conditions_of(tmp_path), dataset, "dev", tmp_path / "two")) == one
    more = TEXT.replace("mixtures = 4", "mixtures = 6").replace('[[conditions]]\nname = "clean"\n', "")
    other = said(make_set(conditions_of(tmp_path, more), dataset, "dev", tmp_path / "three"))
    assert [row for row in other if row in one] == one[4:]
    seeded = said(
        make_set(conditions_of(tmp_path, TEXT.replace("seed = 3", "seed = 4")), dataset, "dev", tmp_path / "4")
    )
    assert not [row for row in seeded[:8] if row in one]


def test_a_set_is_made_once_and_again_when_something_has_changed(dataset, tmp_path):
    folder, steps = tmp_path / "set", []

    def made(text=TEXT, of=dataset):
        steps.clear()
        return make_set(conditions_of(tmp_path, text), of, "dev", folder, lambda *step: steps.append(step))

    first = said(made())
    assert len(steps) == 12
    assert said(made()) == first
    assert not steps
    louder = said(made(TEXT.replace("snr_db = 0", "snr_db = 5")))
    assert (len(steps), louder[:4], louder[4:8] == first[4:8]) == (12, first[:4], False)
    changed = recordings()
    changed[-2][2]["tags"] = {"kind": "noise", "source": "rain"}
    made(of=write_dataset(tmp_path / "changed", changed))
    assert len(steps) == 12


@pytest.mark.parametrize("column", ["size", "mtime_ns"])
def test_a_set_is_made_again_when_a_file_of_it_has_changed(tmp_path, column):
    """What an ingest takes for another file, as long as the one before: everything else that is known is the same."""
    dataset = write_dataset(tmp_path / "dataset", recordings())
    conditions, folder, markers = conditions_of(tmp_path), tmp_path / "set", []
    for _ in range(2):
        make_set(conditions, dataset, "dev", folder)
        markers.append((folder / MADE_OF).read_text())
        with closing(sqlite3.connect(dataset.folder / INDEX_NAME)) as index, index:
            index.execute(f"UPDATE recordings SET {column} = {column} + 1 WHERE filename = 'voice/7-0.wav'")
    assert markers[0] != markers[1]


def test_a_set_that_was_not_finished_is_made_again(dataset, tmp_path):
    conditions = conditions_of(tmp_path)
    whole = said(make_set(conditions, dataset, "dev", tmp_path / "whole"))

    def stop(done, total, name):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_set(conditions, dataset, "dev", tmp_path / "set", stop)
    with pytest.raises(DatasetError, match="interrupted"):
        Dataset.open(tmp_path / "set")
    assert said(make_set(conditions, dataset, "dev", tmp_path / "set")) == whole
    (tmp_path / "set" / INDEX_NAME).unlink()
    assert said(make_set(conditions, dataset, "dev", tmp_path / "set")) == whole


def test_what_is_no_set_is_left_alone(dataset, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "song.wav").write_bytes(b"mine")
    conditions = conditions_of(tmp_path)
    for folder in (tmp_path / "mine", tmp_path / "mine" / "song.wav", dataset.folder):
        before = sorted(path.name for path in folder.parent.rglob("*"))
        with pytest.raises(DatasetError, match=r"does not contain a set of .*sets\.toml; choose another folder$"):
            make_set(conditions, dataset, "dev", folder)
        assert sorted(path.name for path in folder.parent.rglob("*")) == before


@pytest.mark.parametrize("foreign", ["notes.txt", "samples-mine.npy", "sub/index.sqlite"])
def test_a_set_that_is_made_again_takes_nothing_else_away(dataset, tmp_path, foreign):
    make_set(conditions_of(tmp_path), dataset, "dev", tmp_path / "set")
    (tmp_path / "set" / MADE_OF).write_text("of others")
    (tmp_path / "set" / foreign).parent.mkdir(exist_ok=True)
    (tmp_path / "set" / foreign).touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match="contains other files, such as"):
        make_set(conditions_of(tmp_path), dataset, "dev", tmp_path / "set")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_told(dataset, tmp_path, monkeypatch):
    def full(*_, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DatasetWriter, "add", full)
    with pytest.raises(DatasetError, match=r"set: cannot be written \(.*No space left.*\); free space"):
        make_set(conditions_of(tmp_path), dataset, "dev", tmp_path / "set")


def test_recordings_of_another_source_as_they_are(dataset, tmp_path):
    """Labelled by files beside them; in one part only."""
    write(tmp_path / "others" / "talk.wav", np.full(RATE, 0.25, np.float32), RATE)
    (tmp_path / "others" / "talk.rttm").write_text("SPEAKER talk 1 0.2 0.5 <NA> <NA> anna <NA> <NA>\n")
    rule = '[[conditions]]\nname = "talks"\nparts = ["dev"]\nsource = "others"\nas_they_are = {}\n'
    conditions = conditions_of(tmp_path, TEXT.replace('"tone"', '"tone", "speech"') + rule)
    made = make_set(conditions, dataset, "dev", tmp_path / "dev")
    entry = made.entries[-1]
    assert (entry.filename, entry.tags) == (
        "talks/talk.wav",
        {"condition": "talks", "source": "talks", "kind": "talks"},
    )
    assert made.annotations(entry) == [Annotation(0.2, 0.7, "speech")]
    assert np.all(made.samples(entry) == 8192)
    assert not (made.folder / SOURCES).exists()
    assert "talks" not in {e.tags["condition"] for e in make_set(conditions, dataset, "tune", tmp_path / "t").entries}
    marker = (made.folder / MADE_OF).read_text()
    (tmp_path / "others" / "talk.rttm").write_text("SPEAKER talk 1 0.2 0.6 <NA> <NA> anna <NA> <NA>\n")
    again = make_set(conditions, dataset, "dev", tmp_path / "dev")
    assert again.annotations(again.entries[-1])[0].offset == pytest.approx(0.8)
    assert (made.folder / MADE_OF).read_text() != marker
    talk = tmp_path / "others" / "talk.wav"
    write(talk, np.full(RATE, 0.5, np.float32), RATE)
    os.utime(talk, (1, 1))  # as long as before, and changed at another time
    again = make_set(conditions, dataset, "dev", tmp_path / "dev")
    assert np.all(again.samples(again.entries[-1]) == 16384)


def test_a_condition_without_recordings_is_told(dataset, tmp_path):
    text = TEXT.replace('as_they_are = { kind = "noise" }', 'as_they_are = { kind = "rain" }')
    with pytest.raises(DatasetError, match=r'no recording matches condition "noise";'):
        make_set(conditions_of(tmp_path, text), dataset, "dev", tmp_path / "set")


# Parts


def test_no_group_is_in_two_parts_nor_in_what_is_learned_from(dataset, tmp_path):
    conditions = conditions_of(tmp_path)
    tune, dev = (part_entries(conditions, dataset, part) for part in ("tune", "dev"))
    learned, held_out = hold_out_groups(
        [e for e in dataset.entries if e.split == "train"], 0.25, lambda e: e.tags["source"], True
    )
    assert {e.id for e in tune} == {e.id for e in held_out}
    groups = [{e.group for e in entries} for entries in (tune, dev, learned)]
    assert all(groups)
    assert not groups[0] & groups[1]
    assert not groups[2] & (groups[0] | groups[1])
    for part, entries in (("tune", tune), ("dev", dev)):
        made = make_set(conditions, dataset, part, tmp_path / part)
        assert {e.group for e in made.entries} <= {e.group for e in entries}


def test_a_part_without_recordings_is_told(dataset, tmp_path):
    text = TEXT.replace('split = "dev"', 'split = "test"')
    with pytest.raises(
        DatasetError, match=r'no recording for part "dev" of .*sets\.toml \(split "test"\); ingest the sources'
    ):
        make_set(conditions_of(tmp_path, text), dataset, "dev", tmp_path / "set")
    with pytest.raises(RecipeError, match=r'no part "evaluate"; known: dev, tune$'):
        make_set(conditions_of(tmp_path), dataset, "evaluate", tmp_path / "set")


@pytest.mark.long
@pytest.mark.parametrize("name", ["speech_1d", "speech_2d"])
def test_the_sets_of_the_speech_detectors_hold_nobody_that_these_learn_from(shared_data, name):
    """By the table of the recordings that lie beside the project. Voices and things alike."""
    conditions, recipe = read_conditions(RECIPES / "speech_conditions.toml"), read_recipe(RECIPES / f"{name}.toml")
    table = {"source": str(shared_data), "recordings": "recordings.tsv", "segments": "segments.tsv"}
    items = read_source(data_settings(table, Path(), "[data]")).items
    everything = SimpleNamespace(
        folder=shared_data,
        entries=[
            Entry(number, item.filename, 1, None, True, item.group, item.split, item.tags)
            for number, item in enumerate(items)
        ],
    )
    tune, dev = (part_entries(conditions, everything, part) for part in ("tune", "dev"))
    kinds = recipe.data.keep["kind"]
    seen = [e for e in everything.entries if e.split == recipe.data.split and e.tags["kind"] in kinds]
    balance = recipe.mix.balance
    learned, _ = hold_out_groups(seen, recipe.train.validation_share, lambda e: e.tags[balance], bool(balance))
    groups = {part: {e.group for e in entries} for part, entries in (("tune", tune), ("dev", dev), ("train", learned))}
    assert min(map(len, groups.values())) > 300
    assert not groups["tune"] & groups["dev"]
    assert not groups["train"] & groups["tune"]
    assert not groups["train"] & groups["dev"]
    kinds_in = {e.tags["kind"] for e in tune + dev}
    assert kinds_in == {"speech", "commands", "nonspeech"}  # no digits, no meetings
    further = read_source(recipe.data).items[len(seen) :]
    judged = [read_source(one.source).items for one in conditions.conditions if one.source and "more" in one.name]
    assert {item.split for item in further} == {"train"}
    assert [{item.split for item in items} for items in judged] == [{"dev"}] * 2
    own = {item.group for item in further}
    assert len(own) > 50
    assert not own & {item.group for items in judged for item in items}
    assert not own & (groups["tune"] | groups["dev"])


# The command


def test_evaluate_makes_the_set_and_judges_on_it(tone_model, tmp_path, monkeypatch):
    monkeypatch.chdir(write_tones(tmp_path))
    rows = ["filename\tsplit\tgroup\tkind", "one.wav\tdev\ta\tv", "two.wav\ttrain\tb\tv", "none.wav\tdev\tc\tn"]
    Path("recordings.tsv").write_text("\n".join(rows) + "\n")
    text = TEXT.replace('source = "."', 'source = "."\nrecordings = "recordings.tsv"\nsegments = "tones.tsv"')
    # The tone as loud as the model knows it: 0.3 has a root mean square of 0.21.
    louder = {
        "snr_db = 0": "snr_db = 0\ncoloured_share = 1.0",
        '"noise"': '"n"',
        "mixtures = 4": "gain_db = [6.5, 6.5]",
    }
    for old, new in louder.items():
        text = text.replace(old, new)
    Path("sets.toml").write_text(text)
    done = audiocnn("evaluate", "sets.toml", "-m", tone_model, "--by", "condition", "--resamples", "20", "-o", "r.json")
    assert done.status == 0, done.err
    made = Dataset.open("r.set")
    assert {entry.split for entry in made.entries} == {"dev"}
    assert {entry.group for entry in made.entries} == {"a", "c"}
    report = json.loads(Path("r.json").read_text())
    report = report[0] if isinstance(report, list) else report
    assert report["split"] == "dev"
    assert set(report["groups"]["condition"]) == {"clean", "loud", "n"}
    assert report["groups"]["condition"]["clean"]["tone"]["figures"]["auroc"]["value"] > 0.99
    again = audiocnn("evaluate", "r.set", "-m", tone_model, "--resamples", "20", "-f", "table")
    assert "AUROC" in again.out
    none = audiocnn("evaluate", "sets.toml", "--split", "", "-m", tone_model)
    assert (none.status, none.out) == (2, "")
    assert "sets.toml: is a conditions file; evaluate a part of it (`audiocnn evaluate --split NAME`)" in none.err
    wrong = audiocnn("evaluate", "sets.toml", "--split", "dew", "-m", tone_model)
    assert (wrong.status, wrong.out) == (2, "")
    assert 'sets.toml: there is no part "dew"; did you mean "dev"?' in wrong.err


JUDGED = TEXT.replace('labels = ["tone"]', 'labels = ["tone"]\nunsure = "?"').replace(
    "[mix]", '[parts.agreed]\nsame_as = "dev"\njudge = "agreed.tsv"\n[mix]', 1
)


def judged_sets(tmp_path, dataset):
    """The sets of the parts `dev` and `agreed`, and what the judge says: half of each stretch, for sure."""
    rows = ["filename\tonset\toffset\tevent_label"]
    for entry in dataset.entries:
        for note in dataset.annotations(entry) if entry.tags["kind"] == "voice" else ():
            half = round((note.offset - note.onset) / 2, 2)
            rows.append(f"{entry.filename}\t{note.onset}\t{note.onset + half}\ttone")
            rows.append(f"{entry.filename}\t{note.onset + half}\t{note.offset + 0.05}\t?")
    (tmp_path / "agreed.tsv").write_text("\n".join(rows))
    conditions = conditions_of(tmp_path, JUDGED)
    dataset.unsure = "?"
    return [make_set(conditions, dataset, part, tmp_path / part) for part in ("dev", "agreed")]


def test_a_part_may_have_the_sound_of_another_and_a_judge_of_its_own(tmp_path, dataset):
    dev, agreed = judged_sets(tmp_path, write_dataset(tmp_path / "dataset", recordings(), unsure="?"))
    assert [entry.filename for entry in dev.entries] == [entry.filename for entry in agreed.entries]
    assert (dev.labels, agreed.labels, agreed.unsure) == (("tone",), ("tone",), "?")
    for one, other in zip(dev.entries, agreed.entries, strict=True):
        assert np.array_equal(dev.samples(one), agreed.samples(other))
        marked = sum(note.offset - note.onset for note in dev.annotations(one))
        sure, unsure = (
            sum(note.offset - note.onset for note in agreed.annotations(other) if note.label == label)
            for label in ("tone", "?")
        )
        if one.tags["kind"] == "mixture":
            assert marked / 2 - 0.02 < sure < marked  # a stretch may be cut off by the end
            assert unsure > 0
        assert {note.label for note in dev.annotations(one)} <= {"tone"}


def test_a_set_is_made_anew_where_its_judge_has_changed(tmp_path):
    data = write_dataset(tmp_path / "dataset", recordings(), unsure="?")
    judged_sets(tmp_path, data)
    before = (tmp_path / "agreed" / MADE_OF).read_text()
    path = tmp_path / "agreed.tsv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    make_set(conditions_of(tmp_path, JUDGED), data, "agreed", tmp_path / "agreed")
    assert (tmp_path / "agreed" / MADE_OF).read_text() != before


def test_a_judge_that_names_no_recording_of_the_part_is_refused(tmp_path, dataset):
    (tmp_path / "agreed.tsv").write_text("filename\tonset\toffset\tevent_label\nother.wav\t0\t1\ttone")
    with pytest.raises(RecipeError, match=r'part "agreed": .*agreed.tsv lists none of its recordings'):
        make_set(conditions_of(tmp_path, JUDGED), dataset, "agreed", tmp_path / "agreed")


@pytest.mark.parametrize("name", ["def", "agreed"])
def test_a_part_has_the_sound_of_another_that_is_there(tmp_path, name):
    with pytest.raises(RecipeError, match=rf'"agreed.same_as" names "{name}"; .*dev'):
        conditions_of(tmp_path, JUDGED.replace('same_as = "dev"', f'same_as = "{name}"'))


def test_a_recording_that_nobody_is_sure_of_stands_behind_no_voice(tmp_path):
    samples, _ = voice(0.5)
    fields = {"annotated": True, "annotations": (Annotation(0.0, 1.0, "?"),), "group": "g", "split": "dev"}
    more = [("voice/x.wav", samples, {**fields, "tags": {"kind": "noise", "source": "hiss"}})]
    data = write_dataset(tmp_path / "dataset", [*recordings(), *more], unsure="?")
    assert "voice/x.wav" not in {entry.filename for entry in maker_of(data).without}
