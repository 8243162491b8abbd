"""Messages of `ingest` and `train` about splits and folds of data, and `--fold`, `--label-pattern`."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from corpora import text
from fixtures_cli import Stream, audiocnn
from sounds import noise, write

from audiocnn.errors import RecipeError, UsageError
from audiocnn.recipe.division import divide
from audiocnn.workflows.plan import TrainingRequest, choose_recipe, fit_recipe, say_notes, with_part_options
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.listener import TerminalListener


def esc50(root, folds=5, clips=2):
    """A small ESC-50 of two sounds."""
    rows = []
    for fold in range(1, folds + 1):
        for target, label in enumerate(("dog", "rain")):
            for number in range(clips):
                name = f"{fold}-{number}-A-{target}.wav"
                sound = np.sin(np.arange(2400) * (0.2 + 0.3 * target)) * 0.3
                write(root / "audio" / name, sound + noise(0.3, 8000, len(rows)) / 300_000, 8000)
                rows.append(f"{name},{fold},{target},{label},True")
    text(root / "meta/esc50.csv", "filename,fold,target,category,esc10", *rows)
    return root


def planned(data, tmp_path, parts):
    """The recipe and dataset that `train` would train, and what it says."""
    terminal = Terminal(io.BytesIO(), Stream(False), Stream(False), {"COLUMNS": "100"})
    listener = TerminalListener(terminal)
    recipe, _ = choose_recipe(TrainingRequest(str(data), output=str(tmp_path / "run")))
    recipe = with_part_options(recipe, parts)
    recipe, dataset = fit_recipe(recipe, tmp_path / "run", TrainingRequest(), listener)
    say_notes(recipe, dataset, listener)
    return recipe, dataset, terminal.stderr.getvalue()


@pytest.mark.parametrize(("fold", "test", "stop"), [(None, "5", "4"), ("2", "2", "1"), ("fold1", "1", "5")])
@pytest.mark.parametrize("data", ["", "meta/esc50.csv"])
def test_train_uses_official_folds_and_says_so(tmp_path, data, fold, test, stop):
    recipe, dataset, said = planned(esc50(tmp_path / "ESC-50") / data, tmp_path, TrainingRequest(fold=fold))
    assert f'folds 1 to 5 by column "fold": {test} is used for testing, {stop} for validation' in said
    assert f"12 for training, 4 for validation, 4 for testing (fold {test})" in said
    assert {entry.tags["fold"] for entry in divide(dataset, recipe).test} == {test}


def test_ingest_says_what_it_understood(tmp_path):
    done = audiocnn("ingest", esc50(tmp_path / "ESC-50"), "-o", tmp_path / "ds")
    assert done.status is ExitStatus.OK, done.err
    summary = json.loads(done.out)
    assert summary["parts"] == ['labels from the table "meta/esc50.csv"', 'folds 1 to 5 by column "fold"']
    assert (summary["labels"], summary["unused"]) == ({"dog": 10, "rain": 10}, [])
    shown = audiocnn("ingest", tmp_path / "ESC-50", "-o", tmp_path / "ds", "--format", "table")
    assert '  folds 1 to 5 by column "fold"\n' in shown.out


def test_ingest_says_what_it_does_not_use(tmp_path):
    for number, name in enumerate(("dog", "cat", "Test")):
        write(tmp_path / "sounds" / name / "1.wav", noise(0.1, 8000, number), 8000)
    done = audiocnn("ingest", tmp_path / "sounds", "-o", tmp_path / "ds")
    (line,) = json.loads(done.out)["unused"]
    assert line.startswith('the folder "Test" looks like a part')
    trained = audiocnn("train", tmp_path / "ds", "-o", tmp_path / "run", "--device", "cpu")
    assert trained.status is ExitStatus.USAGE
    assert "nothing is left for testing" in trained.err
    assert not (tmp_path / "run").exists()


def test_labels_may_stand_in_names(tmp_path):
    for digit in range(3):
        for who in ("anna", "bob"):
            write(tmp_path / f"fsdd/{digit}_{who}_0.wav", noise(0.1, 8000, 10 * digit + len(who)), 8000)
    parts = TrainingRequest(label_pattern="^([0-9])_", group_pattern="_([a-z]+)_")
    _, dataset, said = planned(tmp_path / "fsdd", tmp_path, parts)
    assert dataset.labels == ("0", "1", "2")
    assert {entry.group for entry in dataset.entries} == {"anna", "bob"}
    assert "2 groups of recordings that stay together" in said
    with pytest.raises(RecipeError, match="label_pattern applies to folders, but this is a dataset"):
        planned(dataset.folder, tmp_path, parts)
    text(tmp_path / "t.csv", "filename,label", "fsdd/0_anna_0.wav,x")
    with pytest.raises(RecipeError, match="label_pattern is for a folder, but the source is a file"):
        planned(tmp_path / "t.csv", tmp_path, parts)


def test_one_fold_or_all_of_them(tmp_path):
    recipe, _ = choose_recipe(TrainingRequest(str(tmp_path)))
    with pytest.raises(UsageError, match="--folds tests on each fold in turn and --fold on a single one"):
        with_part_options(recipe, TrainingRequest(folds=5, fold="1"))
