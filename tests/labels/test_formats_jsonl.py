"""Records have the keys of the design, in its order, on one line, for any name that a file can have."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from audiocnn.labels.formats.jsonl import (
    FileSummary,
    dumps,
    error_record,
    file_record,
    record_head,
    score_lines,
    segment_record,
)
from audiocnn.segments.segment import Segment
from audiocnn.units import round_seconds


def score_record(name, start, end, score):
    """What `score_lines` writes of one hop with the label speech."""
    return json.loads(score_lines(name, 0, ["speech"], np.array([start, end]), np.array([[score]], np.float32)))


SUMMARY = FileSummary(60.0, 16000, 1, 12, {"speech": 31.2}, "speech_1d", {"speech": 0.5})

# The lines of the design, section 7; "..." stands for a message.
DESIGN = [
    (
        segment_record("a.wav", 0, Segment(1.24, 3.5, "speech", 0.93)),
        '{"schema":1,"type":"segment","file":"a.wav","channel":0,"start":1.24,"end":3.5,"label":"speech","score":0.93}',
    ),
    (
        file_record("a.wav", SUMMARY),
        '{"schema":1,"type":"file","file":"a.wav","status":"ok","duration":60.0,"sample_rate":16000,"channels":1,'
        '"segments":12,"seconds":{"speech":31.2},"model":"speech_1d","thresholds":{"speech":0.5}}',
    ),
    (
        error_record("b.wav", "...what, where, and what to do"),
        '{"schema":1,"type":"error","file":"b.wav","error":"...what, where, and what to do"}',
    ),
    (
        score_record("a.wav", 0.0, 0.02, 0.02),
        '{"schema":1,"type":"score","file":"a.wav","channel":0,"start":0.0,"end":0.02,"scores":{"speech":0.02}}',
    ),
]


@pytest.mark.parametrize(("record", "line"), DESIGN, ids=[record["type"] for record, _ in DESIGN])
def test_records_are_those_of_the_design(record, line):
    assert dumps(record) == line
    assert json.loads(line) == record


def test_numbers_are_plain_and_rounded():
    segment = Segment(np.float64(1.23456789), np.float64(2.00001), "speech", np.float32(0.123456789))
    record = segment_record("a.wav", 1, segment)
    assert (record["start"], record["end"], record["score"]) == (1.2346, 2.0, 0.1235)
    assert {type(record[key]) for key in ("start", "end", "score")} == {float}
    record = score_record("a.wav", 0.1 + 0.2, 0.4, 0.123456789)
    assert (record["start"], record["scores"]) == (0.3, {"speech": 0.123457})
    seconds = file_record("a.wav", FileSummary(1 / 3, 8000, 2, 0, {"a": 0, "b": 2 / 3}, "m", {"a": 0.1}))
    assert (seconds["duration"], seconds["seconds"]) == (0.3333, {"a": 0.0, "b": 0.6667})


NAMES = {
    "spaces": b"two words .wav",
    "quotes": b"a \"quoted\" 'name'.wav",
    "backslash": b"a\\b.wav",
    "tab": b"a\tb.wav",
    "newline": b"a\nb\r\n.wav",
    "controls": bytes(range(1, 32)) + b"\x7f",
    "umlauts": "Grüße/日本語/😀.wav".encode(),
    "line separators": "a\x85b\u2028c\u2029d.wav".encode(),
    "latin-1": "Grüße.wav".encode("latin-1"),
    "any bytes": bytes(range(128, 256)),
    "half a character": "日".encode()[:2] + b".wav",
    "a surrogate in UTF-8": b"\xed\xa0\x80.wav",
    "empty": b"",
}

RECORDS = {
    "segment": lambda name: segment_record(name, 0, Segment(0.0, 1.0, "speech", 0.5)),
    "file": lambda name: file_record(name, SUMMARY),
    "error": lambda name: error_record(name, f"{os.fsdecode(name)}: no such file"),
    "score": lambda name: score_record(name, 0.0, 0.02, 0.5),
}


def bytes_of(record):
    """What a reader does to get the name back."""
    if "file_base64" in record:
        return base64.b64decode(record["file_base64"])
    return record["file"].encode("utf-8")


@pytest.mark.skipif(sys.getfilesystemencoding() != "utf-8", reason="names of files are not UTF-8 here")
@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("raw", NAMES.values(), ids=NAMES)
def test_every_name_comes_back(kind, raw):
    for name in (raw, os.fsdecode(raw)):
        line = dumps(RECORDS[kind](name))
        assert len(line.splitlines()) == 1
        record = json.loads(line.encode("utf-8"))  # strict: surrogates would fail
        assert record["type"] == kind
        assert bytes_of(record) == raw
        assert ("file_base64" in record) == (raw.decode("utf-8", "replace") != os.fsdecode(raw))
        assert record["file"] == raw.decode("utf-8", "replace")


def test_base64_stands_behind_the_name_and_only_where_it_is_needed():
    record = error_record(b"\xff.wav", "bad")
    assert list(record) == ["schema", "type", "file", "file_base64", "error"]
    assert (record["file"], record["file_base64"]) == ("\ufffd.wav", "/y53YXY=")
    # A name that really holds a replacement character is UTF-8.
    assert "file_base64" not in error_record("\ufffd.wav", "bad")
    assert error_record(Path("a") / "b.wav", "bad")["file"] == "a/b.wav"


def test_text_stays_readable():
    assert "Grüße" in dumps(error_record("Grüße.wav", "bad"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_json_does_not_have_is_refused(bad):
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"score": bad})
    with pytest.raises(ValueError, match="not finite"):
        score_lines("a.wav", 0, ["speech"], np.array([0.0, 0.02]), np.array([[bad]], np.float32))


def test_many_scores_at_once_are_records_of_each_hop():
    rng = np.random.default_rng(0)
    labels = ['sp"eech', "Grüße\u2028", "c"]
    scores = np.concatenate([rng.random((200, 3)), 10.0 ** -rng.integers(0, 9, (50, 3)), np.zeros((1, 3))])
    scores = scores.astype(np.float32)
    edges = np.append(np.arange(len(scores)) * 0.02, len(scores) * 0.02 - 0.013)
    rows = list(zip(edges[:-1].tolist(), edges[1:].tolist(), scores.tolist(), strict=True))
    for name in ("a.wav", b"\xff b\n.wav"):
        head = {**record_head("score", name), "channel": 2}
        expected = ""
        for start, end, row in rows:
            rounded = {label: round(score, 6) for label, score in zip(labels, row, strict=True)}
            expected += dumps({**head, "start": round_seconds(start), "end": round_seconds(end), "scores": rounded})
            expected += "\n"
        assert score_lines(name, 2, labels, edges, scores) == expected
    assert score_lines("a.wav", 0, labels, edges[:1], scores[:0]) == ""
