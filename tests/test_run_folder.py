"""The folder of a run: what --force removes, and the command that goes on where a training was interrupted."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import get_type_hints

import pytest
from fixtures_cli import audiocnn
from sounds import sine, write

from audiocnn.errors import UsageError
from audiocnn_cli import run_folder, training_table
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.repeating import PartOptions
from audiocnn_cli.run_folder import clear, going_on
from audiocnn_cli.training_options import LearningOptions, RunOptions

RATE = 8000
SMALL = """
[input]
features = "log_mel"
mels = 16
[[groups]]
name = "A"
layers = [{ conv = 4, kernel = 3 }, { global = "average" }]
[f]
window_seconds = 0.2
"""


def run_of(folder):
    """What a training leaves."""
    names = ("run.json", "metrics.csv", "metrics.jsonl", "log.jsonl", "curves.png", "tensorboard/events", "report.html")
    for name in ("checkpoints/last.safetensors", "model/model.toml", "recipe.toml", *names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def everything_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_what_runs_folds_and_shares_make_is_removed(tmp_path):
    for folder in (tmp_path, tmp_path / "fold-1", tmp_path / "fold-12", tmp_path / "share-0.3"):
        run_of(folder)
    for name in ("folds.json", "folds.html", "learning_curve.json", "learning_curve.html"):
        (tmp_path / name).touch()
    clear(tmp_path)
    assert everything_in(tmp_path) == []
    clear(tmp_path / "none")  # is not there: nothing to do


@pytest.mark.parametrize("foreign", ["notes.txt", "fold-1/notes.txt", "fold-2/sound.wav", "folder/recipe.toml"])
def test_nothing_is_removed_where_something_else_lies_there(tmp_path, foreign):
    run_of(tmp_path)
    run_of(tmp_path / "fold-1")
    (tmp_path / foreign).parent.mkdir(exist_ok=True)
    (tmp_path / foreign).touch()
    before = everything_in(tmp_path)
    with pytest.raises(
        UsageError, match=r"holds other files, such as .*; nothing is removed: move them, or name a new"
    ):
        clear(tmp_path)
    assert everything_in(tmp_path) == before


def going(folder, data="sounds", repeated=False, device="auto", **given):
    parts = [kind(**{key: given.pop(key) for key in list(given) if key in kind.__dataclass_fields__})
             for kind in (RunOptions, LearningOptions, PartOptions)]  # fmt: skip
    assert not given
    return going_on(folder, data, parts, repeated, device)


def test_a_run_with_a_recipe_goes_on_by_its_folder_and_else_by_all_that_was_given(tmp_path):
    run_of(tmp_path / "my run")
    assert going(tmp_path / "my run", epochs=3) == f"audiocnn train -o '{tmp_path}/my run' --resume"
    new = Path("runs/new")
    assert going(new, force=True) == "audiocnn train sounds -o runs/new"  # there is nothing yet to resume
    assert going(new, data=None) == "audiocnn train -o runs/new --recipe audiocnn.toml"
    said = going(new, None, True, "cpu", recipe="a b.toml", source="speech_1d", seed=0, group_pattern="^(.)", folds=3)
    assert said == (
        "audiocnn train -o runs/new --recipe 'a b.toml' --from speech_1d --seed 0 --group-pattern '^(.)' --folds 3"
        " --device cpu --resume"
    )


def test_every_option_of_train_is_said(tmp_path):
    parts, flags = [], set()
    for kind in (RunOptions, LearningOptions, PartOptions):
        hints = get_type_hints(kind, include_extras=True)
        flags |= {
            hints[name].__metadata__[0].default for name in kind.__dataclass_fields__
        }  # where typer has the first
        parts.append(kind(**dict.fromkeys(kind.__dataclass_fields__, 1)))
    said = shlex.split(going_on(tmp_path, "sounds", parts, True, "cpu"))
    given = {word for word in said if word.startswith("-")} - {"-o", "--device", "--resume"}
    assert given == flags - {"--output", "--resume", "--force"}


def test_folds_go_on_by_the_command_that_is_told_and_begin_anew_by_force(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    for label, hertz in (("low", 300), ("high", 2000)):
        for number in range(24):
            write(tmp_path / f"my sounds/{label}/{number}.wav", sine(hertz + 5 * number, 0.25, RATE, 0.3), RATE)
    monkeypatch.setattr("audiocnn.choosing.SPEC", str(tmp_path / "small.toml"))
    follow, followed = training_table.follow, []

    def interrupted(reports, terminal, folder, device):
        followed.append(folder.name)
        if len(followed) == 2:
            raise KeyboardInterrupt
        return follow(reports, terminal, folder, device)

    monkeypatch.setattr(training_table, "follow", interrupted)
    done = audiocnn(
        "train", "my sounds", "-o", "out", "--folds", "2", "--epochs", "1", "--seed", "3", "--device", "cpu"
    )
    assert done.status is ExitStatus.INTERRUPTED
    told = shlex.split(re.search("interrupted; `(.*)` goes on", done.err)[1])
    assert told[:3] == ["audiocnn", "train", "my sounds"]
    done = audiocnn(*told[1:])
    assert done.status is ExitStatus.OK, done.err
    assert followed == ["fold-1", "fold-2", "fold-1", "fold-2"]
    assert len(json.loads(Path("out/folds.json").read_text())["folds"]) == 2
    done = audiocnn("train", "my sounds", "-o", "out", "--epochs", "1", "--device", "cpu", "--force")
    assert done.status is ExitStatus.OK, done.err
    asked_for = {"log.jsonl", "tensorboard"}  # of an older version; and where it is wanted
    assert {path.name for path in Path("out").iterdir()} == set(run_folder.RUN_PARTS) - asked_for
