"""Hostile names and labels: control sequences and HTML in them are shown as text by every command."""

from __future__ import annotations

import dataclasses
import re

import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_network
from sounds import write

from audiocnn.files import read_regular
from audiocnn.model.card import card_body, card_text
from audiocnn.model.export import export_onnx
from audiocnn.model.model import CARD, WEIGHTS, Model, write_model
from audiocnn.model.weights import save_weights
from audiocnn.report.figure import new_figure, save_figure
from audiocnn.report.page import render_page
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.main import COMMANDS

TITLE = "\x1b]0;evil\x07\x9b31m"
EVIL = f"{TITLE}<script>alert(1)<_script>|$\\frac{{$"
RAW = re.compile(r"\x1b\]|\x07|\x9b")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model, recordings, labels and sounds, all of which are named by a stranger."""
    place = tmp_path_factory.mktemp("hostile")
    network = tone_network()
    network.spec = dataclasses.replace(network.spec, summary=EVIL)
    model = Model(EVIL, place / "model", network.spec, (EVIL,), {EVIL: 0.5}, EVIL)
    write_model(model)
    save_weights(network, model.folder / WEIGHTS)
    export_onnx(model, network)
    (model.folder / CARD).write_text(f"# {EVIL}\n\n<https://example.org> {EVIL}\n")
    name = f"{EVIL.replace('/', '_')}.wav"
    write(place / name, tone((0.5, 1.0)), RATE)
    for number in range(12):
        write(place / f"sounds/{EVIL}/{TITLE}{number}.wav", tone((0.0, 0.3 + number / 100), seconds=0.5), RATE)
        write(place / f"sounds/b/{number}.wav", tone(seconds=0.5 + number / 100), RATE)
    quoted = EVIL.replace('"', '""')
    row = f'"{name}",0.5,1.0,"{quoted}","{quoted}"\n'
    (place / "labels.csv").write_text(f'filename,onset,offset,label,"{quoted}"\n{row}')
    (place / "recording").symlink_to(place / name)
    return place


def commands(place):
    """Each command, by what it does with a stranger's names."""
    found = next(place.glob("*.wav"))
    table, model, sounds = place / "labels.csv", ["-m", place / "model"], place / "sounds"
    with_model = ["--model", place / "model"]
    return [
        *(
            ["detect", found, *model, *more]
            for more in ([], ["-f", "csv"], ["-f", "jsonl"], ["--threshold", "1"], ["-v"])
        ),
        *(["detect", found, found, *model, "-f", kind] for kind in ("tsv", "table")),
        *(["score", found, *model, "-f", kind] for kind in ("csv", "tsv", "jsonl")),
        *(["classify", found, *model, *more] for more in ([], ["-f", "csv"])),
        *(["plot", found, *model, "-o", place / f"plot.{kind}"] for kind in ("html", "svg", "png", "pdf")),
        *(["explain", found, *model, *more] for more in ([], ["-o", place / "explain.svg"])),
        *(["filters", place / "model", *more] for more in ([], ["-o", place / "filters.svg"], ["--strongest", found])),
        *(["describe", place / "model", *more] for more in ([], [place / "model"])),
        *(["evaluate", table, *model, *more] for more in ([], ["--by", EVIL], ["--html", place / "report.html"])),
        ["tune", table, *with_model],
        ["tune", table, *with_model, "--save"],
        ["split", found, *model, "--output-dir", place / "pieces"],
        ["convert", table, "-f", "rttm"],
        ["ingest", sounds, "-o", place / "dataset", "--survey"],
        ["train", sounds, "-o", place / "run", "--dry-run", "--device", "cpu"],
        ["ensemble", place / "model", place / "model", "-o", place / "both"],
        ["export", place / "model"],
        ["runs", place],
        ["models"],
        ["info"],
        *([name, f"{place}/{EVIL}"] for name in COMMANDS),
        *(["detect", found, option, EVIL] for option in ("-m", "-f", "--threshold", "--channel", "-o", "--glob", EVIL)),
    ]


SLOW = ("train", "ensemble", "export", "tune", "explain", "filters", "plot", "evaluate")


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.long)])
def test_no_command_hands_on_what_a_terminal_obeys(place, tmp_path, monkeypatch, slow):
    monkeypatch.chdir(tmp_path)
    assert {command[0] for command in commands(place)} == set(COMMANDS)
    for command in commands(place):
        if (command[0] in SLOW) != slow:
            continue
        done = audiocnn(*command, terminal=True)
        assert done.status is not ExitStatus.BUG, (command, done.err)
        for text in (done.out, done.err):
            assert not RAW.search(text), (command, text)


@pytest.mark.long
def test_no_page_picture_or_card_runs_what_a_name_says(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in commands(place):
        if command[-1] == f"{place}/{EVIL}":
            continue
        if command[0] in ("plot", "explain", "filters", "ensemble") or "--html" in command or "--save" in command:
            replace = ["--force"] if "-o" in command or "--html" in command else []
            done = audiocnn(*command, *replace)
            assert done.status is ExitStatus.OK, (command, done.err)
    files = [place / "plot.html", place / "plot.svg", place / "report.html", place / "both" / CARD]
    files += [place / "explain.svg", place / "filters.svg"]
    for path in files:
        content = read_regular(path).decode()
        assert not RAW.search(content), path
        assert "<script>alert" not in content, path
    assert "<https://example.org>" in (place / "both" / CARD).read_text()


def test_a_card_holds_names_and_what_others_wrote_without_html():
    assert card_text(EVIL) == "\\x1b]0;evil\\x07\\x9b31m&lt;script&gt;alert(1)&lt;_script&gt;\\|$\\frac{$"
    body = card_body(f"# {TITLE}\n\n<https://example.org> <mailto:a@b>\n\t<img src=x onerror=alert(1)> a < b")
    assert body == (
        "# \\x1b]0;evil\\x07\\x9b31m\n\n<https://example.org> <mailto:a@b>\n\t&lt;img src=x onerror=alert(1)> a &lt; b"
    )


def test_a_page_and_a_picture_hold_no_control_characters(tmp_path):
    assert not RAW.search(render_page(EVIL, "", [f"<p>{TITLE}</p>"]))
    figure = new_figure(2, 2)
    figure.suptitle(EVIL)
    save_figure(figure, tmp_path / "a.svg")
    assert not RAW.search((tmp_path / "a.svg").read_text())
