"""Backgrounds with labels of their own: marked where they sound, through everything that the mix does to them.

Backgrounds are constants between zeros, so that a sample of one sounds if and only if it is not zero: music above it,
noise below.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from fixtures_models import mark
from mixtures import FOREGROUND, constant, mixer_of, rms, share_of_rows

from audiocnn.augment.background import Background
from audiocnn.augment.effects import power
from audiocnn.errors import RecipeError
from audiocnn.segments.segment import Annotation

LABELS = ("tone", "music", "noise")
MUSIC = ("music.wav", constant(0.9, 0.2, 0.7, 0.2), mark("music", 0.2, 0.7))
NOISE = ("noise.wav", constant(8.0, 1.0, 5.0, -0.2), mark("noise", 1.0, 5.0))
BEHIND = {"background_labels": ("music", "noise"), "second_share": 0.0}
ALONE = {**BEHIND, "foreground_share": 0.0, "background_share": 1.0}


def labelled(folder, **changes):
    return mixer_of(folder, [*FOREGROUND, MUSIC, NOISE], LABELS, **{**BEHIND, **changes})


def agrees(targets, samples):
    """Whether a column is 1 where its sound is, but for hops that it fills about half."""
    share = share_of_rows(samples)
    clear = np.abs(share - 0.5) > 0.05  # the first sample of a fade is zero
    return np.array_equal(targets[clear], (share[clear] >= 0.5).astype(np.float32))


def test_recordings_of_background_labels_are_behind_and_others_in_front(tmp_path):
    both = {"annotated": True, "annotations": (Annotation(0.0, 0.2, "tone"), Annotation(0.2, 0.4, "music"))}
    recordings = [*FOREGROUND, MUSIC, NOISE, ("both.wav", constant(0.5), both)]
    mixer = mixer_of(tmp_path / "d", recordings, LABELS, **BEHIND)
    assert {entry.filename for entry in mixer.background.entries} == {"music.wav", "noise.wav"}
    assert "both.wav" in {entry.filename for entry in mixer.foreground.entries}
    assert mixer.backgrounds.names == ["music", "noise"]


@pytest.mark.parametrize("reversed_share", [0.0, 1.0])
def test_a_background_alone_is_marked_where_it_sounds(tmp_path, reversed_share):
    """The music is looped and rolled, the noise is cut; both have silence at their ends."""
    mixer = labelled(tmp_path / "d", **ALONE, reversed_share=reversed_share)
    marked = np.zeros(3)
    for index in range(40):
        example = mixer.example(0, index)
        samples = example.samples[0]
        assert agrees(example.targets[:, 1], np.maximum(samples, 0))
        assert agrees(example.targets[:, 2], np.minimum(samples, 0))
        marked += example.targets.mean(axis=0)
    assert marked[0] == 0
    assert (marked[1:] > 2).all()


def test_marks_move_along_with_the_speed(tmp_path):
    mixer = labelled(tmp_path / "d", **ALONE, background_speed=(1.25, 1.25))
    for index in range(20):
        example = mixer.example(0, index)
        wrong = example.targets[:, 1:].any(axis=1) != (share_of_rows(np.abs(example.samples[0]) > 0.05) >= 0.5)
        edges = np.flatnonzero(np.diff(example.targets[:, 1:].any(axis=1)))
        assert all(np.min(np.abs(edges - row)) <= 1 for row in np.flatnonzero(wrong))  # the resampler rings


@pytest.mark.parametrize(("snr_db", "heard"), [(24.0, True), (26.0, False)])
def test_a_background_far_below_the_foreground_is_not_marked(tmp_path, snr_db, heard):
    mixer = labelled(tmp_path / "d", background_share=1.0, snr_db=(snr_db, snr_db))
    examples = [mixer.example(0, index) for index in range(10)]
    assert any(example.targets[:, 1:].any() for example in examples) == heard
    assert all(example.targets[:, 0].any() for example in examples)


@pytest.mark.parametrize("snr_db", [-5.0, 10.0])
def test_the_snr_is_that_where_the_background_sounds(tmp_path, snr_db):
    settings = {"background_share": 1.0, "snr_db": (snr_db, snr_db), "gain_db": (-12.0, -12.0)}
    mixer = labelled(tmp_path / "d", **settings)
    silent = labelled(tmp_path / "s", **{**settings, "background_share": 0.0})
    for index in range(5):
        example, clean = mixer.example(0, index), silent.example(0, index)
        added = (example.samples - clean.samples)[0]
        assert np.array_equal(example.targets[:, 0], clean.targets[:, 0])
        level = 20 * math.log10(rms(clean.samples[clean.samples != 0]) / rms(added[np.abs(added) > 1e-4]))
        assert level == pytest.approx(snr_db, abs=0.3)


def test_a_second_background_has_another_label(tmp_path):
    one, two = (labelled(tmp_path / f"{share}", **{**ALONE, "second_share": share}) for share in (0.0, 1.0))
    for index in range(10):
        assert one.example(0, index).targets[:, 1:].any(axis=0).sum() == 1
        # behind nothing, the second one is drawn at an SNR of 10 dB to the usual level of a voice
        assert two.example(0, index).targets[:, 1:].any(axis=0).all()


def test_coloured_noise_carries_its_label_all_along(tmp_path):
    mixer = labelled(tmp_path / "d", **ALONE, coloured_share=1.0, coloured_label="noise")
    assert mixer.example(0, 0).targets.min(axis=0).tolist() == [0.0, 0.0, 1.0]
    second = labelled(tmp_path / "e", **{**ALONE, "second_share": 1.0}, coloured_share=1.0, coloured_label="noise")
    assert second.example(0, 0).targets.max(axis=0).tolist() == [0.0, 1.0, 1.0]
    without = labelled(tmp_path / "f", **ALONE, coloured_share=1.0)
    assert not without.example(0, 0).targets.any()


def test_events_are_marked_where_they_sound(tmp_path):
    mixer = labelled(tmp_path / "d", **{**ALONE, "background_share": 0.0}, event_share=1.0)
    marked = np.zeros(3)
    for index in range(20):
        example = mixer.example(0, index)
        assert agrees(example.targets[:, 1], np.maximum(example.samples[0], 0))
        assert agrees(example.targets[:, 2], np.minimum(example.samples[0], 0))
        marked += example.targets.mean(axis=0)
    assert marked[0] == 0
    assert (marked[1:] > 1).all()


def test_labels_that_are_not_learned_are_not_marked(tmp_path):
    mixer = mixer_of(tmp_path / "d", [*FOREGROUND, MUSIC, NOISE], ("tone",), foreground_share=0.0, background_share=1.0)
    assert mixer.backgrounds.names == [""]
    assert not any(mixer.example(0, index).targets.any() for index in range(5))


def test_a_label_is_drawn_by_the_root_of_its_seconds(tmp_path):
    """0.9 s of music, 8 s of noise: the roots are as 1 to 2.98."""
    backgrounds, random = labelled(tmp_path / "d").backgrounds, np.random.default_rng(0)
    music = np.mean([backgrounds.draw_sampler(random)[0] == "music" for _ in range(20_000)])
    assert music == pytest.approx(1 / (1 + math.sqrt(8 / 0.9)), abs=0.01)
    assert {backgrounds.draw_sampler(random, "noise")[0] for _ in range(20)} == {"music"}


def test_the_same_numbers_make_the_same_bytes(tmp_path):
    changes = {
        **BEHIND, "background_share": 0.9, "event_share": 0.5, "second_share": 0.5, "coloured_share": 0.2,
        "coloured_label": "noise", "background_speed": (0.7, 1.4), "reversed_share": 0.5,
    }  # fmt: skip
    one, two = (labelled(tmp_path / name, **changes) for name in "ab")
    for index in range(10):
        first, second = one.example(2, index), two.example(2, index)
        assert first.samples.tobytes() == second.samples.tobytes()
        assert first.targets.tobytes() == second.targets.tobytes()


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        (
            LABELS,
            {"background_labels": ("nose",)},
            '"background_labels": "nose" is not a learned label; did you mean "noise"',
        ),
        (
            LABELS,
            {"coloured_label": "hiss"},
            '"coloured_label": "hiss" is not a learned label; known: music, noise, tone',
        ),
        (("music",), {"background_labels": ("music",)}, '"background_labels" names every label; remove one'),
    ],
)
def test_labels_that_cannot_be_behind_are_refused(tmp_path, labels, changes, message):
    with pytest.raises(RecipeError, match=message):
        mixer_of(tmp_path / "d", [*FOREGROUND, MUSIC], labels, **changes)


def test_a_loop_of_a_click_or_of_nothing_is_as_long_as_asked():
    for size, gap in ((1, 0), (1, 3), (0, 0), (0, 5)):
        clip = Background(np.ones(size, np.float32), np.ones((2, size), bool))
        looped = clip.loop(gap, 10, 2)
        assert (looped.samples.shape, looped.active.shape) == ((10,), (2, 10))
        assert np.array_equal(looped.active[1], looped.samples != 0)


def test_the_level_is_that_where_it_sounds():
    samples = np.array([0.0, 0.5, 0.5, 0.0], np.float32)
    marked = Background(samples, np.array([[False, True, True, False]]))
    assert marked.level == pytest.approx(0.5)
    assert Background(samples, np.zeros((1, 4), bool)).level == pytest.approx(math.sqrt(power(samples)))
