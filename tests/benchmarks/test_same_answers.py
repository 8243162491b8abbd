"""benchmarks/same_answers.py: what differs is found and told, and nothing stays behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import same_answers
from benchmarks.same_answers import ROOT, VARYING, Check, Place, Processes, Side, first_difference, judge, shortened

COMMAND = """
import sys
from pathlib import Path

if sys.argv[1:] == ["--help"]:
    print("Usage\\n\\nCommands:\\n  detect  Find.\\n\\n  Start")
elif sys.argv[1:2] == ["write"]:
    Path(sys.argv[2]).write_text(ANSWER)
print(*sys.argv[1:], Path(__file__).parent)
sys.exit(len(sys.argv) == 1)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit with a command of a few lines."""
    root = tmp_path / "project"
    for package in ("audiocnn", "cli/audiocnn_cli", "models/audiocnn_models"):
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").touch()
    (root / "cli" / "audiocnn_cli" / "__main__.py").write_text(COMMAND.replace("ANSWER", "'yes\\nno\\n'"))
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    monkeypatch.setattr(same_answers, "ROOT", root)
    monkeypatch.setitem(same_answers.CHECKS, "write", lambda place: [Check(("write", "{made}/answer.txt"))])
    return root


def run(project: Path, *arguments: str) -> int:
    """Compare; afterwards git knows of one tree alone."""
    try:
        return same_answers.main(["HEAD", *arguments])
    finally:
        known = subprocess.run(
            ["git", "-C", str(project), "worktree", "list"], capture_output=True, text=True, check=True
        )
        assert len(known.stdout.splitlines()) == 1


def test_a_tree_is_the_same_as_itself(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "--only", "help,write") == 0
    said = capsys.readouterr().out
    assert "same       detect --help: but for the folder of the tree\n" in said
    assert "same       (no arguments): exit code 1; but for" in said
    assert "checks against HEAD: 8 same" in said


def test_what_differs_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "cli" / "audiocnn_cli" / "__main__.py").write_text(COMMAND.replace("ANSWER", "'yes\\nnow\\n'"))
    assert run(project, "--only", "write") == 1
    said = capsys.readouterr().out
    assert "DIFFERENT  write {made}/answer.txt: answer.txt, line 2:\n    - no\n    + now\n" in said


def test_a_command_that_fails_shows_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [Check(("write", "nowhere/answer.txt")), Check(("--help",), needs="../shared/nothing")]
    monkeypatch.setitem(same_answers.CHECKS, "write", lambda place: checks)
    assert run(project, "--only", "write") == 1
    said = capsys.readouterr().out
    assert "BROKEN     write nowhere/answer.txt: ends with 1: FileNotFoundError" in said
    assert "skipped    --help: ../shared/nothing is not there" in said


def test_what_cannot_be_compared(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert same_answers.main(["nothing-such"]) == 2
    assert "nothing-such: cannot be checked out" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        same_answers.main(["HEAD", "--only", "detekt"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"a\nb\n", b"a\nc\n", "line 2:\n    - b\n    + c"),
        (b"a\n", b"a\nb\n", "line 2:\n    - \n    + b"),
        (b"a", b"a\nb", "line 2:\n    - (no such line)\n    + b"),
        (b"\xff\x00\x01", b"\xff\x00\x02\x03", "byte 2 of 3 and 4"),
        (b"\xff\x00", b"\xff", "byte 1 of 2 and 1"),
        (b"x" * 999 + b"a", b"x" * 999 + b"b", "line 1:\n    - ..." + "x" * 80 + "a\n    + ..." + "x" * 80 + "b"),
    ],
)
def test_the_first_difference(old: bytes, new: bytes, said: str) -> None:
    assert first_difference(old, new) == said


def test_only_what_varies_is_taken_out() -> None:
    place = Place(*(Side(Path("/somewhere", name), Processes()) for name in ("old", "new")))
    fixed = {"exit code": b"0", "standard error": b""}

    def verdict(old: bytes, new: bytes) -> tuple[str, str]:
        return judge(Check(()), place, fixed | {"standard output": old}, fixed | {"standard output": new})

    assert verdict(b'"times_real_time": 12.5', b'"times_real_time": 12.5') == ("same", "")
    assert verdict(b"in /somewhere/old, 12x real time", b"in /somewhere/new, 1,345x real time") == (
        "same",
        "but for the folder of the tree and the speed",
    )
    assert verdict(b"/somewhere/old 12", b"/somewhere/new 13")[0] == "DIFFERENT"
    several = judge(Check(()), place, fixed | {"a": b"x", "b": b"x"}, fixed | {"a": b"y", "b": b"y", "c": b""})
    assert several == ("DIFFERENT", "a, line 1:\n    - x\n    + y\n    also different: b, c")
    assert judge(Check(()), place, fixed | {"a": b""}, fixed) == ("DIFFERENT", "a: only the earlier commit wrote it")


def test_the_time_of_a_training_is_found_in_released_models() -> None:
    for name in ("model.toml", "model.onnx", "README.md"):
        data = (ROOT / "models" / "audiocnn_models" / "speech_1d" / name).read_bytes()
        found = VARYING["time of training"].findall(data)
        assert len(found) == (2 if name == "model.onnx" else 1), name


def test_the_recipe_that_is_shortened_has_what_is_changed() -> None:
    short = shortened((ROOT / "data" / "recipes" / "speech_1d.toml").read_text(encoding="utf-8"))
    assert "\nepochs = 2\n" in short and "conditions" not in short and short.count("\nsource = ") == 1
