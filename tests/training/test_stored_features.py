"""Training on features that a dataset keeps: the same numbers as from samples, where they fit, and a word where not."""

from __future__ import annotations

import dataclasses
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures_models import (
    LOG_MEL,
    MFCC,
    RATE,
    SPECS,
    STFT,
    TASK_MIX,
    TASK_TRAIN,
    TINY,
    WAVEFORM,
    recipe_of,
    shipped_specs,
    spec_named,
    table_of,
    tone_task,
    write_dataset,
)

from audiocnn.augment.settings import SAMPLE_CHANGES
from audiocnn.data.dataset import Dataset
from audiocnn.data.features import BandPowers, layout_of, recording_powers
from audiocnn.data.writer import DatasetWriter
from audiocnn.files import read_json
from audiocnn.recipe.recipe import Recipe
from audiocnn.spec.spec import spec_at_rate, spec_from_table
from audiocnn.training.batches import (
    ExampleDataset,
    clip_positions,
    first_examples,
    make_loader,
    make_training_set,
    recordings_of_examples,
)
from audiocnn.training.dry_run import dry_run
from audiocnn.training.events import EpochReport, Note
from audiocnn.training.features import StoredClips
from audiocnn.training.train import train
from audiocnn.training.trainer import Trainer
from audiocnn.training.validate import clip_logits

SECONDS = 0.8  # of an example
LENGTHS = (0.05, 0.4, SECONDS, SECONDS + 0.003, 3.1)  # of clips: short, as long as an example, a little longer, cut
PLAIN = dataclasses.replace(TASK_MIX, seconds=SECONDS, gain_db=(0.0, 0.0), time_masks=1, **SAMPLE_CHANGES)
CLIP_SPECS = [name for name in SPECS if spec_named(name).input.features != "waveform"]
TRAINED = [name for name in CLIP_SPECS if not spec_named(name).localises]
SHIPPED = [path for path in shipped_specs() if spec_named(path).input.features != "waveform"]


def clips_in(folder, rate=RATE, lengths=LENGTHS, each=2):
    """Two labels; noise and a tone, each clip of another length."""
    random, rows = np.random.default_rng(4), []
    for label, hertz in (("high", 700.0), ("low", 200.0)):
        for number, seconds in enumerate(lengths * each):
            time = np.arange(round(seconds * rate)) / rate
            sound = 0.2 * np.sin(2 * np.pi * hertz * time) + random.normal(0.0, 0.1, len(time))
            rows.append((f"{label}/{number}.wav", sound, {"label": label}))
    return write_dataset(folder, rows, rate)


def keep_features(dataset, spec):
    """The dataset with features of a network, as `ingest` would have kept them."""
    layout = layout_of(spec)
    powers = BandPowers(layout.input)
    with DatasetWriter(dataset.folder, dataset.sample_rate, dataset.channels, layout) as writer:
        for stored in writer.stored():
            writer.add_features(stored.id, recording_powers(writer.samples(stored.id), layout, powers))
        writer.finish(dataset.labels, [])
    return Dataset.open(dataset.folder)


def plain_recipe(spec, mix=PLAIN, **changes):
    train = dataclasses.replace(TASK_TRAIN, examples_per_epoch=0, validation_share=0.25, **changes)
    return Recipe("plain", spec, None, mix, train, seed=1)


def spec_of(settings, **f):
    return spec_from_table(table_of(settings, [{"conv": 4, "kernel": 3}], {"window_seconds": 0.2, **f}), "small")


def samples_of(source, epoch, index):
    """The samples that example `index` of an epoch is of, placed by hand."""
    random = np.random.default_rng([source.seed, epoch, index])
    place = source.place(random, source.entries[source.choose(random, epoch, index)])
    gain = 10.0 ** (random.uniform(*source.settings.gain_db) / 20.0)
    out = np.zeros((source.dataset.channels, source.length), np.float32)
    cut = source.dataset.samples(place.entry)[:, place.begin : place.begin + place.count]
    out[:, place.start : place.start + place.count] = cut / np.float32(32768.0) * np.float32(gain)
    return out


def both_batches(recipe, source, count):
    """The same examples as (samples, targets, spans) and (powers, targets, spans)."""
    examples = [source.example(0, index) for index in range(count)]
    channels = recipe.spec.input.channels
    samples = torch.stack([torch.from_numpy(samples_of(source, 0, index)) for index in range(count)])
    samples = samples.expand(-1, channels, -1) if samples.shape[1] != channels else samples
    targets = torch.stack([torch.from_numpy(example.targets) for example in examples])
    spans = torch.stack([clip_positions(example, recipe.spec.geometry().hop_samples) for example in examples])
    stored = ExampleDataset(source, channels, recipe.spec.geometry().hop_samples)
    powers = torch.stack([stored[0, index][0] for index in range(count)])
    return (samples, targets, spans), (powers, targets, spans)


def reading_of(recipe, dataset):
    training_set = make_training_set(recipe, dataset)
    assert isinstance(training_set.source, StoredClips), training_set.features
    return training_set


# The same numbers


@pytest.mark.parametrize(
    "name", [*CLIP_SPECS, *(pytest.param(path, marks=pytest.mark.long, id=path.stem) for path in SHIPPED)]
)
def test_a_network_is_given_the_same_features(name, tmp_path):
    spec = spec_named(name)
    rate = spec.input.sample_rate
    lengths = LENGTHS if isinstance(name, str) else (0.4, 1.3)
    dataset = keep_features(clips_in(tmp_path / "d", rate, lengths), spec)
    about = (dataset, dataset.entries, dataset.labels, PLAIN, 1)
    source, recipe = StoredClips(spec, *about), plain_recipe(spec)
    sounds, stored = both_batches(recipe, source, len(dataset.entries))
    trainer = Trainer(recipe, make_training_set(dataclasses.replace(recipe, spec=spec_of(LOG_MEL)), tones(tmp_path)))
    trainer.network = network = type(trainer.network)(spec)
    with torch.no_grad():
        wanted, got = trainer.features(sounds[0]), trainer.features(stored[0])
    assert got.shape == wanted.shape and got[0].numel() > 0
    assert torch.equal(got, network.laid_out(got))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=2e-3 if spec.input.logarithmic else 1e-4)


def tones(folder):
    return clips_in(folder / "others", lengths=(0.4,), each=4)


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_has_the_same_loss_and_held_out_clips_the_same_scores(name, tmp_path):
    mix = dataclasses.replace(PLAIN, gain_db=(-30.0, 6.0), float_share=1.0)
    recipe = plain_recipe(spec_named(name), mix)
    plain = clips_in(tmp_path / "d")
    training_sets = [make_training_set(recipe, plain), reading_of(recipe, keep_features(plain, recipe.spec))]
    losses, held_out = [], []
    for batch, training_set in zip(both_batches(recipe, training_sets[1].source, 8), training_sets, strict=True):
        torch.manual_seed(3)
        trainer = Trainer(recipe, training_set)
        losses.append([trainer.train_step(*batch) for _ in range(2)])
        held_out.append(clip_logits(trainer.network, training_set.validation, 4))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert len(held_out[0]) and np.abs(held_out[0] - held_out[1]).max() < 1e-3


def test_the_middle_of_a_very_long_clip_is_cut_at_a_frame(tmp_path, monkeypatch):
    monkeypatch.setattr("audiocnn.augment.clips.WHOLE_CLIP_SECONDS", 1.0)
    spec = spec_of(LOG_MEL)
    dataset = keep_features(clips_in(tmp_path / "d", lengths=(3.137,)), spec)
    source = StoredClips(spec, dataset, dataset.entries, dataset.labels, PLAIN, 1)
    begin = (dataset.entries[0].samples - RATE) // 2 // 20 * 20
    cut = dataset.samples(dataset.entries[0])[:, begin : begin + RATE].astype(np.float32) / 32768
    padded = np.pad(cut, ((0, 0), (source.geometry.extend_start, source.geometry.extend_end)))
    wanted = BandPowers(spec.input.powers)(padded)
    np.testing.assert_allclose(source.whole_values(0, RATE), wanted, rtol=1e-4, atol=1e-7)


OTHERS = {  # read from features that were kept for another network
    "another floor": ({**LOG_MEL, "floor": 1e-3}, LOG_MEL),
    "a lower floor": ({**LOG_MEL, "floor": 1e-12}, LOG_MEL),
    "mean and deviation": ({**LOG_MEL, "mean": -11.0, "deviation": 5.0}, LOG_MEL),
    "powers of log_mel": ({**LOG_MEL, "features": "mel"}, LOG_MEL),
    "mfcc of log_mel": (MFCC, {**LOG_MEL, "mels": 12}),
    "log_mel of mfcc": ({**LOG_MEL, "mels": 12}, MFCC),
    "magnitudes of stft": (
        {"features": "stft", "scale": "magnitude", "fft_samples": 64, "sample_rate": RATE},
        {"features": "stft", "scale": "log", "fft_samples": 64, "sample_rate": RATE},
    ),
    "two channels of one": ({**LOG_MEL, "channels": 2}, LOG_MEL),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_one_set_of_features_serves_several_networks(kind, tmp_path):
    spec, other = map(spec_of, OTHERS[kind])
    recipe = plain_recipe(spec)
    training_set = reading_of(recipe, keep_features(clips_in(tmp_path / "d"), other))
    trainer = Trainer(recipe, training_set)
    sounds, stored = both_batches(recipe, training_set.source, 6)
    torch.testing.assert_close(trainer.features(stored[0]), trainer.features(sounds[0]), rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_frames_that_lie_elsewhere_meet_those_of_an_example(frames, tmp_path):
    """A window of a frame more or less shifts all frames by half a hop."""
    spec = spec_of(LOG_MEL, window_seconds=0.2 + 0.01 * frames)
    recipe = plain_recipe(spec)
    training_set = reading_of(recipe, keep_features(clips_in(tmp_path / "d"), spec_of(LOG_MEL)))
    assert training_set.source.offset == (10 if frames % 2 else 0)
    trainer = Trainer(recipe, training_set)
    sounds, stored = both_batches(recipe, training_set.source, 10)
    torch.testing.assert_close(trainer.features(stored[0]), trainer.features(sounds[0]), rtol=1e-4, atol=2e-3)
    assert ("except for validation clips" in training_set.features) == bool(frames % 2)
    logits = clip_logits(trainer.network, training_set.validation, 4)  # of samples, then
    plain = make_training_set(recipe, clips_in(tmp_path / "plain"))
    assert np.abs(logits - clip_logits(trainer.network, plain.validation, 4)).max() < 1e-4


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_powers_in_the_order_of_the_keys(workers, tmp_path):
    recipe = plain_recipe(spec_of(LOG_MEL), workers=workers, batch_size=4)
    source = reading_of(recipe, keep_features(clips_in(tmp_path / "d"), recipe.spec)).source
    _, loader = make_loader(recipe, source)
    first = next(iter(loader))[0]
    wanted = torch.stack([torch.from_numpy(source.example(0, index).values) for index in range(4)])
    assert first.shape[1:] == source.shape
    assert torch.equal(first, wanted)
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again.example(0, 2).values, source.example(0, 2).values)


def test_recordings_of_an_example_are_known(tmp_path):
    recipe = plain_recipe(spec_of(LOG_MEL))
    source = reading_of(recipe, keep_features(clips_in(tmp_path / "d"), recipe.spec)).source
    names = [source.entries[source.choose(np.random.default_rng(0), 0, index)].filename for index in range(3)]
    assert recordings_of_examples(source, [(0, index) for index in range(3)]) == names


def test_all_places_of_a_clip_are_drawn(tmp_path):
    dataset = keep_features(clips_in(tmp_path / "d", lengths=(0.7, 0.95)), spec_of(LOG_MEL))
    source = StoredClips(spec_of(LOG_MEL), dataset, dataset.entries, dataset.labels, PLAIN, 1)
    random = np.random.default_rng(0)
    by_length = {entry.samples: [source.place(random, entry) for _ in range(300)] for entry in dataset.entries}
    assert {one.start for one in by_length[1400]} == set(range(0, 201, 20))
    assert {one.begin for one in by_length[1900]} == set(range(0, 301, 20))


# Whether they fit


def differing():
    """name -> (changes of [mix], the spec's input, words of the reason)"""
    off = {"speed": (0.9, 1.1)}
    words = r"\[mix\] {} = .* changes the samples"
    cases = {key: ({key: off.get(key, 0.5)}, {}, words.format(key)) for key in SAMPLE_CHANGES}
    for gain_db in ((-12.0, 0.0), (0.0, 6.0)):
        cases[f"gain {gain_db}"] = ({"gain_db": gain_db}, {}, r"\[mix\] gain_db = .* rounds to 16 bits")
    cases["two"] = ({"speed": (1.0, 1.1), "room_share": 0.2}, {}, r"speed = \[1, 1.1\], room_share = 0.2 change the")
    cases["seconds"] = ({"seconds": 0.01}, {}, r"\[mix\] seconds = 0.01 is less than two frames")
    cases["waveform"] = ({}, WAVEFORM, "small takes samples")
    cases["another kind"] = ({}, STFT, "small takes stft, but they are mel")
    other = {"hop_seconds": 0.02, "frame_seconds": 0.03, "mels": 9, "low_hertz": 100.0, "high_hertz": 900.0}
    other |= {"mel_scale": "htk", "mel_norm": "none", "fft_samples": 128}
    for key, value in other.items():
        cases[key] = ({}, {**LOG_MEL, "fft_samples": 64, key: value}, rf"\[input\] {key} is {value}, but ")
    return cases


@pytest.mark.parametrize("case", differing())
def test_what_does_not_fit_is_said_and_samples_are_read(case, tmp_path):
    mix, settings, words = differing()[case]
    background = {"output": "softmax", "background": True}
    dataset = keep_features(clips_in(tmp_path / "d"), spec_of(LOG_MEL))
    recipe = plain_recipe(spec_of(settings or LOG_MEL, **background), dataclasses.replace(PLAIN, **mix))
    training_set = make_training_set(recipe, dataset)
    assert not isinstance(training_set.source, StoredClips)
    assert training_set.features.startswith("the stored features of the dataset are not used: ")
    assert re.search(words, training_set.features)
    assert "; " not in training_set.features  # one reason for what differs


def test_a_teacher_hears_samples(tmp_path):
    dataset = keep_features(clips_in(tmp_path / "d"), spec_of(LOG_MEL))
    training_set = make_training_set(plain_recipe(spec_of(LOG_MEL), teacher="speech_1d"), dataset)
    assert training_set.features.endswith("not used: [train] teacher takes samples")


def test_a_gain_that_is_not_rounded_fits(tmp_path):
    dataset = keep_features(clips_in(tmp_path / "d"), spec_of(LOG_MEL))
    loud = dataclasses.replace(PLAIN, gain_db=(-12.0, 6.0), float_share=1.0)
    reading_of(plain_recipe(spec_of(LOG_MEL), loud), dataset)


def test_clips_without_features_are_counted(tmp_path):
    dataset = keep_features(clips_in(tmp_path / "d"), spec_of(LOG_MEL))
    with DatasetWriter(dataset.folder, RATE, 1) as writer:
        assert writer.features == dataset.layout
        writer._index.execute("UPDATE recordings SET feature_shard=NULL, feature_start=NULL, frames=NULL WHERE id < 4")
        writer.finish(dataset.labels, [])
    features = make_training_set(plain_recipe(spec_of(LOG_MEL)), Dataset.open(dataset.folder)).features
    assert "3 of " in features and "clips have none; ingest again with --features SPEC" in features


def test_a_dataset_of_two_channels_needs_a_network_of_two(tmp_path):
    mono = clips_in(tmp_path / "d")
    layout = layout_of(spec_of(LOG_MEL))
    with DatasetWriter(tmp_path / "two", RATE, 2, layout) as writer:
        from audiocnn.data.writer import Item

        for entry in mono.entries:
            item = Item(Path(entry.filename), entry.filename, label=entry.label)
            pcm = np.concatenate([mono.samples(entry), mono.samples(entry)[:, ::-1]])
            number, _ = writer.add(item, (pcm.nbytes, 0), [pcm])
            writer.describe(number, item, item.digest())
            writer.add_features(number, recording_powers(pcm, layout, BandPowers(layout.input)))
        writer.finish(mono.labels, [])
    two = Dataset.open(tmp_path / "two")
    said = make_training_set(plain_recipe(spec_of(LOG_MEL)), two).features
    assert said.endswith("[input] channels is 1, but they have 2")
    recipe = plain_recipe(spec_of({**LOG_MEL, "channels": 2}))
    training_set = reading_of(recipe, two)
    sounds, stored = both_batches(recipe, training_set.source, 8)
    trainer = Trainer(recipe, training_set)
    torch.testing.assert_close(trainer.features(stored[0]), trainer.features(sounds[0]), rtol=1e-4, atol=2e-3)


def test_recordings_with_segments_are_mixed(tmp_path):
    dataset = keep_features(tone_task(tmp_path / "d", groups=4), spec_from_table(TINY, "tiny"))
    assert make_training_set(recipe_of(), dataset).features.endswith("not used: recordings with segments are mixed")
    assert make_training_set(recipe_of(), tone_task(tmp_path / "none", groups=4)).features == ""


# A whole training


@pytest.mark.long
def test_a_training_says_what_it_reads_and_goes_on_as_it_began(tmp_path):
    spec = spec_of(LOG_MEL, output="softmax")
    dataset = keep_features(clips_in(tmp_path / "d", each=3), spec)
    recipe = plain_recipe(spec, epochs=3, batch_size=4)

    def notes_of(reports):
        return [report.text for report in reports if isinstance(report, Note)]

    whole = list(train(recipe, dataset, tmp_path / "whole"))
    which = "log_mel, 8 bands of 0 to 1000 Hz, every 10 ms, stored for small"
    line = f"stored features of the dataset are used: {which}; no mixing"
    assert line in notes_of(whole)
    for report in train(recipe, dataset, tmp_path / "parts"):
        if isinstance(report, EpochReport) and report.epoch == 2:
            break
    resumed = list(train(recipe, dataset, tmp_path / "parts", resume=True))
    assert line in notes_of(resumed)
    losses = [[report.loss for report in reports if isinstance(report, EpochReport)] for reports in (whole, resumed)]
    assert losses[1] == losses[0][-len(losses[1]) :] and losses[1]
    assert read_json(tmp_path / "whole/run.json")["features"] == line


def test_a_dry_run_says_what_it_reads(tmp_path):
    spec = spec_of(LOG_MEL, output="softmax")
    recipe = plain_recipe(spec, batch_size=4)
    dataset = keep_features(clips_in(tmp_path / "d"), spec)
    found = dry_run(recipe, dataset, "cpu")
    assert found.samples == (4, 1, 8, found.features[-1]) and "are used: log_mel" in found.reading
    plain = dry_run(dataclasses.replace(recipe, mix=dataclasses.replace(PLAIN, room_share=0.1)), dataset, "cpu")
    assert plain.samples == (4, 1, round(SECONDS * RATE)) and "room_share = 0.1" in plain.reading


@pytest.mark.long
def test_a_batch_size_is_found_for_powers(tmp_path):
    spec = spec_of(LOG_MEL, output="softmax")
    dataset = keep_features(clips_in(tmp_path / "d"), spec)
    recipe = plain_recipe(spec)
    training_set = reading_of(recipe, dataset)
    powers, targets, spans = first_examples(recipe, training_set, 2)
    assert powers.dim() == 4 and len(targets) == len(spans) == 2
    *_, last = train(plain_recipe(spec, batch_size=0, epochs=1), dataset, tmp_path / "run")
    assert last.epochs == 1


def test_at_another_rate_they_are_those_of_the_network_at_that_rate(tmp_path):
    spec = spec_at_rate(spec_named(next(path for path in SHIPPED if path.stem == "sound_2d")), 8000)
    dataset = keep_features(clips_in(tmp_path / "d", 8000, (0.5, 1.2)), spec)
    reading_of(plain_recipe(spec), dataset)
