"""Several processes that train one network: the same batches, the same losses, one that speaks, none that is left."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys

import pytest
import tomli_w
import torch
from fixtures_cli import PATH
from fixtures_models import LOG_MEL, TASK_MIX, recipe_of, table_of, tone_of, tone_task, write_dataset

from audiocnn.batches import Order, prepare
from audiocnn.errors import UsageError
from audiocnn.ranks import Ranks, ranks_of, rows_or_one
from audiocnn.recipe import read_recipe
from audiocnn.stopping import Stopping
from audiocnn.training import EpochReport, Note, Trainer, train

ENV = os.environ | {"PYTHONPATH": PATH, "OMP_NUM_THREADS": "1"}
# 22 examples in batches of 7: shares of 3 and 4, and at the end 1 for two processes
SHORT = {"epochs": 2, "examples_per_epoch": 22, "batch_size": 7, "validation_examples": 4, "learning_rate": 2e-3}
MASKED = dataclasses.replace(TASK_MIX, band_masks=1, time_masks=1, equaliser_db=6.0)
PLAIN = table_of(
    {**LOG_MEL, "mels": 12},
    [{"conv": 8, "kernel": 3}, {"conv": 8, "kernel": 3}],
    {"window_seconds": 0.15, "layers": [{"dense": 8}]},
)
SOFTMAX = PLAIN | {"f": PLAIN["f"] | {"output": "softmax"}}
TASKS = ("tones", "clips")
# One of two processes, for both tasks one after the other
SCRIPT = """
import os, sys
import torch
from pathlib import Path
from audiocnn import training
from audiocnn.dataset import Dataset
from audiocnn.ranks import join, leave, ranks_of
from audiocnn.recipe import read_recipe
ranks = ranks_of(os.environ)
join(ranks)
training.Trainer.finish = lambda trainer: None
for task in ("tones", "clips"):
    for _ in training.train(read_recipe(Path(f"{task}.toml")), Dataset.open(task), Path(f"two-{task}"), ranks=ranks):
        pass
said = ranks.first(lambda: f"from {os.getpid()}")
print(said, ranks.total(float(ranks.rank + 1), 1.0))
leave()
"""
DYING = """
import os, sys
from audiocnn import training
from audiocnn_cli.main import run
real, seen = training.Trainer.learn, [0]
def learn(*args):
    seen[0] += 1
    if seen[0] == 4:
        os.kill(os.getpid(), 9)
    return real(*args)
if os.environ["RANK"] == "1":
    training.Trainer.learn = learn
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two datasets with their recipes: stretches of tones, and whole clips with softmax."""
    folder = tmp_path_factory.mktemp("ranks")
    tone_task(folder / "tones", groups=4)
    clips = [
        (f"{label}/{i}.wav", tone_of(0.5, 0.0, 0.5, hertz + 3 * i), {"label": label, "group": f"{i}"})
        for label, hertz in (("low", 200), ("high", 700))
        for i in range(6)
    ]
    write_dataset(folder / "clips", clips)
    short = dataclasses.replace(MASKED, seconds=0.6)
    for name, recipe in (("tones", recipe_of(PLAIN, MASKED, **SHORT)), ("clips", recipe_of(SOFTMAX, short, **SHORT))):
        (folder / f"{name}.toml").write_text(tomli_w.dumps(recipe.to_table()))
    return folder


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def both(home, code, *words):
    """Two processes as torchrun would start them; how each ended and what it said."""
    shared = ENV | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, *words], env=shared | {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}, cwd=home,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=120) for process in started]
    return [(process.returncode, *words) for process, words in zip(started, said, strict=True)]


def epochs(recipe, dataset, run, **more):
    for report in train(recipe, dataset, run, **more):
        if isinstance(report, EpochReport):
            yield report
            if report.epoch == report.epochs:
                return


def rows_in(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def two(home):
    """Both tasks learned by two processes."""
    ends = both(home, SCRIPT)
    assert [end[0] for end in ends] == [0, 0], ends
    assert len({end[1] for end in ends}) == 1  # what the first found out, and sums, are the same in both
    assert ends[0][1].endswith("[3.0, 2.0]\n")
    return home


@pytest.mark.parametrize("task", TASKS)
def test_two_processes_learn_as_one_does(two, task, tmp_path):
    from safetensors.torch import load_file

    from audiocnn.dataset import Dataset

    recipe = read_recipe(two / f"{task}.toml")
    alone = list(epochs(recipe, Dataset.open(two / task), tmp_path / "run"))
    together = rows_in(two / f"two-{task}")
    assert [row["loss"] for row in together] == pytest.approx([report.loss for report in alone], rel=1e-4)
    assert [row["validation_loss"] for row in together] == pytest.approx(
        [report.validation_loss for report in alone], rel=1e-3
    )
    one, other = (load_file(run / "checkpoints/last.safetensors") for run in (tmp_path / "run", two / f"two-{task}"))
    weights = [name for name in one if name.startswith("network.")]
    assert weights
    for name in weights:
        assert torch.allclose(one[name], other[name], atol=2e-3)
    assert alone[1].loss != alone[0].loss


def test_a_run_of_two_goes_on_as_one(two, tmp_path):
    import shutil

    from audiocnn.dataset import Dataset

    shutil.copytree(two / "two-tones", tmp_path / "run")
    recipe = read_recipe(two / "tones.toml")
    trainer = Trainer(recipe, prepare(recipe, Dataset.open(two / "tones")), tmp_path / "run", "cpu")
    notes = trainer.resume()
    assert (
        Note("with 1 process(es), before 2: the same training but for rounding, and for the batches of batch norms")
        in notes
    )
    assert trainer.state.epoch == 2


def test_one_that_dies_brings_the_other_down_with_one_line(home, tmp_path):
    run = tmp_path / "run"
    first, second = both(home, DYING, "train", "tones", "--recipe", "tones.toml", "-o", str(run), "--device", "cpu")
    assert second[0] == -9
    assert first[0] == 2
    errors = [line for line in (first[2] + second[2]).splitlines() if "error" in line]
    assert errors == [
        "audiocnn: error: another process of this training has ended, or cannot be reached; look at what it said, then"
        " go on with --resume"
    ]
    assert "Traceback" not in first[2]
    assert not (run / "model").exists()


def test_what_all_would_say_is_said_once(home, tmp_path):
    ends = both(home, DYING, "train", "nowhere", "--recipe", "tones.toml", "-o", str(tmp_path / "run"))
    assert [end[0] for end in ends] == [2, 2]
    first, second = sorted((end[2] for end in ends), key=len)
    assert first == "" and second.count("nowhere: no such file or folder; check the name") == 1
    assert not (tmp_path / "run").exists()


# Without processes


@pytest.mark.parametrize(("total", "world"), [(7, 2), (1, 2), (8, 3), (3, 5)])
def test_shares_are_the_whole_batch_in_its_order(total, world):
    everyone = [Ranks(rank, world) for rank in range(world)]
    assert [row for ranks in everyone for row in ranks.rows(total)] == list(range(total))
    sizes = [len(ranks.rows(total)) for ranks in everyone]
    assert max(sizes) - min(sizes) <= 1
    assert all(len(rows_or_one(range(total), ranks)) >= 1 for ranks in everyone)


def test_an_order_gives_each_process_its_share():
    whole = list(Order(10, 4))
    shares = [list(Order(10, 4, Ranks(rank, 2))) for rank in range(2)]
    assert [first + second for first, second in zip(*shares, strict=True)] == whole


def test_the_environment_says_which_process_this_is():
    assert ranks_of({}) == Ranks()
    assert ranks_of({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Ranks(3, 4, 1)
    for wrong in ({"RANK": "4", "WORLD_SIZE": "4"}, {"RANK": "x", "WORLD_SIZE": "4"}):
        with pytest.raises(UsageError, match="not those of one process of several; start them with torchrun"):
            ranks_of(wrong)


def test_what_torchrun_hands_on_is_the_same_signal(monkeypatch):
    import signal

    ended = []
    monkeypatch.setattr(signal, "raise_signal", ended.append)
    stopping = Stopping(several=True)
    with stopping.watched():
        handler = signal.getsignal(signal.SIGINT)
        handler(signal.SIGINT, None)
        handler(signal.SIGTERM, None)
        assert (stopping.asked, ended) == (True, [])
        stopping.at -= 10.0
        handler(signal.SIGINT, None)
    assert ended == [signal.SIGINT]
    once = Stopping()
    with once.watched():
        handler = signal.getsignal(signal.SIGINT)
        handler(signal.SIGINT, None)
        handler(signal.SIGINT, None)
    assert len(ended) == 2
