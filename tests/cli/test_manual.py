"""Every command in the documentation is accepted by the parser, and is run where possible.

Commands are the lines of indented and fenced blocks that call `audiocnn`, a module of the project, `pip` or `torchrun`.
`test_examples.py` has those of the help texts and of `how-to/pipelines.md`. The lessons of the tutorial are run from
the first line to the last. Other commands are run one by one, in a folder with the files that they name.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fixtures_cli import CODE, PATH, ROOT
from sounds import write

from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.main import COMMANDS, command_of

DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if page.name != "commands.md")
]  # fmt: skip
COMMAND = re.compile(
    r"(?:^|[|;&({] ?|then |\$ )"
    r"(?:audiocnn [a-z]|audiocnn --|python -m |python (?:examples|docs)/|pip |torchrun |mkdocs |printf )"
)
TOOLS = ("sox", "ffmpeg", "jq", "parallel", "make", "curl", "find", "script")

# What cannot be run here, and why. Its options are checked all the same; each line is one that the manual has.
NOT_RUN = {
    r"^pip ": "installs or removes packages; test_install.py does so in an environment of its own",
    r"^audiocnn review ": "serves a page until Ctrl-C",
    r"^arecord ": "needs a microphone",
    r"^ffmpeg .*\bURL\b": "needs a radio",
    r"(s3|gs|https)://": "needs the network",
    r"--ray auto": "needs a Ray cluster",
    r"torchrun": "needs several processes or machines; tests/training runs two",
    r"\.\./shared|data/recipes/(?!.*\.toml,)|benchmarks/networks\.toml": "needs the training recordings",
    r"^python -m (benchmarks|tests)\.": "takes minutes, and has a test of its own",
    r"\$< |^(?:[\d*/,-]+ ){5}": "of a Makefile or for cron; test_examples.py runs it",
    r"\[.*-o FILE \|": "says what may stand there, and is no command",
    r"^mkdocs ": "test_site.py runs it",
    r"^python docs/": "test_site.py checks what it writes",
    r"--data /mnt/": "names a folder of another machine",
    r"--against": "needs detectors of the bench extra",
    r"recordings/ (?:.*birds|--label-map)|train found\.jsonl|--learning-curve": "needs more labelled recordings than"
    " are made here",
}
# So that it is over in seconds: what a command is changed to before it is run. All else is run as it stands.
SUBSTITUTIONS = [
    (r"--minutes \d+ ?", ""),
    (r"(audiocnn train (?!.*(?:--dry-run|--overfit|--resume|--epochs)).*?)(?=\s+#|$)", r"\1 --epochs 1"),
    (r"(audiocnn train (?!.*--spec)\S+/.*?)(?=\s+#|$)", r"\1 --spec small.toml"),
    (r"(audiocnn train (?!.*(?: -o |--resume|--dry-run|--overfit)).*?)(?=\s+#|$)", r"\1 -o runs/new"),
    (r"(audiocnn search .*--trials )\d+", r"\g<1>2"),
    (r"--epochs 60", "--epochs 2"),
    (r"--folds \d+", "--folds 2"),
    (r"--overfit 8", "--overfit 2"),
    (r"--by source", ""),
    (r"--from speech_1d --freeze A (.*)--spec small.toml", r"--from runs/sounds --freeze A \1"),
]


def blocks(page):
    """The indented and fenced blocks of a page, without what stands before every line."""
    text = page.read_text(encoding="utf-8")
    indented = re.findall(r"(?m)(?:^(?: {4,}|\t).*\n(?:[ \t]*\n(?= {4}))?)+", text)
    fenced = re.findall(r"(?ms)^```(?:sh|bash|console)\n(.*?)^```$", text)
    return [*indented, *fenced]


def commands(page):
    """The commands of a page, one a logical line."""
    for block in blocks(page):
        for line in block.replace("\\\n", " ").splitlines():
            words = re.sub(r"^\$ ", "", " ".join(line.split()))
            if COMMAND.search(words) and not re.match(r"(audiocnn: |spec = |#)", words):
                yield words


ALL = [(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in dict.fromkeys(commands(page))]
IDS = [f"{page}: {line[:60]}" for page, line in ALL]


def reason_not_to_run(line):
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, line)), None)


OF_OTHER_TESTS = ("docs/tutorial/", "docs/how-to/pipelines.md")  # below, and in test_examples.py
RUN = [(page, line) for page, line in ALL if not reason_not_to_run(line) and not page.startswith(OF_OTHER_TESTS)]


def words_of(line):
    """The words of a line by command: those after a pipe, `;` or `&&` are another one."""
    bare = re.sub(r"\$\(.*?\)|\[[^]]*\]", "x", line.split(" # ")[0]) if "'" not in line else line
    lexer = shlex.shlex(bare, posix=True, punctuation_chars="|;&<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    found = [[]]
    for word in lexer:
        if set(word) <= set("|;&"):
            found.append([])
        else:
            found[-1].append(word)
    return found


@pytest.mark.parametrize(("page", "line"), ALL, ids=IDS)
def test_every_command_is_one_that_the_parser_takes(page, line):
    for words in words_of(line):
        words = words[1:] if words[:1] in (["if"], ["then"], ["srun"]) else words
        if words[:2] == ["pip", "install"]:
            check_extras(words)
        elif words[:2] == ["python", "-m"]:
            check_module(words)
        start = next((i for i, word in enumerate(words) if word == "audiocnn" or word == "audiocnn_cli"), None)
        if start is None or words[0] == "pip" or len(words) <= start + 1:
            continue
        name = words[start + 1]
        if name.startswith("--"):
            continue
        assert name in COMMANDS, f"{page}: there is no command {name}"
        known = options_of(name)
        used = [word for word in words[start + 2 :] if re.match(r"--?[a-zA-Z]", word)]
        assert [word for word in used if word.partition("=")[0] not in known] == [], f"{page}: {line}"


@functools.cache
def options_of(name):
    params = command_of(name).params
    return {"--help"}.union(*(param.opts + param.secondary_opts for param in params))


def check_extras(words):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in words:
        for extra in re.findall(r"^(?:audiocnn|\.)\[(\w+)\]$", word):
            assert extra in extras


def check_module(words):
    """A module of the project is there, and names the options in its text."""
    name = words[2]
    if name.split(".")[0] not in ("benchmarks", "data", "tests"):
        return
    path = ROOT / f"{name.replace('.', '/')}.py"
    text = path.read_text(encoding="utf-8")
    for option in (word for word in words[3:] if word.startswith("-")):
        assert f'"{option}"' in text or f'"{option}",' in text, f"{name} has no {option}"


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_what_is_not_run_is_in_the_manual(pattern):
    assert any(re.search(pattern, line) for _, line in ALL)


def test_most_commands_are_run():
    assert len(RUN) > 60


@pytest.mark.parametrize("number", range(len(SUBSTITUTIONS)))
def test_every_substitution_changes_a_command(number):
    before = [changed(line, SUBSTITUTIONS[:number]) for _, line in RUN]
    assert any(changed(line, SUBSTITUTIONS[number : number + 1]) != line for line in before)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with what the commands of the manual name, and a run trained in seconds."""
    here = tmp_path_factory.mktemp("world")
    program = tmp_path_factory.mktemp("bin") / "audiocnn"
    program.write_text(f"#!{sys.executable}\n{CODE}\n")
    program.chmod(0o755)
    for name in ("data", "examples", "benchmarks"):
        (here / name).symlink_to(ROOT / name)
    samples, rate = soundfile.read(ROOT / "data" / "samples" / "greeting.flac")
    for name in (
        "interview.wav", "recording.wav", "field.wav", "evening.wav", "seven.wav", "in.mp3", "interview.mp3", "a.wav",
        "archive/a.wav", "archive/x/b.flac", "archive/c.opus", "recordings/d.wav", "clips/e.wav", "clips/f.wav",
    ):  # fmt: skip
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate, **({"format": "OGG", "subtype": "OPUS"} if name.endswith("opus") else {}))
    write(here / "radio.flac", np.zeros(4300 * 1000, dtype=np.int16), 1000)
    (here / "field.pcm").write_bytes(bytes(6 * 48000))
    (here / "list.txt").write_text("interview.wav\nrecording.wav\n")
    make_clips(here)
    make_recipes(here)
    shell(here, program, "audiocnn detect interview.wav -o found.jsonl && cp found.jsonl interview.jsonl")
    for name in ("meetings", "mixtures", "annotations"):
        shutil.copytree(ROOT / "data" / "samples", here / name, ignore=shutil.ignore_patterns("*.py", "*.md"))
    shell(here, program, "audiocnn train sounds/ --spec small.toml --epochs 1 -o runs/sounds")
    shell(here, program, "audiocnn train --recipe speech.toml -o runs/speech")
    for name in ("birds", "mine", "digits", "lenet5", "a", "b", "c", "commands_edges", "quick"):
        shutil.copytree(here / "runs" / "sounds", here / "runs" / name)
    shutil.copytree(here / "runs" / "speech" / "model", here / "both")
    shutil.copytree(here / "runs" / "sounds.dataset", here / "sounds.dataset")
    shutil.copytree(here / "runs", here / "experiments")
    return here, program


def make_clips(here):
    """Folders of clips of two labels, and tables that name them."""
    generator = np.random.default_rng(0)
    for folder in ("sounds", "birds", "new_sounds", "digits", "words", "field"):
        for label, hertz in (("high", 2000), ("low", 300)):
            for number in range(24 if folder == "birds" else 8):  # enough to set some aside for a test
                times = np.arange(8000) / 16000
                tone = np.sin(2 * np.pi * hertz * generator.uniform(0.8, 1.2) * times) * 8000
                write(here / folder / label / f"{'ab'[number % 2]}na_{number}.wav", tone.astype(np.int16), 16000)
    rows = "".join(
        f"sounds/{label}/{'ab'[n % 2]}na_{n}.wav\t{label}\tr{n}\n" for label in ("high", "low") for n in range(8)
    )
    for name in ("labels.csv", "birds.csv"):
        (here / name).write_text("filename,label,recorder\n" + rows.replace("\t", ","))
    (here / "labels.tsv").write_text("filename\tlabel\trecorder\n" + rows)
    for name in ("doubtful-corrected.tsv", "doubtful.tsv"):
        (here / name).write_text("filename\tlabel\nhigh/ana_0.wav\tlow\n")
    (here / "corrections.csv").write_text("filename,label\nhigh/ana_0.wav,low\n")


def make_recipes(here):
    small = """summary = "small"
[input]
features = "log_mel"
mels = 16
[[groups]]
name = "A"
layers = [{ conv = 4, kernel = 3, activation = "relu" }]
[f]
window_seconds = 0.3
hop_seconds = 0.1
"""
    (here / "small.toml").write_text(small)
    (here / "mine.toml").write_text(small)
    (here / "speech.toml").write_text(
        """spec = "small.toml"
[data]
source = "meetings"
segments = "segments.tsv"
labels = ["speech"]
[mix]
seconds = 2.0
[train]
epochs = 1
examples_per_epoch = 32
validation_examples = 8
[tune]
"train.learning_rate" = { low = 3e-4, high = 1e-2, log = true }
"""
    )
    (here / "plain.toml").write_text('spec = "small.toml"\n[data]\nsource = "sounds"\n[train]\nepochs = 1\n')


def shell(here, program, line):
    environ = os.environ | {
        "PATH": f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": PATH,
        "SLURM_ARRAY_TASK_ID": "1", "OMP_NUM_THREADS": "1", "HOME": str(here),
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], cwd=here, env=environ, capture_output=True, text=True, timeout=600,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def missing_tools(line):
    return [tool for tool in TOOLS if re.search(rf"(?<![\w./-]){tool} ", line) and shutil.which(tool) is None]


def changed(line, substitutions=SUBSTITUTIONS):
    line = re.sub(r"\s# .*", "", line)
    for pattern, put in substitutions:
        line = re.sub(pattern, put, line)
    return line


@pytest.mark.long
@pytest.mark.parametrize("page", sorted({page for page, _ in RUN}))
def test_commands_of_the_manual_run(world, tmp_path, page):
    """Those of a page one after the other, in a copy of the folder."""
    here = tmp_path / "here"
    shutil.copytree(world[0], here, symlinks=True)
    failures = []
    for line in [changed(line) for where, line in RUN if where == page]:
        if missing := missing_tools(line):
            warnings.warn(f"not run, without {' and '.join(missing)}: {line}", stacklevel=1)
            continue
        if "--resume" not in line:
            remove_outputs(here, line)
        done = shell(here, world[1], line)
        if done.returncode != ExitStatus.OK:
            failures.append(f"{line}: {done.returncode}: {done.stderr[-300:]}")
    assert failures == []


def remove_outputs(here, line):
    """Nothing is overwritten unasked, and commands of a page may write to the same name."""
    made = re.findall(r"(?:-o|--output|--output-dir|--html|--predictions|--plot) (\S+)", line)
    for name in [*made, *["doubtful.tsv"] * line.startswith("audiocnn doubtful")]:
        if (here / name).is_dir():
            shutil.rmtree(here / name)
        elif name not in ("-", "$@"):
            (here / name).unlink(missing_ok=True)


def follow(world, project, lesson):
    """Run every command of a lesson as it stands, in a folder with what a clone has. What each printed."""
    project.mkdir()
    for name in ("data", "examples"):
        (project / name).symlink_to(ROOT / name)
    printed = {}
    for line in commands(DOCS / "tutorial" / lesson):
        if reason_not_to_run(line) or missing_tools(line):
            warnings.warn(f"not run: {line}", stacklevel=1)
            continue
        done = shell(project, world[1], line)
        assert done.returncode == ExitStatus.OK, f"{line}\n{done.stderr}"
        printed[line] = done.stdout
    for code in re.findall(r"(?ms)^```python\n(.*?)^```$", (DOCS / "tutorial" / lesson).read_text(encoding="utf-8")):
        done = shell(project, world[1], f"{sys.executable} -c {shlex.quote(code)}")
        assert done.returncode == 0, done.stderr
        printed[code] = done.stdout
    return printed


def labels_in(records):
    return [record["label"] for record in map(json.loads, records.splitlines()) if record["type"] == "segment"]


@pytest.mark.long
def test_the_lesson_on_an_archive(world, tmp_path):
    project = tmp_path / "project"
    printed = follow(world, project, "archive.md")
    assert len(printed) >= 10
    text = (DOCS / "tutorial" / "archive.md").read_text(encoding="utf-8")
    for line in (project / "segments.csv").read_text().splitlines()[:4]:
        assert f"    {line}\n" in text
    for line in printed["audiocnn detect data/samples/greeting.flac | cat"].splitlines():
        assert re.sub(r'"settings":"\w+"', "", line) in re.sub(r'"settings":"\w+"', "", text)
    assert len(list((project / "labels").rglob("*.TextGrid"))) == 6
    assert len(list((project / "cuts").rglob("*.wav"))) == 17


@pytest.mark.long
def test_the_lesson_on_own_sounds(world, tmp_path):
    project = tmp_path / "project"
    printed = follow(world, project, "own-sounds.md")
    assert len(printed) >= 8
    rows = (project / "doubtful.tsv").read_text().splitlines()[1:3]
    assert [row.split("\t")[:3] for row in rows] == [
        ["rain/take_e15.flac", "rain", "engine"], ["whistle/take_b07.flac", "whistle", "bell"]
    ]  # fmt: skip
    heard = ["knock", "bell", "engine", "whistle", "rain"]
    assert labels_in(printed["audiocnn detect -m runs/corrected evening.flac"]) == heard
    assert [line.split()[-1] for line in list(printed.values())[-1].splitlines()] == heard
