"""An engine, its threads and its decoders in a process that was forked after they had been used."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from fixtures_cli import tone_network
from sounds import noise, write

from audiocnn.errors import UsageError
from audiocnn.inference.engine import TorchBackend

ROOT = Path(__file__).resolve().parents[2]
GREETING = ROOT / "data" / "samples" / "greeting.flac"
BEGIN = """
    import multiprocessing, os, sys, threading
    import numpy as np
    from audiocnn.audio.recording import open_recording, read_samples
    from audiocnn.errors import UsageError
    from audiocnn.inference.detect import detect_many, detect_recording
    from audiocnn.inference.engine import Engine, TorchBackend, load_engine
    from audiocnn.model.model import find_model

    file = sys.argv[1]

    def engine_of(kind):
        if kind.startswith("onnx"):
            return load_engine(find_model("speech_1d"), "cpu", int(kind[4:]))
        import torch
        from audiocnn.model.weights import load_networks
        torch.set_num_threads(2)
        model = find_model("speech_1d")
        return Engine(model, TorchBackend(load_networks(model), torch.device("cpu")), jobs=int(kind[5:]))

    def rounded(found):
        "Segments; the number of threads may change the last digits of a score."
        return [(one.start, one.end, one.label, round(one.score, 3)) for one in found]

    def in_child(work):
        "Whether a forked process does this, and ends as any other."
        pid = os.fork()
        if not pid:
            work()
            sys.exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""

KINDS = ["onnx1", "onnx2", "onnx4", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("torch1", "torch2"))]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")


def run(code, *arguments):
    """A script that forks must end, and with nothing to say; it hung."""
    script = textwrap.dedent(BEGIN) + textwrap.dedent(code)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *map(str, arguments)]
    path = os.pathsep.join(str(ROOT / name) for name in ("", "cli", "models"))
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_that_was_used_finds_the_same_in_a_forked_process(kind):
    run(
        """
        engine = engine_of(sys.argv[2])
        before = detect_recording(file, engine)
        assert before.segments

        def again():
            for found in [detect_recording(file, engine), *detect_many([file, file], engine)]:
                assert rounded(found) == rounded(before)

        assert in_child(again)
        assert in_child(lambda: in_child(again) or sys.exit(1))
        assert in_child(lambda: None)
        again()
        """,
        GREETING,
        kind,
    )


def test_processes_of_a_pool_use_the_engine_of_their_parent():
    run(
        """
        engine = engine_of("onnx2")
        def find(name):
            return detect_recording(name, engine)
        before = find(file)
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert pool.map(find, [file] * 6) == [before] * 6
        """,
        GREETING,
    )


def test_a_fork_in_the_midst_of_work_stops_neither_process():
    run(
        """
        engine = engine_of("onnx2")
        before, ended = detect_recording(file, engine), threading.Event()
        def work():
            while not ended.is_set():
                assert detect_recording(file, engine) == before
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        good = [in_child(lambda: detect_recording(file, engine) == before or sys.exit(1)) for _ in range(10)]
        ended.set()
        for thread in threads:
            thread.join()
        assert all(good)
        """,
        GREETING,
    )


def test_what_was_begun_before_a_fork_goes_on_in_the_parent_and_is_refused_in_the_child(tmp_path):
    long = write(tmp_path / "long.flac", noise(60, 16000), 16000)
    run(
        """
        engine = engine_of("onnx2")
        whole = read_samples(file)[0]

        def refused(iterator):
            try:
                next(iterator)
            except UsageError as problem:
                assert "fork" in str(problem)
            else:
                sys.exit(1)
            iterator.close() if hasattr(iterator, "close") else None

        many = detect_many([file] * 3, engine)
        first = next(many)
        assert in_child(lambda: refused(many))
        assert list(many) == [first, first]

        with open_recording(file) as recording:
            blocks = recording.blocks()
            pieces = [next(blocks)]
            assert in_child(lambda: refused(blocks))
            pieces += blocks
        assert np.array_equal(np.concatenate(pieces, axis=1), whole)

        tracks = engine.score_tracks(iter([whole] * 20))
        first = next(tracks)
        assert in_child(lambda: [refused(tracks)])
        assert len(list(tracks))
        """,
        long,
    )


def test_an_engine_on_a_gpu_says_what_to_do_after_a_fork(monkeypatch):
    backend = TorchBackend(tone_network(), "cpu")
    backend.device = "cuda:0"
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(UsageError, match=r"cuda:0.*fork.*spawn"):
        backend.run(None)
