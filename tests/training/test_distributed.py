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

from audiocnn.errors import UsageError
from audiocnn.recipe.recipe import read_recipe
from audiocnn.training.batches import BatchSampler, make_training_set
from audiocnn.training.distributed import ProcessGroup, process_group_of, share_or_one
from audiocnn.training.events import EpochReport, Note
from audiocnn.training.interrupt import StopSignals
from audiocnn.training.train import train
from audiocnn.training.trainer import Trainer

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
from audiocnn.data.dataset import Dataset
from audiocnn.training.distributed import join_processes, leave_processes, process_group_of
from audiocnn.recipe.recipe import read_recipe
from audiocnn.training.train import train
from audiocnn.training.trainer import Trainer
group = process_group_of(os.environ)
join_processes(group)
Trainer.finish = lambda trainer: None
for task in ("tones", "clips"):
    for _ in train(read_recipe(Path(f"{task}.toml")), Dataset.open(task), Path(f"two-{task}"), group=group):
        pass
said = group.from_leader(lambda: f"from {os.getpid()}")
print(said, group.sum(float(group.rank + 1), 1.0))
leave_processes()
"""
DYING = """
import os, sys
from audiocnn.training.trainer import Trainer
from audiocnn_cli.main import run
real, seen = Trainer.train_step, [0]
def learn(*args):
    seen[0] += 1
    if seen[0] == 4:
        os.kill(os.getpid(), 9)
    return real(*args)
if os.environ["RANK"] == "1":
    Trainer.train_step = learn
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two datasets with their recipes: stretches of tones, and whole clips with softmax."""
    folder = tmp_path_factory.mktemp("group")
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


@pytest.mark.long
@pytest.mark.parametrize("task", TASKS)
def test_two_processes_learn_as_one_does(two, task, tmp_path):
    from safetensors.torch import load_file

    from audiocnn.data.dataset import Dataset

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

    from audiocnn.data.dataset import Dataset

    shutil.copytree(two / "two-tones", tmp_path / "run")
    recipe = read_recipe(two / "tones.toml")
    trainer = Trainer(recipe, make_training_set(recipe, Dataset.open(two / "tones")), tmp_path / "run", "cpu")
    notes = trainer.resume()
    assert (
        Note("1 process(es) instead of 2: results differ only by rounding and by the batch statistics of batch norms")
        in notes
    )
    assert trainer.state.epoch == 2


@pytest.mark.long
def test_one_that_dies_brings_the_other_down_with_one_line(home, tmp_path):
    for attempt in range(4):
        run = tmp_path / f"run-{attempt}"
        first, second = both(home, DYING, "train", "tones", "--recipe", "tones.toml", "-o", str(run), "--device", "cpu")
        assert second[0] == -9, second
        # Once in a while gloo throws where nothing can catch it (github.com/pytorch/gloo/issues/168).
        if not (first[0] == -6 and "gloo::" in first[2]):
            break
    assert first[0] == 2, first
    errors = [line for line in (first[2] + second[2]).splitlines() if "error" in line]
    assert errors == [
        "audiocnn: error: another process of this training has ended or cannot be reached; check its messages, then"
        " continue with --resume"
    ]
    assert "Traceback" not in first[2]
    assert not (run / "model").exists()


@pytest.mark.long
def test_what_all_would_say_is_said_once(home, tmp_path):
    ends = both(home, DYING, "train", "nowhere", "--recipe", "tones.toml", "-o", str(tmp_path / "run"))
    assert [end[0] for end in ends] == [2, 2]
    first, second = sorted((end[2] for end in ends), key=len)
    assert first == "" and second.count("nowhere: no such file or folder; check the name") == 1
    assert not (tmp_path / "run").exists()


COMMAND = "import sys; from audiocnn_cli.main import run; sys.exit(run(sys.argv[1:]))"


@pytest.mark.long
def test_the_command_by_two_says_how_it_goes_on_and_that_it_has_ended(home, tmp_path):
    words = (
        "train",
        "clips",
        "--recipe",
        "clips.toml",
        "-o",
        str(tmp_path / "run"),
        "--device",
        "cpu",
        "--epochs",
        "1",
    )
    ends = both(home, COMMAND, *words)
    assert [end[0] for end in ends] == [0, 0], ends
    assert (tmp_path / "run" / "model" / "model.onnx").is_file()
    torchrun = "torchrun --nproc-per-node 2 -m audiocnn_cli train"
    ends = both(home, COMMAND, *words)
    assert [end[0] for end in ends] == [2, 2], ends
    said = "".join(end[2] for end in ends)
    assert said.count(f"{torchrun} clips -o {tmp_path / 'run-2'}") == 1, said
    ends = both(home, COMMAND, "train", "-o", str(tmp_path / "run"), "--resume")
    assert [end[0] for end in ends] == [0, 0], ends
    assert sorted(end[2].count("\n") for end in ends) == [0, 1], ends


# Without processes


@pytest.mark.parametrize(("total", "world"), [(7, 2), (1, 2), (8, 3), (3, 5)])
def test_shares_are_the_whole_batch_in_its_order(total, world):
    everyone = [ProcessGroup(rank, world) for rank in range(world)]
    assert [row for group in everyone for row in group.share(total)] == list(range(total))
    sizes = [len(group.share(total)) for group in everyone]
    assert max(sizes) - min(sizes) <= 1
    assert all(len(share_or_one(range(total), group)) >= 1 for group in everyone)


def test_an_order_gives_each_process_its_share():
    whole = list(BatchSampler(10, 4))
    shares = [list(BatchSampler(10, 4, ProcessGroup(rank, 2))) for rank in range(2)]
    assert [first + second for first, second in zip(*shares, strict=True)] == whole


def test_the_environment_says_which_process_this_is():
    assert process_group_of({}) == ProcessGroup()
    assert process_group_of({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == ProcessGroup(3, 4, 1)
    for wrong in ({"RANK": "4", "WORLD_SIZE": "4"}, {"RANK": "x", "WORLD_SIZE": "4"}):
        with pytest.raises(UsageError, match="not valid for one of several processes; start them with torchrun"):
            process_group_of(wrong)


def test_what_torchrun_hands_on_is_the_same_signal(monkeypatch):
    import signal

    ended = []
    monkeypatch.setattr(signal, "raise_signal", ended.append)
    signals = StopSignals(several=True)
    with signals.watched():
        handler = signal.getsignal(signal.SIGINT)
        handler(signal.SIGINT, None)
        handler(signal.SIGTERM, None)
        assert (signals.requested, ended) == (True, [])
        signals.first_at -= 10.0
        handler(signal.SIGINT, None)
    assert ended == [signal.SIGINT]
    once = StopSignals()
    with once.watched():
        handler = signal.getsignal(signal.SIGINT)
        handler(signal.SIGINT, None)
        handler(signal.SIGINT, None)
    assert len(ended) == 2
