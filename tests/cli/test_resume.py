"""--resume: a run killed anywhere and repeated gives the same output; two processes never mix their lines."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from killing import Children, killed_at
from sounds import write

from audiocnn_cli.app.exits import ExitStatus

FILES = 40
DETECT = ("detect", "many", "-m", "tone", "-o", "x.jsonl")
KILL = "os.kill(os.getpid(), 9)"
HALF = "self = args[0]; self.file.write(args[1].encode()[:40]); self.file.flush(); " + KILL

# name -> (owner, function, the call of it in which the process ends, what it does then)
POINTS = {
    "before the first write": ("output.Output", "write", 1, KILL),
    "before a write": ("output.Output", "write", 30, KILL),
    "in a write": ("output.Output", "write", 30, HALF),
    "after a write": ("output.Output", "write", 30, f"real(*args); args[0].file.flush(); {KILL}"),
    "before a flush": ("output.Output", "flush", 12, KILL),
    "after a flush": ("output.Output", "flush", 12, f"real(*args); {KILL}"),
    "before a commit": ("output.Output", "commit", 12, KILL),
    "after a commit": ("output.Output", "commit", 12, f"real(*args); {KILL}"),
    "before it is flushed to the disk": ("atomic.PartFile", "sync", 1, KILL),
    "after it is flushed to the disk": ("atomic.PartFile", "sync", 1, f"real(*args); {KILL}"),
    "before the rename": ("atomic.PartFile", "publish", 1, KILL),
    "between the names": ("atomic", "_link_as", 1, f"os.link(args[0], args[1]); {KILL}"),
    "after the rename": ("atomic.PartFile", "publish", 1, f"real(*args); {KILL}"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tone_model):  # noqa: F811
    """Recordings, one that is none, and a model."""
    folder = tmp_path_factory.mktemp("resume")
    for number in range(FILES):
        begin = 0.1 + number % 7 / 10
        write(folder / "many" / f"{number:02d}.wav", tone((begin, begin + 0.5), seconds=1.3), RATE)
    (folder / "many" / "17.wav").write_text("no audio at all")
    (folder / "tone").symlink_to(tone_model)
    return folder


@pytest.fixture(scope="module")
def children(folder):
    """What runs commands there."""
    children = Children(folder)
    yield children
    children.close()


@pytest.fixture
def here(folder, monkeypatch):
    """A clean start in that folder."""
    for path in folder.glob("*x.*"):
        path.unlink()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def straight(folder, children):
    """What one run writes, and how it ends."""
    done = children.run("detect", "many", "-m", "tone", "-o", "straight.jsonl")
    assert done.status == ExitStatus.SOME_FAILED, done.err
    return (folder / "straight.jsonl").read_bytes()


def files(content):
    return [record["file"] for record in map(json.loads, content.splitlines()) if record["type"] != "segment"]


def parts():
    return sorted(path.name for path in Path().iterdir() if path.name.endswith("-part"))


ALWAYS = ("before the first write", "in a write", "after a commit", "between the names")


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=[] if point in ALWAYS else pytest.mark.long) for point in POINTS]
)
def test_killed_at_a_named_point_and_run_again(here, children, straight, point):
    owner, name, call, action = POINTS[point]
    killed = children.run(*DETECT, hook=killed_at(owner, name, call, action))
    assert killed.status == -9, killed.err
    if Path("x.jsonl").exists():
        assert Path("x.jsonl").read_bytes() == straight, "what has the name is whole"
        assert point in ("between the names", "after the rename")
    elif call > 1:
        assert parts() == [".x.jsonl.audiocnn-part"]
        done = children.run(*DETECT)
        assert done.status == ExitStatus.USAGE
        assert "an interrupted run has left finished results; continue with --resume" in done.err
    done = children.run(*DETECT, "--resume")
    assert done.status == ExitStatus.SOME_FAILED, done.err
    assert Path("x.jsonl").read_bytes() == straight
    assert parts() == []


@pytest.mark.long
def test_killed_at_twenty_random_moments_and_run_again(here, children, straight):
    whole = children.run("detect", "many", "-m", "tone", "-o", "timed-x.jsonl").seconds
    chance = random.Random(20)
    kept = []
    for _ in range(20):
        children.run(*DETECT, "--resume", after=chance.uniform(0.3, 0.9) * whole)
        kept.append(Path(".x.jsonl.audiocnn-part").stat().st_size if parts() else len(straight))
        if Path("x.jsonl").exists():  # it came to its end
            assert Path("x.jsonl").read_bytes() == straight
            Path("x.jsonl").unlink()
    assert len(set(kept)) > 2, "it was killed in the middle of its work"
    done = children.run(*DETECT, "--resume")
    assert done.status == ExitStatus.SOME_FAILED, done.err
    assert Path("x.jsonl").read_bytes() == straight
    assert parts() == []


def opened_by(children, *args):
    """Names of the recordings that a command opens, and how it ends."""
    hook = """
real, log = batch.open_input, open("opened-x.txt", "w", buffering=1)
def logging(one):
    log.write(one.name + "\\n")
    return real(one)
batch.open_input = logging
"""
    done = children.run(*args, hook=hook)
    return Path("opened-x.txt").read_text().splitlines(), done


def test_what_is_done_is_not_opened_again_and_what_failed_is(here, children, straight):
    children.run(*DETECT, hook=killed_at("output.Output", "commit", 31, KILL))
    again, done = opened_by(children, *DETECT, "--resume")
    assert sorted(again) == ["many/17.wav", *(f"many/{number}.wav" for number in range(30, FILES))]
    assert done.status == ExitStatus.SOME_FAILED
    assert Path("x.jsonl").read_bytes() == straight


def test_an_output_with_a_name_is_gone_on_with_and_mended_recordings_come_in_their_place(here, children, straight):
    lines = straight.splitlines(keepends=True)
    Path("x.jsonl").write_bytes(b"".join(lines[:45]))
    half = Path("x.jsonl").read_bytes()
    bad = Path("many/17.wav").read_bytes()
    try:
        write(Path("many/17.wav"), tone((0.3, 0.9)), RATE)
        wanted = audiocnn("detect", "many", "-m", "tone").out
        killed = children.run(*DETECT, "--resume", hook=killed_at("output.Output", "commit", 5, KILL))
        assert killed.status == -9
        assert Path("x.jsonl").read_bytes() == half, "until the new one is whole"
        done = children.run(*DETECT, "--resume")
    finally:
        Path("many/17.wav").write_bytes(bad)
    assert done.status == ExitStatus.OK, done.err
    assert Path("x.jsonl").read_text() == wanted
    assert files(wanted) == [f"many/{number:02d}.wav" for number in range(FILES)]


def test_a_finished_output_is_left_as_it_is(here, children, straight):
    Path("x.jsonl").write_bytes(straight)
    again, done = opened_by(children, *DETECT, "--resume")
    assert (again, done.status) == (["many/17.wav"], ExitStatus.SOME_FAILED)
    assert Path("x.jsonl").read_bytes() == straight
    names = [name for name in files(straight) if name != "many/17.wav"]
    again, done = opened_by(children, "detect", *names, *DETECT[2:], "--resume", "--exit-status")
    assert (again, done.status) == ([], ExitStatus.OK)


def test_what_is_not_named_this_time_is_kept(here, children, straight):
    Path("x.jsonl").write_bytes(straight)
    done = children.run("detect", "many/03.wav", "many/01.wav", *DETECT[2:], "--resume")
    assert done.status == ExitStatus.OK
    assert "37 recordings were already in the output but not given this time; kept at the end" in done.err
    kept = files(Path("x.jsonl").read_bytes())
    assert kept[:3] == ["many/03.wav", "many/01.wav", "many/00.wav"]
    assert sorted(kept) == sorted(set(files(straight)) - {"many/17.wav"})


OTHERS = {
    ("--threshold", "0.6"): "was made with another model file, other thresholds or other options",
    ("--min-duration", "0.2"): "was made with another model file, other thresholds or other options",
    ("--channel", "each"): "was made with another model file, other thresholds or other options",
    ("-m", "speech_1d"): "was made with the model tone, not speech_1d",
}


@pytest.mark.parametrize("options", OTHERS, ids=" ".join)
def test_findings_of_two_kinds_are_not_mixed(here, straight, options):
    Path("x.jsonl").write_bytes(straight)
    same = [] if "-m" in options else ["-m", "tone"]
    done = audiocnn("detect", "many", "-o", "x.jsonl", "--resume", *same, *options)
    assert done.status is ExitStatus.USAGE
    assert f"x.jsonl: {OTHERS[options]}; use the same model and options, or start again with --force" in done.err
    assert Path("x.jsonl").read_bytes() == straight
    assert parts() == []


BAD = [
    ("-o x.csv --resume", "--resume: csv does not record which recordings are done; write jsonl"),
    ("-o x.eaf --resume", "--resume: elan does not record which recordings are done"),
    ("--resume", "--resume needs an output file"),
    ("-o - --resume", "--resume needs an output file"),
    ("--skip-existing", "--skip-existing needs an output file"),
    ("-o /dev/null --resume", "/dev/null: not a regular file, which --resume needs"),
    ("-o x.jsonl --resume --force", "--resume continues an existing output; omit --force"),
    ("-o x.jsonl --skip-existing --force", "--skip-existing keeps existing outputs and --force overwrites them"),
    ("-o x.jsonl --output-dir x", "-o writes one file and --output-dir one file per recording"),
    ("--output-dir x --resume", "with --output-dir, use --skip-existing"),
    ("--output-dir many/01.wav", "--output-dir many/01.wav: is a file; give a folder"),
    ("-o " + "x" * 300 + ".csv", "cannot be written (File name too long); choose another file"),
    ("--output-dir many/01.wav/x", "--output-dir many/01.wav/x: cannot be created (Not a directory)"),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=[case[0] for case in BAD])
def test_what_does_not_go_together(here, args, message):
    done = audiocnn("detect", "many/00.wav", "-m", "tone", *args.split())
    assert done.status is ExitStatus.USAGE
    assert message in done.err and done.err.count("\n") == 1


FOREIGN = {
    "text": b"hello\nworld\n",
    "scores": b'{"schema":1,"type":"score","file":"a.wav","channel":0,"start":0.0,"end":0.02,"scores":{}}\n' * 2,
    "a newer schema": b'{"schema":2,"type":"file","file":"a.wav"}\n' * 2,
    "no settings": b'{"schema":1,"type":"file","file":"a","status":"ok","segments":0,"model":"tone"}\n',
    "one line": b'{"my":"precious"}\n',
    "one line without an end": b'{"my":"precious"}',
    "a record that is cut off, which no output is": b'{"schema":1,"type":"segment","file":"a',
}


@pytest.mark.parametrize("name", FOREIGN)
def test_an_output_that_is_no_such_thing_is_left_alone(here, name):
    Path("x.jsonl").write_bytes(FOREIGN[name])
    done = audiocnn(*DETECT, "--resume")
    assert done.status is ExitStatus.USAGE
    assert "x.jsonl: line 1 is not a record of `audiocnn detect`" in done.err or name == "no settings"
    assert "does not record the settings" in done.err or name != "no settings"
    assert Path("x.jsonl").read_bytes() == FOREIGN[name]
    assert parts() == []


def test_names_of_any_bytes_are_known_again(here, children):
    names = [b"x.\xff\xfe.wav", b"x.new\nline.wav", "x.größe \u2028.wav".encode(), b"x.'quote\".wav", b"-x.wav"]
    for name in names:
        write(Path("one.wav"), tone((0.2, 0.7)), RATE)
        Path("one.wav").rename(os.fsdecode(name))
    Path("list-x.txt").write_bytes(b"\0".join(names))
    args = ("detect", "-0", "--files-from", "list-x.txt", "-m", "tone", "-o", "x.jsonl")
    assert children.run(*args).status == 0
    whole = Path("x.jsonl").read_bytes()
    assert whole.count(b'"type":"file"') == len(names)
    again, done = opened_by(children, *args, "--resume")
    assert (again, done.status) == ([], ExitStatus.OK)
    assert Path("x.jsonl").read_bytes() == whole
    Path("-x.wav").unlink()


def test_standard_input_is_read_whatever_was_done(here, children, straight):
    Path("x.jsonl").write_bytes(straight)
    sound = Path("many/00.wav").read_bytes()
    done = audiocnn("detect", "-", *DETECT[2:], "--resume", stdin=sound)
    assert done.status is ExitStatus.OK
    assert files(Path("x.jsonl").read_bytes())[0] == "-"


PART = ".x.jsonl.audiocnn-part"


def left_by(children, number):
    """What a run leaves that is killed when so many recordings are finished."""
    assert children.run(*DETECT, hook=killed_at("output.Output", "commit", number + 1, KILL)).status == -9
    return Path(PART).read_bytes()


def test_what_is_done_is_kept_when_a_later_list_only_fails(here, children, straight):
    left_by(children, 3)
    done = children.run("detect", "gone", *DETECT[2:], "--resume")
    assert done.status == ExitStatus.USAGE
    assert "3 recordings were already in the output but not given this time; kept at the end" in done.err
    assert files(Path("x.jsonl").read_bytes()) == ["gone", "many/00.wav", "many/01.wav", "many/02.wav"]
    again, done = opened_by(children, *DETECT, "--resume")
    assert "many/02.wav" not in again and "many/03.wav" in again
    assert Path("x.jsonl").read_bytes() == straight


@pytest.mark.parametrize("content", [b'{"my":"precious"}', b"precious\n", b'{"schema":1,"type":"file"}\n'])
def test_a_part_that_holds_something_else_is_left_alone(here, content):
    Path(PART).write_bytes(content)
    done = audiocnn(*DETECT, "--resume")
    assert done.status is ExitStatus.USAGE
    assert f"{PART}: line 1 is not a record of `audiocnn detect`" in done.err
    assert Path(PART).read_bytes() == content


@pytest.mark.parametrize("end", [b"\0" * 500, b'{"sch', b'{"schema":1,"type":"segment","fi' + b"\0" * 9])
def test_what_a_power_failure_leaves_is_gone_on_with(here, children, straight, end):
    Path(PART).write_bytes(left_by(children, 3) + end)
    assert children.run(*DETECT, "--resume").status == ExitStatus.SOME_FAILED
    assert Path("x.jsonl").read_bytes() == straight


def test_an_output_of_somebody_else_is_not_replaced_by_a_part(here, children, straight):
    left = left_by(children, 3)
    Path("x.jsonl").write_text('{"my":"precious"}\n')
    done = children.run(*DETECT, "--resume")
    assert done.status == ExitStatus.USAGE
    assert "x.jsonl: line 1 is not a record of `audiocnn detect`" in done.err
    assert (Path("x.jsonl").read_text(), Path(PART).read_bytes()) == ('{"my":"precious"}\n', left)
    Path("x.jsonl").write_bytes(straight)
    done = children.run(*DETECT, "--resume")
    assert done.status == ExitStatus.USAGE
    assert f"x.jsonl: has recordings that are missing from {PART}, left by another run" in done.err
    assert (Path("x.jsonl").read_bytes(), Path(PART).read_bytes()) == (straight, left)


def test_what_appears_under_the_name_is_not_replaced_by_what_is_gone_on_with(here, children, straight):
    left_by(children, 3)
    hook = killed_at("atomic.PartFile", "publish", 1, "open('x.jsonl', 'w').write('mine')")
    done = children.run(*DETECT, "--resume", hook=hook)
    assert done.status == ExitStatus.USAGE
    assert (
        f"x.jsonl: another process created this file meanwhile, so it was not overwritten; the results are in {PART}"
        in done.err
    )
    assert (Path("x.jsonl").read_text(), Path(PART).read_bytes()) == ("mine", straight)


OVER = {
    "score": ("score", "many/00.wav", "-m", "tone", "-o", "x.jsonl"),
    "convert": ("convert", "straight.jsonl", "-o", "x.jsonl"),
}


@pytest.mark.parametrize("command", OVER)
def test_no_other_command_throws_away_what_detect_has_finished(here, children, straight, command):
    left = left_by(children, 3)
    done = audiocnn(*OVER[command])
    assert done.status is ExitStatus.USAGE
    assert f"-o x.jsonl: an interrupted run has left finished results in {PART}; continue with" in done.err
    assert Path(PART).read_bytes() == left and not Path("x.jsonl").exists()
    assert audiocnn(*OVER[command], "--force").status is ExitStatus.OK
    assert Path("x.jsonl").exists() and parts() == []


@pytest.mark.parametrize("name", [".x.csv.part", ".x.jsonl.part"])
def test_hidden_files_of_others_are_left_alone(here, name):
    Path(name).write_text("precious")
    assert audiocnn("detect", "many/00.wav", "-m", "tone", "-o", name[1:-5]).status is ExitStatus.OK
    assert Path(name).read_text() == "precious"


def test_standard_input_has_one_record_and_a_file_of_that_name_has_its_own(here, children):
    sound = [Path(f"many/0{number}.wav").read_bytes() for number in (0, 1)]
    Path("-").write_bytes(sound[1])
    try:
        assert audiocnn("detect", "-", "./-", *DETECT[2:], stdin=sound[0]).status is ExitStatus.OK
        first = Path("x.jsonl").read_text()
        assert files(first) == ["-", "./-"]
        again = audiocnn("detect", "-", "many/02.wav", "./-", *DETECT[2:], "--resume", stdin=sound[1])
        assert again.status is ExitStatus.OK
        assert files(Path("x.jsonl").read_text()) == ["-", "many/02.wav", "./-"]
        straight = audiocnn("detect", "-", "many/02.wav", "./-", "-m", "tone", stdin=sound[1])
        assert Path("x.jsonl").read_text() == straight.out
        failed = audiocnn("detect", "-", *DETECT[2:], "--resume", stdin=b"no audio")
        assert failed.status is ExitStatus.USAGE
        assert sorted(files(Path("x.jsonl").read_text())) == ["-", "-", "./-", "many/02.wav"], "the old one is kept"
    finally:
        Path("-").unlink()


# Signals while the output gets its name

TERM = "os.kill(os.getpid(), 15)"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "TextGrid"])
@pytest.mark.parametrize("point", ["publish", "sync"])
def test_a_signal_while_the_output_gets_its_name_waits_until_it_has_it(here, children, kind, point):
    args = ("detect", "many/00.wav", "-m", "tone", "-o")
    assert children.run(*args, f"straight-x.{kind}").status == 0
    done = children.run(*args, f"x.{kind}", hook=killed_at("atomic.PartFile", point, 1, TERM))
    assert (done.status, done.err) == (143, "")
    assert Path(f"x.{kind}").read_bytes() == Path(f"straight-x.{kind}").read_bytes()
    assert parts() == []


def test_a_signal_while_all_is_put_in_order_waits(here, children, straight):
    Path("x.jsonl").write_bytes(straight)
    names = [f"many/{number:02d}.wav" for number in reversed(range(FILES)) if number != 17]
    done = children.run("detect", *names, *DETECT[2:], "--resume", hook=killed_at("atomic.PartFile", "refill", 2, TERM))
    assert done.status == 143, done.err
    assert files(Path("x.jsonl").read_bytes()) == names


def test_a_second_signal_does_not_wait(here, children):
    hook = killed_at("atomic.PartFile", "publish", 1, f"args[0].file.flush(); {TERM}; {TERM}; time.sleep(30)")
    done = children.run("detect", "many/00.wav", "-m", "tone", "-o", "x.csv", hook=hook)
    assert done.status == -15
    assert Path(".x.csv.audiocnn-part").read_text().startswith("file,channel") and not Path("x.csv").exists()


# Two at once


HOLD = """
real = output.Output.commit
def holding(self):
    real(self)
    open("held-x.txt", "w").close()
    time.sleep(600)
output.Output.commit = holding
"""


def test_two_processes_do_not_write_one_output_and_the_dead_hold_nothing(folder, here, children, straight):
    other = Children(folder)
    job = {"args": [*DETECT], "hook": HOLD, "after": None, "signal": 9, "out": ".o", "err": ".e"}
    other.process.stdin.write(json.dumps(job | {"hook": "open('pid-x.txt', 'w').write(str(os.getpid()))\n" + HOLD}))
    other.process.stdin.write("\n")
    other.process.stdin.flush()
    while not Path("held-x.txt").exists():
        assert other.process.poll() is None
        time.sleep(0.02)
    for options in ((), ("--resume",), ("--force",)):
        done = children.run(*DETECT, *options)
        assert done.status == ExitStatus.USAGE
        assert "x.jsonl: another process is writing it; wait" in done.err
    os.kill(int(Path("pid-x.txt").read_text()), signal.SIGKILL)
    assert json.loads(other.process.stdout.readline())[0] == -9
    other.close()
    done = children.run(*DETECT, "--resume")
    assert done.status == ExitStatus.SOME_FAILED, done.err
    assert Path("x.jsonl").read_bytes() == straight


def test_what_appears_under_the_name_meanwhile_is_left_as_it_is(here, children, straight):
    hook = killed_at("atomic.PartFile", "publish", 1, "open('x.jsonl', 'w').write('mine')")
    done = children.run(*DETECT, hook=hook)
    assert done.status == ExitStatus.USAGE
    assert "x.jsonl: another process created this file meanwhile" in done.err
    assert "the results are in .x.jsonl.audiocnn-part" in done.err
    assert Path("x.jsonl").read_text() == "mine"
    assert Path(".x.jsonl.audiocnn-part").read_bytes() == straight


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_link_in_the_place_of_the_part_is_not_followed(here):
    Path("mine-x.txt").write_text("mine")
    Path(".x.jsonl.audiocnn-part").symlink_to("mine-x.txt")
    done = audiocnn(*DETECT)
    assert done.status is ExitStatus.USAGE
    assert re.fullmatch(r"audiocnn: error: -o x\.jsonl: cannot be written .*\n", done.err)
    assert Path("mine-x.txt").read_text() == "mine"
    Path(".x.jsonl.audiocnn-part").unlink()


def test_a_full_disk_keeps_what_was_finished(here, children, straight):
    hook = """
opened = resume.open_journal
class Full:
    def __init__(self, file):
        self.file, self.left = file, 20
    def __getattr__(self, name):
        return getattr(self.file, name)
    def write(self, content):
        self.left -= 1
        if not self.left:
            raise OSError(28, "No space left on device")
        return self.file.write(content)
def filling(out, *args):
    found = opened(out, *args)
    out.file = Full(out.file)
    return found
resume.open_journal = filling
"""
    done = children.run(*DETECT, hook=hook)
    assert done.status == ExitStatus.USAGE
    assert "-o x.jsonl: cannot be written (No space left on device); free some space" in done.err
    assert "finished results are kept in .x.jsonl.audiocnn-part" in done.err
    done = children.run(*DETECT, "--resume")
    assert done.status == ExitStatus.SOME_FAILED, done.err
    assert Path("x.jsonl").read_bytes() == straight


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), pytest.param(signal.SIGHUP, 143, marks=pytest.mark.long)],
)
def test_interrupted_it_stays_beside_and_is_gone_on_with(here, children, straight, number, status):
    stop = f"real(*args); os.kill(os.getpid(), {int(number)}); time.sleep(30)"
    done = children.run(*DETECT, hook=killed_at("output.Output", "commit", 9, stop))
    assert done.status == status, done.err
    assert "interrupted; finished results are kept in .x.jsonl.audiocnn-part; continue with --resume" in done.err
    assert not Path("x.jsonl").exists(), "what has the name has all"
    content = Path(".x.jsonl.audiocnn-part").read_bytes()
    assert straight.startswith(content) and len(files(content)) in (8, 9)
    assert children.run(*DETECT, "--resume").status == ExitStatus.SOME_FAILED
    assert Path("x.jsonl").read_bytes() == straight


@pytest.mark.long
@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_thousands_of_files_killed_after_most_of_them(tmp_path, tone_model, monkeypatch, count):  # noqa: F811
    sound = write(tmp_path / "one.wav", tone((0.2, 0.6), seconds=0.8), RATE).read_bytes()
    for number in range(count):
        path = tmp_path / "many" / f"{number % 7}" / f"{number:05d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound)
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    children = Children(tmp_path)
    assert children.run(*DETECT).status == ExitStatus.OK
    whole = Path("x.jsonl").read_bytes()
    Path("x.jsonl").unlink()
    done = 6 * count // 10
    assert children.run(*DETECT, hook=killed_at("output.Output", "commit", done + 1, KILL)).status == -9
    again, ended = opened_by(children, *DETECT, "--resume")
    assert (len(again), ended.status) == (count - done, ExitStatus.OK)
    assert Path("x.jsonl").read_bytes() == whole
    children.close()
