"""`audiocnn classify`: formats, thresholds, sections, channels, lists, resuming, terminals."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures_cli import CODE, PATH, RATE, TONE, audiocnn, tone, tone_model, tone_network  # noqa: F401
from sounds import wav_bytes, write

from audiocnn.inference.classify import AnswerRule, Clip
from audiocnn.model.export import export_onnx
from audiocnn.model.model import WEIGHTS, Model, write_model
from audiocnn.model.network import Network
from audiocnn.model.weights import save_weights
from audiocnn.spec.spec import spec_from_table
from audiocnn_cli.app.draw import draw_bar
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.classify.writers import AnswerLayout, ClipTables

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def pair_model(tmp_path_factory):
    """Tone or quiet: a softmax over what the model of 1 kHz hears and nothing."""
    network = Network(spec_from_table({**TONE, "f": {**TONE["f"], "output": "softmax"}}, "pair", 2)).eval()
    old = tone_network().state_dict()
    state = {name: old[name] for name in old}
    for name, value in network.state_dict().items():
        if value.shape != old[name].shape:
            state[name] = torch.zeros_like(value)
            state[name][:1] = old[name]
    network.load_state_dict(state)
    model = Model("pair", tmp_path_factory.mktemp("models") / "pair", network.spec, ("tone", "quiet"), {})
    write_model(model)
    save_weights(network, model.folder / WEIGHTS)
    export_onnx(model, network)
    return model.folder


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model, pair_model):  # noqa: F811
    """Clips of two seconds, of which 1 kHz is a quarter, nine tenths and nothing, and something that is no clip."""
    write(tmp_path / "quarter.wav", tone((0.5, 1.0)), RATE)
    write(tmp_path / "most.wav", tone((0.1, 1.9)), RATE)
    write(tmp_path / "none.wav", tone(), RATE)
    (tmp_path / "text.wav").write_text("no audio at all\n" * 100)
    (tmp_path / "tone").symlink_to(tone_model)
    (tmp_path / "pair").symlink_to(pair_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def rows(text, delimiter=","):
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


def classify(*args, status=0, **more):
    done = audiocnn("classify", *args, **more)
    assert done.status == status, done.err
    assert "Traceback" not in done.err
    return done


# Records


def test_one_record_a_clip_for_labels_that_exclude_each_other(here):
    records = lines(classify("most.wav", "quarter.wav", "none.wav", "-m", "pair").out)
    assert [(record["file"], record["label"]) for record in records] == [
        ("most.wav", "tone"), ("quarter.wav", "quiet"), ("none.wav", "quiet"),
    ]  # fmt: skip
    first = records[0]
    assert list(first) == [
        "schema", "type", "file", "channel", "start", "end", "label", "score", "top", "model", "settings",
    ]  # fmt: skip
    assert (first["schema"], first["type"], first["model"]) == (1, "clip", "pair")
    assert (first["channel"], first["start"], first["end"]) == (0, 0.0, 2.0)
    assert first["score"] == pytest.approx(0.9, abs=0.05)
    assert [one["label"] for one in first["top"]] == ["tone", "quiet"]
    assert sum(one["score"] for one in first["top"]) == pytest.approx(1.0, abs=1e-3)
    assert first["top"][0]["score"] == first["score"]


def test_labels_that_stand_alone_are_told_with_their_thresholds(here):
    most, none = lines(classify("most.wav", "none.wav", "-m", "tone").out)
    assert most["labels"] == [{"label": "tone", "score": most["score"], "threshold": 0.5}]
    assert (none["label"], none["labels"]) == (None, [])
    assert none["top"] == [{"label": "tone", "score": none["score"]}]
    assert none["score"] < 0.01


def test_the_default_model_knows_speech_music_and_noise(here):
    (record,) = lines(classify("most.wav").out)
    assert record["model"] == "speech_music_noise"
    assert {one["label"] for one in record["top"]} == {"speech", "music", "noise"}


@pytest.mark.parametrize("top", [1, 2, 9])
def test_top(here, top):
    (record,) = lines(classify("most.wav", "-m", "pair", "-k", top).out)
    assert len(record["top"]) == min(top, 2)
    (row,) = rows(classify("most.wav", "-m", "pair", "--top", top, "-f", "csv").out)
    assert f"top_{min(top, 2)}" in row and f"top_{min(top, 2) + 1}" not in row


def test_a_threshold_makes_low_answers_none(here):
    sure, unsure = lines(classify("most.wav", "quarter.wav", "-m", "pair", "--threshold", "0.8").out)
    assert (sure["label"], unsure["label"]) == ("tone", None)
    assert unsure["score"] == unsure["top"][0]["score"] == pytest.approx(0.75, abs=0.03)
    low = lines(classify("quarter.wav", "-m", "tone", "--threshold", "0.2").out)[0]
    assert low["labels"][0]["threshold"] == 0.2 and low["label"] == "tone"


def test_exit_status(here):
    assert classify("none.wav", "-m", "tone").status == 0
    classify("none.wav", "-m", "tone", "--exit-status", status=1)
    classify("none.wav", "most.wav", "-m", "tone", "--exit-status")


@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables_of_text(here, kind, delimiter):
    classify("most.wav", "none.wav", "-m", "tone", "-o", f"x.{kind}")
    most, none = rows(Path(f"x.{kind}").read_text(), delimiter)
    assert list(most) == ["file", "channel", "start", "end", "label", "score", "labels", "top_1", "score_1"]
    assert (most["label"], most["labels"], most["top_1"]) == ("tone", "tone", "tone")
    assert (none["label"], none["labels"], none["top_1"]) == ("", "", "tone")
    assert (most["start"], most["end"], most["score"]) == ("0.0", "2.0", most["score_1"])
    header = classify("most.wav", "-m", "pair", "-f", kind).out.splitlines()[0].split(delimiter)
    assert header == ["file", "channel", "start", "end", "label", "score", "top_1", "score_1", "top_2", "score_2"]


# Stretches and channels


def test_every(here):
    *clips, last = lines(classify("quarter.wav", "-m", "pair", "--every", "0.5").out)
    assert [(clip["start"], clip["end"], clip["label"]) for clip in clips] == [
        (0.0, 0.5, "quiet"), (0.5, 1.0, "tone"), (1.0, 1.5, "quiet"), (1.5, 2.0, "quiet"),
    ]  # fmt: skip
    assert (last["type"], last["status"], last["clips"], last["duration"]) == ("file", "ok", 4, 2.0)
    assert "settings" in last and not any("settings" in clip for clip in clips)
    table = rows(classify("quarter.wav", "-m", "pair", "--every", "0.5", "-f", "csv").out)
    assert [row["label"] for row in table] == [clip["label"] for clip in clips]


def test_channels(here):
    write(Path("stereo.wav"), np.stack([tone(), tone((0.0, 2.0))], axis=1), RATE)
    *clips, last = lines(classify("stereo.wav", "-m", "pair", "--channel", "each").out)
    assert [(clip["channel"], clip["label"]) for clip in clips] == [(0, "quiet"), (1, "tone")]
    assert (last["type"], last["clips"], last["channels"]) == ("file", 2, 2)
    assert lines(classify("stereo.wav", "-m", "pair", "--channel", "1").out)[0]["channel"] == 1


def test_a_stream_is_answered_while_it_comes(here):
    """The first answer is on stdout before the rest of the sound is on stdin."""
    sound = np.tile(tone((0.0, 2.0)), 60)
    whole = wav_bytes((sound * 32767).astype("<i2").tobytes(), RATE)
    command = [sys.executable, "-c", CODE, "classify", "-", "-m", "pair", "--every", "1"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env={"PYTHONPATH": PATH}, bufsize=0, **pipes) as process:
        process.stdin.write(whole[: len(whole) // 2])
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        out, err = process.communicate(whole[len(whole) // 2 :], timeout=60)
    assert (process.returncode, err) == (0, b"")
    records = [first, *lines(out.decode())]
    assert [record["start"] for record in records[:-1]] == [float(second) for second in range(120)]
    assert records[-1]["type"] == "file" and records[-1]["clips"] == 120
    assert {record["label"] for record in records[:-1]} == {"tone"}


def test_standard_input_and_raw_samples(here):
    assert lines(classify("-", "-m", "pair", stdin=Path("most.wav").read_bytes()).out)[0]["file"] == "-"
    raw = (tone((0.0, 2.0)) * 32767).astype("<i2").tobytes()
    (record,) = lines(classify("-", "-m", "pair", "--raw", "s16le", "--rate", RATE, stdin=raw).out)
    assert (record["label"], record["end"]) == ("tone", 2.0)


# Many


def test_a_bad_file_costs_itself(here):
    done = classify("most.wav", "text.wav", "gone.wav", "none.wav", "-m", "pair", status=3)
    assert [record["type"] for record in lines(done.out)] == ["clip", "error", "error", "clip"]
    assert done.err.count("\n") == 2
    assert len(lines(classify("text.wav", "most.wav", "-m", "pair", "--strict", status=2).out)) == 1


def test_a_damaged_clip_says_so(here):
    content = Path("most.wav").read_bytes()
    Path("short.wav").write_bytes(content[: len(content) // 2])
    (record,) = lines(classify("short.wav", "-m", "pair", status=3).out)
    assert (record["status"], record["label"]) == ("damaged", "tone")
    assert "short.wav" in record["note"]


def test_lists_globs_and_shards(here):
    for number in range(6):
        write(Path("many") / f"{number}.wav", tone((0.0, 0.3 * number), seconds=1.5), RATE)
    whole = lines(classify("many", "-m", "pair").out)
    assert [record["file"] for record in whole] == [f"many/{number}.wav" for number in range(6)]
    assert [record["label"] for record in whole] == ["quiet"] * 3 + ["tone"] * 3
    parts = [lines(classify("many", "-m", "pair", "--shard", f"{part}/2").out) for part in (1, 2)]
    assert [record for pair in zip(*parts, strict=True) for record in pair] == whole
    assert lines(classify("many", "-m", "pair", "--glob", "[45].wav").out) == whole[4:]
    listed = "\0".join(record["file"] for record in whole).encode()
    assert lines(classify("--files-from", "-", "-0", "-m", "pair", stdin=listed).out) == whole


def test_a_file_for_each(here):
    classify("most.wav", "none.wav", "-m", "pair", "--output-dir", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["most.jsonl", "none.jsonl"]
    assert lines(Path("out/most.jsonl").read_text())[0]["label"] == "tone"
    assert "already exists" in classify("most.wav", "-m", "pair", "--output-dir", "out", status=2).err
    classify("most.wav", "quarter.wav", "-m", "pair", "--output-dir", "out", "--skip-existing")
    assert Path("out/quarter.jsonl").exists()


def test_names_that_are_not_utf_8(here):
    name = os.fsdecode(b"\xff.wav")
    Path(name).write_bytes(Path("most.wav").read_bytes())
    (record,) = lines(classify(name, "-m", "pair").out)
    assert record["file"] == "\ufffd.wav" and "file_base64" in record


@pytest.mark.parametrize("more", [(), ("--every", "0.5"), ("--channel", "each")], ids=["whole", "every", "each"])
def test_going_on(here, more):
    """Cut off at any byte, --resume gives what one run gives."""
    for number in range(4):
        write(Path("many") / f"{number}.wav", tone((0.0, 0.4 * number), seconds=1.5), RATE)
    Path("many/2.wav").write_text("no audio")
    asked = ("many", "-m", "pair", "-o", "x.jsonl", *more)
    classify(*asked, status=3)
    straight = Path("x.jsonl").read_bytes()
    part = Path(".x.jsonl.audiocnn-part")
    ends = [at for at, byte in enumerate(straight, 1) if byte == ord("\n")]
    for at in sorted({0, 10, *ends, *(end - 5 for end in ends)}):
        Path("x.jsonl").unlink()
        part.write_bytes(straight[:at])
        if at >= ends[-1] - 5:
            assert "continue with --resume" in classify(*asked, status=2).err
        classify(*asked, "--resume", status=3)
        assert Path("x.jsonl").read_bytes() == straight, at
        assert not part.exists()
    classify(*asked, "--resume", status=3)
    assert Path("x.jsonl").read_bytes() == straight


def test_what_is_done_is_not_opened_again(here):
    classify("most.wav", "none.wav", "-m", "pair", "-o", "x.jsonl")
    before = Path("x.jsonl").read_bytes()
    Path("most.wav").write_text("no audio any more")
    classify("most.wav", "none.wav", "-m", "pair", "-o", "x.jsonl", "--resume")
    assert Path("x.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ("classify -m pair", "classify -m tone", "was made with the model pair, not tone"),
        ("classify -m pair", "classify -m pair --threshold 0.8", "was made with another model file, other thresholds"),
        ("classify -m pair", "classify -m pair -k 1", "was made with another model file, other thresholds or other op"),
        ("classify -m pair", "classify -m pair --every 1", "was made with another model file, other thresholds or oth"),
        ("classify -m pair --every 1", "classify -m pair", "does not record the settings"),
        ("classify -m pair --every 1", "classify -m pair --every 0.5", "was made with another model file"),
        ("detect -m pair", "classify -m pair", "line 1 is not a record of `audiocnn classify`"),
        ("classify -m pair", "detect -m pair", "line 1 is not a record of `audiocnn detect`"),
        ("classify -m pair --every 1", "detect -m pair", "line 1 is not a record of `audiocnn detect`"),
    ],
)
def test_what_was_made_otherwise_is_not_gone_on_with(here, first, then, message):
    assert audiocnn(*first.split(), "most.wav", "-o", "x.jsonl").status == 0
    before = Path("x.jsonl").read_bytes()
    done = audiocnn(*then.split(), "most.wav", "-o", "x.jsonl", "--resume")
    assert (done.status, message in done.err) == (2, True), done.err
    assert Path("x.jsonl").read_bytes() == before


# Terminals


def shown(*args, columns=80, **environ):
    out = classify(*args, terminal=True, COLUMNS=str(columns), **environ).out
    return out, [line.rstrip() for line in SEQUENCE.sub("", out).splitlines()]


def test_one_clip_is_a_bar_for_each_label(here):
    out, plain = shown("most.wav", "-m", "pair")
    assert plain[0] == "most.wav  2.0 s, 8000 Hz, mono"
    cells = 80 - len("quiet") - 6
    assert re.fullmatch(r"answer: tone 0\.9\d", plain[3])
    for line, label in zip(plain[1:3], ("tone", "quiet"), strict=True):
        found = re.fullmatch(rf"{label} +([█▏▎▍▌▋▊▉]*) *(\d\.\d\d)", line)
        assert found, line
        assert len(found[1]) == pytest.approx(float(found[2]) * cells, abs=1.5)
    assert re.search(r"\x1b\[[0-9;]*32m█", out)
    assert "32m" not in shown("most.wav", "-m", "pair", NO_COLOR="1")[0]


def test_thresholds_are_shown_where_they_matter(here):
    assert shown("most.wav", "-m", "tone")[1][1].endswith(">= 0.50")
    plain = shown("none.wav", "-m", "tone")[1]
    assert plain[1].endswith("0.00 <  0.50") and plain[2] == "no label reaches its threshold"


def test_several_clips_are_a_line_each(here):
    _, plain = shown("most.wav", "quarter.wav", "none.wav", "-m", "pair", "--threshold", "0.8")
    assert re.fullmatch(r"most\.wav     tone  0\.9\d █+.?  +quiet 0\.\d\d", plain[0])
    assert re.fullmatch(r"quarter\.wav  - +quiet 0\.7\d < 0\.80  tone 0\.2\d", plain[1])
    assert re.fullmatch(r"none\.wav     quiet 1\.00 █{10}", plain[2])


def test_stretches_are_a_line_each_below_the_name(here):
    _, plain = shown("quarter.wav", "most.wav", "-m", "pair", "--every", "0.5")
    assert plain[0].startswith("quarter.wav  2.0 s")
    assert [line.split()[:3] for line in plain[1:5]] == [
        ["0.00", "0.50", "quiet"], ["0.50", "1.00", "tone"], ["1.00", "1.50", "quiet"], ["1.50", "2.00", "quiet"],
    ]  # fmt: skip
    assert plain[5] == "" and plain[6].startswith("most.wav")


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
@pytest.mark.parametrize("more", [(), ("most.wav",), ("--every", "0.5")], ids=["one", "two", "every"])
def test_it_fits_every_terminal(here, columns, term, more):
    long = "a name that is much too long for any column of a table, and then some more of it.wav"
    os.link("quarter.wav", long)
    out, plain = shown(long, *more, "-m", "pair", columns=columns, TERM=term)
    assert all(len(line) <= columns for line in plain if "8000 Hz" not in line)
    text = "\n".join(plain)
    assert "quiet" in text and re.search(r"0\.7\d|1\.00", text)
    assert ("\x1b[" in out) == (term != "dumb")
    assert ("█" in text) == (term != "dumb" and (columns >= 60 or not more))
    assert text.isascii() or term != "dumb"


def test_a_table_in_a_file(here):
    classify("most.wav", "none.wav", "-m", "pair", "-o", "x.txt")
    text = Path("x.txt").read_text()
    assert len(text.splitlines()) == 2 and "\x1b" not in text
    assert [line.split()[1] for line in text.splitlines()] == ["tone", "quiet"]


def test_a_bar_is_as_long_as_its_share():
    assert [draw_bar(share, 4) for share in (0.0, 0.03, 0.125, 0.5, 1.0, 2.0)] == ["", "▏", "▌", "██", "████", "████"]
    assert [draw_bar(share, 4, unicode=False) for share in (0.0, 0.03, 0.2, 0.5, 1.0)] == ["", "", "#", "##", "####"]


def test_help_tells_the_default_model(capsys):
    assert audiocnn("classify", "--help").status == 0
    assert "[default: speech_music_noise]" in re.sub(r"\s+", " ", capsys.readouterr().out)


# None of these


@pytest.fixture
def open_model(here):
    """A model of two labels beside which there is "none of these": at silence the labels have little."""
    torch.manual_seed(0)
    table = {**TONE, "f": {**TONE["f"], "output": "softmax", "background": True}}
    network = Network(spec_from_table(table, "open", 2)).eval()
    model = Model("open", here / "open", network.spec, ("a", "b"), {})
    write_model(model)
    save_weights(network, model.folder / WEIGHTS)
    export_onnx(model, network)
    return "open"


def test_none_of_these_has_a_figure_wherever_answers_are_told(open_model):
    """In records and tables of text a field, on a terminal a row among the labels; together they are 1."""
    (record,) = lines(classify("most.wav", "-m", open_model).out)
    assert record["none_of_these"] == pytest.approx(1.0 - sum(one["score"] for one in record["top"]), abs=2e-4)
    (row,) = rows(classify("most.wav", "-m", open_model, "-f", "csv").out)
    assert float(row["none_of_these"]) == pytest.approx(record["none_of_these"], abs=2e-4)
    for names in (["most.wav"], ["most.wav", "none.wav"]):
        _, plain = shown(*names, "-m", open_model)
        assert f"none of these {record['none_of_these']:.2f}" in re.sub(r"[█▏▎▍▌▋▊▉ ]+", " ", "\n".join(plain))
    score, none = record["score"], record["none_of_these"]
    if record["label"] is None:
        assert none > score


@pytest.mark.parametrize(
    ("scores", "said", "mark"),
    [
        ((0.30, 0.29), "answer: none of these 0.41", False),
        ((0.45, 0.40), "answer: a 0.45 (unsure: b 0.40)", True),
        ((0.48, 0.05), "answer: a 0.48 (unsure: none of these 0.47)", True),
        ((0.8, 0.1), "answer: a 0.80", False),
    ],
)
def test_the_answer_is_said_and_that_it_is_unsure(scores, said, mark):
    rule = AnswerRule(("a", "b"), (0.0, 0.0), False, background=True)
    clip = Clip(rule, 0, 0.0, 1.0, np.array(scores, np.float32))
    layout = AnswerLayout(("a", "b"), False, 5, False, "m", "", background=True)
    terminal = Terminal(io.BytesIO(), io.StringIO(), io.StringIO(), {"COLUMNS": "100"})
    tables = ClipTables(terminal, layout, ["x.wav"])
    assert tables.answer(clip).plain == said
    tables.line("x.wav", clip)
    assert (" ?" in terminal.stdout.getvalue()) is mark
    assert said.removeprefix("answer: ").split(" (")[0].split()[-1] in terminal.stdout.getvalue()


def test_where_a_file_is_said_to_who_watches(here):
    assert "written to x.csv" in classify("most.wav", "-m", "pair", "-o", "x.csv", terminal=True).err
    assert classify("most.wav", "-m", "pair", "-o", "y.csv").err == ""
