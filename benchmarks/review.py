"""The accuracy of a model made from unlabelled clips: 200 clips, 50 keys on the review page, one training.

    python -m benchmarks.review --seed 0 --seed 1 --seed 2 --chance

The clips are 40 of each of five spoken digits, in one folder, with meaningless names. The requests of the page are made
here, and every answer is the true label. `audiocnn train FOLDER --corrections TABLE` then learns from the answers. The
accuracy is measured on 50 other clips of each digit, by the same voices. --chance repeats this with the same number of
random clips. `nearest` is the guess of the page, a logistic regression, for the 150 clips that were not labelled.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiocnn.data.sources.correction_table import CorrectionTable
from audiocnn.errors import AudiocnnError
from audiocnn.evaluation.review import Review, read_review_source
from audiocnn.inference.classify import Classification, classify_many
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import find_model
from audiocnn.report.review_server import ReviewServer
from benchmarks.measuring import ROOT, BenchmarkError, environment

DATA = ROOT.parent / "shared/data/digits"
CLIPS, TESTED = 40, 50  # per label
KEYS = 50


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--seed", type=int, action="append", default=[], help="seed of clips and training; may be repeated"
    )
    parser.add_argument("--label", action="append", default=[], help="a folder of digits; may be repeated [0 to 4]")
    parser.add_argument("--keys", type=int, default=KEYS, help="number of labelled clips [%(default)s]")
    parser.add_argument("--chance", action="store_true", help="also with random clips")
    given = parser.parse_args(arguments)
    labels = given.label or ["0", "1", "2", "3", "4"]
    try:
        print("| clips | seed | accuracy of the model | nearest |\n|---|---:|---:|---:|", flush=True)
        for seed in given.seed or [0]:
            for by_chance in (False, True) if given.chance else (False,):
                model, nearest = simulate(labels, seed, given.keys, by_chance)
                name = "by chance" if by_chance else "as the page asks"
                print(f"| {name} | {seed} | {model:.3f} | {nearest:.3f} |", flush=True)
    except AudiocnnError as problem:
        print(f"review: {problem}", file=sys.stderr)
        return 2
    return 0


def simulate(labels: Sequence[str], seed: int, keys: int, by_chance: bool) -> tuple[float, float]:
    """Accuracy of the trained model on other clips, and of the page's guess for the clips not labelled."""
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as temporary:
        folder = Path(temporary)
        truth, tested = draw_clips(folder / "sounds", labels, seed)
        nearest = answer_keys(folder, truth, keys, seed if by_chance else None)
        options = ["--corrections", "corrections.csv", "-o", "run", "--seed", str(seed), "--device", "cpu", "--quiet"]
        command = [sys.executable, "-m", "audiocnn_cli", "train", "sounds", *options]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"the training failed: {done.stderr.strip()[-300:]}")
        engine = load_engine(find_model(folder / "run"), "cpu")
        answers = classify_many([path for path, _ in tested], engine)
        right = [
            isinstance(one, Classification) and one.label == label
            for one, (_, label) in zip(answers, tested, strict=True)
        ]
        return float(np.mean(right)), nearest


def draw_clips(folder: Path, labels: Sequence[str], seed: int) -> tuple[dict[str, str], list[tuple[Path, str]]]:
    """Copies without a label in a folder, as name -> label; and other clips for the test."""
    draw = np.random.default_rng(seed)
    chosen: list[tuple[Path, str]] = []
    tested: list[tuple[Path, str]] = []
    for label in labels:
        paths = sorted((DATA / label).glob("*.wav"))
        if len(paths) < CLIPS + TESTED:
            raise BenchmarkError(f"{DATA / label}: has {len(paths)} clips; {CLIPS + TESTED} are needed")
        mixed = [paths[k] for k in draw.permutation(len(paths))]
        chosen += [(path, label) for path in mixed[:CLIPS]]
        tested += [(path, label) for path in mixed[CLIPS : CLIPS + TESTED]]
    folder.mkdir()
    truth = {}
    for number, place in enumerate(draw.permutation(len(chosen))):
        path, label = chosen[place]
        name = f"clip{number:03d}.wav"
        shutil.copy(path, folder / name)
        truth[name] = label
    return truth, tested


def answer_keys(folder: Path, truth: dict[str, str], keys: int, chance: int | None) -> float:
    """Label a number of clips as on the page; return the share of the others it guesses. chance: a seed."""
    source = read_review_source(folder / "sounds")
    current = Review(source.clips, CorrectionTable(folder / "corrections.csv"))
    server = ReviewServer(current, source.folder, "")
    try:
        current.ready.wait()
        while len(current.order) < len(truth):  # so that the figures do not depend on the speed of the machine
            current.ready.wait(0.1)
        drawn = np.random.default_rng(chance).permutation(len(truth))[:keys]
        for number in range(keys):
            path = "next?page=p" if chance is None else f"clip/{drawn[number]}"
            clip = ask(server, path)["clip"]
            said = {"page": "p", "index": clip["index"], "label": truth[clip["name"]], "revision": clip["revision"]}
            ask(server, "answer", said)
        current.refit()
        others = [ask(server, f"clip/{index}")["clip"] for index in range(len(truth))]
        return float(np.mean([truth[clip["name"]] == clip["suggested"] for clip in others if not clip["said"]]))
    finally:
        server.close()


def ask(server: ReviewServer, path: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    body = None if values is None else json.dumps(values).encode()
    request = urllib.request.Request(server.address + path, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        found: dict[str, Any] = json.load(response)
    return found


if __name__ == "__main__":
    sys.exit(main())
