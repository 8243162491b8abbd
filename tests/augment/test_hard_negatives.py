"""Hard negatives: how often they are drawn, where the cut lies, and what a wrong table is told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fixtures_models import RATE, write_dataset
from mixtures import BARE, FOREGROUND, HOP

from audiocnn.augment.hard_negatives import HardNegativeSampler, read_hard_negatives
from audiocnn.augment.mixture import Mixer
from audiocnn.errors import RecipeError

WHOLE = {"annotated": True, "annotations": ()}
HEAD = "filename\tonset\toffset\tweight\n"
STRETCH = (6.0, 6.5)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A background of 10 s that is 0.1 in one stretch and -0.1 elsewhere, and one that is -0.1 everywhere."""
    times = (np.arange(10 * RATE) + 0.5) / RATE
    hard = np.where((times >= STRETCH[0]) & (times < STRETCH[1]), 0.1, -0.1)
    recordings = [*FOREGROUND, ("hard.wav", hard, WHOLE), ("plain.wav", np.full(10 * RATE, -0.1), WHOLE)]
    return write_dataset(tmp_path_factory.mktemp("hard") / "dataset", recordings)


def table(folder, *rows):
    path = folder / "hard.tsv"
    path.write_text(HEAD + "\n".join(rows))
    return path


def mixer_with(dataset, path, share, entries=None, **changes):
    settings = dataclasses.replace(
        BARE, foreground_share=0.0, background_share=1.0, hard_negatives=str(path), hard_share=share, **changes
    )
    return Mixer(dataset, entries or dataset.entries, ("tone",), settings, HOP, 1)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.19), (0.5, 0.6), (1.0, 1.0)])
def test_backgrounds_are_cut_where_the_stretch_is_in_that_share(dataset, tmp_path, share, expected):
    mixer = mixer_with(dataset, table(tmp_path, "hard.wav\t6\t6.5\t0.7"), share)
    whole = [(mixer.example(0, index).samples > 0).mean() * 3.0 > 0.45 for index in range(300)]
    assert np.mean(whole) == pytest.approx(expected, abs=0.07)


def test_a_stretch_lies_anywhere_in_the_cut(dataset, tmp_path):
    mixer = mixer_with(dataset, table(tmp_path, "hard.wav\t6\t6.5\t0.7"), 1.0)
    firsts = [np.flatnonzero(mixer.example(0, index).samples[0] > 0)[0] / RATE for index in range(100)]
    assert min(firsts) < 0.3
    assert 2.2 < max(firsts) <= 2.51


def test_of_a_long_stretch_the_cut_is_a_part(dataset, tmp_path):
    mixer = mixer_with(dataset, table(tmp_path, "hard.wav\t2\t9\t1"), 1.0)
    for index in range(30):
        clip = mixer.backgrounds.draw_clip(np.random.default_rng(index), "", mixer.backgrounds.samplers[0])
        assert len(clip.samples) == 3 * RATE + 1


def test_stretches_that_stand_alone_are_hard_ones_too(dataset, tmp_path):
    path = table(tmp_path, "hard.wav\t6\t6.5\t0.7")
    mixer = mixer_with(dataset, path, 1.0, event_share=1.0, gap_seconds=(0.0, 0.1))
    assert np.mean([(mixer.example(0, index).samples > 0).any() for index in range(20)]) == 1.0


def test_draws_follow_the_weights(dataset, tmp_path):
    path = table(tmp_path, "hard.wav\t0\t1\t3", "plain.wav\t0\t1\t1")
    sampler = HardNegativeSampler(read_hard_negatives(path, dataset, dataset.entries))
    random = np.random.default_rng(0)
    names = [sampler.draw(random).entry.filename for _ in range(4000)]
    assert np.mean([name == "hard.wav" for name in names]) == pytest.approx(0.75, abs=0.03)


def test_what_is_held_out_is_not_drawn(dataset, tmp_path):
    entries = [entry for entry in dataset.entries if entry.filename != "hard.wav"]
    mixer = mixer_with(dataset, table(tmp_path, "hard.wav\t6\t6.5\t0.7"), 1.0, entries)
    assert not mixer.backgrounds.hard
    assert not any((mixer.example(0, index).samples > 0).any() for index in range(20))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filename\tonset\toffset\nhard.wav\t1\t2", ':1: no column "weight"'),
        (HEAD + "lost.wav\t1\t2\t1", ":2: .*does not contain lost.wav"),
        (HEAD + "hard.wav\t1\t2\t1\nhard.wav\t2\t1\t1", ":3: expected an onset, a later offset and a weight above 0"),
        (HEAD + "hard.wav\t1\t2\t0", ":2: expected"),
        (HEAD + "hard.wav\tnan\t2\t1", ":2: expected"),
        (HEAD + "hard.wav\t1\tinf\t1", ":2: expected"),
        (HEAD + "hard.wav\tone\ttwo\t1", ":2: expected"),
    ],
)
def test_a_wrong_table_is_said_in_one_line(dataset, tmp_path, text, said):
    path = tmp_path / "hard.tsv"
    path.write_text(text)
    with pytest.raises(RecipeError, match=said) as problem:
        mixer_with(dataset, path, 0.5)
    assert "\n" not in str(problem.value)


def test_a_table_that_is_not_there_is_said(dataset, tmp_path):
    with pytest.raises(RecipeError, match=r"hard_negatives.*no such file"):
        mixer_with(dataset, tmp_path / "none.tsv", 0.5)
    mixer_with(dataset, tmp_path / "none.tsv", 0.0)  # nothing is drawn from it
