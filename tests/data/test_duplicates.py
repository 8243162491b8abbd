"""The same sound twice: copies are found, sounds that are merely alike are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from fixtures_models import write_dataset

from audiocnn.data.duplicates import DisjointSets, duplicates_of, find_duplicates

RATE = 16000


def voice(seed, seconds=1.0):
    """A made voice: harmonics of a gliding pitch under gliding formants, other ones for each seed."""
    random = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    knots = np.linspace(0, seconds, 5)
    pitch = np.interp(times, knots, random.uniform(90, 250, 5))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    centres = [np.interp(times, knots, random.uniform(low, high, 5)) for low, high in ((300, 900), (900, 2800))]
    sound = np.zeros(len(times))
    for number in range(1, 24):
        hertz = number * pitch
        level = sum(np.exp(-(((hertz - centre) / 250) ** 2)) for centre in centres)
        sound += np.where(hertz < 7000, level, 0) * np.sin(number * phase)
    sound = sound * np.interp(times, knots, random.uniform(0.2, 1, 5)) + random.normal(0, 0.01, len(times))
    return 0.3 * sound / np.abs(sound).max()


def coded(sound, kind, subtype):
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format=kind, subtype=subtype)
    file.seek(0)
    return soundfile.read(file)[0]


COPIES = {
    "the same": lambda x: x,
    "quieter": lambda x: 0.15 * x,
    "behind silence": lambda x: np.concatenate([np.zeros(2345), x]),
    "trimmed": lambda x: x[1500:-2100],
    "as mp3": lambda x: coded(x, "MP3", "MPEG_LAYER_III"),
    "as vorbis": lambda x: coded(0.5 * x, "OGG", "VORBIS"),
    "upside down": lambda x: 0.5 * (x + 0.0) + 0.02,
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found_and_nothing_else(tmp_path, name):
    sounds = [(f"{seed:02}.wav", voice(seed), {}) for seed in range(12)]
    dataset = write_dataset(tmp_path / "d", [*sounds, ("copy.wav", COPIES[name](voice(5)), {})], RATE)
    names = {entry.id: entry.filename for entry in dataset.entries}
    (twins,) = find_duplicates(dataset, dataset.entries)
    assert [names[one] for one in twins.ids] == ["05.wav", "copy.wav"]
    assert twins.exact == (name == "the same")


def test_a_piece_of_a_long_recording_is_found_in_it(tmp_path):
    long = np.concatenate([voice(seed) for seed in range(40)])
    piece = long[33 * RATE + 123 : 36 * RATE]
    dataset = write_dataset(tmp_path / "d", [("long.wav", long, {}), ("piece.wav", piece, {})], RATE)
    (twins,) = find_duplicates(dataset, dataset.entries)
    assert (len(twins.ids), twins.exact) == (2, False)


def test_silence_is_nobodys_copy(tmp_path):
    silent = [(f"{name}.wav", np.full(800, level), {}) for name, level in (("a", 0), ("b", 0), ("c", 0.0005))]
    dataset = write_dataset(tmp_path / "d", [*silent, ("empty.wav", np.zeros(0), {})], RATE)
    assert find_duplicates(dataset, dataset.entries) == []


def test_three_copies_are_one_set_and_a_part_is_looked_up(tmp_path):
    sound = voice(1)
    rows = [("a.wav", sound, {}), ("b.wav", sound, {}), ("c.wav", 0.5 * sound, {}), ("d.wav", voice(2), {})]
    dataset = write_dataset(tmp_path / "d", rows, RATE)
    (twins,) = duplicates_of(dataset, dataset.entries)
    assert (twins.ids, twins.exact) == ((1, 2, 3), False)
    (part,) = duplicates_of(dataset.with_entries(dataset.entries[1:]), dataset.entries[1:])
    assert part.ids == (2, 3)
    assert duplicates_of(dataset, [dataset.entries[0], dataset.entries[3]]) == []


def test_sets():
    sets = DisjointSets(6)
    sets.join(4, 2)
    sets.join(5, 4)
    sets.join(0, 1)
    assert sets.larger() == [[0, 1], [2, 4, 5]]
    assert (sets.top(5), sets.top(3)) == (2, 3)
