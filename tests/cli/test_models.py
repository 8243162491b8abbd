"""`models`: the purpose of each released model; models first, specs on request."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from fixtures_cli import audiocnn
from sounds import sine, write

from audiocnn.model.model import find_model, read_purposes, shipped_models, spec_folders

MODELS = [folder.name for folder in shipped_models()]
SPECS = sorted(path.stem for folder in spec_folders() for path in folder.glob("*.toml"))


def records(*args):
    return [json.loads(line) for line in audiocnn("models", *args).out.splitlines()]


def test_every_released_model_says_what_it_is_for():
    purposes = read_purposes()
    assert sorted(purposes) == sorted(MODELS)
    assert len(set(purposes.values())) == len(MODELS) and all(10 < len(text) < 70 for text in purposes.values())
    assert {one["name"]: one["purpose"] for one in records()} == purposes


def test_specs_come_on_request_behind_the_models():
    assert [(one["type"], one["name"]) for one in records()] == [("model", name) for name in MODELS]
    assert [one["name"] for one in records("--specs")] == MODELS + SPECS
    shown = audiocnn("models", terminal=True, NO_COLOR="1").out
    assert "audiocnn models --specs" in shown and not re.search(r"^alexnet ", shown, re.MULTILINE)
    whole = audiocnn("models", "--specs", terminal=True, NO_COLOR="1").out
    firsts = [line.split()[0] for line in whole.splitlines() if re.match(r"\w", line)]
    assert [name for name in firsts if name in {*MODELS, *SPECS}] == MODELS + SPECS


@pytest.mark.parametrize("command", [("detect", "in.wav", "-m"), ("evaluate", "in", "-m")])
@pytest.mark.parametrize("name", ["sounds", "runs/sounds", "other"])
def test_a_run_with_the_name_of_a_released_model_is_pointed_to(tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    for run in ("sounds", "other"):
        shutil.copytree(find_model("digits").folder, tmp_path / "runs" / run / "model")
    write(tmp_path / "in.wav", sine(300, 0.2, 8000, 0.1), 8000)
    done = audiocnn(*command, name)
    note = "audiocnn: note: sounds is the released model of this name; your own is runs/sounds\n"
    assert (note in done.err) is (name == "sounds"), done.err
