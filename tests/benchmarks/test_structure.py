"""benchmarks/structure.py: what it counts, on a small house that is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import structure

FILES = {
    "audiocnn/__init__.py": "",
    "audiocnn/a.py": "def shared(): ...\nLIMIT = 1\n_hidden = 2\n",
    "audiocnn/b.py": "import typing\nif typing.TYPE_CHECKING:\n    from audiocnn.a import shared\nLIMIT = 2\n",
    "audiocnn/room/__init__.py": "from .c import C\n",
    "audiocnn/room/c.py": "class C: ...\n_hidden = 3\ndef late():\n    from audiocnn import a\n    return a.shared()\n",
    "audiocnn/room/page.css": "",
    "audiocnn/gone/__pycache__/d.pyc": "",
    "cli/audiocnn_cli/__init__.py": "",
    "cli/audiocnn_cli/main.py": """
import threading
from audiocnn_cli.other import through

def run(arguments):
    import audiocnn.b
    worker = threading.Thread(target=through)
    worker.start()
    worker.join()
    return 0
""",
    "cli/audiocnn_cli/other.py": "def shared(): ...\ndef through():\n    from audiocnn.room import c\n    c.late()\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_is_counted(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert structure.main([str(tree), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    library = figures["audiocnn"]
    assert (library["entries"], library["files"], library["lines"]) == (4, 5, 13), "a folder of leftovers is none"
    assert library["several_homes"] == {"LIMIT": ["audiocnn/a.py", "audiocnn/b.py"]}
    assert figures["both"]["several_homes"].keys() == {"LIMIT", "shared"}
    assert figures["both"]["functions_and_classes"] == 1
    assert figures["both"]["one_importer"] == {
        "audiocnn/b.py": "cli/audiocnn_cli/main.py",
        "cli/audiocnn_cli/other.py": "cli/audiocnn_cli/main.py",
    }, "a.py has two importers, one of them for types and one late; c.py has its own package and other.py"


def test_calls_are_of_functions_in_all_threads(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert structure.main([str(tree), "--calls", "-v"]) == 0
    said = capsys.readouterr().out
    assert "| files called | 2 | 4 |" in said and "| calling pairs | 1 | 2 |" in said
    assert "  1 cli/audiocnn_cli/main.py\n  2 cli/audiocnn_cli/other.py\n  3 audiocnn/room/c.py\n" in said
    assert "  audiocnn/room/c.py -> audiocnn/a.py" in said


@pytest.mark.parametrize("name", ["nothing", "broken"])
def test_what_cannot_be_counted(tree: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tree / "cli" / "audiocnn_cli" / "main.py").write_text("def run(arguments):\n    return 7\n")
    assert structure.main([str(tree / name if name == "nothing" else tree), "--calls"]) == 2
    assert {"nothing": "no such folder", "broken": "ended with 7"}[name] in capsys.readouterr().err
