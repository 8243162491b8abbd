"""The folder of a run: what --force removes, and the command that goes on where a training was interrupted."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import get_type_hints

import pytest
from fixtures_cli import audiocnn, small_spec
from sounds import sine, write

from audiocnn.errors import UsageError
from audiocnn.files import free_path, settled
from audiocnn.workflows.run_folder import RUN_FILES, clear_run
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.commands.train import run
from audiocnn_cli.commands.train.options import LearningOptions, PartOptions, RunOptions
from audiocnn_cli.commands.train.run import resume_command

RATE = 8000
SMALL = small_spec(0.2)


def run_of(folder):
    """What a training leaves."""
    names = ("run.json", "metrics.csv", "metrics.jsonl", "log.jsonl", "curves.png",
             "tensorboard/events.out.tfevents.1.a.2.0", "report.html",
             ".report.json.audiocnn-part", ".recipe.toml.abcd_234", "model/.model.onnx.abcd1234")  # fmt: skip
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
    clear_run(tmp_path)
    assert everything_in(tmp_path) == []
    clear_run(tmp_path / "none")  # is not there: nothing to do


@pytest.mark.parametrize(
    "foreign",
    ["notes.txt", "fold-1/notes.txt", "fold-2/sound.wav", "folder/recipe.toml", ".recipe.toml.bak", "recipe.toml/mine"]
    + [f"{folder}/thesis.docx" for folder in RUN_FILES]
    + [f"fold-1/{folder}/old/last.safetensors" for folder in RUN_FILES],
)
def test_nothing_is_removed_where_something_else_lies_there(tmp_path, foreign):
    run_of(tmp_path)
    run_of(tmp_path / "fold-1")
    if foreign.startswith("recipe.toml/"):
        (tmp_path / "recipe.toml").unlink()
    (tmp_path / foreign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / foreign).touch()
    before = everything_in(tmp_path)
    with pytest.raises(UsageError, match=r"contains other files, such as .*; nothing was removed: move them away"):
        clear_run(tmp_path)
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("names", [["recipe.toml"], ["report.json", "report.html"], ["model/README.md"], ["run.json"]])
def test_nothing_is_removed_of_a_folder_that_holds_no_run(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    before = everything_in(tmp_path)
    with pytest.raises(UsageError, match="contains no run"):
        clear_run(tmp_path)
    assert everything_in(tmp_path) == before


def test_what_links_lead_to_stays(tmp_path):
    run_of(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/model.toml").touch()
    for name in ("model.toml", "model.safetensors"):
        (tmp_path / "run/model" / name).unlink(missing_ok=True)
    (tmp_path / "run/model/model.safetensors").symlink_to(tmp_path / "mine/model.toml")
    clear_run(tmp_path / "run")
    assert (tmp_path / "mine/model.toml").is_file()
    run_of(tmp_path / "run")
    (tmp_path / "run/tensorboard/events.out.tfevents.1.a.2.0").unlink()
    (tmp_path / "run/tensorboard").rmdir()
    (tmp_path / "run/tensorboard").symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="other files, such as tensorboard"):
        clear_run(tmp_path / "run")
    assert (tmp_path / "mine/model.toml").is_file()


def going(folder, data="sounds", repeated=False, device="auto", **given):
    parts = [kind(**{key: given.pop(key) for key in list(given) if key in kind.__dataclass_fields__})
             for kind in (RunOptions, LearningOptions, PartOptions)]  # fmt: skip
    assert not given
    return resume_command(folder, data, parts, repeated, device)


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
    said = shlex.split(resume_command(tmp_path, "sounds", parts, True, "cpu"))
    given = {word for word in said if word.startswith("-")} - {"-o", "--device", "--resume"}
    assert given == flags - {
        "--output",
        "--resume",
        "--force",
        "--data",
    }  # where the data are is kept, once it was said


def test_a_path_is_settled_where_a_part_of_it_may_go_away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    assert settled(Path("q/../../x")) == tmp_path.parent / "x"
    assert settled(Path("link/../x")) == tmp_path / "x"
    assert [settled(Path(name)) for name in ("runs/x", "/x", "..x")] == [Path("runs/x"), Path("/x"), Path("..x")]


@pytest.mark.long
def test_a_folder_behind_one_that_is_not_there_is_settled_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "small.toml").write_text(SMALL)
    for label, hertz in (("low", 300), ("high", 2000)):
        for number in range(12):
            write(tmp_path / f"sounds/{label}/{number}.wav", sine(hertz + 5 * number, 0.25, RATE, 0.3), RATE)
    monkeypatch.setattr("audiocnn.recipe.choose.DEFAULT_CLIP_SPEC", str(tmp_path / "small.toml"))
    done = audiocnn("train", "../sounds", "-o", "q/../../x", "--epochs", "1", "--device", "cpu")
    assert done.status is ExitStatus.OK, done.err
    assert (tmp_path / "x/model/model.toml").is_file() and (tmp_path / "x/curves.png").is_file()
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.long
def test_folds_go_on_by_the_command_that_is_told_and_begin_anew_by_force(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    for label, hertz in (("low", 300), ("high", 2000)):
        for number in range(24):
            write(tmp_path / f"my sounds/{label}/{number}.wav", sine(hertz + 5 * number, 0.25, RATE, 0.3), RATE)
    monkeypatch.setattr("audiocnn.recipe.choose.DEFAULT_CLIP_SPEC", str(tmp_path / "small.toml"))
    follow, followed = run.show_training, []

    def interrupted(reports, terminal, folder, device):
        followed.append(folder.name)
        if len(followed) == 2:
            raise KeyboardInterrupt
        return follow(reports, terminal, folder, device)

    monkeypatch.setattr(run, "show_training", interrupted)
    done = audiocnn(
        "train", "my sounds", "-o", "out", "--folds", "2", "--epochs", "1", "--seed", "3", "--device", "cpu"
    )
    assert done.status is ExitStatus.INTERRUPTED
    told = shlex.split(re.search("interrupted; continue with `(.*)`", done.err)[1])
    assert told[:3] == ["audiocnn", "train", "my sounds"]
    done = audiocnn(*told[1:])
    assert done.status is ExitStatus.OK, done.err
    assert followed == ["fold-1", "fold-2", "fold-1", "fold-2"]
    assert len(json.loads(Path("out/folds.json").read_text())["folds"]) == 2
    done = audiocnn("train", "my sounds", "-o", "out", "--epochs", "1", "--device", "cpu", "--force")
    assert done.status is ExitStatus.OK, done.err
    asked_for = {"log.jsonl"}  # of an older version
    files = {path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file()}
    made = {(Path(folder) / name).as_posix() for folder, names in RUN_FILES.items() for name in names}
    assert files == {name for name in made if not name.startswith("tensorboard/")} - asked_for


def test_a_free_name_is_one_that_nothing_has(tmp_path):
    assert free_path(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert free_path(tmp_path / "run") == tmp_path / "run-3"
    (tmp_path / "a.html").write_text("")
    assert free_path(tmp_path / "a.tsv", ".tsv", ".html") == tmp_path / "a-2.tsv"
