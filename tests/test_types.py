"""Types of the public names, as a program sees them that is checked strictly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import audiocnn

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
from pathlib import Path

import numpy as np

import audiocnn


def show(moment: audiocnn.Progress) -> None:
    done: int = moment.done
    total: int | None = moment.total
    print(f"{moment.stage}: {done} of {total}")


found: audiocnn.Detection = audiocnn.detect("a.wav", settings=audiocnn.DetectSettings(threshold={"speech": 0.6}))
starts: list[float] = [segment.start for segment in found]
for each in audiocnn.detect_many([Path("a.wav"), "b.wav"], "speech_1d", progress=show):
    if isinstance(each, audiocnn.AudiocnnError):
        print(each)
    else:
        labels: list[str] = [segment.label for segment in each.segments]
result: audiocnn.TrainingResult = audiocnn.train("sounds", minutes=3, progress=show)
answer: str | None = audiocnn.classify(np.zeros(16000, np.float32), result.model, sample_rate=16000).label
report: audiocnn.EvaluationReport = audiocnn.evaluate([(np.zeros(16000, np.float32), 16000, "dog")], result.model)
both: audiocnn.EvaluationReport = audiocnn.evaluate([(np.zeros(16000, np.int16), 16000, [(0.0, 1.0, "dog")])])
accuracy: float | None = report.figures["accuracy"].value
rows: tuple[int, ...] = audiocnn.score("a.wav").scores.shape
"""
WRONG = {
    'audiocnn.train("sounds", minuts=3)': "call-arg",
    'audiocnn.train("sounds", minutes="3")': "arg-type",
    'audiocnn.detect("a.wav").segmnts': "attr-defined",
    "audiocnn.evaluate([(1, 2)])": "arg-type|list-item",
    "audiocnn.Progress()": "call-arg",
    "audiocnn.no_such_name": "attr-defined",
}
NAMES = [name for name in dir(audiocnn) if name != "__version__"]
# What numpy itself says of arrays, and tables as TOML and JSON have them, whose values are of any type.
_MAY_BE_ANY = re.compile(r"tuple\[Any, \.\.\.\]|numpy\.dtype\[Any\]|dict\[str, Any\]")


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """What mypy --strict says of the program, of the mistakes and of each public name: (file, line) -> text."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("programs")
    shown = [f"reveal_type(audiocnn.{name})" for name in NAMES]
    (folder / "mypy.ini").write_text("[mypy]\n")
    (folder / "good.py").write_text(PROGRAM)
    (folder / "wrong.py").write_text("\n".join(["import audiocnn", *WRONG]) + "\n")
    (folder / "names.py").write_text("\n".join(["import audiocnn", *shown]) + "\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file", "mypy.ini"]
    path = os.pathsep.join(str(ROOT / name) for name in (".", "cli", "models"))
    done = subprocess.run(
        [*command, "--follow-imports=silent", "--cache-dir", str(folder / "cache"), *folder.glob("*.py")],
        env=os.environ | {"MYPYPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "", done.stderr
    said = {}
    for line in done.stdout.splitlines():
        where = re.search(r"(\w+\.py):(\d+): (.*)", line)
        said.setdefault((where[1], int(where[2])), where[3])
    return said


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "audiocnn" / "py.typed").is_file()


@pytest.mark.long
def test_a_program_is_checked_strictly(checked):
    assert {where: text for where, text in checked.items() if where[0] == "good.py"} == {}


@pytest.mark.long
@pytest.mark.parametrize("call", WRONG)
def test_mistakes_are_found(checked, call):
    said = checked.get(("wrong.py", 2 + [*WRONG].index(call)), "nothing")
    assert re.search(rf"error: .*\[({WRONG[call]})\]", said), said


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_public_names_are_typed_to_the_end(checked, name):
    said = checked["names.py", 2 + NAMES.index(name)]
    assert said.startswith("note: Revealed type is"), said
    assert not re.search(r"\bAny\b", _MAY_BE_ANY.sub("", said)), said
