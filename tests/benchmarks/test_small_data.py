"""The benchmark on few clips: who is tested on what, figures with known values, the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fixtures_models import tone_of, write_dataset

from audiocnn.errors import RecipeError, UsageError
from audiocnn.toml import read_toml
from benchmarks.small_data import figures_of, main, to_markdown, trials_of, write_table
from benchmarks.small_sets import LOWEST, RATE, RATIO, counts_of, parts_of, sound

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "benchmarks" / "small_data.toml"


def test_voices_that_are_tested_on_are_not_learned_from(tmp_path):
    rows = [
        (f"{label}/{who}{number}.wav", tone_of(0.1, 0, 0.1, 300), {"label": label, "group": who})
        for label in ("a", "b") for who in ("ann", "bob", "cy") for number in range(5)
    ]  # fmt: skip
    dataset = write_dataset(tmp_path / "d", rows)
    tested = []
    for seed in (1, 2, 3):
        parts = parts_of({"name": "x", "test_groups": 1}, dataset, 4, seed)
        (who,) = {entry.group for entry in parts.test}
        assert who not in {entry.group for entry in parts.train.entries}
        assert [entry.label for entry in parts.train.entries].count("a") == 4
        assert len(parts.test) == 10
        tested.append(who)
    assert sorted(tested) == ["ann", "bob", "cy"]


def test_made_sounds_fall_by_equal_ratios_and_have_the_tones_of_their_kind():
    counts = counts_of({"labels": 100, "most": 100, "least": 1})
    assert (counts[0], counts[-1], len(counts)) == (100, 1, 100)
    assert counts == sorted(counts, reverse=True)
    power = np.mean([np.abs(np.fft.rfft(sound(np.random.default_rng(n), 73), RATE)) for n in range(40)], axis=0)
    for edge, lowest, step in ((600, LOWEST[0], 3), (8000, LOWEST[1], 7)):
        start = 100 if edge == 600 else 1000
        assert start + np.argmax(power[start:edge]) == pytest.approx(lowest * RATIO**step, rel=0.06)


def test_figures_have_known_values():
    scores = np.array([[0.8, 0.2], [0.6, 0.4], [0.4, 0.6], [0.9, 0.1]])
    got = figures_of(scores, np.array([0, 0, 1, 1]))
    assert (got["accuracy"], got["balanced_accuracy"]) == (0.75, 0.75)
    assert got["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert got["calibration_error"] == pytest.approx((0.2 + abs(1.2 - 2) + 0.9) / 4)


def test_the_table_has_differences_on_the_same_seeds():
    by = {
        "base": {"1": {"f": 0.5}, "2": {"f": 0.7}},
        "more": {"1": {"f": 0.6}, "2": {"f": 0.9}},
        "one": {"2": {"f": 0.6}},
    }
    lines = to_markdown({"set 10": by}, {"set 10": "f"}).splitlines()
    assert lines[0] == "| trial | set 10: f |"
    assert lines[2:] == ["| base | 0.600 ± 0.141 |", "| more | 0.750 (+0.150 ± 0.071) |", "| one | 0.600 (-0.100) |"]


def test_the_table_goes_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n")
    write_table(page, "new")
    write_table(page, "newer")
    assert page.read_text() == "before\n<!-- table -->\nnewer\n<!-- end of table -->\nafter\n"
    page.write_text("no marks")
    with pytest.raises(UsageError, match="has no place for a table"):
        write_table(page, "new")


def test_every_trial_of_the_plan_can_be_read(tmp_path):
    plan = read_toml(PLAN, RecipeError)
    for one in plan["sets"]:
        assert trials_of(plan["trials"], one)[0]["name"] == "base"
    assert {trial["name"] for trial in trials_of(plan["trials"], plan["sets"][-1])} == set(plan["sets"][-1]["trials"])


def test_what_is_there_is_shown_and_unknown_names_are_refused(tmp_path, capsys):
    for trial, value in (("base", 0.5), ("mixup", 0.75)):
        kept = tmp_path / "digits-10" / f"{trial}-1.json"
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({"accuracy": value}))
    assert main([str(PLAN), "-o", str(tmp_path), "--seeds", "1", "--set", "nothing"]) == 2
    assert 'there is no "nothing"' in capsys.readouterr().err
    assert main([str(PLAN), "-o", str(tmp_path), "--seeds", "1", "--show"]) == 0
    assert "| mixup | 0.750 (+0.250) |" in capsys.readouterr().out
