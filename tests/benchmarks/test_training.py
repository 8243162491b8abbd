"""benchmarks/training.py: the three loops run on the same recipe, and the table says what they did."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w
from fixtures_models import BATCH, LOG_MEL, RATE, table_of, tone_of
from sounds import write

from audiocnn.errors import UsageError
from benchmarks import training
from benchmarks.pages import around_table
from benchmarks.training import find_cases, options_of, row_of, to_markdown
from benchmarks.training_loops import Again, Watched, loop_of_others, loop_of_ours, measured_recipe

SPEC = table_of(LOG_MEL, [{"conv": 8, "kernel": 3}], {"window_seconds": 0.15, "output": "softmax"}, defaults=BATCH)
RECIPE = """
name = "tones"
spec = "small.toml"
[data]
source = "corpus"
[mix]
seconds = 0.3
[train]
batch_size = 4
workers = 0
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Two tones, six of each."""
    for number in range(12):
        label = ("low", "high")[number % 2]
        write(tmp_path / "corpus" / label / f"{number}.wav", tone_of(0.3, 0.0, 0.3, 300 + 900 * (number % 2)), RATE)
    (tmp_path / "small.toml").write_text(tomli_w.dumps(SPEC))
    path = tmp_path / "tones.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.long
def test_the_three_loops_run_on_one_recipe(recipe: Path) -> None:
    said: list[str] = []
    (case,) = find_cases([recipe], recipe.parent / "datasets", said.append)
    assert said == [f"tones: ingesting into {case.dataset}"]
    (again,) = find_cases([recipe], recipe.parent / "datasets", said.append)
    assert again.dataset == case.dataset and len(said) == 1, "what is ingested is not ingested again"

    from audiocnn.data.dataset import Dataset

    plan, dataset = measured_recipe(recipe), Dataset.open(case.dataset)
    loops = [loop_of_ours(plan, dataset, 0.05, False), loop_of_ours(plan, dataset, 0.05, True)]
    for figures in [*loops, loop_of_others(plan, dataset, 0.05)]:
        assert figures["speed"] * figures["step_seconds"] == pytest.approx(4 * 0.3)
        assert 0.0 <= figures["waiting"] < 1.0


def test_the_loader_counts_only_waiting() -> None:
    watched = Watched(Again("batch"))  # type: ignore[arg-type]
    batches = iter(watched)
    assert [next(batches) for _ in range(3)] == ["batch"] * 3
    assert 0.0 < watched.waited < 0.1


def run_of(ours: float, synthetic: float, plain: float) -> training.Run:
    """One run with these speeds."""
    rest = {"waiting": 0.02, "step_seconds": 0.5, "peak_bytes": 2e8}
    speeds = {"ours": ours, "synthetic": synthetic, "plain": plain}
    return {loop: {"speed": speed, **rest} for loop, speed in speeds.items()}


def test_ratios_are_those_of_one_run() -> None:
    row = row_of("net", [run_of(90, 100, 30), run_of(45, 90, 45), run_of(80, 100, 20)])
    assert row == ["`net`", "80", "100", "0.80", "2.0%", "500", "30", "3.0 x", "200"]
    table = to_markdown([row], 3, 20.0)
    assert (
        table.startswith("| recipe |") and "| `net` | 80 | 100 | 0.80 |" in table and "3 runs of 20 s a loop" in table
    )


def test_a_page_may_have_several_tables(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- table -->\n1\n<!-- end of table -->\nb\n<!-- training table -->\n2\n<!-- end of training table -->\n"
    )
    before, after = around_table(page, "training")
    assert before.endswith("<!-- training table -->\n") and after == "<!-- end of training table -->\n"
    assert around_table(page)[1].startswith("<!-- end of table -->\nb\n")


@pytest.mark.parametrize("arguments", [["--runs", "0"], ["--seconds", "0"]])
def test_nothing_to_measure(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        options_of(arguments)


def test_a_page_without_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    assert training.main(["--table", str(page)]) == 2
    assert "has no place for the table" in capsys.readouterr().err
