"""The page that scores by model.onnx alone, in a browser, against ONNX Runtime in Python."""

from __future__ import annotations

import csv
import functools
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from browsers import launched, needs_browser

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "examples" / "browser"
MODELS = ROOT / "models" / "audiocnn_models"
SAMPLES = ROOT / "data" / "samples"
NPM = shutil.which("npm")
pytestmark = [needs_browser, pytest.mark.long, pytest.mark.skipif(NPM is None, reason="needs npm")]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the page is served, with what `npm ci` brings; the test is skipped where npm reaches no registry."""
    folder = tmp_path_factory.mktemp("browser") / "page"
    shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = [NPM, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and any(code in done.stderr for code in ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT")):
        pytest.skip("npm reaches no registry")
    assert done.returncode == 0, done.stderr
    for name in ("speech_1d", "commands", "digits"):
        shutil.copy(MODELS / name / "model.onnx", folder / f"{name}.onnx")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def scored(page):
    """The labels and the scores (rows, labels) of the CSV that the page offers."""
    page.wait_for_selector("#csv:not([hidden])", timeout=60_000)
    text = page.evaluate("async () => (await fetch(document.getElementById('csv').href)).text()")
    head, *rows = csv.reader(text.splitlines())
    return head[1:], np.array(rows, np.float64)


@pytest.mark.parametrize(
    ("model", "sample"), [("speech_1d", "greeting.flac"), ("commands", "walk.flac"), ("digits", "telephone.wav")]
)
def test_the_page_scores_as_python_does(address, model, sample, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import onnx_alone

    labels, hop_seconds, wanted = onnx_alone.score(str(MODELS / model / "model.onnx"), str(SAMPLES / sample))
    with launched() as browser:
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/?model={model}.onnx")
        page.wait_for_selector("#recording:not([disabled])", timeout=60_000)
        page.set_input_files("#recording", SAMPLES / sample)
        shown, rows = scored(page)
        assert "real time" in page.text_content("#status")
        assert page.locator("#legend li").count() == min(6, len(labels))
    assert shown == labels
    np.testing.assert_allclose(rows[:, 0], np.arange(len(wanted)) * hop_seconds, atol=1e-4)
    np.testing.assert_allclose(rows[:, 1:], wanted, atol=1e-3)
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)  # offline, but for its own server


def test_the_microphone_is_scored(address):
    heard = f"--use-file-for-fake-audio-capture={SAMPLES / 'telephone.wav'}"
    with launched("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", heard) as browser:
        page = browser.new_page()
        page.goto(f"{address}/?model=speech_1d.onnx")
        page.click("#microphone:not([disabled])", timeout=60_000)
        page.wait_for_timeout(4000)
        page.click("#microphone")
        _, rows = scored(page)
    assert 100 < len(rows) < 300
    assert rows[:, 1].max() > 0.5


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x0a\x7f", b"\x08\x01"])
def test_what_is_no_model_is_said(address, content, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with launched() as browser:
        page = browser.new_page()
        page.goto(address)
        page.set_input_files("#model", path)
        page.wait_for_function("document.getElementById('status').textContent.includes('is not')", timeout=30_000)
        assert page.is_disabled("#recording")


def test_a_sound_that_is_none_is_said(address, tmp_path):
    path = tmp_path / "noise.wav"
    path.write_bytes(b"no sound")
    with launched() as browser:
        page = browser.new_page()
        page.goto(f"{address}/?model=digits.onnx")
        page.wait_for_selector("#recording:not([disabled])", timeout=60_000)
        page.set_input_files("#recording", path)
        page.wait_for_function("document.getElementById('status').textContent.startsWith('noise.wav: ')")
        page.wait_for_function("!document.getElementById('status').textContent.includes('scoring')", timeout=30_000)
        assert "decode" in page.text_content("#status")
