"""Every command and option in a message exists; commands at the end of a run can be copied as they are."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from fixtures_cli import CODE, PATH, ROOT
from sounds import sine, write

from audiocnn_cli.main import COMMANDS, command_of

SOURCES = sorted([*(ROOT / "audiocnn").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])
HINT = re.compile(rf"audiocnn (?:{'|'.join(map(re.escape, COMMANDS))})\b[^`\n]*")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+[a-z](?![\w])")
# Of other programs, and of the command without a verb; and names of before, which a message says are others now.
FOREIGN = {
    "--nproc-per-node",
    "--head",
    "--help",
    "--help-all",
    "--version",
    "--install-completion",
    "--show-completion",
}
FOREIGN |= {"--no-progress", "--shm-size"}
HIDDEN = {"--doubtful", "--doubtful-to", "--recipe"}


@cache
def options_of(name):
    """The flags that a command takes."""
    command = command_of(name)
    return {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)} | {"--help", "--help-all"}


@cache
def every_option():
    return set().union(*map(options_of, COMMANDS))


@cache
def texts(path):
    """(line, text) of each text in a file that is no docstring, with X for what is filled in, and words of lists."""
    return list(_texts(ast.parse(path.read_text(encoding="utf-8"))))


def _texts(tree):
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs | inside:
            yield node.lineno, node.value
        elif isinstance(node, (ast.List, ast.Tuple)) and node.elts:
            words = [one.value if isinstance(one, ast.Constant) else "X" for one in node.elts]
            if words[0] == "audiocnn" and len(words) > 1:
                yield node.lineno, " ".join(map(str, words))


HINTS = [
    pytest.param(found[0].strip(), id=f"{path.relative_to(ROOT)}:{line}")
    for path in SOURCES
    for line, text in texts(path)
    for found in HINT.finditer(text)
]


def test_there_are_hints():
    assert len(HINTS) > 20


@pytest.mark.parametrize("hint", HINTS)
def test_each_command_that_a_message_names_takes_the_options_in_it(hint):
    name = hint.split()[1].strip(".,;:)")
    assert name in COMMANDS
    for flag in re.findall(r"(?<=\s)--?[a-zA-Z][\w-]*", hint):
        assert flag in options_of(name) | HIDDEN, f"{hint}: {name} has no {flag}"


# Names of before, and those of a style sheet.
OTHER_NAMES = {ROOT / "cli/audiocnn_cli/app/former.py", ROOT / "audiocnn/report/style.py"}


@pytest.mark.parametrize(
    "path", [one for one in SOURCES if one not in OTHER_NAMES], ids=lambda one: str(one.relative_to(ROOT))
)
def test_each_option_that_a_message_names_is_one(path):
    for line, text in texts(path):
        for flag in OPTION.findall(text):
            assert flag in every_option() | FOREIGN | HIDDEN, f"{path}:{line}: there is no {flag}"


# What is printed at the end, pasted into a shell from the same folder.
RATE = 8000
SMALL = """
[input]
features = "log_mel"
sample_rate = 8000
mels = 16
[[groups]]
name = "A"
layers = [{ conv = 16, kernel = 3 }, { conv = 16, kernel = 3 }, { global = "average" }]
[f]
window_seconds = 0.3
output = "softmax"
background = true
"""
DETECTOR = """
[input]
features = "log_mel"
sample_rate = 8000
mels = 16
[[groups]]
name = "A"
layers = [{ conv = 8, kernel = 3 }]
[f]
window_seconds = 0.2
"""
SEARCH = """
spec = "{spec}"
[data]
source = "{data}"
[train]
epochs = 1
examples_per_epoch = 40
batch_size = 8
workers = 0
[tune]
"train.learning_rate" = {{ low = 1e-3, high = 1e-2, log = true }}
"""


def shell(line, folder):
    """A line in bash, where `audiocnn` is this checkout."""
    call = f'audiocnn() {{ {shlex.quote(sys.executable)} -c {shlex.quote(CODE)} "$@"; }}\n{line}'
    environ = {"PYTHONPATH": PATH, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-c", call], cwd=folder, env=environ, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def hints_in(text):
    """The commands that a text ends with, or has between backticks."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("{"))  # no records
    return list(dict.fromkeys(found[0].strip() for found in HINT.finditer(lines)))


def tone(hertz, number, seconds=0.3):
    rng = np.random.default_rng([round(hertz), number])
    return sine(hertz * (1 + 0.02 * rng.standard_normal()), seconds, RATE, 0.4) + 0.01 * rng.standard_normal(
        round(seconds * RATE)
    ).astype(np.float32)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder whose name has a space and a quote, and clips: two labels that sound the same, eight that are wrong,
    one label of few."""
    folder = tmp_path_factory.mktemp("pasted") / 'it\'s "here"'
    hertz = {"low": 300, "mid 1": 900, "mid's 2": 900, "high": 2700}
    for place, label in enumerate(hertz):
        for number in range(60):
            other = {"low": "high", "high": "low"}.get(label) if number % 6 == 0 else None
            write(
                folder / "my sounds" / label / f"{number}.wav", tone(hertz[other or label], number + 100 * place), RATE
            )
    for number in range(8):
        write(folder / "my sounds" / "rare" / f"{number}.wav", tone(1500, number), RATE)
    (folder / "small net.toml").write_text(SMALL)
    return folder


@pytest.mark.long
def test_what_train_says_next_is_so_and_can_be_pasted(home):
    said = shell("audiocnn train 'my sounds' --spec 'small net.toml' --from none --epochs 15 --device cpu", home)
    hints = hints_in(said)
    lines = said[said.index("\nnext: ") :].splitlines()
    assert 1 <= len(lines[1:]) <= 3, lines
    assert any("mid 1 and mid's 2 are confused" in line for line in lines), lines
    said = shell(
        "audiocnn evaluate 'my sounds' --model 'runs/my sounds' --format table", home
    )  # more clips than were kept apart
    assert re.search(r"\b(1[5-9]|2[0-5]) labels of 248 clips look wrong", said), said  # of 20
    hints += hints_in(said)
    commands = [shlex.split(hint)[1] for hint in hints]
    assert {"classify", "detect", "evaluate", "export", "doubtful"} <= set(commands)
    for picture in ("curves.png", "batch.png", "confusion.png", "precision_recall.png"):
        assert (home / "runs/my sounds" / picture).stat().st_size > 5000
    more = []
    for hint, command in zip(hints, commands, strict=True):
        after = shell(hint if command != "train" else f"{hint} --epochs 1", home)
        more += hints_in(after) if command in ("evaluate", "doubtful") else []
    assert any(shlex.split(hint)[1] == "train" and "--corrections" in hint for hint in more)
    (first,) = {hint for hint in more if "--corrections doubtful.tsv" in hint}
    shell(f"{first} --epochs 1", home)


@pytest.mark.long
def test_what_tune_search_models_export_and_review_say_can_be_pasted(home):
    folder = home / "meetings"
    rows = ["filename,onset,offset,label"]
    for number in range(6):
        sound = 0.01 * np.random.default_rng(number).standard_normal(4 * RATE).astype(np.float32)
        sound[RATE : 2 * RATE] += tone(900, number, 1.0)
        write(folder / f"m {number}.wav", sound, RATE)
        rows.append(f"m {number}.wav,1,2,beep")
    (folder / "marks.csv").write_text("\n".join(rows) + "\n")
    (home / "detector.toml").write_text(DETECTOR)
    train = "audiocnn train meetings/marks.csv --spec detector.toml --epochs 2 --device cpu -o 'runs/a beep'"
    hints = hints_in(shell(train, home))
    assert {shlex.split(hint)[1] for hint in hints} == {"detect", "evaluate", "export"}
    for hint in hints:
        shell(hint, home)
    for way in ("", " --operating-points"):
        said = shell(f"audiocnn tune meetings/marks.csv --model 'runs/a beep'{way} --format table", home)
        for hint in hints_in(said):
            for one in hints_in(shell(hint, home)):
                shell(one, home)
    (home / "a search.toml").write_text(SEARCH.format(spec="detector.toml", data="meetings/marks.csv"))
    said = shell("audiocnn search 'a search.toml' --trials 2 -o 'runs/a search'", home)
    assert len(hints_in(said)) == 2
    for hint in [*hints_in(said), *hints_in(shell("audiocnn models --format table", home))]:
        shell(hint, home)
    shell("audiocnn export 'runs/a beep' --format table", home)  # what it says is for another machine
    assert all(shell(hint, home) for hint in hints_in(shell("audiocnn ingest meetings/marks.csv -o 'a set'", home)))
