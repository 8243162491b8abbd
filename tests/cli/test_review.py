"""The command `audiocnn review`: what it prints, how it ends, and that the printed command trains."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from fixtures_cli import PATH
from sounds import noise, sine, write

from audiocnn.workflows.heard import train_again_command

RATE = 8000
COMMAND = [sys.executable, "-m", "audiocnn_cli"]


@pytest.fixture
def sounds(tmp_path):
    """Clips without a label, of two pitches: even ones are low."""
    for k in range(24):
        samples = sine(400 if k % 2 == 0 else 2000, 0.3, RATE) + (noise(0.3, RATE, k) / 1e6).astype(np.float32)
        write(tmp_path / "my sounds" / f"{k:02d}.wav", samples, RATE)
    return tmp_path / "my sounds"


class Running:
    """`audiocnn review` in a process of its own; `ask` is a page."""

    def __init__(self, folder, *arguments):
        env = {"PYTHONPATH": PATH, "PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [*COMMAND, "review", *map(str, arguments)],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = self.process.stdout.readline().strip()

    def ask(self, path, values=None):
        body = None if values is None else json.dumps(values).encode()
        request = urllib.request.Request(self.address + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def answer(self, index, label):
        clip = self.ask(f"clip/{index}")["clip"]
        values = {"page": "a", "index": index, "label": label, "revision": clip["revision"]}
        return self.ask("answer", values)["clip"]

    def end(self, number=signal.SIGINT):
        """Status and what it said."""
        time.sleep(0.2)
        self.process.send_signal(number)
        said = self.process.communicate(timeout=60)
        return self.process.returncode, *said


def run(folder, *arguments):
    env = {"PYTHONPATH": PATH, "PATH": os.environ["PATH"]}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=folder, env=env, capture_output=True, text=True, timeout=900, check=False
    )


def answered(sounds, tmp_path):
    """The command that a review of most clips ends with."""
    review = Running(tmp_path, sounds, "--no-open")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32,}/", review.address)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(review.address.rsplit("/", 2)[0] + "/", timeout=60)
    for k in range(20):
        review.answer(k, "low" if k % 2 == 0 else "high")
    review.answer(20, None)
    status, out, said = review.end()
    assert (status, out) == (0, "") and "21 clips reviewed, saved in corrections.csv" in said
    command = shlex.split(said.strip().splitlines()[-1])
    assert review.address not in said
    return command


def test_a_review_ends_with_the_command_that_trains(sounds, tmp_path):
    wanted = ["audiocnn", "train", str(sounds), "--corrections", "corrections.csv"]
    assert answered(sounds, tmp_path) == wanted


@pytest.mark.long
def test_from_nothing_but_sound_to_a_model(sounds, tmp_path):
    command = answered(sounds, tmp_path)
    done = run(tmp_path, *command[1:], "--epochs", "2", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "my sounds" / "model" / "model.onnx").is_file()
    assert "20 clips labelled, 4 clips without a label excluded, 2 new labels: high, low" in done.stderr


def test_it_goes_on_where_it_ended_also_when_it_was_killed(sounds, tmp_path):
    review = Running(tmp_path, sounds, "--no-open", "-o", "t.tsv")
    review.answer(3, "low")
    review.process.kill()
    review.process.communicate(timeout=60)
    review = Running(tmp_path, sounds, "--no-open", "-o", "t.tsv")
    assert review.ask("clip/3")["clip"]["answer"] == "low"
    status, _, said = review.end(signal.SIGTERM)
    assert status == 143 and "continuing with 1 answer" in said and "--corrections t.tsv" in said


def test_nothing_reviewed_leaves_nothing(sounds, tmp_path):
    status, _, said = Running(tmp_path, sounds, "--no-open").end()
    assert status == 0 and "nothing saved" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my sounds"]


def test_what_cannot_be_read_is_said_at_the_end(sounds, tmp_path):
    (sounds / "broken.wav").write_bytes(b"no sound")
    (sounds / "link.wav").symlink_to(write(tmp_path / "x.wav", sine(400, 0.1, RATE), RATE))
    review = Running(tmp_path, sounds, "--no-open")
    review.ask("next?page=a")
    while review.ask("clip/24")["clip"]["problem"] is None:
        time.sleep(0.1)
    time.sleep(1.0)
    status, _, said = review.end()
    assert status == 3 and "link.wav: a link to a file outside the folder" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing"], "no such folder"),
        (["my sounds", "-o", "t.txt"], ".csv or .tsv"),
        (["my sounds", "-o", "no/t.csv"], "-o no/t.csv: the folder no does not exist"),
        (["my sounds", "-o", "other.csv"], 'no column "filename"'),
        (["my sounds", "-m", "nothing"], 'no model is called "nothing"'),
        (["my sounds", "--port", "70000"], "--port 70000"),
        (["https://example.org/a"], "https://example.org/a"),
        (["notes.txt"], "notes.txt: not a recognised recording name"),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line_and_nothing_is_made(sounds, tmp_path, arguments, said):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "notes.txt").write_text("x")
    before = sorted(path.name for path in tmp_path.iterdir())
    done = run(tmp_path, "review", *arguments, "--no-open")
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr and done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_command_to_train_with_names_a_run_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, table = tmp_path / "a b", tmp_path / "t.csv"
    wanted = ["audiocnn", "train", str(folder), "--corrections", "t.csv", "--only-corrected"]
    assert shlex.split(train_again_command(str(folder), [table], True)) == wanted
    (tmp_path / "runs" / "a b").mkdir(parents=True)
    assert shlex.split(train_again_command(str(folder), [table]))[-2:] == ["-o", "runs/a b-2"]
