"""docs/reference/records.md lists every type of record that commands write, with its fields and their types."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
from fixtures_cli import ROOT, audiocnn, tone_model, write_tones  # noqa: F401

from audiocnn.training.runs import Run

PAGE = ROOT / "docs" / "reference" / "records.md"
KINDS = {
    "number": (int, float), "whole number": (int,), "text": (str,), "true or false": (bool,), "list": (list,),
    "object": (dict,),
}  # fmt: skip
GREETING = str(ROOT / "data" / "samples" / "greeting.flac")
COMMANDS = {
    "segment": ("detect", GREETING),
    "file": ("detect", GREETING),
    "error": ("detect", GREETING, "none.wav"),
    "summary": ("detect", "--summary", GREETING),
    "onset": ("detect", "--follow", "-"),
    "score": ("score", "-f", "jsonl", "--end", "1", GREETING),
    "clip": ("classify", "-m", "digits", GREETING),
    "piece": ("split", GREETING, "--output-dir", "cuts"),
    "plot": ("plot", GREETING, "-o", "plot.html"),
    "model": ("models",),
    "spec": ("models", "--specs"),
    "description": ("describe", "lenet5"),
    "filter": ("filters", "speech_2d"),
    "strongest": ("filters", "{model}", "--strongest", "tones"),
    "explanation": ("explain", GREETING),
    "patch": ("explain", GREETING),
    "stretch": ("explain", GREETING),
    "band": ("explain", GREETING),
    "map": ("explain", GREETING, "--group", "A"),
    "dataset": ("ingest", "tones/labels", "-o", "tones.dataset"),
    "evaluation": ("evaluate", "tones", "-m", "{model}"),
    "doubtful": ("doubtful", "tones/labels", "-m", "{model}"),
    "tuned": ("tune", "tones", "-m", "{model}"),
    "info": ("info",),
}
NEEDS_MORE = {"run"}  # a training; its fields are those of training.runs.Run


@cache
def documented():
    """Each type with its fields: whether they are always there, what they are, and whether they may be null."""
    found = {}
    for part in re.split(r"(?m)^### ", PAGE.read_text(encoding="utf-8"))[1:]:
        rows = re.findall(r"^\| `([\w ]+)`( \*if\*)? \| ([\w ]+) \|", part, re.MULTILINE)
        found[part[1 : part.index("`", 1)]] = {
            name: (not maybe, KINDS[kind.removesuffix(" or null")], kind.endswith(" or null"))
            for name, maybe, kind in rows
        }
    return found


def test_every_type_of_record_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    homes = [*(ROOT / "cli").rglob("*.py"), *(ROOT / "audiocnn").rglob("*.py")]
    types = {name for path in homes for name in re.findall(r'"type": ?"(\w+)"', path.read_text(encoding="utf-8"))}
    assert len(types) > 20
    for name in types:
        assert re.search(rf"^(### |\| )`{name}`", text, re.MULTILINE), name
    assert set(documented()) == COMMANDS.keys() | NEEDS_MORE


def check(name, record):
    fields = documented()[name]
    assert (record.pop("schema"), record.pop("type")) == (1, name)
    assert record.keys() <= fields.keys()
    assert {field for field, (always, _, _) in fields.items() if always} <= record.keys()
    for field, value in record.items():
        _, kinds, nullable = fields[field]
        assert type(value) in kinds or (value is None and nullable), f"{field}: {value}"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] * (name in ("explanation", "patch", "stretch", "band", "map")))
        for name in COMMANDS
    ],
)
def test_records_have_the_fields_that_the_page_says(tmp_path, monkeypatch, tone_model, name):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    write_tones(tmp_path / "tones")
    command = [str(tone_model) if word == "{model}" else word for word in COMMANDS[name]]
    if "tones" in command:
        shutil.rmtree(tmp_path / "tones" / "labels")
    stdin = (ROOT / "data" / "samples" / "telephone.wav").read_bytes() if "-" in command else b""
    done = audiocnn(*command, stdin=stdin)
    records = [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]
    records = [record for record in records if record["type"] == name]
    assert records, done.err
    for record in records:
        check(name, record)


def test_a_run_has_the_fields_that_the_page_says():
    run = Run(name="a", folder=Path("runs/a"), state="ended", spec="small", labels=("a",), figure_name="accuracy")
    check("run", json.loads(json.dumps(run.to_dict())))
