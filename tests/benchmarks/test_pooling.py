"""The counts of `benchmarks.pooling`, on sounds whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fixtures_cli import tone_model  # noqa: F401
from sounds import sine, write

from audiocnn.evaluation.annotated import Scorer
from audiocnn.inference.classify import AnswerRule
from audiocnn.inference.pooling import LabelPool, MeanPool
from audiocnn.model.model import find_model
from audiocnn.model.pooling import LabelPooling
from audiocnn.recipe.recipe import read_recipe
from audiocnn.segments.finder import SegmentRule
from benchmarks import pooling

RATE = 16000


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A voice of half a second in two, and a recording without."""
    for folder in ("data", "more"):
        rows = ["filename\tkind\tsplit"]
        for kind, seconds in (("meetings", 0.5), ("speech", 0.5), ("nonspeech", 0.0), ("commands", 0.5)):
            for split in ("dev", "train"):
                name = f"{kind}/tone/{split}.wav"
                samples = np.zeros(2 * RATE, np.float32)
                samples[: round(seconds * RATE)] = sine(1000, 1.0, RATE, 0.5)[: round(seconds * RATE)]
                write(tmp_path / folder / name, samples, RATE)
                rows.append(f"{name}\t{kind}\t{split}")
        (tmp_path / folder / "recordings.tsv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(pooling, "SHARED", tmp_path)
    return tmp_path


def loud(samples):
    """1 where 10 ms reach 0.1."""
    return (np.abs(samples[0].reshape(-1, 160)).max(axis=1, keepdims=True) > 0.1).astype(np.float32)


def readers(label):
    rule = AnswerRule((label,), (0.5,), True)
    return [pooling.Reader(MeanPool, rule), pooling.Reader(lambda: LabelPool([LabelPooling(0.2)], 0.01), rule)]


def test_what_is_called_speech_is_counted(shared):
    scorer = Scorer(loud, RATE, 0.01, ("speech",), {"speech": SegmentRule()})
    rows = list(pooling.detector_rows(scorer, readers("speech")))
    assert [cells for _, cells in rows] == [[0, 1], [0, 1], [0, 1], [0, 0], [0, 0]]
    assert "of 1 in which `detect` finds speech" in rows[0][0]
    assert "of 1, of which `detect` marks 0" in rows[3][0]


def test_minutes_with_a_clip_are_counted(shared, monkeypatch):
    monkeypatch.setattr(pooling, "MINUTE_SECONDS", 5.0)
    scorer = Scorer(loud, RATE, 0.01, ("tone",), {"tone": SegmentRule()})
    rows = dict(pooling.clip_rows(scorer, readers("tone")))
    assert list(rows.values()) == [[0, 1], [0, 0], [0, 1], [0, 0], [0, 0]]


def test_a_table_has_the_model_with_and_without_its_pooling(shared, tone_model, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(pooling, "MINUTE_SECONDS", 5.0)
    model = replace(find_model(tone_model), label_pooling={"tone": LabelPooling(0.2)})
    pooling.print_figures("tone", model)
    assert "| of 1 clips right | 0 | 1 |" in capsys.readouterr().out


@pytest.mark.long
def test_only_what_is_held_out_is_read():
    path = pooling.ROOT / "data/recipes/speech_1d.toml"
    recipe = read_recipe(path)
    if not recipe.data.source.is_dir():
        pytest.skip("the recordings are not here")
    kept = pooling.held_out_of(recipe, recipe.data)
    groups = [set(part.keep[part.group]) for part in (kept, *kept.more)]
    assert all(groups)
    assert sum(map(len, groups)) == find_model("speech_1d").training["groups"]["validation"]
