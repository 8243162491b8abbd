"""Ingest killed at named points and run again: the dataset equals one that was made in one go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corpora import counts, run, same_dataset

from audiocnn.data import ingest as ingest_module
from audiocnn.data import shards
from audiocnn.data.dataset import Dataset
from audiocnn.errors import DatasetError

ROOT = Path(__file__).resolve().parents[2]

# point: the function in which the process ends, in which calls of it (in the first run, and in the second, which goes
# on where the first was killed), and how.
POINTS = {
    "before a write": ("ShardWriter.append", (4, 2), "os._exit(9)"),
    "in a write": ("ShardWriter.append", (4, 2), "real(args[0], [next(iter(args[1]))[:777]]); save(); os._exit(9)"),
    "after a write": ("ShardWriter.append", (4, 2), "real(*args); save(); os._exit(9)"),
    "before a flush": ("ShardWriter.flush", (4, 2), "os._exit(9)"),
    "after a flush": ("ShardWriter.flush", (4, 2), "real(*args); os._exit(9)"),
    "in a description": ("DatasetWriter.describe", (4, 2), "real(*args); os._exit(9)"),
    "before a commit": ("DatasetWriter.commit", (3, 2), "os._exit(9)"),
    "after a commit": ("DatasetWriter.commit", (3, 2), "real(*args); os._exit(9)"),
    "before the end": ("DatasetWriter.finish", (1, 1), "os._exit(9)"),
    "before shards are removed": ("ShardWriter.drop", (1,), "os._exit(9)"),
}
SCRIPT = """
import os, sys
from pathlib import Path
from audiocnn.data import ingest, shards
from audiocnn.data.writer import DatasetWriter
from audiocnn.data.shards import ShardWriter
ingest._COMMIT_RECORDINGS = 3
shards.SHARD_VALUES = 40000
owner, name, call = {owner}, {name!r}, {call}
real, seen = getattr(owner, name), [0]
def killing(*args):
    save = lambda: args[0]._file.flush()
    seen[0] += 1
    if seen[0] == call:
        {action}
    return real(*args)
setattr(owner, name, killing)
for step in ingest.ingest([Path(sys.argv[1])], Path(sys.argv[2])):
    pass
"""


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_run_again(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    monkeypatch.setattr(shards, "SHARD_VALUES", 40000)
    monkeypatch.setattr(ingest_module, "_COMMIT_RECORDINGS", 3)
    straight, output = tmp_path / "straight", tmp_path / "ds"
    run(corpus, straight)
    where, calls, action = POINTS[point]
    owner, name = where.split(".")
    whole = {entry.filename: entry.samples for entry in Dataset.open(straight).entries}
    kept = []
    for call in calls:
        script = SCRIPT.format(owner=owner, name=name, call=call, action=action)
        command = [sys.executable, "-c", script, str(corpus), str(output)]
        killed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert killed.returncode == 9, killed.stderr
        for path in output.glob("*.npy"):
            assert np.load(path, mmap_mode="r").shape[1] == 1
        half = Dataset.open(output, unfinished=True)
        kept.append(len(half.entries))
        for entry in half.entries:
            assert entry.samples == whole[entry.filename] == half.samples(entry).shape[1]
    assert kept == sorted(kept), "what was committed is not lost"
    if name == "drop":
        assert len(Dataset.open(output).entries) == 10, "what is left over are only shards"
    else:
        with pytest.raises(DatasetError, match="its ingest was interrupted after"):
            Dataset.open(output)
    assert counts(run(corpus, output)).get("kept", 0) == kept[-1]
    same_dataset(straight, output)
