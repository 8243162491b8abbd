"""The table of hard negatives: stretches of the part that is learned from, in which a model hears a label."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures_cli import RATE, tone, tone_model
from sounds import write

from audiocnn.evaluation.segments import JudgedRecording
from benchmarks.hard_negatives import hard_stretches, main

assert tone_model  # a fixture


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.1, 0.2], []),
        ([0.1, 0.3, 0.5, 0.2, 0.9], [(0.1, 0.3, 0.4)]),
        ([0.8], [(0.0, 0.1, 0.8)]),
    ],
)
def test_stretches_are_where_scores_reach_the_threshold_for_long_enough(scores, expected):
    seconds = min(0.45, 0.1 * len(scores))
    recording = JudgedRecording("a", np.array(scores, np.float32)[:, None], 0.1, seconds, [])
    assert list(hard_stretches("a", recording, [0], 0.3)) == [("a", *row) for row in expected]


def test_the_table_has_what_the_model_hears_in_backgrounds_that_are_learned_from(tmp_path, tone_model, capsys):
    rows = ["filename\tgroup\tsplit"]
    sounds = {"loud": tone((0.5, 1.5)), "still": tone(), "kept": tone((0.5, 1.5))}
    for name, samples in {**sounds, **{f"tone{n}": sounds["loud"] for n in range(4)}}.items():
        write(tmp_path / "sounds" / f"{name}.wav", samples, RATE)
        rows.append(f"{name}.wav\t{name}\t{'dev' if name == 'kept' else 'train'}")
    (tmp_path / "sounds/recordings.tsv").write_text("\n".join(rows))
    marks = ["filename\tonset\toffset\tevent_label", *[f"tone{n}.wav\t0.5\t1.5\ttone" for n in range(4)]]
    (tmp_path / "sounds/segments.tsv").write_text("\n".join(marks))
    (tmp_path / "recipe.toml").write_text(
        f'spec = {{ base = "speech_1d", sample_rate = {RATE} }}\n[train]\nvalidation_share = 0.0\n'
        '[data]\nsource = "sounds"\n'
        f'recordings = "recordings.tsv"\nsegments = "segments.tsv"\nsplit = "train"\nsample_rate = {RATE}\n'
        'labels = ["tone"]\n'
    )
    output = tmp_path / "hard.tsv"
    assert main([str(tmp_path / "recipe.toml"), "-m", str(tone_model), "-o", str(output)]) == 0
    head, *found = [line.split("\t") for line in output.read_text().splitlines()]
    assert head == ["filename", "onset", "offset", "weight"]
    assert {row[0] for row in found} == {"loud.wav"}
    assert float(found[0][1]) == pytest.approx(0.5, abs=0.2)
    assert "1 recordings" in capsys.readouterr().err


def test_a_recipe_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none.toml"), "-o", str(tmp_path / "hard.tsv")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
