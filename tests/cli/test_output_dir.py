"""--output-dir, --skip-existing, --shard and --glob: which recordings are processed, and the path of each output."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path, PurePath

import numpy as np
import pytest
from fixtures_cli import RATE, audiocnn, audiocnn_process, tone, tone_model  # noqa: F401
from killing import Children, killed_at
from sounds import write

from audiocnn.audio.find import matches
from audiocnn.labels.formats import FORMATS
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.io.inputs import Input
from audiocnn_cli.io.mirror import place_in_tree

TREE = ["a.wav", "b/a.wav", "b/c/d.wav", "b/c/d.flac", "e.WAV"]


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """A tree of recordings, and a model."""
    for number, name in enumerate(TREE):
        write(tmp_path / "in" / name, tone((0.1 + number / 10, 0.5 + number / 10), seconds=1.2), RATE)
    (tmp_path / "in" / "b" / "bad.wav").write_text("no audio")
    (tmp_path / "in" / "notes.txt").write_text("no audio")
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder):
    """Files under a folder, the hidden ones, too."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def detect(*args, **more):
    return audiocnn("detect", *args, "-m", "tone", **more)


def test_the_tree_is_mirrored_and_endings_are_kept_where_they_tell_two_apart(here):
    done = detect("in", "--output-dir", "out")
    assert done.status is ExitStatus.SOME_FAILED
    assert done.out == "" and "bad.wav" in done.err
    assert tree("out") == ["a.jsonl", "b/a.jsonl", "b/c/d.flac.jsonl", "b/c/d.wav.jsonl", "e.jsonl"]
    whole = detect("in").out.splitlines()
    for path in Path("out").rglob("*.jsonl"):
        lines = path.read_text().splitlines()
        assert [line for line in whole if json.loads(line)["file"] == json.loads(lines[0])["file"]] == lines


@pytest.mark.parametrize("kind", [*FORMATS, "table"])
def test_every_format_can_have_a_file_for_each_recording(here, kind):
    done = detect("in/a.wav", "in/b/a.wav", "--output-dir", "out", "-f", kind)
    assert done.status is ExitStatus.OK, done.err
    suffix = FORMATS[kind].suffixes[0] if kind in FORMATS else ".txt"
    assert tree("out") == [f"in/a{suffix}", f"in/b/a{suffix}"]
    assert detect("in/a.wav", "-f", kind, "-o", "one").status is ExitStatus.OK
    assert Path("one").read_bytes() == Path(f"out/in/a{suffix}").read_bytes()


@pytest.mark.parametrize("kind", [name for name, one in FORMATS.items() if not one.many])
def test_one_file_for_several_recordings_names_the_remedy(here, kind):
    done = detect("in", "-f", kind)
    assert done.status is ExitStatus.USAGE
    assert f"-f {kind}: a file in this format holds one recording" in done.err and "--output-dir" in done.err


PLACES = {
    "a.wav": "a.wav",
    "./x/../a.wav": "a.wav",
    "x/a.wav": "x/a.wav",
    "/data/x/a.wav": "a.wav",
    "../../x/a.wav": "a.wav",
    "x/../../../a.wav": "a.wav",
    "//a.wav": "a.wav",
    "/": "stdin",
    "-": "stdin",
    "x/..a.wav": "x/..a.wav",
    "x\n/\udcff.wav": "x\n/\udcff.wav",
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_is_always_inside(name):
    assert place_in_tree(Input(name, Path(name))) == PurePath(PLACES[name])


@pytest.mark.parametrize("link", [False, True])
def test_what_lies_below_the_working_directory_keeps_its_path_from_there(tmp_path, monkeypatch, link):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    base = tmp_path / "link" if link else tmp_path / "here"
    (tmp_path / "link").symlink_to(tmp_path / "here")
    for name in (f"{base}/x/a.wav", "x/a.wav", "../here/x/a.wav", f"{base}/y/../x/a.wav"):
        assert place_in_tree(Input(name, Path(name))) == PurePath("x/a.wav")
    assert place_in_tree(Input(f"{base}2/x/a.wav", Path("a.wav"))) == PurePath("a.wav")


@pytest.mark.parametrize("command", ["detect", "score", "classify", "split"])
@pytest.mark.parametrize("listed", [False, True])
def test_two_with_one_place_are_an_error_before_any_work(here, command, listed):
    Path("below").mkdir()
    os.chdir("below")
    names = [f"{here}/in/e.WAV", f"{here}/in/a.wav", f"{here}/in/b/a.wav"]
    Path("list").write_text("\n".join(names))
    given = ["--files-from", "list"] if listed else names
    for shard in ([], ["--shard", "1/3"]):
        done = audiocnn(command, *given, "-m", "../tone", "--output-dir", "out", *shard)
        assert done.status is ExitStatus.USAGE and len(done.err.splitlines()) == 1
        assert f"{names[1]} and {names[2]} have the same output, a" in done.err
        assert not Path("out").exists() or tree("out") == []


def test_two_with_one_place_in_a_list_that_is_still_written_are_told_of(here):
    names = f"{here}/../x/in/a.wav\n{here}/in/a.wav\n{here}/in/b/../a.wav\n".encode()
    done = audiocnn_process(
        "detect", "-m", "tone", "--files-from", "-", "--output-dir", "out", input=names, cwd=here, timeout=60
    )
    assert done.returncode == ExitStatus.SOME_FAILED
    assert b"its output out/in/a.jsonl is also the output of another recording in the list" in done.stderr
    assert tree("out") == ["in/a.jsonl"]


def test_labels_of_recordings_elsewhere_have_places_too(here):
    rows = [f"SPEAKER {name} 1 0.5 1 <NA> <NA> ann <NA> <NA>\n" for name in ("/x/a.wav", "/y/a.wav")]
    Path("labels.rttm").write_text(rows[0])
    assert audiocnn("convert", "labels.rttm", "--to", "audacity", "--output-dir", "out").status is ExitStatus.OK
    assert tree("out") == ["a.txt"]
    Path("labels.rttm").write_text("".join(rows))
    done = audiocnn("convert", "labels.rttm", "--to", "audacity", "--output-dir", "two")
    assert done.status is ExitStatus.USAGE and "/x/a.wav and /y/a.wav have the same output" in done.err
    assert not Path("two").exists()


def test_nothing_is_written_outside(here):
    Path("out").mkdir()
    Path("elsewhere").mkdir()
    Path("out/b").symlink_to(here / "elsewhere")
    done = detect("in", here / "in" / "a.wav", "../" + here.name + "/in/e.WAV", "--output-dir", "out")
    assert done.status is ExitStatus.SOME_FAILED
    assert done.err.count("a link leads out of out; remove the link") == 3
    assert tree("elsewhere") == []
    assert {"a.jsonl", "in/a.jsonl", "in/e.jsonl"} <= set(tree("out"))
    assert not (here.parent / "e.jsonl").exists()


def test_what_is_there_is_left_or_skipped_or_overwritten(here):
    def output(*args):
        return detect("in/a.wav", "in/b/a.wav", "--output-dir", "out", *args)

    Path("out/in").mkdir(parents=True)
    Path("out/in/a.jsonl").write_text("mine")
    done = output()
    assert done.status is ExitStatus.SOME_FAILED
    assert "out/in/a.jsonl already exists; skip it with --skip-existing" in done.err
    os.utime("in/a.wav", (4e9, 4e9))
    done = output("--skip-existing")
    assert done.status is ExitStatus.OK
    assert "out/in/a.jsonl: older than the recording" in done.err and "--update" in done.err
    os.utime("in/a.wav", (1e9, 1e9))
    done = output("--skip-existing", "-v")
    assert "older" not in done.err
    assert (done.status, Path("out/in/a.jsonl").read_text()) == (ExitStatus.OK, "mine")
    assert "2 already done" in done.err
    assert output("--force").status is ExitStatus.OK
    assert json.loads(Path("out/in/a.jsonl").read_text().splitlines()[-1])["type"] == "file"


def test_two_of_a_list_with_one_output_are_told_of(here):
    Path("in/a.wav").rename("in/a.pcm")
    Path("in/a.data").write_bytes(Path("in/a.pcm").read_bytes())
    done = detect("in/a.pcm", "in/a.data", "--raw", "s16le", "--rate", RATE, "--output-dir", "out")
    assert done.status is ExitStatus.USAGE
    assert "in/a.pcm and in/a.data have the same output, in/a" in done.err
    assert not Path("out").exists()


def test_an_output_of_one_file_can_be_skipped(here):
    assert detect("in/a.wav", "-o", "x.csv", "--skip-existing").status is ExitStatus.OK
    Path("x.csv").write_text("mine")
    done = detect("in/a.wav", "-o", "x.csv", "--skip-existing")
    assert (done.status, done.out, Path("x.csv").read_text()) == (ExitStatus.OK, "", "mine")
    done = audiocnn("score", "in/a.wav", "-m", "tone", "-o", "x.csv", "--skip-existing")
    assert (done.status, Path("x.csv").read_text()) == (ExitStatus.OK, "mine")


def test_long_names(here):
    longest = "x" * 247 + ".wav"  # whose part would not fit behind it
    write(here / longest, tone((0.1, 0.5)), RATE)
    assert detect(longest, "--output-dir", "out", "-f", "csv").status is ExitStatus.OK
    assert tree("out") == ["x" * 247 + ".csv"]
    done = detect(longest, "in/a.wav", "--output-dir", "out", "-f", "textgrid")
    assert done.status is ExitStatus.OK
    (cut,) = set(tree("out")) - {"in/a.TextGrid", "x" * 247 + ".csv"}
    assert cut.startswith("x" * 237 + "~") and cut.endswith(".TextGrid") and len(cut) == 255


def test_scores_of_each_recording(here):
    args = ("score", "in", "-m", "tone", "--output-dir", "out", "-f", "npz")
    assert audiocnn(*args).status is ExitStatus.SOME_FAILED
    assert tree("out") == ["a.npz", "b/a.npz", "b/c/d.flac.npz", "b/c/d.wav.npz", "e.npz"]
    with np.load("out/b/a.npz") as found:
        assert (found["recording"], list(found["labels"]), found["scores"].shape) == (
            "in/b/a.wav",
            ["tone"],
            (1, 120, 1),
        )
    before = Path("out/a.npz").stat().st_mtime_ns
    assert audiocnn(*args, "--skip-existing").status is ExitStatus.SOME_FAILED
    assert Path("out/a.npz").stat().st_mtime_ns == before
    assert audiocnn("score", "in/a.wav", "-m", "tone", "--output-dir", "csv").status is ExitStatus.OK
    assert len(list(csv.DictReader(Path("csv/in/a.csv").read_text().splitlines()))) == 120


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shards_are_together_the_list_and_do_not_overlap(here, parts):
    def files(*args):
        return [json.loads(line)["file"] for line in detect(*args).out.splitlines() if '"segment"' not in line[:30]]

    whole = files("in")
    shards = [files("in", "--shard", f"{number}/{parts}") for number in range(1, parts + 1)]
    assert sorted(name for shard in shards for name in shard) == sorted(whole)
    assert [shard == whole[number::parts] for number, shard in enumerate(shards)] == [True] * parts
    for number in range(1, parts + 1):
        detect("in", "--shard", f"{number}/{parts}", "--output-dir", "out")
    assert tree("out") == ["a.jsonl", "b/a.jsonl", "b/c/d.flac.jsonl", "b/c/d.wav.jsonl", "e.jsonl"]


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2", "1/", "²/3"])
def test_a_shard_that_cannot_be(here, text):
    done = detect("in", f"--shard={text}")
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert f'--shard cannot be "{text}"; give part and number of parts, such as 1/8 to 8/8' in done.err


GLOBS = [
    ("a.wav", "*.wav", True),
    ("b/c/d.wav", "*.wav", True),
    ("b/c/d.wav", "d.*", True),
    ("b/c/d.wav", "c", False),
    ("e.WAV", "*.wav", False),
    ("b/c/d.wav", "b/*.wav", False),
    ("b/c/d.wav", "b/**/*.wav", True),
    ("b/d.wav", "b/**/*.wav", True),
    ("b/c/d.wav", "**/c/*.wav", True),
    ("b/c/d.wav", "**/**/d.wav", True),
    ("b/c/d.wav", "b/**", True),
    ("b/c/d.wav", "./b/c/d.wav", True),
    ("b/c/d.wav", "*/d.wav", False),
    ("b[1].wav", "b[[]1].wav", True),
    ("x/" * 30 + "a", "**/x/" * 15 + "b", False),
]


@pytest.mark.parametrize(("path", "pattern", "fits"), GLOBS, ids=[f"{case[1]}-{case[0]}"[:50] for case in GLOBS])
def test_patterns(path, pattern, fits):
    assert matches(Path(path), pattern) is fits


def test_a_folder_is_searched_by_patterns(here):
    done = detect("in", "--glob", "*.flac", "--glob", "b/*.wav", "--output-dir", "out")
    assert done.status is ExitStatus.SOME_FAILED  # in/b/bad.wav
    assert tree("out") == ["b/a.jsonl", "b/c/d.flac.jsonl"]
    done = detect("in", "--glob", "*.ogg")
    assert done.status is ExitStatus.USAGE
    assert "in: no file in this folder matches *.ogg" in done.err
    done = detect("in/a.wav", "--glob", "*.ogg")
    assert "--glob selects files in a folder; give a folder" in done.err
    Path("in/a.wav").rename("in/a.pcm")
    done = detect("in", "--glob", "*.pcm", "--raw", "s16le", "--rate", RATE)
    assert done.status is ExitStatus.OK
    assert json.loads(done.out.splitlines()[-1])["file"] == "in/a.pcm"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (9, -9)])
def test_interrupted_the_folder_has_what_was_finished_and_the_rest_is_done_later(here, number, status):
    children = Children(here)
    args = ("detect", "in", "-m", "tone", "--output-dir", "out")
    stop = f"real(*args); os.kill(os.getpid(), {int(number)}); time.sleep(30)"
    done = children.run(*args, hook=killed_at("output.Output", "commit", 3, stop))
    assert done.status == status, done.err
    third = "b/c/.d.flac.jsonl.audiocnn-part" if number == 9 else "b/c/d.flac.jsonl"  # it was just whole
    assert tree("out") == ["a.jsonl", "b/a.jsonl", third]
    assert ("interrupted; finished results are in out" in done.err) == (number != 9)
    assert children.run(*args, "--skip-existing").status == ExitStatus.SOME_FAILED
    assert tree("out") == ["a.jsonl", "b/a.jsonl", "b/c/d.flac.jsonl", "b/c/d.wav.jsonl", "e.jsonl"]
    children.close()


def test_two_at_once_in_one_folder_do_each_recording_whole(here):
    for number in range(60):
        write(here / "many" / f"{number:02d}.wav", tone((0.2, 0.7), seconds=1.0), RATE)
    both = [Children(here), Children(here)]
    for child in both:
        job = {"args": ["detect", "many", "-m", "tone", "--output-dir", "out", "--skip-existing"], "hook": ""}
        child.process.stdin.write(json.dumps(job | {"after": None, "signal": 9, "out": None, "err": None}) + "\n")
        child.process.stdin.flush()
    ends = [json.loads(child.process.stdout.readline())[0] for child in both]
    for child in both:
        child.close()
    assert ends == [0, 0]
    assert tree("out") == [f"{number:02d}.jsonl" for number in range(60)]
    for number in range(60):
        records = [json.loads(line) for line in Path(f"out/{number:02d}.jsonl").read_text().splitlines()]
        assert [record["type"] for record in records] == ["segment", "file"]


def test_what_another_process_does_is_passed_by(here):
    """One output has appeared since the list was read, one is being written."""
    fcntl = pytest.importorskip("fcntl")
    Path("out/in/b").mkdir(parents=True)
    children = Children(here)
    hook = killed_at("atomic.PartFile", "publish", 1, "open('out/in/a.jsonl', 'w').write('mine')")
    args = ("detect", "in/a.wav", "in/b/a.wav", "in/e.WAV", "-m", "tone", "--output-dir", "out")
    with Path("out/in/b/.a.jsonl.audiocnn-part").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = children.run(*args, "--skip-existing", "-v", hook=hook)
        assert done.status == ExitStatus.OK, done.err
        assert "error" not in done.err and "2 already done" in done.err
        Path("out/in/a.jsonl").unlink()
        Path("out/in/e.jsonl").unlink()
        done = children.run(*args, hook=hook)
    assert done.status == ExitStatus.SOME_FAILED
    assert "out/in/a.jsonl: another process created this file meanwhile" in done.err
    assert "out/in/b/a.jsonl: another process is writing it; wait" in done.err
    assert Path("out/in/a.jsonl").read_text() == "mine" and Path("out/in/e.jsonl").exists()
    children.close()


@pytest.mark.parametrize("options", [(), ("--force",), ("--skip-existing",)])
@pytest.mark.parametrize("command", ["detect", "score"])
def test_a_folder_in_the_place_of_an_output_is_an_error_of_that_recording(here, command, options):
    Path("out/in/a.jsonl").mkdir(parents=True)
    done = audiocnn(command, "in/a.wav", "in/b/a.wav", "-m", "tone", "-f", "jsonl", "--output-dir", "out", *options)
    assert done.status is ExitStatus.SOME_FAILED
    assert "in/a.wav: its output out/in/a.jsonl already exists and is not a regular file; remove it" in done.err
    assert tree("out") == ["in/b/a.jsonl"]


def test_nothing_is_written_into_a_pipe_or_a_device(here):
    Path("out/in").mkdir(parents=True)
    os.mkfifo("out/in/a.jsonl")
    Path("out/in/e.jsonl").symlink_to("/dev/null")
    done = detect("in/a.wav", "in/e.WAV", "in/b/a.wav", "--output-dir", "out", "--force")
    assert done.status is ExitStatus.SOME_FAILED
    assert done.err.count("already exists and is not a regular file; remove it") == 2
    assert Path("out/in/a.jsonl").is_fifo() and Path("out/in/b/a.jsonl").is_file()
    assert Path("out/in/e.jsonl").is_symlink()


def test_a_file_that_is_named_as_standard_input_has_its_own_output(here):
    Path("-").write_bytes(Path("in/a.wav").read_bytes())
    Path("stdin.wav").write_bytes(Path("in/a.wav").read_bytes())
    done = detect("./-", "stdin.wav", "--output-dir", "out")
    assert done.status is ExitStatus.OK, done.err
    assert tree("out") == ["-.jsonl", "stdin.jsonl"]


def test_a_list_of_nothing_makes_nothing(here):
    done = audiocnn_process("detect", "-m", "tone", "--files-from", "-", "--output-dir", "out", input=b"", cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert tree("out") == []
