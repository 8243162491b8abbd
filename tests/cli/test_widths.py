"""Output of 80 columns has the same content as output of a thousand: nothing is cut, and no word is broken."""

from __future__ import annotations

import re

import pytest
from fixtures_cli import audiocnn, tone_model, write_tones  # noqa: F401

from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.main import COMMANDS

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
DRAWN = re.compile(r"[│▁-▏─━|╭╮╰╯]|x real time|this time")  # pictures, frames, and what is not the same twice
# Of each command that shows a report: arguments. Those that train, or write files alone, are left out.
REPORTS = {
    "detect": ["one.wav -m tone", "one.wav two.wav none.wav -m tone", "one.wav -m speech_music_noise"],
    "classify": ["one.wav -m tone", "one.wav two.wav -m digits", "one.wav -m commands --every 0.5"],
    "evaluate": [
        "tones.tsv -m tone --resamples 5",
        "tones.tsv -m tone -m tone --resamples 5",
        "labels -m tone --resamples 5",
    ],
    "doubtful": ["labels -m tone --force"],
    "tune": ["tones.tsv -m tone --threshold 0.5", "tones.tsv -m tone --operating-points"],
    "models": ["", "--specs"],
    "describe": ["speech_1d", "alexnet", "speech_music_noise"],
    "filters": ["tone", "speech_1d"],
    "explain": ["one.wav -m tone --at 0.7 --gradient-points 2"],
    "runs": ["."],
    "info": [""],
    "split": ["two.wav -m tone --output-dir cuts --force"],
    "ingest": ["labels -o set --survey"],
}
SILENT = {"score", "train", "search", "plot", "ensemble", "convert", "export", "review"}
LINES = [(name, line) for name, lines in REPORTS.items() for line in lines]


def test_every_command_is_in_one_of_these():
    assert REPORTS.keys() | SILENT >= set(COMMANDS)


@pytest.mark.parametrize(("name", "line"), LINES, ids=[f"{name} {line}" for name, line in LINES])
def test_reports_break_no_word(tmp_path, monkeypatch, tone_model, name, line):  # noqa: F811
    write_tones(tmp_path)
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)

    def shown(columns):
        done = audiocnn(name, *line.split(), "--no-progress", terminal=True, COLUMNS=str(columns), NO_COLOR="1")
        assert done.status is ExitStatus.OK, done.err
        return [SEQUENCE.sub("", text) for text in done.out.splitlines()]

    narrow, wide = shown(80), shown(1000)
    words = {word for text in wide for word in text.split()}
    broken = [text for text in narrow if not DRAWN.search(text) and not set(text.split()) <= words]
    assert [text for text in narrow if len(text) > 80] == [] and broken == []
