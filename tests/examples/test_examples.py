"""The examples, run on recorded sound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

import audiocnn
from audiocnn.audio.recording import read_samples

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SAMPLE = ROOT / "data/samples/greeting.flac"
MODELS = ROOT / "models" / "audiocnn_models"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "cli", ROOT / "models")))}


class FakeMicrophone:
    """A `sounddevice.InputStream` that plays a file into the callback, and ends."""

    def __init__(self, samplerate, channels, blocksize, callback, finished_callback):
        self.samples, _ = read_samples(SAMPLE, samplerate)
        self.size, self.callback, self.finished = blocksize, callback, finished_callback

    def __enter__(self):
        for start in range(0, self.samples.shape[1], self.size):
            block = self.samples[:, start : start + self.size].T
            self.callback(np.ascontiguousarray(block), len(block), None, None)
        self.finished()

    def __exit__(self, *_):
        pass


def test_the_microphone_prints_turns(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", types.SimpleNamespace(InputStream=FakeMicrophone))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import microphone

    microphone.main()
    lines = capsys.readouterr().out.splitlines()
    begun, ended = ([line for line in lines if word in line] for word in ("received so far", "end of the turn"))
    assert len(begun) >= 1
    assert len(begun) - 1 <= len(ended) <= len(begun)  # the last one ends with the sound


def test_the_step_runs_by_onnx_runtime_alone(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import stream_onnx

    stream_onnx.main(str(ROOT / "models/audiocnn_models/speech_live/stream.onnx"), str(SAMPLE))
    said = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    wanted = audiocnn.score(SAMPLE, "speech_live").scores[0, :, 0]
    assert len(wanted) - 5 < len(said) <= len(wanted)
    np.testing.assert_allclose(said, wanted[: len(said)], atol=2e-4)


def test_the_server_tells_each_caller_what_the_file_says(tmp_path):
    pytest.importorskip("websockets")
    code = "import asyncio, websocket_server as server; asyncio.run(server.main(0))"
    server = subprocess.Popen([sys.executable, "-c", code], cwd=EXAMPLES, env=ENVIRONMENT, stdout=subprocess.PIPE)
    try:
        port = server.stdout.readline().split()[-1].decode()
        command = [sys.executable, EXAMPLES / "websocket_client.py", SAMPLE, port]
        callers = [subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) for _ in range(2)]
        said = [[json.loads(line) for line in caller.communicate(timeout=60)[0].splitlines()] for caller in callers]
    finally:
        server.kill()
        server.communicate()
    wanted = [(one.start, one.end) for one in audiocnn.detect(SAMPLE, "speech_live")]
    for lines in said:
        assert [(one["start"], one["end"]) for one in lines if one["type"] == "segment"] == wanted != []
        assert [one["start"] for one in lines if one["type"] == "onset"] == [start for start, _ in wanted]


def test_a_caller_with_a_wrong_rate_is_told():
    pytest.importorskip("websockets")
    code = (
        "import asyncio, json, websocket_server as s\n"
        "import websockets.asyncio.server as server, websockets.asyncio.client as client\n"
        "async def main():\n"
        "    async with server.serve(s.serve, '127.0.0.1', 0) as running:\n"
        "        port = running.sockets[0].getsockname()[1]\n"
        "        async with client.connect(f'ws://127.0.0.1:{port}/0') as caller:\n"
        "            print(await caller.recv())\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=EXAMPLES, env=ENVIRONMENT, capture_output=True, timeout=60, check=False)
    assert json.loads(done.stdout)["error"].startswith("sample_rate 0: not a sample rate"), done.stderr


@pytest.mark.parametrize("model", [path.parent.name for path in sorted(MODELS.glob("*/model.onnx"))])
def test_the_file_says_all_that_scores_need(model, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import onnx_alone

    found = audiocnn.find_model(model)
    path = tmp_path / "sound.wav"
    samples, rate = read_samples(SAMPLE, found.geometry.sample_rate)
    soundfile.write(path, samples.T, rate, "FLOAT")
    wanted = audiocnn.score(path, model)
    labels, hop_seconds, scores = onnx_alone.score(str(MODELS / model / "model.onnx"), str(path))
    assert (tuple(labels), hop_seconds) == (wanted.labels, wanted.hop_seconds)
    np.testing.assert_allclose(scores, wanted.scores[0], atol=1e-4)


def test_onnx_alone_prints_a_table_and_needs_nothing_of_ours():
    model = MODELS / "speech_1d" / "model.onnx"
    code = f"import sys; sys.path[:0] = [{str(EXAMPLES)!r}]; import onnx_alone; onnx_alone.main(*sys.argv[1:]); "
    code += "sys.exit('audiocnn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, model, SAMPLE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    head, first, *rest = done.stdout.splitlines()
    assert head == "start,speech"
    assert first.startswith("0.00,0.")
    assert len(rest) + 1 == 350  # 7 s, a score each 20 ms


def test_onnx_alone_says_that_a_rate_does_not_fit(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import onnx_alone

    with pytest.raises(SystemExit, match=r"8000 Hz.* 16000 Hz; convert it"):
        onnx_alone.score(str(MODELS / "speech_1d" / "model.onnx"), str(ROOT / "data/samples/telephone.wav"))
