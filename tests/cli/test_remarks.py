"""Remarks on recordings that were read completely: in the record and on stderr."""

from __future__ import annotations

import json
import struct

import pytest
from fixtures_cli import audiocnn, tone, tone_model  # noqa: F401
from sounds import sine, wav_bytes

REMARK = "low.wav: the header states 0.50 s; the samples after that are read too"


@pytest.fixture
def low(tmp_path, monkeypatch):
    """A WAV of 1.5 s whose header counts 0.5 s."""
    data = bytearray(wav_bytes((sine(1000, 1.5, 16000) * 32767).astype("<i2").tobytes(), 16000))
    struct.pack_into("<I", data, 40, 16000)
    (tmp_path / "low.wav").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", ["detect", "classify", "split"])
def test_a_remark_is_in_the_record_and_no_failure(low, tone_model, command):  # noqa: F811
    extra = ["--output-dir", "cuts"] if command == "split" else []
    done = audiocnn(command, "low.wav", "-m", str(tone_model), *extra)
    assert done.status == 0
    last = json.loads(done.out.splitlines()[-1])
    assert last["remarks"] == [REMARK]
    assert last.get("status", "ok") == "ok"
    assert f"audiocnn: note: {REMARK}" in done.err.splitlines()


def test_quiet_is_without_remarks(low, tone_model):  # noqa: F811
    done = audiocnn("detect", "low.wav", "-q", "-m", str(tone_model))
    assert (done.status, done.err) == (0, "")
    assert json.loads(done.out.splitlines()[-1])["remarks"] == [REMARK]


def test_a_dataset_has_all_of_it_and_the_remark_is_told(low):
    (low / "clips" / "tone").mkdir(parents=True)
    (low / "low.wav").rename(low / "clips" / "tone" / "low.wav")
    done = audiocnn("ingest", "clips", "-o", "set", "-f", "json")
    assert done.status == 0
    assert json.loads(done.out)["seconds"] == pytest.approx(1.5)
    assert "the header states 0.50 s" in done.err
