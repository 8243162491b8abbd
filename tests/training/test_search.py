"""Searching what a recipe should say: the space, the study, trials that fail, fall behind, or are cut off."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from fixtures_cli import CODE, PATH, audiocnn
from fixtures_models import recipe_of, tone_task

pytest.importorskip("optuna")

from audiocnn.errors import RecipeError, UsageError
from audiocnn.recipe.recipe import read_recipe
from audiocnn.recipe.search_space import Parameter, default_space, get_value, read_space, set_value
from audiocnn.report.train_picture import draw_trials
from audiocnn.training import trainer as trainer_module
from audiocnn.training.events import EpochReport
from audiocnn.training.interrupt import StopSignals
from audiocnn.training.runs import read_runs
from audiocnn.training.search import Search, Trial, TrialBegun, best_trial, list_trials, make_search, search, write_best
from audiocnn.training.study import Study, open_study, suggest_value
from audiocnn_cli.app.exits import ExitStatus

SPACE = {
    "train.learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
    "spec.groups.A.layers.0.conv": {"choices": [4, 8]},
}
SHORT = {"epochs": 2, "examples_per_epoch": 8, "batch_size": 8, "validation_examples": 4, "workers": 0}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tone_task(tmp_path_factory.mktemp("task") / "dataset", groups=4)


@pytest.fixture(autouse=True)
def no_export(monkeypatch):
    """What takes seconds at the end of each trial, and is tested elsewhere."""
    monkeypatch.setattr(trainer_module, "release", lambda *given: (None, 0.0))


def wanted_of(task, folder, space=SPACE, **train):
    recipe = recipe_of(**{**SHORT, **train})
    return make_search(recipe, read_space(space, "[tune]"), task, folder, "cpu")


def study_of(wanted, resume=False, pruner="none"):
    opened = open_study(wanted.folder / "study.sqlite", pruner, 2, wanted.facts, resume)
    return Study(opened, wanted.folder, wanted.space, 3)


def all_of(wanted, study, trials):
    return [one for one in search(wanted, study, trials, StopSignals(())) if isinstance(one, Trial)]


# The space


def test_keys_are_quoted_or_tables_inside_of_each_other():
    nested = {"train": {"learning_rate": SPACE["train.learning_rate"], "batch_size": {"low": 2, "high": 8}}}
    first, second = read_space(nested, "x")
    assert first == Parameter("train.learning_rate", 1e-4, 1.0, log=True) and not first.whole
    assert second == Parameter("train.batch_size", 2, 8) and second.whole
    assert [parameter.key for parameter in read_space(SPACE, "x")] == list(SPACE)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"data.source": {"choices": ["a", "b"]}},
            r'"data\.source" cannot be searched; start keys with mix, train',
        ),
        ({"train.validation_share": {"low": 0.1, "high": 0.2}}, "changes what trials are judged by"),
        ({"train.epochs": 3}, r'"train\.epochs": expected a table, not 3'),
        ({"train.epochs": {"low": 3}}, '"high" is missing'),
        ({"train.epochs": {"low": 3, "high": 3}}, '"low" must be less than'),
        ({"train.epochs": {"low": 0, "high": 3, "log": True}}, '"log" needs "low" above 0'),
        ({"train.epochs": {"low": 0, "high": 3, "step": 4}}, '"step" must be above 0'),
        ({"train.epochs": {"low": 0, "high": 3, "stepp": 1}}, r'unknown key "stepp"; did you mean "step"\?'),
        ({"train.epochs": {"choices": [1]}}, '"choices" must be a list of at least two'),
        ({"train.epochs": {"choices": [1, date(2026, 1, 2)]}}, '"choices" cannot be dates'),
        ([], "expected a table"),
    ],
)
def test_a_space_that_cannot_be_is_told(table, said):
    with pytest.raises(RecipeError, match=said):
        read_space(table, "r.toml: [tune]")


def test_values_are_put_where_keys_say():
    table = {"train": {"a": 1}, "spec": {"groups": [{"name": "A", "layers": [{"conv": 4}, {"conv": 8}]}]}}
    set_value(table, "train.a", 2, "x")
    set_value(table, "spec.groups.A.layers.1.conv", 16, "x")
    set_value(table, "spec.groups.0.layers.0", {"conv": 5}, "x")
    assert table == {"train": {"a": 2}, "spec": {"groups": [{"name": "A", "layers": [{"conv": 5}, {"conv": 16}]}]}}
    assert get_value(table, "spec.groups.A.layers.1.conv") == 16 and get_value(table, "spec.groups.B.layers") is None
    for key, said in (
        ("train.b", r'unknown key "b"; .*a'),
        ("spec.groups.B.layers", r'"spec\.groups\.B" does not exist; the list has 1 members, counted from 0'),
        ("spec.groups.A.layers.2", r'"spec\.groups\.A\.layers\.2" does not exist; the list has 2'),
        ("spec.grups.A", r'"spec\.grups" does not exist; did you mean "groups"\?'),
    ):
        with pytest.raises(RecipeError, match=said):
            set_value(table, key, 1, "x")


def test_a_knob_knows_its_values():
    assert [Parameter("x", 2, 8, step=2).holds(x) for x in (2, 4, 5, 10, 2.0)] == [True, True, False, False, False]
    some = Parameter("x", choices=(1, "1", [3, 3]))
    assert [some.holds(x) for x in (1, "1", [3, 3], 1.0, True)] == [True, True, True, False, False]
    assert Parameter("x", 0, 1, step=2.0).whole and not Parameter("x", 0, 1, step=0.1).whole


@pytest.mark.parametrize("high", [1, 0.95])
def test_steps_may_lie_between_whole_numbers_and_end_before_the_last(high, recwarn):
    import optuna

    (parameter,) = read_space({"spec.f.layers.0.dropout": {"low": 0, "high": high, "step": 0.1}}, "x")
    value = suggest_value(optuna.create_study().ask(), parameter)
    assert value == pytest.approx(round(value, 1)) and 0.0 <= value <= high
    assert not recwarn.list


def test_without_a_space_there_is_a_usual_one(task, tmp_path):
    table = recipe_of(**SHORT).to_table()
    keys = [parameter.key for parameter in default_space(table)]
    assert keys[:3] == ["train.learning_rate", "train.weight_decay", "train.batch_size"]
    assert all(parameter.holds(get_value(table, parameter.key)) for parameter in default_space(table))
    assert wanted_of(task, tmp_path, {}).space == default_space(table)


def test_what_trials_could_not_be_judged_by_is_told_at_once(task, tmp_path):
    with pytest.raises(RecipeError, match=r"changes the mixtures that trials are judged by; set \[evaluate\]"):
        wanted_of(task, tmp_path, {"mix.seconds": {"low": 0.5, "high": 1.0}})
    with pytest.raises(RecipeError, match="validation_share = 0: there is no validation part"):
        wanted_of(task, tmp_path, validation_share=0.0)
    with pytest.raises(RecipeError, match=r'unknown key "learning_rat"; did you mean "learning_rate"\?'):
        wanted_of(task, tmp_path, {"train.learning_rat": {"low": 0.5, "high": 1.0}})


# The search


def test_trials_are_runs_and_the_best_recipe_is_kept(task, tmp_path):
    wanted = wanted_of(task, tmp_path)
    study = study_of(wanted)
    trials = all_of(wanted, study, 3)
    assert [trial.number for trial in trials] == [0, 1, 2]
    table = recipe_of(**SHORT).to_table()
    assert trials[0].params == {key: get_value(table, key) for key in SPACE}, "the first is the recipe as it is"
    assert len({trial.params["train.learning_rate"] for trial in trials}) == 3
    for trial, run in zip(trials, read_runs(tmp_path), strict=True):
        assert (trial.state, trial.folder, trial.value) == ("complete", run.folder, run.figure)
        recipe = read_recipe(run.folder / "recipe.toml")
        assert recipe.train.learning_rate == trial.params["train.learning_rate"]
        assert get_value(recipe.spec.table, "groups.A.layers.0.conv") == trial.params["spec.groups.A.layers.0.conv"]
        assert trial.facts["parameters"] == recipe.spec.with_classes(1).parameters()
    best = best_trial(wanted, study)
    assert best.value == max(trial.value for trial in trials)
    path = write_best(wanted, study)
    assert read_recipe(path).to_table() == read_recipe(best.folder / "recipe.toml").to_table()
    draw_trials(trials, {"train.learning_rate": 0.75, "x": 0.25}, tmp_path / "trials.png")
    assert (tmp_path / "trials.png").read_bytes()[:4] == b"\x89PNG"


def test_a_search_comes_out_the_same_again(task, tmp_path):
    found = []
    for name in ("a", "b"):
        wanted = wanted_of(task, tmp_path / name)
        found.append([(trial.params, trial.value) for trial in all_of(wanted, study_of(wanted), 2)])
    assert found[0] == found[1]


def test_a_trial_that_was_cut_off_goes_on_where_it_was(task, tmp_path):
    wanted = wanted_of(task, tmp_path)
    reports = search(wanted, study_of(wanted), 2, StopSignals(()))
    for report in reports:
        if isinstance(report, EpochReport):
            break
    reports.close()  # as a process that is killed leaves it: the study says that it goes on
    assert [trial.state for trial in list_trials(wanted, study_of(wanted, resume=True))] == ["running"]
    study = study_of(wanted, resume=True)
    events = list(search(wanted, study, 2, StopSignals(())))
    begun = [event for event in events if isinstance(event, TrialBegun)]
    assert [(one.number, one.again) for one in begun] == [(1, True), (2, False)]
    first = begun[0]
    assert first.params == {key: get_value(wanted.table, key) for key in SPACE}
    assert [event.epoch for event in events if isinstance(event, EpochReport)][:2] == [2, 1], "its first epoch was kept"
    trials = list_trials(wanted, study)
    assert [(trial.number, trial.state, trial.folder.name) for trial in trials] == [
        (1, "complete", "trial-0000"), (2, "complete", "trial-0002"),
    ]  # fmt: skip
    assert all_of(wanted, study, 2) == [], "there are as many as were wanted"


def test_what_another_process_is_at_is_left_to_it(task, tmp_path):
    wanted = wanted_of(task, tmp_path)
    first, second = study_of(wanted), study_of(wanted, resume=True)
    with first.next_trial(2) as one, second.next_trial(2) as other:
        assert (one.number, other.number) == (0, 1)
        assert second.requeue_cut_off() == 0
        with first.next_trial(2) as none:
            assert none is None
    assert second.requeue_cut_off() == 2


def test_a_trial_that_fails_is_told_and_the_others_go_on(task, tmp_path):
    own = recipe_of(**SHORT).spec.table
    wanted = wanted_of(task, tmp_path, {"spec": {"choices": [own, "speech_1d"]}})  # which is for another rate
    study = study_of(wanted)
    trials = all_of(wanted, study, 4)
    states = {trial.params["spec"]: trial.state for trial in trials}
    assert states == {json.dumps(own): "complete", "speech_1d": "failed"}
    failed = next(trial for trial in trials if trial.state == "failed")
    assert "the spec expects 16000" in failed.facts["error"]
    assert best_trial(wanted, study).params == {"spec": json.dumps(own)}


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        ("spec", {"choices": ["nospec", "m5"]}, r"\"spec\" cannot be 'nospec': no spec is called \"nospec\""),
        ("spec.groups.A.layers.0.conv", {"choices": [8, -1]}, r'conv" cannot be -1: .*"conv" must be a whole number'),
        ("train.weight_decay", {"low": -0.5, "high": 0.1}, r'decay" cannot be -0\.5: \[train\]: "weight_decay" must'),
        ("train.epochs", {"low": 0, "high": 5, "step": 2}, r'epochs" cannot be 0: '),
    ],
)
def test_a_value_that_no_recipe_can_have_is_told_at_once(task, tmp_path, key, values, said):
    with pytest.raises(RecipeError, match=said) as told:
        wanted_of(task, tmp_path, {key: values})
    assert "\n" not in str(told.value) and not list(tmp_path.iterdir())


def test_the_ends_of_a_range_are_those_that_are_tried():
    assert Parameter("x", 1, 6, step=2).ends == (1, 5)
    assert Parameter("x", 0.0, 0.3, step=0.1).ends == pytest.approx((0.0, 0.3))
    assert Parameter("x", 1e-4, 1.0, log=True).ends == (1e-4, 1.0)
    assert Parameter("x", choices=(3, 1, 2)).ends == (3, 1, 2)


def test_trials_keep_the_name_of_the_spec(task, tmp_path):
    recipe = recipe_of(**SHORT)
    recipe = replace(recipe, spec=replace(recipe.spec, name="a_base"))
    wanted = make_search(recipe, read_space(SPACE, "[tune]"), task, tmp_path, "cpu")
    [trial] = all_of(wanted, study_of(wanted), 1)
    assert json.loads((trial.folder / "run.json").read_text())["spec"] == "a_base" != recipe.name


@pytest.mark.parametrize("unknown", [math.nan, None])
def test_an_epoch_whose_figure_is_no_number_breaks_no_search(task, tmp_path, monkeypatch, unknown):
    real, calls = trainer_module.Trainer.end_epoch, []

    def end_epoch(trainer, *given):
        calls.append(1)
        report = real(trainer, *given)
        return replace(report, figure=unknown) if len(calls) == 1 else report

    monkeypatch.setattr(trainer_module.Trainer, "end_epoch", end_epoch)
    wanted = wanted_of(task, tmp_path)
    study = study_of(wanted)
    [trial] = all_of(wanted, study, 1)
    assert trial.state == "complete" and trial.value > 0
    assert list(study.trials()[0].intermediate_values) == [2]


@pytest.mark.parametrize("unknown", [math.nan, None])
def test_a_trial_that_ends_without_a_figure_has_failed(task, tmp_path, monkeypatch, unknown):
    real = trainer_module.Trainer.finish
    monkeypatch.setattr(trainer_module.Trainer, "finish", lambda trainer: replace(real(trainer), figure=unknown))
    wanted = wanted_of(task, tmp_path)
    [trial] = all_of(wanted, study_of(wanted), 1)
    assert trial.state == "failed" and "no epoch has a finite result" in trial.facts["error"]


def test_a_trial_that_falls_behind_is_ended(task, tmp_path, monkeypatch):
    wanted = wanted_of(task, tmp_path)
    study = study_of(wanted)
    monkeypatch.setattr("optuna.trial.Trial.should_prune", lambda trial: trial.number == 1)
    trials = all_of(wanted, study, 2)
    assert [(trial.state, trial.facts["epochs"]) for trial in trials] == [("complete", 2), ("pruned", 1)]
    assert [run.state for run in read_runs(tmp_path)][1] == "pruned"
    assert best_trial(wanted, study).number == 0


def test_a_study_of_something_else_is_refused(task, tmp_path):
    wanted = wanted_of(task, tmp_path)
    path = tmp_path / "study.sqlite"
    study_of(wanted)
    with pytest.raises(UsageError, match=r"already contains a study; continue with --resume"):
        study_of(wanted)
    with pytest.raises(UsageError, match=r"is the study of another recipe or other data"):
        study_of(wanted_of(task, tmp_path, epochs=3), resume=True)
    path.write_bytes(b"no database at all\n" * 100)
    with pytest.raises(UsageError, match=r"study\.sqlite: not a readable study"):
        study_of(wanted, resume=True)


def test_a_study_lies_where_its_name_says(task, tmp_path):
    wanted = wanted_of(task, tmp_path / "a?b #c{d}%20e")
    wanted.folder.mkdir()
    study_of(wanted).study.ask()
    assert (wanted.folder / "study.sqlite").is_file() and [path.name for path in tmp_path.iterdir()] == [
        wanted.folder.name
    ]
    assert len(study_of(wanted, resume=True).trials()) == 1


def test_what_matters_is_said_where_there_are_enough_trials(task, tmp_path):
    wanted = wanted_of(task, tmp_path)
    study = study_of(wanted)
    assert study.importances() == {}
    for value in range(8):
        trial = study.study.ask()
        params = study.draw_values(trial)
        study.study.tell(trial, params["train.learning_rate"] + 1e-9 * value)
    shares = study.importances()
    assert next(iter(shares)) == "train.learning_rate"
    assert sum(shares.values()) == pytest.approx(1.0) and set(shares) == set(SPACE)
    assert isinstance(wanted, Search)


# The command


@pytest.fixture
def here(task, tmp_path, monkeypatch):
    """A recipe on a dataset, with a space."""
    import tomli_w

    table = recipe_of(**SHORT).to_table()
    table["data"] = {"source": str(task.folder)}
    table["tune"] = SPACE
    (tmp_path / "small.toml").write_text(tomli_w.dumps(table))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_says_each_trial_and_goes_on(here):
    done = audiocnn("search", "small.toml", "--trials", "2", "-o", "tuned", "--device", "cpu")
    assert done.status is ExitStatus.OK, done.err
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [(one["type"], one.get("state")) for one in records] == [("trial", "complete")] * 2 + [("importance", None)]
    for said in ("trial 0: auroc", "trial 1: auroc", "best: trial", "audiocnn train --recipe tuned/best.toml"):
        assert said in done.err, said
    assert {path.name for path in Path("tuned").iterdir()} >= {"best.toml", "trials.png", "study.sqlite", "trial-0001"}
    again = audiocnn("search", "small.toml", "--trials", "3", "-o", "tuned", "--device", "cpu")
    assert again.status is ExitStatus.USAGE
    assert "tuned/study.sqlite: the study already exists; continue with --resume" in again.err
    more = audiocnn(
        "search", "small.toml", "--trials", "3", "-o", "tuned", "--device", "cpu", "--resume", terminal=True
    )
    assert more.status is ExitStatus.OK, more.err
    assert "trial 2: auroc" in more.err and "trial 1: " not in more.err
    assert "learning_rate" in more.out and "A.0.conv" in more.out


def test_resume_begins_a_search_where_there_is_none(here):
    command = ("search", "small.toml", "--trials", "1", "-o", "tuned", "--device", "cpu", "--resume")
    (here / "tuned" / ".at" / "study").mkdir(parents=True)  # another task of the same line has just begun
    done = audiocnn(*command)
    assert done.status is ExitStatus.OK, done.err
    assert "trial 0: auroc" in done.err
    again = audiocnn(*command)
    assert again.status is ExitStatus.OK and "trial 0: auroc" not in again.err
    (here / "mine").mkdir()
    (here / "mine" / "notes.txt").write_text("x")
    other = audiocnn("search", "small.toml", "-o", "mine", "--resume")
    assert other.status is ExitStatus.USAGE and "mine: contains other files" in other.err


def test_optuna_that_is_missing_is_one_line(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = audiocnn("search", "small.toml", "-o", "tuned")
    assert done.status is ExitStatus.USAGE
    assert "pip install optuna" in done.err
    assert not Path("tuned").exists()


def test_a_search_where_nothing_goes_to_its_end_fails(here):
    before = Path("small.toml").read_text().split("[tune")[0]
    Path("small.toml").write_text(before + '[tune]\n"spec" = { choices = ["speech_1d", "speech_2d"] }\n')
    done = audiocnn("search", "small.toml", "--trials", "2", "-o", "tuned", "--device", "cpu")
    assert done.status is ExitStatus.USAGE
    assert "trial 0: " in done.err and "no trial was completed" in done.err


@pytest.mark.long
def test_several_processes_share_a_study_and_what_one_leaves_behind_is_gone_on_with(here):
    command = [sys.executable, "-c", CODE, "search", "small.toml", "-o", "tuned", "--trials", "5"]
    command += ["--pruner", "none", "--device", "cpu"]
    environ = {**os.environ, "PYTHONPATH": PATH, "OMP_NUM_THREADS": "1"}
    with Path("first.txt").open("w") as said:
        first = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=said)
    wait_for(lambda: list(Path("tuned").glob("trial-*/metrics.jsonl")))
    second = subprocess.Popen([*command, "--resume"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: list(Path("tuned").glob("trial-0001/run.json")) or first.poll() is not None)
    first.kill()
    first.wait()
    assert second.communicate(timeout=300)[1].count(b"trial ") >= 1 and second.returncode == 0
    last = subprocess.run([*command, "--resume"], env=environ, capture_output=True, text=True, timeout=300, check=True)
    trials = [json.loads(line) for line in last.stdout.splitlines()][:-1]
    assert [trial["state"] for trial in trials] == ["complete"] * 5
    assert len({trial["folder"] for trial in trials}) == 5
    for trial in trials:
        assert (Path(trial["folder"]) / "model" / "model.onnx").is_file()


def wait_for(ready, seconds=240):
    """Until something is there, as another process makes it."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)
