"""Recordings of any level: kept as int16 with a scale each, so that what learns and what answers hear the same."""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import counts, run
from sounds import noise, sine, write

from audiocnn.audio.pcm import from_int16
from audiocnn.audio.recording import open_recording
from audiocnn.augment.clips import ClipExamples, ValidationClips
from audiocnn.augment.mixture import Mixer
from audiocnn.augment.settings import MixSettings
from audiocnn.data import decode
from audiocnn.data.dataset import Dataset, ScaleFinder, as_int16
from audiocnn.data.duplicates import find_duplicates
from audiocnn.data.survey import survey
from audiocnn.evaluation.annotated import Scorer, score_entries
from audiocnn.evaluation.mixtures import MixtureMaker
from audiocnn.evaluation.testset import unmixed
from audiocnn.report.sound import clip_sounds
from audiocnn.segments.finder import SegmentRule
from audiocnn.training.batches import read_example

RATE = 8000
TOLERANCE = 1e-4  # of the peak of a recording
PEAKS = (1e-6, 1e-4, 0.003, 0.07, 0.3, 1.0, 1.7, 4.0, 900.0)
# What a file keeps, and what it can hold: whole numbers no more than full scale.
DEPTHS = {"FLOAT": ".wav", "DOUBLE": ".wav", "PCM_24": ".flac", "PCM_32": ".wav"}
KINDS = [(peak, depth) for peak in PEAKS for depth in DEPTHS if peak <= 1.0 or depth in ("FLOAT", "DOUBLE")]
PLAIN = MixSettings(
    seconds=0.5, speed=(1.0, 1.0), background_share=0.0, gain_db=(0.0, 0.0), room_share=0.0, telephone_share=0.0,
    tilt_db=0.0, clip_share=0.0, equaliser_db=0.0, band_masks=0, time_masks=0,
)  # fmt: skip


def sound(peak: float, seed: int = 0, seconds: float = 0.5) -> np.ndarray:
    """(samples,) of a tone in noise, with this peak."""
    whole = sine(400 + 50 * seed, seconds, RATE) + 0.2 * np.random.default_rng(seed).standard_normal(
        round(seconds * RATE)
    )
    return whole * (peak / np.abs(whole).max())


def folder_of(root: Path, peak: float, depth: str) -> Path:
    for label in "ab":
        write(root / label / f"0{DEPTHS[depth]}", sound(peak, "ab".index(label)), RATE, depth)
    return root


def heard_by_classify(path: Path) -> np.ndarray:
    with open_recording(path) as recording:
        return np.concatenate(list(recording.blocks(RATE, "mix")), axis=1)


def heard_by_evaluate(dataset: Dataset) -> dict[str, np.ndarray]:
    heard: list[np.ndarray] = []
    rules = {label: SegmentRule(0.5) for label in "ab"}

    def score(samples: np.ndarray) -> np.ndarray:
        heard.append(samples)
        return np.full((1, 2), 0.5, np.float32)

    list(score_entries(dataset, Scorer(score, RATE, 0.5, "ab", rules)))
    return {entry.filename: samples for entry, samples in zip(dataset.entries, heard, strict=True)}


@pytest.mark.parametrize(("peak", "depth"), KINDS)
def test_training_evaluate_and_classify_hear_the_same(tmp_path: Path, peak: float, depth: str) -> None:
    source = folder_of(tmp_path / "sounds", peak, depth)
    run(source, tmp_path / "dataset", sample_rate=RATE)
    dataset = Dataset.open(tmp_path / "dataset")
    clips = ClipExamples(dataset, dataset.entries, ["a", "b"], PLAIN, 0)
    examples = {clips.entries[n].labels[0]: clips.cut_clip(np.random.default_rng(0), n) for n in range(2)}
    evaluated = heard_by_evaluate(dataset)
    learned = [clips.example(0, index) for index in range(2)]
    for number, entry in enumerate(dataset.entries):
        expected = heard_by_classify(source / entry.filename)
        label = entry.labels[0]
        recorded = next(one for one in learned if one.targets[0, "ab".index(label)])
        for heard in (
            dataset.waveform(entry),
            evaluated[entry.filename],
            examples[label].samples,
            recorded.samples,
            ValidationClips(clips)[number].samples,
            read_example(dataset, entry, ("a", "b"), 80).samples,
        ):
            assert heard.dtype == np.float32 and heard.shape == expected.shape
            assert np.abs(heard - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("peak", PEAKS)
@pytest.mark.parametrize("head", [100, 1 << 21])
@pytest.mark.parametrize("rate", [RATE, 5000])
def test_a_level_is_kept_however_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peak: float, head: int, rate: int
) -> None:
    """Loud at the beginning, the end, or in the middle alone; read ahead as a whole, or hardly at all."""
    monkeypatch.setattr(decode, "_AHEAD_SAMPLES", head)
    whole = sound(peak, 1, 16.0)
    shapes = {"begin": np.arange(4) == 0, "end": np.arange(4) == 3, "middle": np.arange(4) == 2}
    for name, loud in shapes.items():
        gains = np.repeat(np.where(loud, 1.0, 0.01), len(whole) // 4)
        write(tmp_path / "sounds" / name / "0.wav", whole * gains, RATE, "FLOAT")
    run(tmp_path / "sounds", tmp_path / "dataset", sample_rate=rate)
    dataset = Dataset.open(tmp_path / "dataset")
    for entry in dataset.entries:
        with open_recording(tmp_path / "sounds" / entry.filename) as recording:
            expected = np.concatenate(list(recording.blocks(rate, "mix")), axis=1)
        assert np.abs(dataset.waveform(entry) - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("peak", [1, 30, 3000, 32768])
def test_16_bit_is_exact_at_full_scale(tmp_path: Path, peak: int) -> None:
    samples = (noise(0.5, RATE).astype(np.int32) // (32768 // peak)).astype(np.int16)
    write(tmp_path / "sounds/a/0.wav", samples, RATE)
    write(tmp_path / "sounds/a/1.flac", samples, RATE, "PCM_24")
    write(tmp_path / "sounds/a/2.wav", samples / np.float32(32768), RATE, "FLOAT")
    run(tmp_path / "sounds", tmp_path / "dataset", sample_rate=RATE)
    dataset = Dataset.open(tmp_path / "dataset")
    for entry in dataset.entries:
        assert entry.scale == 1.0
        assert np.array_equal(dataset.samples(entry), samples[None])


@pytest.mark.parametrize("exponent", range(-40, 41, 5))
def test_a_scale_is_as_large_as_the_samples(exponent: int) -> None:
    samples = (2.0**exponent * np.array([0.9, -0.3, 0.123456])).astype(np.float32)
    finder = ScaleFinder()
    finder.add(samples)
    assert finder.fits(finder.scale) and finder.fits(finder.likely_scale)
    assert np.abs(from_int16(as_int16(samples, finder.scale), finder.scale) - samples).max() <= 2.0 ** (exponent - 14)


def test_silence_has_full_scale() -> None:
    finder = ScaleFinder()
    finder.add(np.zeros((1, 100), np.float32))
    assert finder.scale == 1.0 and finder.fits(1.0)


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_unchanged_recording_is_not_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: str) -> None:
    source = folder_of(tmp_path / "sounds", 0.0001, depth)
    run(source, tmp_path / "dataset", sample_rate=RATE)
    before = Dataset.open(tmp_path / "dataset").entries
    monkeypatch.setattr(decode, "open_recording", None)
    assert counts(run(source, tmp_path / "dataset", sample_rate=RATE)) == {"kept": 2}
    assert Dataset.open(tmp_path / "dataset").entries == before


@pytest.mark.parametrize("factor", [2.0**-13, 8.0])
def test_levels_of_mixtures_mean_what_they_say(tmp_path: Path, factor: float) -> None:
    """Voices and backgrounds that are quieter or louder by a power of two make the same mixtures."""
    made = []
    for name, gain in (("plain", 1.0), ("other", factor)):
        for number in range(3):
            voice = np.pad(sine(300 + 100 * number, 0.6, RATE, 0.6), 800) + sound(0.01, number, 0.8)
            write(tmp_path / name / f"voice{number}.wav", gain * voice, RATE, "FLOAT")
            (tmp_path / name / f"voice{number}.txt").write_text("0.1\t0.7\ttone\n")
            write(tmp_path / name / f"wind{number}.wav", gain * sound(0.6, 9 + number, 3.0), RATE, "FLOAT")
            (tmp_path / name / f"wind{number}.txt").write_text("")
        run(tmp_path / name, tmp_path / f"{name}.dataset", sample_rate=RATE)
        made.append(Dataset.open(tmp_path / f"{name}.dataset"))
    plain, other = made
    assert {entry.scale for entry in plain.entries} == {1.0}
    assert all(entry.scale != 1.0 for entry in other.entries)
    settings = MixSettings(seconds=1.5, hard_share=0.0)
    mixers = [Mixer(one, one.entries, ("tone",), settings, 80, 3) for one in made]
    for index in range(12):
        first, second = (mixer.example(0, index) for mixer in mixers)
        assert np.array_equal(first.samples, second.samples)
        assert np.array_equal(first.targets, second.targets, equal_nan=True)
    makers = [MixtureMaker(one, one.entries, ("tone",), "") for one in made]
    for entries in zip(plain.entries, other.entries, strict=True):
        a, b = (from_int16(one.samples, one.scale) for one in map(unmixed, made, entries, makers))
        assert np.allclose(a * factor, b, rtol=0, atol=TOLERANCE * factor)


@pytest.mark.parametrize("factor", [2.0**-13, 8.0])
@pytest.mark.parametrize("kind", ["noise", "between", "mixup"])
def test_examples_of_clips_follow_the_level_of_the_recording(tmp_path: Path, factor: float, kind: str) -> None:
    changes = {
        "noise": {"background_share": 1.0, "snr_db": (15.0, 30.0)},
        "between": {"between_share": 1.0},
        "mixup": {"mixup": 1.0},
    }[kind]
    found = []
    for name, gain in (("plain", 1.0), ("other", factor)):
        for label in "ab":
            write(tmp_path / name / label / "0.wav", gain * sound(0.6, "ab".index(label)), RATE, "FLOAT")
        run(tmp_path / name, tmp_path / f"{name}.dataset", sample_rate=RATE)
        dataset = Dataset.open(tmp_path / f"{name}.dataset")
        clips = ClipExamples(dataset, dataset.entries, ["a", "b"], dataclasses.replace(PLAIN, **changes), 0)
        found.append([clips.example(0, index) for index in range(4)])
    for plain, other in zip(*found, strict=True):
        assert np.allclose(plain.samples * factor, other.samples, rtol=0, atol=3e-4 * factor)
        assert np.allclose(plain.targets, other.targets, atol=1e-3)


def test_copies_are_found_whatever_their_scale(tmp_path: Path) -> None:
    copies = {"float": 1.0, "same": 1.0, "loud": 4.0, "quiet": 0.01}
    words = np.concatenate([np.pad(sine(hertz, 0.2, RATE, 0.3), 400) for hertz in (300, 700, 450, 900, 600)])
    for name, gain in copies.items():
        whole = gain * (words + 0.001 * np.random.default_rng(0).standard_normal(len(words)))
        write(tmp_path / "sounds/a" / f"{name}.wav", whole, RATE, "FLOAT")
    write(tmp_path / "sounds/a/other.wav", sound(0.5, 3, 1.5), RATE, "FLOAT")
    run(tmp_path / "sounds", tmp_path / "dataset", sample_rate=RATE)
    dataset = Dataset.open(tmp_path / "dataset")
    names = {entry.id: Path(entry.filename).stem for entry in dataset.entries}
    (twins,) = find_duplicates(dataset, dataset.entries)
    assert {names[one] for one in twins.ids} == set(copies) and not twins.exact
    pair = [entry for entry in dataset.entries if names[entry.id] in ("float", "same")]
    assert [one.exact for one in find_duplicates(dataset, pair)] == [True]


@pytest.mark.parametrize(("peak", "faults"), [(1e-4, {"silent"}), (0.003, set()), (0.5, set()), (4.0, set())], ids=str)
def test_the_survey_measures_levels_of_full_scale(tmp_path: Path, peak: float, faults: set[str]) -> None:
    source = folder_of(tmp_path / "sounds", peak, "FLOAT")
    run(source, tmp_path / "dataset", sample_rate=RATE)
    found = survey(Dataset.open(tmp_path / "dataset"))
    assert {name for name in ("empty", "silent", "clipped", "offset") if getattr(found, name)} == faults


def test_what_was_clipped_before_it_was_stored_is_said(tmp_path: Path) -> None:
    whole = np.clip(3 * sound(1.0), -1.0, 1.0)
    write(tmp_path / "sounds/a/0.wav", whole, RATE)
    write(tmp_path / "sounds/a/1.wav", whole * 1.05, RATE, "FLOAT")  # as a lossy codec overshoots
    run(tmp_path / "sounds", tmp_path / "dataset", sample_rate=RATE)
    assert len(survey(Dataset.open(tmp_path / "dataset")).clipped) == 2


@pytest.mark.parametrize("peak", [1e-4, 0.05, 0.5, 4.0])
def test_a_page_plays_what_is_stored(tmp_path: Path, peak: float) -> None:
    """As loud as it is; what is louder than full scale is turned down as a whole."""
    source = folder_of(tmp_path / "sounds", peak, "FLOAT")
    run(source, tmp_path / "dataset", sample_rate=RATE)
    dataset = Dataset.open(tmp_path / "dataset")
    for name, played in clip_sounds(dataset, [entry.filename for entry in dataset.entries]).items():
        samples, _ = soundfile.read(io.BytesIO(base64.b64decode(played.uri.partition(",")[2])), dtype="float32")
        entry = next(one for one in dataset.entries if one.filename == name)
        expected = dataset.waveform(entry)[0] / max(1.0, entry.scale)
        assert np.abs(samples - expected).max() <= 2.0**-23
