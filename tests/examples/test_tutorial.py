"""The notebook: its cells run in order, and what is saved with it is whole."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTEBOOK = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


# What fits into a minute depends on what else the machine does.
BUDGET = {"minutes=1": 'epochs=15, device="cpu"'}


def source(cell):
    text = "".join(cell["source"])
    for given, other in BUDGET.items():
        text = text.replace(given, other)
    return text


def run_cell(cell, names):
    """Run a cell, and return what its last line is worth, as a notebook shows it."""
    tree = ast.parse(source(cell))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


@pytest.mark.long
def test_its_cells_run_in_order(monkeypatch, tmp_path):
    pytest.importorskip("pandas")
    monkeypatch.chdir(DOCS)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names = {}
    worth = [run_cell(cell, names) for cell in CODE]
    assert len(names["found"].segments) == 2
    assert names["result"].evaluation.figures["accuracy"].value > 0.9
    assert names["tenths"] == set(range(11))
    assert 0.25 < names["accuracy"].value < 1.0
    matrix = worth[-1]
    assert list(matrix.index) == list(matrix.columns) == ["beep", "buzz", "falling", "rising", "none of these"]
    assert matrix.to_numpy().sum() == 80


def test_its_outputs_are_saved():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "display_data", "execute_result"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


def test_its_links_lead_somewhere_and_it_names_no_place_of_one_machine():
    text = json.dumps(NOTEBOOK["cells"], ensure_ascii=False)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (DOCS / target).exists(), target
    shown = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users)/", shown)


def test_it_stays_small():
    assert (DOCS / "tutorial.ipynb").stat().st_size < 200_000
    assert len(NOTEBOOK["cells"]) <= 30
