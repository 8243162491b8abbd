"""The front of time against quality: what is on it, what the table says, and that it needs no training to be timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fixtures_models import TINY

from audiocnn.errors import RecipeError
from audiocnn.spec.spec import spec_from_table
from audiocnn.toml import read_toml
from benchmarks import front, trials

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "benchmarks/front.toml"


def candidate(name, milliseconds, quality=None):
    figures = {} if quality is None else dict.fromkeys(trials.FIGURES, quality)
    return front.Candidate(name, milliseconds / 1000, 1e6, 10, figures)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ({"a": (8, 0.9)}, ["a"]),
        ({"a": (8, 0.95), "b": (4, 0.9)}, ["b", "a"]),
        ({"a": (8, 0.95), "b": (4, 0.9), "c": (5, 0.89)}, ["b", "a"]),  # slower and worse than b
        ({"a": (8, 0.9), "b": (4, 0.9)}, ["b"]),  # as good, and faster
        ({"a": (4, 0.8), "b": (4, 0.9)}, ["b"]),  # as fast, and better
        ({"a": (8, 0.9), "b": (4, None)}, ["a"]),  # not trained
    ],
)
def test_the_front_is_what_no_other_beats_in_both(points, expected):
    assert [one.name for one in front.front([candidate(name, *point) for name, point in points.items()])] == expected


def test_the_table_is_sorted_by_time_and_compares_with_the_first():
    found = [candidate("large", 8, 0.95), candidate("small", 2, 0.9), candidate("odd", 4, 0.8), candidate("new", 1)]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in front.to_markdown(found).splitlines()[2:]]
    assert [row[:3] for row in rows] == [
        ["`new`", "1.00", "8.00"], ["**`small`**", "2.00", "4.00"],
        ["`odd`", "4.00", "2.00"], ["**`large`**", "8.00", "1.00"],
    ]  # fmt: skip
    assert {len(row) for row in rows} == {len(front.HEAD)}


def test_every_network_has_the_hop_of_the_first_and_is_another_one():
    specs = list(front.specs_of(PLAN).values())
    assert len({json.dumps(spec.table, sort_keys=True) for spec in specs}) == len(specs)
    assert {spec.geometry().hop_seconds for spec in specs} == {specs[0].geometry().hop_seconds}
    assert specs[0].name == read_toml(PLAN, RecipeError)["trials"][0]["name"]
    window = specs[0].geometry().window_seconds
    assert all(spec.geometry().window_seconds == pytest.approx(window, abs=0.05) for spec in specs)


@pytest.mark.long
def test_a_network_of_more_maps_takes_longer():
    wide = json.loads(json.dumps(TINY))
    wide["groups"][0]["layers"][0]["conv"] = 512
    specs = {name: spec_from_table(table, name, 1) for name, table in (("tiny", TINY), ("wide", wide))}
    taken = front.times_of(specs, 10.0, 3)
    assert 0 < taken["tiny"] < taken["wide"]


def test_the_page_gets_table_and_picture_of_the_runs_that_are_there(tmp_path, monkeypatch):
    names = list(front.specs_of(PLAN))
    monkeypatch.setattr(
        front, "times_of", lambda specs, seconds, rounds: {n: 0.01 / (i + 1) for i, n in enumerate(specs)}
    )
    for name in names[:2]:
        (tmp_path / "runs" / f"{name}-1").mkdir(parents=True)
        (tmp_path / "runs" / f"{name}-1" / trials.KEPT).write_text(json.dumps(dict.fromkeys(trials.FIGURES, 0.9)))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- front table -->\nold\n<!-- end of front table -->\nafter\n")
    options = [str(PLAN), "-o", str(tmp_path / "runs"), "--no-training", "--table", str(page)]
    assert front.main(options) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert all(f"`{name}`" in text for name in names)
    assert text.count("0.9000") == 2 * len(trials.FIGURES)
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_without_a_place_is_refused_before_anything_is_timed(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    assert front.main([str(PLAN), "-o", str(tmp_path), "--table", str(page)]) == 2
    assert "has no place for the table" in capsys.readouterr().err
