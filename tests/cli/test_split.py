"""`split`: pieces equal the recording sample by sample; nothing is overwritten or written elsewhere."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fixtures_cli import CODE, HERTZ, PATH, RATE, audiocnn, audiocnn_process, tone, tone_model  # noqa: F401
from sounds import as_bytes, noise, sine, write

from audiocnn import files
from audiocnn.audio import writer as writer_module
from audiocnn.audio.bit_depth import OwnSamples, at_depth, depth_of
from audiocnn.audio.writer import SoundWriter, opus_rate
from audiocnn.errors import LabelError, RecordingError, UsageError
from audiocnn.labels import split
from audiocnn.labels.lookup import LabelFile
from audiocnn.labels.split import (
    PieceFile,
    Span,
    SplitSettings,
    check_free,
    cut_pieces,
    divide_into_passes,
    drop_overlaps,
    find_rests,
    plan_pieces,
    safe_name,
)
from audiocnn.segments.segment import Segment
from audiocnn_cli.app.exits import ExitStatus

LABELS = "0.0137\t0.2501\tspeech\n0.4\t0.4001\tspeech\n0.61803\t0.9\tspeech\n"  # odd places, and one sample at 8 kHz
NATIVE = {"PCM_32": "int32", "DOUBLE": "float64", "FLOAT": "float32"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def pieces_in(text):
    return [record for record in records(text) if record["type"] == "piece"]


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def write_bytes(path, content):
    path.write_bytes(content)
    return path


def read(path, subtype):
    """All samples as they are, (frames, channels)."""
    return soundfile.read(path, dtype=NATIVE.get(subtype, "int32"), always_2d=True)[0]


def sound_of(subtype, frames, channels):
    """Samples that use all bits of a depth, its ends among them."""
    dice = np.random.default_rng(5)
    if subtype in ("FLOAT", "DOUBLE"):
        return dice.normal(0, 2, (frames, channels)).astype(NATIVE[subtype])  # floats may go beyond 1
    whole = dice.integers(-(2**31), 2**31, (frames, channels), dtype=np.int32)
    whole[:2] = [[-(2**31)], [2**31 - 1]]
    return whole


KINDS = [
    ("a.wav", "PCM_U8", "wav"), ("a.wav", "PCM_16", "wav"), ("a.wav", "PCM_24", "wav"), ("a.wav", "PCM_32", "wav"),
    ("a.wav", "FLOAT", "wav"), ("a.wav", "DOUBLE", "wav"), ("a.flac", "PCM_S8", "flac"), ("a.flac", "PCM_16", "flac"),
    ("a.flac", "PCM_24", "flac"), ("a.flac", "PCM_24", "wav"), ("a.wav", "PCM_U8", "flac"), ("a.aiff", "PCM_S8", "wav"),
    ("a.aiff", "PCM_24", "wav"), ("a.au", "PCM_32", "wav"), ("a.w64", "DOUBLE", "wav"), ("a.caf", "PCM_24", "wav"),
    ("a.caf", "ALAC_16", "wav"), ("a.caf", "ALAC_24", "flac"), ("a.caf", "ALAC_32", "wav"), ("a.wav", "ULAW", "wav"),
]  # fmt: skip


@pytest.mark.parametrize("join", [False, True], ids=["pieces", "joined"])
@pytest.mark.parametrize(("name", "subtype", "kind"), KINDS)
def test_pieces_and_rests_are_the_recording_bit_for_bit(here, name, subtype, kind, join):
    soundfile.write(name, sound_of(subtype, 11025, 2), 11025, subtype)
    Path("marks.txt").write_text(LABELS)
    read_as = {"ALAC_32": "PCM_32"}.get(subtype, subtype)
    source = read(name, read_as)
    built = np.zeros_like(source)
    counted = np.zeros(len(source), int)
    for more in ([], ["--invert"]):
        args = ["split", name, "--labels", "marks.txt", "--output-dir", "cuts", "--to", kind, *more]
        done = audiocnn(*args, *["--join"] * join)
        assert (done.status, done.err) == (ExitStatus.OK, "")
        found = pieces_in(done.out)
        assert len({record["output"] for record in found}) == (1 if join else len(found)) and len(found) in (3, 4)
        for record in found:
            samples = read(record["output"], read_as)
            first, count, place = record["first_sample"], record["samples"], record["output_sample"]
            built[first : first + count] = samples[place : place + count]
            counted[first : first + count] += 1
            assert join or (place, len(samples)) == (0, count)
            assert soundfile.info(record["output"]).samplerate == record["sample_rate"] == 11025
    assert (counted == 1).all()
    assert (built == source).all()


def test_the_model_says_where(here, tone_model):  # noqa: F811
    write(here / "one.wav", tone((0.5, 1.0), (1.3, 1.9)), RATE)
    done = audiocnn("split", "one.wav", "-m", tone_model, "--output-dir", "cuts", "--pad", 0)
    first, second, last = records(done.out)
    assert first == {
        "schema": 1, "type": "piece", "file": "one.wav", "output": "cuts/one-0001-tone.wav", "channel": None,
        "channels": 1, "start": first["start"], "end": first["end"], "label": "tone", "score": first["score"],
        "first_sample": round(first["start"] * RATE), "samples": round((first["end"] - first["start"]) * RATE),
        "sample_rate": RATE, "output_sample": 0,
    }  # fmt: skip
    assert [first["start"], first["end"]] == pytest.approx([0.5, 1.0], abs=0.011) and first["score"] > 0.9
    assert second["output"] == "cuts/one-0002-tone.wav"
    assert (last["type"], last["status"], last["pieces"], last["duration"]) == ("file", "ok", 2, 2.0)
    whole, _ = soundfile.read("one.wav", dtype="int16")
    piece, rate = soundfile.read(first["output"], dtype="int16")
    assert rate == RATE and (piece == whole[first["first_sample"] :][: first["samples"]]).all()


def test_a_segment_that_ends_with_the_recording_has_all_of_it(here, tone_model):  # noqa: F811
    """2.00013 s at 44.1 kHz are 16,001 samples at 8 kHz: the duration of the scores is not that of the file."""
    sound = np.concatenate([tone((1.0, 2.0), sample_rate=44100), sine(HERTZ, 0.00013, 44100, 0.3)])
    write(here / "one.wav", sound, 44100)
    (found,) = pieces_in(audiocnn("split", "one.wav", "-m", tone_model, "--output-dir", "cuts").out)
    assert found["first_sample"] + found["samples"] == len(sound)
    (rest,) = pieces_in(audiocnn("split", "one.wav", "-m", tone_model, "--output-dir", "cuts", "--invert").out)
    assert (rest["first_sample"], rest["samples"], rest["label"]) == (0, found["first_sample"], "rest")
    assert rest["score"] is None


@pytest.mark.parametrize("invert", [False, True])
def test_silence_is_a_result(here, tone_model, invert):  # noqa: F811
    write(here / "none.wav", tone(), RATE)
    done = audiocnn("split", "none.wav", "-m", tone_model, "--output-dir", "cuts", *["--invert"] * invert)
    assert (done.status, records(done.out)[-1]["pieces"]) == (ExitStatus.OK, int(invert))
    assert Path("cuts").exists() == invert
    if invert:
        assert Path("cuts/none-0001-rest.wav").read_bytes() == Path("none.wav").read_bytes()


def test_channels_are_cut_apart(here, tone_model):  # noqa: F811
    both = np.stack([tone((0.3, 0.8)), tone((1.0, 1.5))], axis=1)
    write(here / "two.wav", both, RATE, "PCM_16")
    stored = read("two.wav", "PCM_16")
    found = pieces_in(audiocnn("split", "two.wav", "-m", tone_model, "--output-dir", "a", "--channel", "each").out)
    assert [(one["channel"], one["channels"]) for one in found] == [(0, 1), (1, 1)]
    assert [Path(one["output"]).name for one in found] == ["two-channel0-0001-tone.wav", "two-channel1-0001-tone.wav"]
    for one in found:
        piece = read(one["output"], "PCM_16")
        assert (piece[:, 0] == stored[one["first_sample"] :][: one["samples"], one["channel"]]).all()
    (alone,) = pieces_in(audiocnn("split", "two.wav", "-m", tone_model, "--output-dir", "b", "--channel", 1).out)
    assert alone["channel"] == 1 and alone["start"] == pytest.approx(1.0, abs=0.05)
    mixed = pieces_in(audiocnn("split", "two.wav", "-m", tone_model, "--output-dir", "c", "--threshold", 0.2).out)
    assert {(one["channel"], one["channels"]) for one in mixed} == {(None, 2)}
    done = audiocnn("split", "two.wav", "-m", tone_model, "--output-dir", "d", "--channel", 2)
    assert done.status is ExitStatus.USAGE and "no channel 2; it has 2, numbered from 0" in done.err


def test_labels_with_channels_are_taken_at_their_word(here):
    write(here / "two.wav", np.stack([noise(1, RATE, 1), noise(1, RATE, 2)], axis=1), RATE)
    segment = (
        '{{"schema":1,"type":"segment","file":"two.wav","channel":{},"start":{},"end":{},"label":"x","score":0.5}}\n'
    )
    Path("two.jsonl").write_text(segment.format(0, 0.1, 0.2) + segment.format(1, 0.5, 0.75))
    found = pieces_in(audiocnn("split", "two.wav", "--labels", "two.jsonl", "--output-dir", "a", "--channel", 1).out)
    assert [(one["first_sample"], one["samples"], one["score"]) for one in found] == [(4000, 2000, 0.5)]
    Path("marks.txt").write_text("0.1\t0.2\tx\n")
    found = pieces_in(
        audiocnn("split", "two.wav", "--labels", "marks.txt", "--output-dir", "b", "--channel", "each").out
    )
    assert [(one["channel"], one["first_sample"]) for one in found] == [(0, 800), (1, 800)]


@pytest.mark.parametrize("raw", [False, True], ids=["wav", "raw"])
def test_standard_input(here, tone_model, raw):  # noqa: F811
    write(here / "one.wav", tone((0.5, 1.0)), RATE, "PCM_16")
    content = (here / "one.wav").read_bytes()
    more = ["--raw", "s16le", "--rate", RATE] if raw else []
    done = audiocnn(
        "split", "-", "-m", tone_model, "--output-dir", "cuts", *more, stdin=content[44:] if raw else content
    )
    (found,) = pieces_in(done.out)
    assert (found["file"], found["output"]) == ("-", "cuts/stdin-0001-tone.wav")
    whole = read("one.wav", "PCM_16")
    assert (read(found["output"], "PCM_16") == whole[found["first_sample"] :][: found["samples"]]).all()
    empty = audiocnn("split", "-", "-m", tone_model, "--output-dir", "cuts")
    assert empty.status is ExitStatus.USAGE and "-: empty" in empty.err


@pytest.mark.parametrize(("raw", "dtype"), [("s32le", "<i4"), ("s32be", ">i4"), ("f64le", "<f8"), ("s24le", None)])
def test_samples_without_a_header_keep_their_depth(here, raw, dtype):
    width, frames = int(raw[1:3]) // 8, 800
    dice = np.random.default_rng(1)
    data = dice.normal(size=2 * frames).astype(dtype).tobytes() if raw[0] == "f" else dice.bytes(2 * frames * width)
    Path("a.raw").write_bytes(data)
    Path("marks.txt").write_text("0.01\t0.05\tx\n")
    args = ["split", "a.raw", "--labels", "marks.txt", "--output-dir", "cuts"]
    (found,) = pieces_in(audiocnn(*args, "--raw", raw, "--rate", RATE, "--channels", 2).out)
    written = soundfile.read(found["output"], dtype=NATIVE["DOUBLE" if raw[0] == "f" else "PCM_32"])[0]
    part = data[80 * 2 * width : 400 * 2 * width]
    if dtype is None:
        part = b"".join(b"\0" + part[at : at + 3] for at in range(0, len(part), 3))
    assert (written.reshape(-1) == np.frombuffer(part, dtype or "<i4")).all()
    assert soundfile.info(found["output"]).subtype == {"f": "DOUBLE"}.get(raw[0], f"PCM_{8 * width}")


# Names and folders


def test_nothing_is_overwritten_unasked(here):
    write(here / "a.wav", noise(1, RATE), RATE)
    Path("marks.txt").write_text("0.1\t0.2\tx\n0.5\t0.6\tx\n")
    args = ["split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts"]
    Path("cuts").mkdir()
    Path("cuts/a-0002-x.wav").write_text("mine")
    done = audiocnn(*args)
    assert done.status is ExitStatus.USAGE and records(done.out)[0]["type"] == "error"
    assert "cuts/a-0002-x.wav: already exists; overwrite it with --force, or choose another --output-dir" in done.err
    assert names_in("cuts") == ["a-0002-x.wav"] and Path("cuts/a-0002-x.wav").read_text() == "mine"
    assert audiocnn(*args, "--force").status is ExitStatus.OK
    assert names_in("cuts") == ["a-0001-x.wav", "a-0002-x.wav"]
    assert soundfile.info("cuts/a-0002-x.wav").frames == 800


def test_a_name_that_is_taken_meanwhile_stays_who_took_it(here):
    writer = SoundWriter(here / "a.wav", "wav", "PCM_16", RATE, 1, 100)
    writer.write(np.zeros((100, 1), np.float32))
    Path("a.wav").write_text("another process")
    with pytest.raises(UsageError, match=r"a\.wav: already exists"):
        writer.publish(force=False)
    assert names_in(".") == ["a.wav"] and Path("a.wav").read_text() == "another process"


def test_names_are_free_where_there_are_no_links(here, monkeypatch):
    def no_links(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    Path("temporary").write_text("new")
    writer_module.give_name(here / "temporary", here / "a")
    Path("temporary").write_text("newer")
    with pytest.raises(FileExistsError):
        writer_module.give_name(here / "temporary", here / "a")
    assert Path("a").read_text() == "new"


def test_the_recording_itself_is_no_piece(here):
    write(here / "a.wav", noise(1, RATE), RATE)
    own = PieceFile(here / "a.wav", None, (Span(0, 10, "x"),))
    with pytest.raises(UsageError, match="already exists"):
        check_free([own], here / "a.wav", force=True)


def test_labels_and_names_lead_nowhere_else(here):
    write(here / "in" / "a.wav", noise(1, RATE), RATE)
    marks = [
        f"0.{k}\t0.{k}5\t{label}"
        for k, label in enumerate(["../../evil", "/etc/x", "..", "a/b", "ü \u202e", "é" * 300])
    ]
    Path("marks.txt").write_text("\n".join(marks) + "\n")
    os.chdir("in")
    done = audiocnn("split", "../in/a.wav", "--labels", "../marks.txt", "--output-dir", "../out")
    assert done.status is ExitStatus.OK, done.err
    names = sorted(path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file())
    assert names == [
        "in/a.wav", "marks.txt", "out/a-0001-_.._evil.wav", "out/a-0002-_etc_x.wav", "out/a-0003-_.wav",
        "out/a-0004-a_b.wav", "out/a-0005-ü__.wav", f"out/a-0006-{'é' * 60}.wav",
    ]  # fmt: skip
    assert pieces_in(done.out)[0]["label"] == "../../evil"


def test_folders_are_mirrored_and_pieces_are_not_taken_for_recordings(here, tone_model):  # noqa: F811
    for name in ("rec/x/a.wav", "rec/x/a.flac", "rec/b.wav"):
        write(here / name, tone((0.5, 1.0)), RATE)
    args = ["split", "rec", "-m", tone_model, "--output-dir", "rec/cuts"]
    found = pieces_in(audiocnn(*args).out)
    assert [(one["file"], one["output"]) for one in found] == [
        ("rec/b.wav", "rec/cuts/b-0001-tone.wav"),
        ("rec/x/a.flac", "rec/cuts/x/a.flac-0001-tone.wav"),
        ("rec/x/a.wav", "rec/cuts/x/a.wav-0001-tone.wav"),
    ]
    assert [one["file"] for one in pieces_in(audiocnn(*args, "--force").out)] == [one["file"] for one in found]
    for folder in ("rec", "."):
        done = audiocnn("split", "rec", "-m", tone_model, "--output-dir", folder)
        assert (
            done.status is ExitStatus.USAGE
            and "pieces would mix with the recordings in rec; choose another" in done.err
        )
    Path("out").mkdir()
    Path("out/x").symlink_to(here)
    done = audiocnn("split", "rec/x/a.wav", "rec/b.wav", "rec", "-m", tone_model, "--output-dir", "out")
    assert "a link leads out of out" in done.err and not list(here.glob("a*"))
    done = audiocnn(*args, "--shard", "1/2")
    assert done.status is ExitStatus.USAGE and "would change the --shard numbering" in done.err


def test_joined_files_of_labels_whose_names_clash_are_told_apart(here):
    write(here / "a.wav", noise(1, RATE), RATE)
    Path("marks.txt").write_text("0.1\t0.2\ta/b\n0.2\t0.3\ta_b\n0.3\t0.4\ta/b\n")
    found = pieces_in(audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts", "--join").out)
    assert [(one["label"], Path(one["output"]).name, one["output_sample"]) for one in found] == [
        ("a/b", "a-0001-a_b.wav", 0), ("a/b", "a-0001-a_b.wav", 800), ("a_b", "a-0002-a_b.wav", 0),
    ]  # fmt: skip
    only = audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "more", "--only", "a/b")
    assert {one["label"] for one in pieces_in(only.out)} == {"a/b"} and len(pieces_in(only.out)) == 2


# Which labels


def test_labels_are_found_by_name_by_its_end_and_by_stem(here):
    head = "filename\tonset\toffset\tevent_label\n"
    Path("all.tsv").write_text(head + "x/a.wav\t0.1\t0.2\tone\ny/a.wav\t0.3\t0.4\ttwo\nb\t0.5\t0.6\tthree\n")
    book = LabelFile(Path("all.tsv"))
    found = [book.of(name, True).segments[0].label for name in ("./x/a.wav", "far/y/a.wav", "z/b.flac")]
    assert found == ["one", "two", "three"]
    with pytest.raises(LabelError, match=r"all\.tsv: several entries match a\.wav: x/a\.wav, y/a\.wav;"):
        book.of("a.wav", True)
    with pytest.raises(LabelError, match=r"all\.tsv: does not contain c\.wav"):
        book.of("c.wav", True)
    Path("marks.txt").write_text("0.1\t0.2\tone\n")
    named_by_none = LabelFile(Path("marks.txt"))
    assert named_by_none.of("c.wav", True).segments[0].label == "one"
    with pytest.raises(LabelError, match=r"marks\.txt: does not contain c\.wav"):
        named_by_none.of("c.wav", False)


def test_what_detect_wrote_cuts_the_same(here, tone_model):  # noqa: F811
    write(here / "one.wav", tone((0.5, 1.0), (1.3, 1.9)), RATE)
    audiocnn("detect", "one.wav", "-m", tone_model, "-o", "one.jsonl")
    given = audiocnn("split", "one.wav", "--labels", "one.jsonl", "--output-dir", "a")
    asked = audiocnn("split", "one.wav", "-m", tone_model, "--output-dir", "a", "--force")
    assert pieces_in(given.out) == pieces_in(asked.out) != []


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ("0.5\t0.2\tx\n", r'"x" from 0\.5 to 0\.2 s is not a valid segment; correct it'),
        ("nan\t0.2\tx\n", r'"x" from nan to 0\.2 s is not a valid segment'),
        ("a\tb\tx\n", r"marks\.txt:1: "),
    ],
)
def test_labels_that_cannot_be(here, marks, message):
    write(here / "a.wav", noise(1, RATE), RATE)
    Path("marks.txt").write_text(marks)
    done = audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts")
    assert done.status is ExitStatus.USAGE and not Path("cuts").exists()
    assert re.search(message, done.err), done.err


def test_labels_past_the_end_are_cut_off_there(here):
    write(here / "a.wav", noise(1, RATE), RATE)
    Path("marks.txt").write_text("-0.5\t0.1\tx\n0.9\t1.5\tx\n2\t3\tx\n0.95\tinf\tx\n")
    found = pieces_in(audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts").out)
    spans = sorted((one["first_sample"], one["samples"]) for one in found)
    assert spans == [(0, 800), (7200, 800), (7600, 400)]
    assert len(names_in("cuts")) == 3


def test_the_list_as_a_table_and_in_a_file(here):
    write(here / "a.wav", noise(1, RATE), RATE)
    Path("marks.txt").write_text("0.1\t0.2\tx\n")
    args = ["split", "a.wav", "--labels", "marks.txt", "--force", "--output-dir", "cuts"]
    assert audiocnn(*args, "-o", "list.csv").out == ""
    (row,) = csv.DictReader(io.StringIO(Path("list.csv").read_text()))
    assert row == {
        "output": "cuts/a-0001-x.wav", "file": "a.wav", "channel": "", "channels": "1", "start": "0.1", "end": "0.2",
        "label": "x", "score": "", "first_sample": "800", "samples": "800", "sample_rate": "8000", "output_sample": "0",
    }  # fmt: skip
    shown = audiocnn(*args, terminal=True).out.splitlines()
    assert shown == [
        "a.wav  1.0 s",
        "start   end  length   file",
        " 0.10  0.20    0.10   cuts/a-0001-x.wav",
        "1 file, 0.1 s of x",
    ]


# Kinds of files


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
def test_opus_is_as_long_and_sounds_the_same(here, rate):
    write(here / "a.wav", sine(HERTZ, 1.0, rate, 0.3), rate)
    Path("marks.txt").write_text("0.25\t0.75\tx\n")
    (found,) = pieces_in(
        audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts", "--to", "opus").out
    )
    samples, own = soundfile.read(found["output"])
    assert (own, found["sample_rate"]) == (opus_rate(rate), rate)
    assert len(samples) == own // 2
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) == HERTZ // 2 and 0.27 < np.sqrt(2) * samples.std() < 0.33


def test_flac_says_once_what_it_cannot_hold(here):
    for name in ("a.wav", "b.wav"):
        soundfile.write(name, np.array([0.1, 1.5, -1.5, 0.3]), RATE, "DOUBLE")
    Path("all.csv").write_text("filename,onset,offset,label\na.wav,0,0.01,x\nb.wav,0,0.01,x\n")
    done = audiocnn("split", "a.wav", "b.wav", "--labels", "all.csv", "--output-dir", "cuts", "--to", "flac")
    assert done.err.splitlines() == [
        "audiocnn: warning: a.wav: FLAC stores at most 24 bits per sample and rounds this recording; use --to wav"
    ]
    assert soundfile.read("cuts/a-0001-x.flac", dtype="int32")[0].tolist() == [
        round(0.1 * 2**23) << 8, (2**23 - 1) << 8, -(2**31), round(0.3 * 2**23) << 8,
    ]  # fmt: skip
    write(here / "many.wav", np.zeros((800, 9), np.int16), RATE)
    Path("many.txt").write_text("0\t1\tx\n")
    done = audiocnn("split", "many.wav", "--labels", "many.txt", "--output-dir", "cuts", "--to", "flac")
    assert "many.wav: has 9 channels and 8000 Hz, but FLAC supports at most 8 channels" in done.err
    assert audiocnn("split", "many.wav", "--labels", "many.txt", "--output-dir", "cuts").status is ExitStatus.OK


def test_what_may_grow_too_long_for_wav_is_rf64(here, monkeypatch):
    monkeypatch.setattr(writer_module, "_MOST_WAV_BYTES", 1000)
    whole = noise(0.1, RATE)
    for name, count in (("short.wav", 500), ("long.wav", 501)):
        writer = SoundWriter(here / name, "wav", "PCM_16", RATE, 1, count)
        writer.write(whole[:count, None].astype(np.float32) / 32768)
        writer.publish(force=False)
        assert (soundfile.read(name, dtype="int16")[0] == whole[:count]).all()
    assert [soundfile.info(name).format for name in ("short.wav", "long.wav")] == ["WAV", "RF64"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(here, monkeypatch):
    write(here / "a.wav", noise(1, RATE), RATE)
    Path("marks.txt").write_text("0.1\t0.9\tx\n")
    monkeypatch.setattr(
        writer_module.SoundWriter, "_check", lambda self: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    done = audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts")
    assert done.status is ExitStatus.USAGE
    assert "cuts: no space for a-0001-x.wav (No space left); free some space, or choose another folder" in done.err
    assert names_in("cuts") == []


@pytest.mark.parametrize("bits", [16, 24])
def test_flac_depth_from_its_first_bytes(here, bits):
    write(here / "a.flac", noise(0.1, RATE), RATE, f"PCM_{bits}")
    assert depth_of(here / "a.flac") == f"PCM_{bits}"
    assert depth_of(here / "gone.flac") == depth_of(here / "a.opus") == "PCM_16"
    Path("cut.flac").write_bytes(Path("a.flac").read_bytes()[:15])
    assert depth_of(here / "cut.flac") == "PCM_16"


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "W64", "CAF"])
@pytest.mark.parametrize("depth", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_joined_recordings_keep_their_depth_and_have_all_parts(here, depth, kind):
    sound = sound_of(depth, 1000, 2)
    one = as_bytes(sound, RATE, kind, depth)
    alone = np.concatenate(list(OwnSamples(write_bytes(here / "one", one)).blocks()))
    joined = OwnSamples(write_bytes(here / "joined", one + one))
    assert joined.depth == depth
    blocks = np.concatenate([at_depth(block, depth) for block in joined.blocks()])
    assert len(blocks) == 2000
    assert np.array_equal(blocks[:1000], at_depth(alone, depth))
    if (kind, depth) in (("CAF", "PCM_32"), ("CAF", "DOUBLE")):  # the second part has been through float32
        assert np.allclose(blocks[1000:] / np.abs(blocks).max(), blocks[:1000] / np.abs(blocks).max(), atol=1e-6)
    else:
        assert np.array_equal(blocks[1000:], blocks[:1000])


def test_parts_behind_the_last_segment_are_told_of(here, tone_model):  # noqa: F811
    parts = as_bytes(tone((0.5, 1.0)), RATE, "WAV"), as_bytes(noise(1, 11025) // 1000, 11025, "WAV")
    write_bytes(here / "a.wav", b"".join(parts))
    done = audiocnn("split", "a.wav", "-m", tone_model, "--output-dir", "cuts")
    assert done.status is ExitStatus.OK
    assert "one part has 11025 Hz" in done.err
    assert "one part has 11025 Hz" in records(done.out)[-1]["remarks"][0]


def test_what_is_cut_off_of_doubles_is_told_of(here):
    one = as_bytes(sound_of("DOUBLE", 4000, 1), RATE, "CAF", "DOUBLE")
    try:
        cut = OwnSamples(write_bytes(here / "cut.caf", one[: len(one) // 2]))
    except RecordingError as problem:  # some builds of libsndfile refuse a CAF that lacks more than a page
        assert re.search(r"cut\.caf: damaged,? (or )?cut short", str(problem))
        return
    assert 0 < sum(map(len, cut.blocks())) < 2100
    assert "damaged or cut short" in str(cut.note)


def test_depths_keep_what_they_hold():
    numbers = np.array([-(2**31), -1, 0, 255, 256, 2**31 - 1], np.int32)
    assert at_depth(numbers, "PCM_32") is numbers
    assert at_depth(numbers, "PCM_24").tolist() == [-(2**31), 0, 0, 256, 256, (2**23 - 1) << 8]
    floats = np.array([-1.5, -1, 0.25, 1.0], np.float32)
    assert at_depth(floats, "PCM_16").tolist() == [-32768, -32768, 8192, 32767]
    assert at_depth(floats, "PCM_U8").tolist() == [-32768, -32768, 8192, 127 << 8]
    assert at_depth(floats, "FLOAT") is floats and at_depth(numbers, "DOUBLE")[0] == -1.0


# By arithmetic


def test_pieces_and_rests_tile_any_recording():
    dice = np.random.default_rng(0)
    for _ in range(300):
        rate, frames = int(dice.choice([1, 7, 8000, 44100, 384000])), int(dice.integers(1, 500))
        starts = dice.uniform(0, frames / rate, dice.integers(0, 6))
        lengths = dice.uniform(0, frames / rate / 2, len(starts))
        segments = [Segment(s, s + n, "x", 0.5) for s, n in zip(starts, lengths, strict=True)]
        settings = [SplitSettings(invert=invert, join=True) for invert in (False, True)]
        counted = np.zeros(frames, int)
        for one in settings:
            for piece in plan_pieces({None: segments}, rate, frames / rate, Path("a"), one):
                for span in piece.spans:
                    counted[span.first : span.end] += 1
        assert (counted == 1).all()


def test_overlaps_are_written_once_where_they_are_joined():
    spans = [Span(0, 10, "x"), Span(5, 8, "x"), Span(9, 20, "x"), Span(20, None, "x"), Span(30, 40, "x")]
    assert [(one.first, one.end) for one in drop_overlaps(spans)] == [(0, 10), (10, 20), (20, None)]
    assert find_rests(spans) == [] and find_rests([]) == [Span(0, None, "rest", find_rests([])[0].score)]
    assert [(one.first, one.end) for one in find_rests(spans[1:2])] == [(0, 5), (8, None)]


def test_many_overlapping_labels_open_few_files(here, monkeypatch):
    monkeypatch.setattr(split, "MOST_OPEN", 3)
    whole = noise(1, RATE)
    write(here / "a.wav", whole, RATE)
    pieces = [PieceFile(here / "cuts" / f"{k}.wav", None, (Span(10 * k, 4000 + k, "x"),)) for k in range(10)]
    turns = divide_into_passes(pieces)
    assert [len(turn) for turn in turns] == [3, 3, 3, 1]
    found = list(cut_pieces(OwnSamples(here / "a.wav"), pieces, "wav"))
    assert sorted((one.first, one.samples) for one in found) == [(10 * k, 4000 - 9 * k) for k in range(10)]
    for one in found:
        assert (soundfile.read(one.path, dtype="int16")[0] == whole[one.first :][: one.samples]).all()
    apart_pieces = [PieceFile(here / f"{k}.wav", None, (Span(10 * k, 10 * k + 10, "x"),)) for k in range(10)]
    assert [len(turn) for turn in divide_into_passes(apart_pieces)] == [10]


def test_blocks_are_small_however_many_channels(here):
    write(here / "a.wav", np.zeros((200_000, 64), np.int16), 192000)
    blocks = list(OwnSamples(here / "a.wav").blocks())
    assert max(block.size for block in blocks) <= 1 << 20 and sum(map(len, blocks)) == 200_000
    wide = write(here / "b.wav", np.zeros((200_000, 64), np.int16), 192000, "PCM_32")
    assert max(block.size for block in OwnSamples(wide).blocks()) <= 1 << 20


def test_safe_names():
    assert [safe_name(label) for label in ("a b", "..", "", "x" * 99, "-n", "a\n\0b")] == [
        "a_b", "_", "_", "x" * 60, "-n", "a__b",
    ]  # fmt: skip


# Trouble on the way


def test_a_damaged_recording_gives_what_it_has_and_says_so(here, tone_model):  # noqa: F811
    write(here / "whole.wav", tone((0.5, 1.0), seconds=3.0), RATE, "PCM_16")
    Path("cut.wav").write_bytes((here / "whole.wav").read_bytes()[: 44 + 2 * 12000])
    done = audiocnn("split", "cut.wav", "-m", tone_model, "--output-dir", "cuts")
    assert done.status is ExitStatus.SOME_FAILED and "damaged or cut short" in done.err
    assert [record["type"] for record in records(done.out)] == ["piece", "file"]
    assert records(done.out)[-1]["status"] == "damaged"


def test_bad_recordings_do_not_stop_the_others(here, tone_model):  # noqa: F811
    write(here / "one.wav", tone((0.5, 1.0)), RATE)
    Path("text.wav").write_text("no audio " * 100)
    done = audiocnn("split", "text.wav", "gone.wav", "one.wav", "-m", tone_model, "--output-dir", "cuts")
    assert done.status is ExitStatus.SOME_FAILED
    assert [record["type"] for record in records(done.out)] == ["error", "error", "piece", "file"]
    strict = audiocnn("split", "text.wav", "one.wav", "-m", tone_model, "--output-dir", "more", "--strict")
    assert strict.status is ExitStatus.USAGE and not Path("more").exists()


def test_what_was_whole_stays_when_it_is_interrupted(here, monkeypatch):
    write(here / "a.wav", noise(1, RATE), RATE)
    source = OwnSamples(here / "a.wav")

    def interrupted():
        yield np.zeros((4000, 1), np.float32)
        raise KeyboardInterrupt

    monkeypatch.setattr(source, "blocks", interrupted)
    pieces = [PieceFile(here / "cuts" / f"{k}.wav", None, (Span(k, 2000 * k, "x"),)) for k in (1, 2, 3)]
    found = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(one.path.name for one in cut_pieces(source, pieces, "wav"))
    assert names_in("cuts") == ["1.wav", "2.wav"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_whole_files_and_a_whole_list(here, tone_model, number):  # noqa: F811
    """The list of names does not end, so the command waits for the next one when it is told to stop."""
    for name in ("one.wav", "two.wav"):
        write(here / name, tone((0.5, 1.0)), RATE)
    args = [sys.executable, "-c", CODE, "split", "-m", tone_model, "--files-from", "-", "--output-dir", "cuts"]
    with subprocess.Popen(
        [*args, "-o", "list.jsonl"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env={"PYTHONPATH": PATH}, cwd=here
    ) as process:
        process.stdin.write(b"one.wav\ntwo.wav\n")
        process.stdin.flush()
        until = time.monotonic() + 60
        while not Path("cuts/two-0001-tone.wav").exists() and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert names_in("cuts") == ["one-0001-tone.wav", "two-0001-tone.wav"]
    listed = pieces_in(Path("list.jsonl.unfinished").read_text())
    assert [one["file"] for one in listed][:1] == ["one.wav"]
    for one in listed:
        assert soundfile.info(one["output"]).frames == one["samples"]
    assert b"finished results are in list.jsonl.unfinished" in said


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("a.wav", "no folder for the pieces; give one with --output-dir"),
        ("a.wav --output-dir a.wav", r"--output-dir a\.wav: is a file; give a folder"),
        ("a.wav --output-dir x --labels gone.txt", r"gone\.txt: no such file"),
        ("a.wav --output-dir x --labels marks.txt --threshold 0.5", "--threshold applies to a model"),
        ("a.wav --output-dir x --labels marks.txt -m tone", "--model applies to a model"),
        ("a.wav --output-dir x --labels marks.txt --channel left", '--channel cannot be "left"'),
        ("a.wav --output-dir x --to mp3", "'mp3' is not one of"),
    ],
)
def test_wrong_usage(here, args, message):
    write(here / "a.wav", noise(0.2, RATE), RATE)
    Path("marks.txt").write_text("0\t0.1\tx\n")
    done = audiocnn("split", *args.split())
    assert done.status is ExitStatus.USAGE and re.search(message, done.err), done.err
    assert not Path("x").exists()


def test_splitting_needs_neither_torch_nor_rich(here, tone_model):  # noqa: F811
    write(here / "one.wav", tone((0.5, 1.0)), RATE)
    code = CODE.replace("sys.exit(run())", "run(); print(sorted({'torch', 'rich', 'scipy'} & set(sys.modules)))")
    args = [sys.executable, "-c", code, "split", "one.wav", "-m", tone_model, "--output-dir", "cuts", "-o", "a.csv"]
    done = subprocess.run(args, env={"PYTHONPATH": PATH}, capture_output=True, text=True, check=True, cwd=here)
    assert done.stdout == "[]\n"
    assert audiocnn_process("split", "one.wav", cwd=here).returncode == ExitStatus.USAGE


# Pipes with names, one run, what a killed run leaves


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_pipes_with_names_are_recordings_and_labels(here):
    write(here / "one.wav", tone((0.5, 1.0)), RATE)
    write(here / "two.wav", sine(300, 1.0, RATE), RATE)
    Path("marks.tsv").write_text("filename\tonset\toffset\tevent_label\na.wav\t0.5\t0.7\tx\nb.wav\t0.1\t0.4\ty\n")
    writers = []
    for pipe, source in (("a.wav", "one.wav"), ("b.wav", "two.wav"), ("pipe.tsv", "marks.tsv")):
        os.mkfifo(pipe)
        code = f"import shutil; shutil.copyfileobj(open({source!r}, 'rb'), open({pipe!r}, 'wb'))"
        writers.append(subprocess.Popen([sys.executable, "-c", code]))
    done = audiocnn_process(
        "split", "a.wav", "b.wav", "--labels", "pipe.tsv", "--output-dir", "cuts", cwd=here, timeout=60
    )
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    assert (done.returncode, done.stderr) == (0, b"")
    assert [(one["file"], one["output"]) for one in pieces_in(done.stdout)] == [
        ("a.wav", "cuts/a-0001-x.wav"), ("b.wav", "cuts/b-0001-y.wav"),
    ]  # fmt: skip
    for name, source, first, last in (("a-0001-x", "one", 4000, 5600), ("b-0001-y", "two", 800, 3200)):
        assert (read(f"cuts/{name}.wav", "") == read(f"{source}.wav", "")[first:last]).all()


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="needs a name for standard input")
def test_standard_input_by_its_other_name(here):
    write(here / "one.wav", tone((0.5, 1.0)), RATE)
    Path("marks.txt").write_text("0.5\t0.7\tx\n")
    args = ["split", "/dev/stdin", "--labels", "marks.txt", "--output-dir", "cuts"]
    done = audiocnn_process(*args, cwd=here, input=Path("one.wav").read_bytes())
    assert (done.returncode, done.stderr, names_in("cuts")) == (0, b"", ["stdin-0001-x.wav"])


def test_force_does_not_overwrite_what_this_run_wrote(here):
    """Two recordings whose pieces have the same names, since base names and labels run into each other."""
    for path in ("b.wav", "b-c.wav"):
        write(here / path, noise(1.0, 8000), 8000)
    text = "filename\tonset\toffset\tevent_label\nb.wav\t0.5\t0.7\tc-d\nb-c.wav\t0.1\t0.4\td\n"
    Path("marks.tsv").write_text(text)
    for _ in range(2):  # what another run wrote may be overwritten
        names = ("b.wav", "b-c.wav")
        done = audiocnn("split", *names, "--labels", "marks.tsv", "--output-dir", "cuts", "--force", "--join")
        assert done.status is ExitStatus.SOME_FAILED
        assert re.search(r"its piece cuts/b-\S+\.wav is also a piece of another recording in the list", done.err)
        assert len(pieces_in(done.out)) == len(names_in("cuts")) == 1


def test_pieces_have_the_rights_of_new_files(here):
    write(here / "a.wav", noise(1.0, 8000), 8000)
    Path("marks.txt").write_text("0.5\t0.7\tx\n")
    before = os.umask(0o027)
    try:
        audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts")
    finally:
        os.umask(before)
    assert Path("cuts/a-0001-x.wav").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(not files.LOCKS_EXIST, reason="needs locks")
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(here):
    write(here / "a.wav", noise(1.0, 8000), 8000)
    Path("marks.txt").write_text("0.5\t0.7\tx\n")
    Path("cuts").mkdir()
    make = "from pathlib import Path; from audiocnn.audio.writer import make_part; make_part(Path('cuts')); "
    command = [sys.executable, "-c", make + "import os; os.kill(os.getpid(), 9)"]
    assert subprocess.run(command, env={"PYTHONPATH": PATH}, check=False).returncode == -signal.SIGKILL
    (left,) = Path("cuts").iterdir()
    other = Path("cuts/.audiocnn-00000000-0123456789ab.piece")  # of a machine whose locks are not seen here
    other.touch()
    living, lock = writer_module.make_part(Path("cuts"))
    try:
        assert audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts").status == 0
    finally:
        os.close(lock)
    assert names_in("cuts") == sorted([other.name, living.name, "a-0001-x.wav"]) and left.name != living.name


def test_an_empty_name_of_a_folder(here):
    write(here / "a.wav", noise(1.0, 8000), 8000)
    for command in ("split", "detect"):
        done = audiocnn(command, "a.wav", "--output-dir", "")
        assert (done.status, '--output-dir "": the name is empty; give a folder' in done.err) == (2, True)
    assert names_in(".") == ["a.wav"]


# Labels outside of the recording, long names, a full disk


@pytest.mark.parametrize("join", [[], ["--join"], ["--invert"]])
def test_labels_that_are_not_in_the_recording_are_told_of(here, join):
    write(here / "a.wav", noise(1.0, 8000), 8000)
    Path("marks.txt").write_text("0.5\t0.7\tx\n5\t6\tpast\n0.3\t0.3\tpoint\n0.9\t3\tlong\n0.96\t1.04\tnear\n")
    done = audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts", *join)
    assert done.status is ExitStatus.SOME_FAILED
    lines = done.err.splitlines()
    assert len(lines) == 3
    assert 'a.wav: "past" 5 to 6 s: after the end of the recording at 1.000 s' in lines[0]
    assert 'a.wav: "point" 0.3 to 0.3 s: has no length' in lines[1]
    assert 'a.wav: "long" 0.9 to 3 s: cut off at 1.000 s' in lines[2]
    assert audiocnn("split", "a.wav", "--labels", "marks.txt", "--only", "x", "--output-dir", "x").err == ""


def test_many_labels_that_are_not_in_the_recording_are_summed_up(here):
    write(here / "a.wav", noise(1.0, 8000), 8000)
    Path("marks.txt").write_text("".join(f"{k}\t{k + 1}\tx\n" for k in range(500)))
    done = audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts")
    assert len(done.err.splitlines()) == 21 and "and 479 more" in done.err
    done = audiocnn("split", "a.wav", "--labels", "marks.txt", "--output-dir", "cuts", "--force", "-v")
    assert done.err.count("after the end") == 499


def test_labels_past_the_end_of_a_stream_are_told_of(here):
    Path("marks.txt").write_text("0.5\t0.7\tx\n5\t6\tpast\n")
    samples = as_bytes(noise(1.0, 8000), 8000, "FLAC", "PCM_16")
    done = audiocnn("split", "-", "--labels", "marks.txt", "--output-dir", "cuts", stdin=samples)
    assert done.status is ExitStatus.SOME_FAILED and "after the end of the recording at 1.000 s" in done.err


@pytest.mark.parametrize("letter", ["x", "ä", "語", "\U0001f600"])
@pytest.mark.parametrize("join", [[], ["--join"], ["--channel", "each"]])
@pytest.mark.parametrize("kind", ["wav", "opus"])
def test_names_are_as_long_as_file_systems_take_and_stay_apart(here, letter, join, kind):
    base = letter * (250 // len(letter.encode()))
    names = [f"{base}{end}" for end in (".wav", "1.wav", "-.wav") if len(f"{base}{end}".encode()) <= 255]
    for name in names:
        write(here / "in" / name, noise(0.5, 8000), 8000)
    labels = [letter * 300, f"{letter * 300}!", "y"]
    rows = [f"{name}\t0.{k}\t0.{k}5\t{label}" for name in names for k, label in enumerate(labels)]
    Path("marks.tsv").write_text("\n".join(["filename\tonset\toffset\tevent_label", *rows]))
    done = audiocnn("split", "in", "--labels", "marks.tsv", "--output-dir", "cuts", "--to", kind, *join)
    assert done.status is ExitStatus.OK, done.err
    made = [path.name for path in Path("cuts").iterdir()]
    assert len(made) == 3 * len(names) == len(pieces_in(done.out))
    assert all(len(os.fsencode(name)) <= 255 and "\ufffd" not in name for name in made)


@pytest.mark.parametrize("command", [["detect", "-f", "textgrid"], ["score"]])
def test_outputs_of_recordings_with_long_names_fit_too(here, command):
    for end in ("1.wav", "2.wav"):
        write(here / "in" / f"{'x' * 250}{end}", noise(0.5, 16000), 16000)
    done = audiocnn(*command, "in", "--output-dir", "out")
    assert done.status is ExitStatus.OK, done.err
    assert len(list(Path("out").iterdir())) == 2
    assert audiocnn(*command, "in", "--output-dir", "out", "--skip-existing").status is ExitStatus.OK


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("where", ["begin", "write", "publish"])
def test_a_full_disk_ends_the_work_once(here, monkeypatch, number, where):
    """libsndfile only says that something is wrong with the system: the first bytes that do not fit tell what."""
    for name in "abcd":
        write(here / "in" / f"{name}.wav", noise(1.0, 8000), 8000)

    def full(*_):
        raise OSError(number, os.strerror(number))

    def filled(writer, *args):
        if "b-" not in writer.path.name:
            return original(writer, *args)
        if where == "write":
            raise soundfile.LibsndfileError(2)
        return full()

    place = {"begin": "_begin", "write": "_write", "publish": "_check"}[where]
    original = getattr(SoundWriter, place)
    monkeypatch.setattr(SoundWriter, place, filled)
    monkeypatch.setattr(os, "pwrite", full)
    done = audiocnn("split", "in", "--invert", "--output-dir", "cuts", "-o", "list.csv")
    assert done.status is ExitStatus.SOME_FAILED
    assert len(done.err.splitlines()) == 1
    assert f"error: cuts: no space for b-0001-rest.wav ({os.strerror(number)})" in done.err
    assert names_in("cuts") == ["a-0001-rest.wav"]
    assert len(Path("list.csv").read_text().splitlines()) == 2, "the list has what is there"
