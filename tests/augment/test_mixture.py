"""Examples made on the fly: the same for the same numbers, marked where the foreground lies, as loud as was asked.

The foreground is a constant, so that a sample belongs to it if and only if it is not zero; everything else is turned
off until a test turns it on.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from fixtures_models import RATE, mark, write_dataset
from mixtures import BARE, FOREGROUND, HOP, constant, mixer_of, rms, share_of_rows

from audiocnn.augment.background import Sampler
from audiocnn.augment.clips import ClipExamples
from audiocnn.augment.mixture import Mixer, bridge_marks
from audiocnn.errors import DatasetError
from audiocnn.segments.segment import Annotation

WHOLE = {"annotated": True, "annotations": ()}


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE))


BACKGROUND = [("noise.wav", noise(8.0), WHOLE), ("short.wav", noise(0.7), WHOLE)]


def again(mixer, **changes):
    """The same mixer with other settings."""
    settings = dataclasses.replace(mixer.settings, **changes)
    return Mixer(mixer.dataset, mixer.dataset.entries, tuple(mixer.labels), settings, HOP, mixer.seed)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return mixer_of(tmp_path_factory.mktemp("mixing") / "dataset", FOREGROUND + BACKGROUND)


def test_the_same_numbers_make_the_same_bytes_and_others_do_not(bare):
    shares = {
        "background_share": 0.9,
        "murmur_share": 0.5,
        "room_share": 0.5,
        "telephone_share": 0.2,
        "clip_share": 0.2,
    }
    mixer, other = (again(bare, speed=(0.9, 1.1), tilt_db=3.0, **shares) for _ in range(2))
    for key in ((0, 0), (0, 1), (3, 7)):
        one, two = mixer.example(*key), other.example(*key)
        assert one.samples.tobytes() == two.samples.tobytes()
        assert one.targets.tobytes() == two.targets.tobytes()
    made = {mixer.example(*key).samples.tobytes() for key in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 0))}
    assert len(made) == 4
    mixer.seed = 2
    assert mixer.example(0, 0).samples.tobytes() not in made


def test_an_example_has_the_shapes_that_training_wants(bare):
    example = bare.example(0, 0)
    assert (example.samples.shape, example.samples.dtype) == ((1, 3 * RATE), np.float32)
    assert (example.targets.shape, example.targets.dtype) == ((150, 1), np.float32)
    assert set(np.unique(example.targets)) <= {0.0, 1.0}


def test_targets_are_where_the_foreground_lies(bare):
    """To the row, over many examples; also where a long recording was cut inside its segment."""
    starts_inside = ends_inside = 0
    for index in range(60):
        example = bare.example(0, index)
        share = share_of_rows(example.samples[0])
        clear = np.abs(share - 0.5) > 0.05  # the first sample of a fade is zero
        assert np.array_equal(example.targets[clear, 0], (share[clear] >= 0.5).astype(np.float32))
        starts_inside += int(share[0] > 0.9)
        ends_inside += int(share[-1] > 0.9)
    assert starts_inside > 0
    assert ends_inside > 0


def test_segments_are_drawn_in_to_where_they_are_heard(tmp_path):
    """Marked from 0.2 to 0.8 s; from 0.6 s on 40 dB quieter."""
    samples = constant(1.0, 0.2, 0.6) + constant(1.0, 0.6, 0.8, value=0.003)
    recordings = [("a.wav", samples, mark("tone", 0.2, 0.8))]
    mixer = mixer_of(tmp_path, recordings)
    for below_db, seconds in ((200.0, 0.6), (60.0, 0.6), (20.0, 0.4)):
        random, entry = np.random.default_rng(0), mixer.foreground.entries[0]
        _, ((_, onset, offset),), _ = mixer.cut_foreground(random, entry, below_db)
        assert (onset / RATE, (offset - onset) / RATE) == pytest.approx((0.2, seconds), abs=0.005)


@pytest.mark.parametrize(("snr_db", "seconds"), [(0.0, 0.4), (10.0, 0.4), (20.0, 0.4), (40.0, 0.6)])
def test_what_the_noise_covers_does_not_count(tmp_path, snr_db, seconds):
    """The quiet half lies 40 dB below: heard at an SNR of 40 dB, and not at 20."""
    samples = constant(1.0, 0.2, 0.6) + constant(1.0, 0.6, 0.8, value=0.003)
    recordings = [("a.wav", samples, mark("tone", 0.2, 0.8)), *BACKGROUND]
    shares = {"seconds": 1.0, "background_share": 1.0, "snr_db": (snr_db, snr_db), "audible_db": (15.0, 60.0)}
    mixer = mixer_of(tmp_path, recordings, **shares)
    heard = [mixer.example(0, index).targets.sum() * HOP / RATE for index in range(20)]
    assert max(heard) == pytest.approx(seconds, abs=0.02)


def test_targets_move_along_with_the_speed(bare):
    mixer = again(bare, speed=(1.25, 1.25))
    for index in range(20):
        example = mixer.example(0, index)
        samples = np.where(np.abs(example.samples[0]) > 0.05, 1.0, 0.0)
        share = share_of_rows(samples)
        wrong = np.flatnonzero(example.targets[:, 0] != (share >= 0.5))
        edges = np.flatnonzero(np.diff(example.targets[:, 0]))
        assert all(np.min(np.abs(edges - row)) <= 1 for row in wrong)  # the resampler rings for half a row


def test_a_row_counts_from_half_a_hop_on(bare):
    active = np.zeros((2, bare.length), bool)
    active[0, :20] = True  # half of row 0
    active[1, 59:120] = True  # 21 samples of row 1, all of row 2
    active[1, 140:159] = True  # 19 samples of row 3
    targets = bare.make_targets(active)
    assert targets.shape == (150, 2)
    assert np.flatnonzero(targets[:, 0]).tolist() == [0]
    assert np.flatnonzero(targets[:, 1]).tolist() == [1, 2]


def test_the_last_row_of_a_length_that_does_not_fit_may_count(tmp_path):
    mixer = mixer_of(tmp_path / "d", [("all.wav", constant(5.0), mark("tone", 0.0, 5.0))], seconds=1.01)
    example = mixer.example(0, 3)
    assert example.samples.shape == (1, 2020)
    assert example.targets.shape == (51, 1)
    assert example.targets[-1, 0] == 1.0


def test_each_label_has_a_column_of_its_own(tmp_path):
    recordings = [
        ("a.wav", constant(0.5, value=0.2), mark("low", 0.0, 0.5)),
        ("b.wav", -constant(0.5, value=0.2), mark("high", 0.0, 0.5)),
        ("c.wav", noise(1.0), mark("neither", 0.0, 1.0)),
    ]
    mixer = mixer_of(tmp_path / "d", recordings, labels=("high", "low"), gap_seconds=(0.2, 0.2))
    example = mixer.example(0, 0)
    rows = example.samples[0].reshape(150, HOP)
    full = (rows != 0).all(axis=1)
    assert np.array_equal(example.targets[full], np.stack([rows[full, 0] < 0, rows[full, 0] > 0], axis=1))
    assert example.targets[full].any(axis=0).all()
    # What is annotated with other labels is background.
    assert [entry.filename for entry in mixer.background.entries] == ["c.wav"]


def test_gaps_are_drawn_from_their_range(tmp_path):
    """With a gap of 0.25 s or none (three in ten have none), and recordings of 0.3 s."""
    recordings = [("a.wav", constant(0.3), mark("tone", 0.0, 0.3))]
    mixer = mixer_of(tmp_path / "d", recordings, gap_seconds=(0.25, 0.25))
    lengths = []
    for index in range(40):
        zero = np.flatnonzero(np.diff(np.concatenate([[0], mixer.example(0, index).samples[0] != 0, [0]])))
        starts, stops = zero[::2], zero[1::2]
        lengths += list(starts[1:] - stops[:-1])
    gaps = np.array(lengths)
    assert set(gaps // 10) <= {0, 50}  # the ends of fades are zero too
    assert 0.6 < np.mean(gaps > 400) < 0.8


def test_the_foreground_is_as_loud_as_asked_where_it_is_marked(bare):
    for level in (-6.0, 0.0, 3.0):
        example = again(bare, level_db=(level, level), gain_db=(6.0, 6.0)).example(0, 1)
        inside = np.repeat(example.targets[:, 0] > 0, HOP) & (example.samples[0] != 0)
        assert 20 * math.log10(rms(example.samples[0][inside]) / 0.1) == pytest.approx(level + 6.0, abs=0.3)


@pytest.mark.parametrize("snr", [-5.0, 10.0, 25.0])
@pytest.mark.parametrize("coloured", [0.0, 1.0])
def test_the_noise_is_as_loud_as_asked(bare, snr, coloured):
    """Nothing is drawn before the noise that depends on it, so the same example without it can be taken away."""
    mixer = again(bare, background_share=1.0, coloured_share=coloured, snr_db=(snr, snr), gain_db=(-12.0, -12.0))
    silent = again(mixer, background_share=0.0)
    for index in range(5):
        example, clean = mixer.example(0, index), silent.example(0, index)
        assert np.array_equal(example.targets, clean.targets)
        inside = clean.samples[0] != 0
        assert inside.any()
        level = 20 * math.log10(rms(clean.samples[0][inside]) / rms(example.samples - clean.samples))
        assert level == pytest.approx(snr, abs=0.3)


def test_a_murmur_is_far_below_and_does_not_count(bare):
    mixer, silent = again(bare, murmur_share=1.0), bare
    example, clean = mixer.example(0, 0), silent.example(0, 0)
    assert np.array_equal(example.targets, clean.targets)
    inside = np.repeat(clean.targets[:, 0] > 0, HOP)
    level = 20 * math.log10(rms(clean.samples[0][inside]) / rms(example.samples - clean.samples))
    assert level == pytest.approx(20.0, abs=0.5)


@pytest.mark.parametrize(
    ("below_db", "snr_db", "expected"),
    [(20.0, 30.0, "counts"), (25.0, 30.0, "counts"), (26.0, 30.0, "nothing"), (20.0, 5.0, "unsure")],
)
def test_a_murmur_counts_where_it_is_heard(bare, below_db, snr_db, expected):
    """At most 25 dB below the main voice; where noise covers it (the least SNR is -5 dB) nobody is sure."""
    level = {"murmur_db": (below_db, below_db), "murmur_heard_db": 25.0, "gap_seconds": (0.5, 0.5)}
    noisy = {"background_share": 1.0, "coloured_share": 1.0, "snr_db": (-5.0, snr_db)}
    mixer = again(bare, murmur_share=1.0, **level, **noisy)
    plain = again(bare, gap_seconds=(0.5, 0.5), **noisy)
    found = set()
    for index in range(60):
        drawn = np.random.default_rng([mixer.seed, 0, index])
        drawn.random()
        if abs(drawn.uniform(*mixer.settings.snr_db) - snr_db) > 3.0:
            continue
        example, clean = mixer.example(0, index).targets, plain.example(0, index).targets
        assert not np.isnan(clean).any()
        assert (example[clean == 1] == 1).all()
        rest = example[clean == 0]
        found |= {"unsure"} if np.isnan(rest).any() else {"counts"} if rest.any() else {"nothing"}
    assert found <= {expected, "nothing"}  # the main voice may be everywhere where the far one is
    assert expected in found


def test_a_floor_of_noise_lies_under_everything(bare):
    gaps = {"gap_seconds": (0.5, 0.5), "murmur_share": 0.0}
    floored = again(bare, floor_share=1.0, floor_db=(30.0, 30.0), **gaps)
    for index in range(8):
        example, clean = floored.example(0, index), again(bare, **gaps).example(0, index)
        assert np.array_equal(example.targets, clean.targets)
        floor, inside = example.samples - clean.samples, np.repeat(clean.targets[:, 0] > 0, HOP)
        assert 20 * math.log10(rms(clean.samples[0][inside]) / rms(floor)) == pytest.approx(30.0, abs=1.0)
        assert rms(floor[0][~inside]) > 0.5 * rms(floor)


def test_a_murmur_under_a_floor_of_noise_is_unsure(bare):
    level = {"murmur_db": (20.0, 20.0), "murmur_heard_db": 25.0, "gap_seconds": (0.5, 0.5), "murmur_share": 1.0}
    for floor_db, sure in ((30.0, True), (10.0, False)):
        mixer = again(bare, **level, floor_share=1.0, floor_db=(floor_db, floor_db))
        targets = np.concatenate([mixer.example(0, index).targets for index in range(20)])
        assert np.isnan(targets).any() != sure


UNSURE = [
    ("a.wav", constant(1.0, 0.2, 0.8), {"annotated": True, "annotations": (
        Annotation(0.3, 0.5, "tone"), Annotation(0.2, 0.3, "?"), Annotation(0.5, 0.8, "?"))}),
    ("b.wav", noise(1.0), mark("?", 0.0, 1.0)),
    ("c.wav", noise(1.0), WHOLE),
]  # fmt: skip


@pytest.fixture(scope="module")
def unsure(tmp_path_factory):
    dataset = write_dataset(tmp_path_factory.mktemp("unsure") / "dataset", UNSURE, unsure="?")
    return Mixer(dataset, dataset.entries, ("tone",), dataclasses.replace(BARE, gap_seconds=(0.1, 0.1)), HOP, 1)


def test_where_nobody_is_sure_there_is_no_target(unsure):
    for speed in (1.0, 0.8):
        mixer = again(unsure, speed=(speed, speed))
        shares = []
        for index in range(20):
            targets = mixer.example(0, index).targets[:, 0]
            shares.append([np.mean(targets == 1), np.mean(np.isnan(targets))])
        ones, unknown = np.mean(shares, axis=0)
        assert unknown / ones == pytest.approx(2.0, rel=0.15)  # 0.4 s of 0.2 s
    assert not np.isnan(again(unsure, foreground_share=0.0).example(0, 0).targets).any()


@pytest.mark.parametrize("target", [0.25, 1.0])
def test_a_soft_target_where_nobody_is_sure(unsure, target):
    mixer = again(unsure, unsure_target=target)
    for index in range(10):
        without, soft = unsure.example(0, index).targets, mixer.example(0, index).targets
        assert np.isnan(without).any()
        assert (soft[np.isnan(without)] == np.float32(target)).all()
        assert np.array_equal(soft[~np.isnan(without)], without[~np.isnan(without)])


def test_no_soft_target_where_noise_covers_what_may_be_there(tmp_path):
    samples = constant(1.0, 0.2, 0.5) + 0.01 * constant(1.0, 0.5, 0.8)
    notes = (Annotation(0.2, 0.5, "tone"), Annotation(0.5, 0.8, "?"))
    recordings = [("a.wav", samples, {"annotated": True, "annotations": notes}), ("b.wav", noise(1.0), WHOLE)]
    dataset = write_dataset(tmp_path / "dataset", recordings, unsure="?")
    noisy = {"background_share": 1.0, "audible_db": (0.0, 120.0), "unsure_target": 0.5, "gap_seconds": (0.1, 0.1)}
    for snr_db, learned in ((25.0, False), (35.0, True)):  # 40 dB below; a voice is audible 10 dB below its noise
        settings = dataclasses.replace(BARE, snr_db=(snr_db, snr_db), **noisy)
        mixer = Mixer(dataset, dataset.entries, ("tone",), settings, HOP, 1)
        targets = np.concatenate([mixer.example(0, index).targets for index in range(5)])
        assert (targets == 0.5).any() == learned
        assert np.isnan(targets).any() != learned


def test_what_may_hold_a_label_is_no_background(unsure):
    assert [entry.filename for entry in unsure.background.entries] == ["c.wav"]
    assert [entry.filename for entry in unsure.foreground.entries] == ["a.wav"]


def test_a_voice_that_is_there_for_sure_is_a_target_whatever_else_is_there(unsure):
    targets = again(unsure, overlap_share=1.0).example(0, 1).targets
    alone = unsure.example(0, 1).targets
    assert (targets[alone == 1] == 1).all()
    assert (targets == 1).sum() > (alone == 1).sum()


def test_labels_that_stand_behind_others_are_known_where_voices_are_not(unsure):
    recordings = [*UNSURE, ("d.wav", noise(4.0), mark("hum", 0.0, 4.0))]
    dataset = write_dataset(unsure.dataset.folder.with_name("two"), recordings, unsure="?")
    settings = dataclasses.replace(BARE, background_labels=("hum",), background_share=1.0)
    targets = Mixer(dataset, dataset.entries, ("tone", "hum"), settings, HOP, 1).example(0, 0).targets
    assert np.isnan(targets[:, 0]).any()
    assert not np.isnan(targets[:, 1]).any()


def test_short_pauses_are_bridged_in_a_share_of_the_mixtures(tmp_path):
    samples = constant(2.0, 0.2, 0.6) + constant(2.0, 0.8, 1.0) + constant(2.0, 1.5, 1.8)
    spans = ((0.2, 0.6), (0.8, 1.0), (1.5, 1.8))
    notes = tuple(Annotation(*span, "tone") for span in spans)
    recordings = [("a.wav", samples, {"annotated": True, "annotations": notes})]
    plain = mixer_of(tmp_path, recordings, gap_seconds=(1.0, 1.0), seconds=6.0)
    always, never, half = (again(plain, bridged_share=share) for share in (1.0, 1e-9, 0.5))
    changed = 0
    for index in range(40):
        without, bridged = never.example(0, index), half.example(0, index)
        added = (bridged.targets - without.targets).sum() * HOP / RATE
        whole = always.example(0, index)
        most = (whole.targets - without.targets).sum() * HOP / RATE
        assert (whole.targets >= without.targets).all()
        changed += added > 0
        assert added in (0.0, pytest.approx(most, abs=0.5))
    assert 8 <= changed <= 32


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ([], []),
        ([(0, 0, 5)], [(0, 0, 5)]),
        ([(0, 8, 9), (0, 0, 5)], [(0, 0, 9)]),
        ([(0, 0, 5), (0, 9, 10)], [(0, 0, 5), (0, 9, 10)]),
        ([(0, 0, 5), (1, 6, 7), (0, 7, 8)], [(0, 0, 8), (1, 6, 7)]),
        ([(0, 0, 9), (0, 2, 4), (0, 11, 12)], [(0, 0, 12)]),
    ],
)
def test_marks_are_bridged_label_by_label(marks, expected):
    assert bridge_marks(marks, 3) == expected


def spans_of(column):
    """(onset, offset) in rows of what is marked in one column of targets."""
    return np.flatnonzero(np.diff(column > 0.5, prepend=False, append=False)).reshape(-1, 2)


def test_conversations_are_marked_as_people_mark(bare):
    settings = {"seconds": 8.0, "gap_seconds": (0.0, 1.5), "conversation_floor_db": (60.0, 60.0)}
    alone = {"conversation_bridged_seconds": 0.0, "conversation_pad_seconds": 0.0}
    pad, longest = 0.1, 0.5
    changed = 0
    for index in range(20):
        tight = again(bare, **settings, **alone, conversation_share=1.0).example(0, index)
        wide = again(bare, **settings, conversation_share=1.0).example(0, index)
        assert np.array_equal(wide.samples, tight.samples)
        before, after = spans_of(tight.targets[:, 0]), spans_of(wide.targets[:, 0])
        gaps = (after[1:, 0] - after[:-1, 1]) * HOP / RATE
        assert (gaps > longest - 2 * pad - 0.05).all()
        for onset, offset in before * HOP / RATE:
            inside = (after[:, 0] * HOP / RATE <= max(0.0, onset - pad) + 0.03) & (
                after[:, 1] * HOP / RATE >= min(8.0, offset + pad) - 0.03
            )
            assert inside.any()
        changed += len(after) < len(before)
    assert changed >= 3


def test_conversations_have_voices_over_each_other_and_a_floor(bare):
    settings = {"seconds": 8.0, "gap_seconds": (1.0, 1.5), "overlap_share": 0.0, "conversation_floor_db": (20.0, 20.0)}
    settings |= {"conversation_bridged_seconds": 0.0, "conversation_pad_seconds": 0.0}
    mixers = (again(bare, **settings), again(bare, **settings, conversation_share=1.0))
    never, often = ([mixer.example(0, index) for index in range(20)] for mixer in mixers)
    silent = [np.mean([(one.samples == 0).mean() for one in own]) for own in (never, often)]
    marked = [np.mean([one.targets.mean() for one in own]) for own in (never, often)]
    assert silent[1] < 0.1 < silent[0]
    assert marked[1] > 1.1 * marked[0]


def test_only_what_stands_in_front_is_marked_wider(bare):
    mixer = Mixer(bare.dataset, bare.dataset.entries, ("tone", "hum"), dataclasses.replace(bare.settings), HOP, 1)
    mixer.in_front = np.array([True, False])
    active = np.zeros((2, 3 * RATE), dtype=bool)
    for onset, offset in ((0.5, 1.0), (1.4, 1.5), (2.2, 2.9)):
        active[:, round(onset * RATE) : round(offset * RATE)] = True
    wide = mixer.mark_as_people(active)
    assert np.array_equal(wide[1], active[1])
    edges = np.flatnonzero(np.diff(wide[0], prepend=False, append=False)) / RATE
    assert edges.tolist() == pytest.approx([0.4, 1.6, 2.1, 3.0])


def test_silence_of_16_bits_carries_nothing(bare):
    kinds = set()
    for index in range(30):
        example = again(bare, silence_share=1.0).example(0, index)
        assert not example.targets.any()
        steps = example.samples * 32768
        assert np.array_equal(steps, np.round(steps))
        kinds.add(int(np.abs(steps).max()))
    assert kinds >= {0, 1}
    assert max(kinds) <= 2


def test_a_share_of_the_mixtures_stays_float_at_any_level(bare):
    for gain in (-50.0, 15.0):
        levels = {"gain_db": (gain, gain), "level_db": (6.0, 6.0)}
        kept, rounded = (again(bare, float_share=share, **levels).example(0, 1).samples for share in (1.0, 0.0))
        loud = kept[np.abs(kept) > 0]
        assert 20 * math.log10(np.median(np.abs(loud)) / 0.1) == pytest.approx(gain + 6.0, abs=0.5)
        assert np.array_equal(rounded, np.clip(np.round(kept * 32768), -32768, 32767) / np.float32(32768))


def test_overlapping_voices_count_both(bare):
    one, both = bare.example(0, 4), again(bare, overlap_share=1.0).example(0, 4)
    assert (both.targets >= one.targets).all()
    assert both.targets.sum() > one.targets.sum()


def test_a_room_lengthens_the_sound_but_not_the_targets(tmp_path):
    recordings = [("a.wav", constant(0.5), mark("tone", 0.0, 0.5))]
    dry = mixer_of(tmp_path / "d", recordings, gap_seconds=(1.5, 1.5))
    wet = again(dry, room_share=1.0, room_seconds=(0.4, 0.4), direct_db=(0.0, 0.0))
    one, two = dry.example(0, 0), wet.example(0, 0)
    assert np.array_equal(one.targets, two.targets)
    assert np.mean(two.samples != 0) > 1.3 * np.mean(one.samples != 0)
    first = np.flatnonzero(one.samples[0])[0]
    assert np.abs(two.samples[0, :first]).max(initial=0.0) <= 1 / 32768  # nothing is heard before it sounds


def test_without_foreground_there_is_only_background(bare):
    for index in range(5):
        example = again(bare, foreground_share=0.0).example(0, index)
        assert not example.targets.any()
        assert 0.05 < rms(example.samples) < 0.2


def test_without_background_recordings_noise_is_coloured_and_the_foreground_is_always_there(tmp_path):
    mixer = mixer_of(tmp_path / "d", FOREGROUND[:1], foreground_share=0.0, background_share=1.0, snr_db=(0.0, 0.0))
    assert mixer.background is None
    example = mixer.example(0, 0)
    assert example.targets.any()
    assert np.mean(example.samples != 0) > 0.99


def test_the_microphone_gives_16_bits_within_the_scale(bare):
    example = again(bare, background_share=1.0, gain_db=(40.0, 40.0)).example(0, 0)
    scaled = example.samples * 32768
    assert np.array_equal(scaled, np.round(scaled))
    assert (scaled.min(), scaled.max()) == (-32768, 32767)


def test_a_telephone_lets_no_constant_through(bare):
    example = again(bare, telephone_share=1.0).example(0, 2)
    assert abs(example.samples.mean()) < 1e-4
    assert example.targets.any()


def test_an_overloaded_input_cuts_peaks(bare):
    loud = {"background_share": 1.0, "snr_db": (0.0, 0.0)}
    peak = np.abs(again(bare, **loud).example(0, 0).samples).max()
    cut = again(bare, **loud, clip_share=1.0, clip_peak=(0.5, 0.5)).example(0, 0).samples
    assert np.abs(cut).max() == pytest.approx(peak / 2, rel=0.02)


def test_recordings_are_drawn_by_their_seconds_or_by_their_roots(tmp_path):
    recordings = [
        ("large.wav", noise(10.0), {**WHOLE, "tags": {"source": "large"}}),
        ("small.wav", noise(0.1), {**WHOLE, "tags": {"source": "small"}}),
    ]
    dataset = write_dataset(tmp_path / "d", recordings)
    for balance, wanted in (("", 1 / 101), ("source", 1 / 11)):
        sampler, random = Sampler(dataset, dataset.entries, balance), np.random.default_rng(0)
        small = np.mean([sampler.draw(random).filename == "small.wav" for _ in range(20_000)])
        assert small == pytest.approx(wanted, abs=0.006)


def test_without_a_stretch_of_the_labels_there_is_nothing_to_mix(tmp_path):
    with pytest.raises(DatasetError, match=r"d: no recording has a segment labelled dog, cat; check labels and split$"):
        mixer_of(tmp_path / "d", FOREGROUND + BACKGROUND, labels=("dog", "cat"))


def test_recordings_of_a_click_or_of_nothing_end(tmp_path):
    recordings = [
        ("click.wav", np.full(2, 0.5), mark("tone", 0.0, 2 / RATE)),
        ("nothing.wav", np.zeros(0), mark("tone", 0.0, 0.1)),
        ("silence.wav", np.zeros(0), WHOLE),
    ]
    mixer = mixer_of(tmp_path / "d", recordings, seconds=0.2, speed=(3.9, 4.0), background_share=1.0)
    assert mixer.example(0, 0).samples.shape == (1, 400)


# Recordings with one label each

CLIPS = [
    ("low/a.wav", constant(0.5, value=0.2), {"label": "low"}),
    ("high/b.wav", -constant(0.5, value=0.2), {"label": "high"}),
    ("high/c.wav", np.linspace(-0.5, 0.5, 3 * RATE), {"label": "high"}),
    ("other/d.wav", constant(0.5), {"label": "other"}),
]


def clips_of(folder, labels=("high", "low"), **changes):
    dataset = write_dataset(folder, CLIPS)
    return ClipExamples(dataset, dataset.entries, labels, dataclasses.replace(BARE, seconds=1.0, **changes), seed=1)


def test_a_clip_has_one_label_and_lies_between_silence(tmp_path):
    clips = clips_of(tmp_path / "d")
    assert [entry.filename for entry in clips.entries] == ["high/b.wav", "high/c.wav", "low/a.wav"]
    starts = set()
    for index in range(30):
        example = clips.example(0, index)
        assert (example.samples.shape, example.targets.shape) == ((1, RATE), (1, 2))
        sounding = np.flatnonzero(example.samples[0])
        mean = example.samples[0].mean()
        if len(sounding) == RATE // 2:
            assert example.targets[0].tolist() == ([0.0, 1.0] if mean > 0 else [1.0, 0.0])
            assert sounding[-1] - sounding[0] == RATE // 2 - 1
            starts.add(int(sounding[0]))
        else:
            assert example.targets[0].tolist() == [1.0, 0.0]
    assert len(starts) > 10


def test_clips_to_validate_on_are_whole_and_as_they_are(tmp_path):
    clips = clips_of(tmp_path / "d", background_share=1.0, gain_db=(6.0, 6.0))
    short, long = clips.whole_clip(0), clips.whole_clip(1)
    assert (short.samples.shape, short.span, short.targets.tolist()) == ((1, RATE // 2), None, [[1.0, 0.0]])
    np.testing.assert_allclose(short.samples, -0.2, atol=1e-4)
    np.testing.assert_allclose(long.samples[0], np.linspace(-0.5, 0.5, 3 * RATE), atol=1e-4)


def test_clips_are_the_same_for_the_same_numbers(tmp_path):
    clips = clips_of(tmp_path / "d", background_share=0.5, gain_db=(-6.0, 6.0))
    made = [clips.example(*key).samples.tobytes() for key in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert made[0] == made[1]
    assert len(set(made)) == 3


def test_noise_behind_clips_is_as_loud_as_asked(tmp_path):
    clips = clips_of(tmp_path / "d", background_share=1.0, snr_db=(20.0, 20.0), gain_db=(-20.0, -20.0))
    without = dataclasses.replace(clips.settings, background_share=0.0)
    silent = ClipExamples(clips.dataset, clips.dataset.entries, ("high", "low"), without, clips.seed)
    for index in range(5):
        noisy, clean = clips.example(0, index), silent.example(0, index)
        assert 20 * math.log10(rms(clean.samples) / rms(noisy.samples - clean.samples)) == pytest.approx(20.0, abs=0.1)


def test_without_clips_of_the_labels_there_is_nothing_to_learn(tmp_path):
    with pytest.raises(DatasetError, match=r"d: no recording is labelled dog; check labels and split$"):
        clips_of(tmp_path / "d", labels=("dog",))
