"""Compares the results of this working tree with those of an earlier commit, byte for byte.

python -m benchmarks.same_answers REVISION [--only NAME,...] [--long] [--list]

The commit is checked out into a temporary folder, and the working tree (all files that git does not ignore) is copied
beside it. Each check runs the same command on both, in separate processes and in folders with the same files. Exit
codes, standard output, standard error and all written files are compared. Each check prints a line:

- `same`: no byte differs; `but for ...` names parts that were removed first because they must differ: the folder of the
  tree, speeds and times (VARYING)
- `DIFFERENT`: with the first line, or byte, that differs
- `BROKEN`: the earlier commit did not end as the check expects, so its result shows nothing
- `skipped`: a required file is missing

The exit code is 1 if anything is DIFFERENT or BROKEN. The checks cover all output of the commands for the samples of
the project, the meetings of `../shared/data`, labels in every format, and wrong files and options.

With --long two trainings are also compared, by all files of the model folder, with weights bit for bit. If weights
differ, the largest difference of a score is reported:

- `data/recipes/speech_1d.toml` of each side with the changes of SHORTER: 2 epochs of 640 mixtures, only LibriSpeech and
  mod-sounds, taught by the released `speech_2d`, without the conditions for thresholds
- `train FOLDER` on every 9th recording of `../shared/data/digits`, 3 epochs

Every process has hash seed 0, one thread for matrix products, and a fixed number of jobs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MADE = "{made}"  # in arguments, the folder of the check, whose files are compared
OTHER_DETECTORS = ("speech_2d", "speech_music_noise")
MEETINGS = "../shared/data/meetings"  # seen from the folders that the commands run in
DIGITS = "../shared/data/digits"
EVERY_DIGIT = 9
MOST_SECONDS = 3600.0  # for one command
SHOWN = 160  # characters of a line that differs

# Parts that may differ between two runs of the same code and are removed. The folders of the two sides, whose names
# have the same length, are removed too.
VARYING = {
    "speed": re.compile(rb'"times_real_time": ?[\d.]+|[\d,.]+(?:x| times) real time'),
    # In model.toml, in its copy inside the ONNX file with the lengths before it, and in the card.
    "time of training": re.compile(
        rb"(?<=\n)seconds = [\d.]+(?=\ndevice = )|\d+ min(?= on \d+ thread)"
        rb"|r.{1,3}\n\x08audiocnn\x12.{1,3}(?=format = )",
        re.DOTALL,
    ),
}
SHORTER = (  # (pattern, replacement) in data/recipes/speech_1d.toml; each must fit once
    (r'^source = .*/shared/data"', 'source = "../shared/data"'),
    (r'^keep = \{.*\}', 'keep = { source = ["librispeech", "mod-sounds"] }'),
    (r'^epochs = .*$', "epochs = 2"),
    (r'^examples_per_epoch = .*$', "examples_per_epoch = 640"),
    (r'^\[evaluate\]\nconditions = .*$', ""),
)  # fmt: skip
SHORTER_WHERE_THERE = (
    (r'^teacher = "[^"]*"', 'teacher = "speech_2d"'),
    (r"^\[\[data\.more\]\]\n(?:.+\n)*", ""),  # a further source
)


class SameAnswersError(Exception):
    """Something cannot be compared, and the reason."""


@dataclass(frozen=True)
class Check:
    """A command to run on both sides.

    given: its standard input; ends: the exit code that it must have on the earlier commit, None: any; copied: a file or
    folder of the working folder that is put into MADE first; kept: of the files in MADE those to compare; needs: a path
    without which it is skipped; weights: of two models in MADE to say how much they differ.
    """

    arguments: tuple[str, ...]
    given: bytes = b""
    ends: int | None = 0
    copied: str = ""
    kept: str = "**/*"
    needs: str = ""
    weights: str = ""

    @property
    def title(self) -> str:
        return " ".join(self.arguments) or "(no arguments)"


Outcome = dict[str, bytes]
"""What came of a command: `exit code`, `standard output`, `standard error`, and each file by its path in MADE."""


@dataclass
class Processes:
    """The running processes, so that none outlives an interrupted comparison."""

    running: set[subprocess.Popen[bytes]] = field(default_factory=set)

    def run(self, command: Sequence[str], given: bytes, **options: Any) -> tuple[int, bytes, bytes]:
        """Exit code, standard output and standard error."""
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, **options) as process:
            self.running.add(process)
            try:
                out, error = process.communicate(given, timeout=MOST_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise SameAnswersError(f"{' '.join(command[2:])}: not done after {MOST_SECONDS:.0f} s") from None
            finally:
                self.running.discard(process)
        return process.returncode, out, error

    def stop(self) -> None:
        for process in list(self.running):
            process.kill()


@dataclass(frozen=True)
class Side:
    """One of the two trees in `home`/tree, and the working folder `home`/work of its commands."""

    home: Path
    processes: Processes

    @property
    def tree(self) -> Path:
        return self.home / "tree"

    @property
    def work(self) -> Path:
        return self.home / "work"

    def python(self, *arguments: str, given: bytes = b"") -> tuple[int, bytes, bytes]:
        """A process of this Python that imports this tree."""
        paths = [str(self.tree / part) for part in ("", "cli", "models")]
        fixed = {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONHASHSEED": "0",
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
            "COLUMNS": "100",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }
        return self.processes.run([sys.executable, *arguments], given, cwd=self.work, env=os.environ | fixed)

    def command(self, *arguments: str, given: bytes = b"") -> tuple[int, bytes, bytes]:
        return self.python("-m", "audiocnn_cli", *arguments, given=given)

    def lines(self, *arguments: str) -> list[str]:
        """The output of a command. Raises SameAnswersError if it fails."""
        status, out, error = self.command(*arguments)
        if status:
            raise SameAnswersError(f"{self.tree}: {' '.join(arguments)} ended with {status}: {last_line(error)}")
        return out.decode().splitlines()

    def run(self, check: Check, number: int) -> Outcome:
        """A check from its start to its end."""
        made = f"made/{number}"
        (self.work / made).mkdir(parents=True)
        if check.copied:
            source = self.work / check.copied
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, self.work / made / source.name)
        status, out, error = self.command(*(word.replace(MADE, made) for word in check.arguments), given=check.given)
        files = [path for path in sorted((self.work / made).glob(check.kept)) if path.is_file()]
        return {
            "exit code": str(status).encode(),
            "standard output": out,
            "standard error": error,
            **{path.relative_to(self.work / made).as_posix(): path.read_bytes() for path in files},
        }


@dataclass(frozen=True)
class Place:
    """Both sides, with the same files in their working folders."""

    old: Side
    new: Side

    def formats(self, command: str, option: str) -> list[str]:
        """The values of an option, as listed in the error for a wrong one, without `auto`."""
        status, _, error = self.old.command(command, "samples", option, "nonsense")
        listed = error.decode().partition("is not one of")[2].partition(";")[0]
        found = re.findall(r"'(\w+)'", listed)
        if not status or not found:
            raise SameAnswersError(f"{command} {option} nonsense: lists no formats: {last_line(error)}")
        return [name for name in found if name != "auto"]

    def networks(self) -> list[dict[str, Any]]:
        """Models and specs, as `models` lists them."""
        return [json.loads(line) for line in self.old.lines("models", "-f", "json")]

    def share(self, name: str) -> None:
        """Use a file made by the earlier commit as an input of both."""
        shutil.copytree(self.old.work / name, self.new.work / name)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("revision", metavar="REVISION", help="the earlier commit, such as HEAD~3")
    parser.add_argument("--only", metavar="NAME,...", help=f"some of: {', '.join(CHECKS)}; train is that of --long")
    parser.add_argument("--long", action="store_true", help="also compare two trainings; takes minutes")
    parser.add_argument("--list", action="store_true", help="list the checks")
    given = parser.parse_args(arguments)
    names = given.only.split(",") if given.only else [name for name in CHECKS if name != "train" or given.long]
    if unknown := sorted(set(names) - set(CHECKS)):
        parser.error(f"--only {','.join(unknown)}: there is no such name; there are {', '.join(CHECKS)}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that temporary files are removed
    begin = time.monotonic()
    try:
        with both_sides(given.revision) as place:
            checks = [check for name in names for check in CHECKS[name](place)]
            if given.list:
                print("\n".join(check.title for check in checks))
                return 0
            counts = compare(place, checks)
    except SameAnswersError as problem:
        print(f"same_answers: {problem}", file=sys.stderr)
        return 2
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    print(f"{len(checks)} checks against {given.revision}: {said}; {time.monotonic() - begin:.0f} s")
    return 1 if counts.keys() & {"DIFFERENT", "BROKEN"} else 0


@contextmanager
def both_sides(revision: str) -> Iterator[Place]:
    """The earlier commit and the working tree in a temporary folder, which is always removed."""
    git = ["git", "-C", str(ROOT)]
    processes = Processes()
    with tempfile.TemporaryDirectory(prefix="audiocnn-same-") as folder:
        old, new = (Side(Path(folder).resolve() / name, processes) for name in ("old", "new"))
        for side in (old, new):
            make_inputs(side)
        done = subprocess.run(
            [*git, "worktree", "add", "--detach", "--quiet", str(old.tree), revision],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SameAnswersError(f"{revision}: cannot be checked out: {last_line(done.stderr.encode())}")
        try:
            copy_tree(new.tree)
            for side in (old, new):
                check_imports(side)
            yield Place(old, new)
        finally:
            processes.stop()
            subprocess.run([*git, "worktree", "remove", "--force", str(old.tree)], check=False)


def copy_tree(target: Path) -> None:
    """The current working tree, without ignored files."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in sorted(set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0"))):
        source = ROOT / name
        if name and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def check_imports(side: Side) -> None:
    """Raises SameAnswersError if Python would not import the audiocnn of the tree."""
    names = "audiocnn, audiocnn_cli, audiocnn_models"
    status, out, error = side.python("-c", f"import {names}\nfor package in {names}: print(package.__file__)")
    paths = out.decode().split()
    if status or not all(Path(path).is_relative_to(side.tree) for path in paths):
        raise SameAnswersError(f"{side.tree}: is not what Python imports: {' '.join(paths) or last_line(error)}")


def compare(place: Place, checks: Sequence[Check]) -> dict[str, int]:
    """Run all checks on both sides and print a line for each. Returns the number of each verdict."""
    counts: dict[str, int] = {}
    executor = ThreadPoolExecutor(max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2))
    try:
        waiting = []
        for number, check in enumerate(checks):
            missing = check.needs and not (place.old.work / check.needs).exists()
            sides = () if missing else (place.old, place.new)
            waiting.append((number, check, [executor.submit(side.run, check, number) for side in sides]))
        for number, check, outcomes in waiting:
            if not outcomes:
                verdict, why = "skipped", f"{check.needs} is not there"
            else:
                verdict, why = judge(check, place, *(outcome.result() for outcome in outcomes))
            if verdict == "DIFFERENT" and check.weights:
                why += f"\n    {difference_of_models(place, f'made/{number}/{check.weights}')}"
            counts[verdict] = counts.get(verdict, 0) + 1
            print(f"{verdict:10} {check.title}{': ' if why else ''}{why}", flush=True)
            for side in (place.old, place.new):
                shutil.rmtree(side.work / "made" / str(number), ignore_errors=True)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        place.old.processes.stop()
        executor.shutdown()
    return counts


def judge(check: Check, place: Place, old: Outcome, new: Outcome) -> tuple[str, str]:
    """A verdict and an explanation."""
    if check.ends is not None and old["exit code"] != str(check.ends).encode():
        return "BROKEN", f"ends with {old['exit code'].decode()}: {last_line(old['standard error'])}"
    taken: set[str] = set()
    differences: dict[str, str] = {}
    for name in {**old, **new}:
        if name not in old or name not in new:
            differences[name] = f"{name}: only {'the earlier commit' if name in old else 'this tree'} wrote it"
            continue
        before, after = old[name], new[name]
        for what, without in normalisers(place):
            if before != after and (without(before), without(after)) != (before, after):
                before, after = without(before), without(after)
                taken.add(what)
        if before != after:
            differences[name] = f"{name}, {first_difference(before, after)}"
    if differences:
        first, *others = differences
        return "DIFFERENT", differences[first] + (f"\n    also different: {', '.join(others)}" if others else "")
    status = old["exit code"].decode()
    notes = [f"exit code {status}"] if status != "0" else []
    return "same", "; ".join(notes + ([f"but for the {' and the '.join(sorted(taken))}"] if taken else []))


def normalisers(place: Place) -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    """Functions that remove what may differ between two runs of the same code."""
    homes = [str(side.home).encode() for side in (place.old, place.new)]
    yield "folder of the tree", lambda data: data.replace(homes[0], b"HOME").replace(homes[1], b"HOME")
    for what, pattern in VARYING.items():
        yield what, partial(pattern.sub, b"")


def first_difference(old: bytes, new: bytes) -> str:
    """Where two outputs differ: a line of text, otherwise a byte."""
    try:
        texts = [data.decode().split("\n") for data in (old, new)]
    except UnicodeDecodeError:
        pairs = zip(old, new, strict=False)
        at = next((at for at, (x, y) in enumerate(pairs) if x != y), min(len(old), len(new)))
        return f"byte {at} of {len(old):,} and {len(new):,}"
    longest = max(map(len, texts))
    before, after = (text + ["(no such line)"] * (longest - len(text)) for text in texts)
    at = next(at for at in range(longest) if before[at] != after[at])
    begin = max(0, next(
        (i for i, (x, y) in enumerate(zip(before[at], after[at], strict=False)) if x != y), 0
    ) - SHOWN // 2)  # fmt: skip
    shown = [("..." if begin else "") + line[at][begin : begin + SHOWN] for line in (before, after)]
    return f"line {at + 1}:\n    - {shown[0]}\n    + {shown[1]}"


def last_line(text: bytes) -> str:
    """The last line that a process wrote to standard error."""
    return (text.decode("utf-8", "replace").strip().splitlines() or ["nothing was said"])[-1]


def difference_of_models(place: Place, model: str) -> str:
    """The difference between two models, with scores computed by the earlier commit."""
    import numpy as np

    folders = [side.work / model for side in (place.old, place.new)]
    for folder in folders:
        if not (folder / "model.onnx").is_file():
            return f"{folder}: there is no model"
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    scores = []
    for folder in folders:
        place.old.lines("score", "samples/walk.flac", "-m", str(folder), "-o", "scores.npz", "--force")
        with np.load(place.old.work / "scores.npz") as file:
            scores.append(file["scores"])
    said = "the weights are the same" if weights[0] == weights[1] else "the weights differ"
    if scores[0].shape != scores[1].shape:
        return f"{said}; scores of samples/walk.flac: {scores[0].shape} and {scores[1].shape}"
    return f"{said}; scores of samples/walk.flac: at most {np.abs(scores[0] - scores[1]).max():.2e} apart"


# Inputs


def make_inputs(side: Side) -> None:
    """Make the inputs in the working folder of a side: the samples, and many kinds of damaged recordings."""
    samples, bad = side.work / "samples", side.work / "bad"
    samples.mkdir(parents=True)
    for path in sorted((ROOT / "data" / "samples").glob("*")):
        if path.suffix in (".flac", ".wav", ".tsv"):
            shutil.copy2(path, samples)
    if (ROOT.parent / "shared").is_dir():
        (side.home / "shared").symlink_to(ROOT.parent / "shared")
    (bad / "folder").mkdir(parents=True)
    (bad / "folder" / "notes.txt").write_text("no sound\n")
    contents: dict[str, bytes | str] = {
        "empty.wav": b"",
        "text.wav": "this is text\n",
        "header.wav": wav_of([])[:20],
        "no_samples.wav": wav_of([]),
        "short.wav": wav_of([0.1, -0.1, 0.1]),
        "not_a_number.wav": wav_of([0.1, float("nan"), float("inf")] * 8000),
        "no_rate.wav": wav_of([0.1] * 8000, rate=0),
        "there.csv": "this stays\n",
        "names.txt": "samples/greeting.flac\nsamples/none.flac\n",
        "syntax.toml": "[input\nfeatures = 3\n",
        "key.toml": '[input]\nfeatures = "log_mel"\nsample_rat = 16000\n',
        "empty.toml": "",
        "recipe.toml": 'name = "x"\nspec = "speech_1d"\n[data]\nsource = "folder"\n[train]\nepoch = 3\n',
        "labels.rttm": "SPEAKER a 1 zero 1.0 <NA> <NA> x <NA> <NA>\n",
        "labels.jsonl": '{"schema":1,"type":"segment","file":"a.wav","start":2,"end":1,"label":"x"}\n',
        "labels.csv": "filename,labl\na.wav,x\n",
    }
    for name in ("telephone.wav", "greeting.flac"):
        if (samples / name).is_file():
            contents[f"half_{name}"] = (samples / name).read_bytes()[: (samples / name).stat().st_size // 2]
    for name, content in contents.items():
        (bad / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def make_models(place: Place) -> None:
    """Copies of `speech_1d` of the earlier commit: a complete one, to be exported again, and damaged ones."""
    source = place.old.tree / "models" / "audiocnn_models" / "speech_1d"
    for side in (place.old, place.new):
        if (side.work / "whole").exists():
            continue
        shutil.copytree(source, side.work / "whole")
        for name in ("model.toml", "model.onnx", "model.safetensors"):
            missing, cut = (side.work / "bad" / f"{what}_{name.partition('.')[2]}" for what in ("no", "cut"))
            shutil.copytree(source, missing)
            (missing / name).unlink()
            shutil.copytree(source, cut)
            os.truncate(cut / name, (cut / name).stat().st_size // 2)


def wav_of(samples: Sequence[float], rate: int = 16000) -> bytes:
    """A mono WAV file of 32-bit floats."""
    body = struct.pack(f"<{len(samples)}f", *samples)
    head = struct.pack("<HHIIHH", 3, 1, rate, 4 * rate, 4, 32)
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


# What is checked


def words(text: str, **options: Any) -> Check:
    """A check of a command line whose words contain no spaces."""
    return Check(tuple(text.split()), **options)


def check_help(place: Place) -> Iterator[Check]:
    """The help of all commands."""
    yield words("", ends=None)
    yield words("--version")
    yield words("--help")
    text = "\n".join(place.old.lines("--help")).partition("\nCommands:\n")[2].partition("\n\n")[0]
    yield from (words(f"{name} --help") for name in re.findall(r"^  (\w+)", text, re.MULTILINE))
    yield from (words(f"--show-completion {shell}") for shell in ("bash", "zsh", "fish"))


def check_detect(place: Place) -> Iterator[Check]:
    for name in place.formats("detect", "-f"):
        yield words(f"detect samples -j 2 -f {name}", ends=None)  # some hold only one recording
        yield words(f"detect samples -j 2 -f {name} --output-dir {MADE}")
        yield words(f"detect samples/stereo.flac -j 2 -f {name} --channel each")
    for model in OTHER_DETECTORS:
        yield words(f"detect samples -j 2 -m {model} -f jsonl")
    yield words("detect samples -j 1")
    rule = "--threshold 0.2 --neg-threshold 0.1 --min-speech 0.1 --min-silence 0.3 --pad 0.1 --max-speech 2"
    yield words(f"detect samples -j 2 {rule}")
    yield words(f"detect samples -j 2 -o {MADE}/found.csv -v")
    yield words(f"detect samples -j 2 -o {MADE}/found.jsonl --resume")
    yield words("detect samples --glob *.wav --exit-status")
    yield words("detect samples --shard 2/3")
    recording = (place.old.work / "samples" / "telephone.wav").read_bytes()
    yield words("detect -", given=recording)
    yield words("detect - --raw s16le --rate 8000", given=recording)
    yield words("detect - --raw s16le --rate 16000 --follow", given=recording)
    yield words("detect --files-from -", given=b"samples/greeting.flac\nsamples/storm.flac\n")
    yield words(f"detect {MEETINGS} -j 2 -f jsonl", needs=MEETINGS)


def check_score(place: Place) -> Iterator[Check]:
    for name in place.formats("score", "-f"):
        yield words(f"score samples -j 2 -f {name}", ends=None)  # an .npz holds one recording
        yield words(f"score samples -j 2 -f {name} --output-dir {MADE}")
        yield words(f"score samples/stereo.flac -j 2 -f {name} --channel each -o {MADE}/scores")
    for model in OTHER_DETECTORS:
        yield words(f"score samples -j 2 -m {model} -f npz --output-dir {MADE}")


def check_classify(place: Place) -> Iterator[Check]:
    for name in place.formats("classify", "-f"):
        yield words(f"classify samples -j 2 -f {name}")
        yield words(f"classify samples -j 2 -f {name} --every 1 -k 2")
    for model in ("digits", "commands", "speech_1d"):
        yield words(f"classify samples -j 2 -m {model}")
    yield words("classify samples/stereo.flac --channel each --threshold 0.9")


def check_describe(place: Place) -> Iterator[Check]:
    """Every spec and every model."""
    yield from (words(f"describe {net['name']} -f {name}") for net in place.networks() for name in ("table", "json"))
    yield words("describe conv_a_2d conv_a_pool_b_2d")
    yield words("describe alexnet --input 3x227x227 --classes 1000 -f table")


def check_models(place: Place) -> Iterator[Check]:
    yield from (words(f"models -f {name}") for name in ("table", "json"))


def check_filters(place: Place) -> Iterator[Check]:
    for model, name in product(("speech_1d", "speech_2d"), ("table", "json")):
        yield words(f"filters {model} -f {name} -j 2")
    yield words(f"filters speech_2d --group B --strongest samples -j 2 -o {MADE}/filters.png")


def check_convert(place: Place) -> Iterator[Check]:
    """From and to every format, with the results of the earlier commit for the samples."""
    formats = [name for name in place.formats("convert", "--to") if name != "table"]  # which is meant for people
    for name in formats:
        place.old.lines("detect", "samples", "-f", name, "--output-dir", f"labels/{name}")
    place.share("labels")
    for name in formats:
        yield words(f"convert labels/jsonl --to {name} --output-dir {MADE}")
        yield words(f"convert labels/{name} --from {name} --recordings samples --to jsonl")
        yield words(f"convert labels/{name} --recordings samples --to csv", ends=None)
    yield words("convert samples/segments.tsv --recordings samples --to rttm", ends=None)
    yield words(f"convert {MEETINGS} --to dcase", needs=MEETINGS)


def check_split(place: Place) -> Iterator[Check]:
    for name in place.formats("split", "-f"):
        yield words(f"split samples -f {name} --output-dir {MADE}")
    yield words(f"split samples --to flac --join --output-dir {MADE}/cuts -o {MADE}/cuts.csv")
    yield words(f"split samples --invert --channel each --output-dir {MADE}")
    yield words(f"split samples --labels samples/segments.tsv --only speech --output-dir {MADE}")


def check_evaluate(place: Place) -> Iterator[Check]:
    for name in ("table", "json"):
        yield words(f"evaluate samples/segments.tsv -j 2 -f {name}")
    models = " ".join(f"-m {name}" for name in ("speech_1d", *OTHER_DETECTORS))
    yield words(f"evaluate {MEETINGS} -j 2 -f json", needs=MEETINGS)
    yield words(f"evaluate {MEETINGS} -j 2 -f table {models} --resamples 100 --html {MADE}/r.html", needs=MEETINGS)
    copy_digits(place)
    more = f"--predictions {MADE}/answers.csv --html {MADE}/report.html --doubtful 5 --doubtful-to {MADE}/doubtful.tsv"
    yield words(f"evaluate clips -m digits -j 2 -f json {more}", needs="clips")


def check_others(place: Place) -> Iterator[Check]:
    """Datasets, thresholds, pictures, pages, and exported ONNX files."""
    make_models(place)
    yield words(f"ingest samples/segments.tsv -j 1 -o {MADE}/set --survey -f json")
    yield words("tune samples/segments.tsv -j 2 -f json")
    yield words(f"tune {MEETINGS} -j 2 -f table --for detection_cost", needs=MEETINGS)
    yield words(f"explain samples/greeting.flac -o {MADE}/why.png")
    for suffix, channel in product(("html", "png"), ("mix", "each")):
        yield words(f"plot samples/stereo.flac --channel {channel} -o {MADE}/plot.{suffix}")
    yield words(f"export {MADE}/whole -f json", copied="whole")
    yield words(f"ensemble speech_1d speech_2d -o {MADE}/both")
    yield words("runs samples", ends=None)


def check_bad(place: Place) -> Iterator[Check]:
    """Wrong files and options: exit codes and messages."""
    make_models(place)
    names = [f"bad/{name}.wav" for name in ("none", "empty", "text", "header", "no_samples", "short", "not_a_number")]
    names += ["bad/no_rate.wav", "bad/half_telephone.wav", "bad/half_greeting.flac", "bad/folder", "bad"]
    for command, name in product(("detect", "score", "classify"), names):
        yield words(f"{command} {name}", ends=None)
    lines = """
        detect | nonsense | detct samples | detect samples/greeting.flac --thresold 0.3 | detect samples -f cvs
        detect samples --threshold 2 | detect samples --threshold nan | detect samples --threshold much
        detect samples --threshold 0.3 --neg-threshold 0.5 | detect samples --min-speech -1
        detect samples --threshold music=0.5 | detect samples -j 0 | detect samples --channel 7
        detect samples -m nonesuch | detect samples --rate 3 | detect samples --shard 4/3 | detect samples --follow
        detect samples --device cuda:99 | detect samples --device gpu | detect samples -f textgrid
        detect samples -o bad/there.csv | detect samples -o bad/text.wav/found.csv | detect samples -o {made}/found.xyz
        detect samples -o bad/folder | detect samples --output-dir bad/text.wav | detect samples -o {made}/none/a.csv
        detect samples/greeting.flac bad/text.wav samples/storm.flac -o {made}/found.csv
        detect bad/text.wav samples/greeting.flac --strict | detect samples/no_speech.flac --exit-status --threshold 0.9
        detect --files-from bad/names.txt | detect --files-from bad/none.txt | detect - | score - | classify - | split -
        detect - --raw s16le | detect - --raw s12 --rate 8000 | score samples -f npz | score samples -f rttm
        classify samples -k 0 | split samples | split bad/text.wav --output-dir {made}/cuts
        split samples --output-dir {made}/cuts --labels bad/labels.rttm
        convert bad/none.rttm | convert bad/labels.rttm --to csv | convert bad/labels.jsonl --to csv
        convert bad/text.wav | convert bad/folder --to csv | convert - --to srt | convert labels --to table
        describe bad/syntax.toml | describe bad/key.toml | describe bad/empty.toml | describe bad/none.toml
        describe speech_1 | describe alexnet --input 3x1x1 | describe alexnet --input threefold | filters lenet5
        evaluate bad/folder | evaluate bad/labels.csv | evaluate bad/none | evaluate samples/segments.tsv -m digits
        train | train bad/none -o {made}/run | train bad/folder -o {made}/run
        train --recipe bad/recipe.toml -o {made}/run | train --recipe bad/syntax.toml -o {made}/run
        ingest bad/folder -o {made}/set | ingest samples/segments.tsv -o bad/text.wav
        tune samples/segments.tsv --for luck | runs bad/none | export nonesuch | export bad/cut_safetensors
        explain bad/text.wav -o {made}/why.png | explain samples/greeting.flac --label dog -o {made}/why.png
        plot bad/none.wav -o {made}/plot.png | plot samples/greeting.flac -o {made}/plot.xyz
        ensemble speech_1d digits -o {made}/both | ensemble speech_1d -o {made}/both
    """
    for line in (part.strip() for row in lines.splitlines() for part in row.split("|")):
        if line:
            yield words(line, ends=None)
    for what, name in product(("no", "cut"), ("toml", "onnx", "safetensors")):
        for command in ("detect samples/greeting.flac -m", "describe"):
            yield words(f"{command} bad/{what}_{name}", ends=None)


def check_train(place: Place) -> Iterator[Check]:
    copy_digits(place)
    for side in (place.old, place.new):
        recipe = side.tree / "data" / "recipes" / "speech_1d.toml"
        short = shortened(recipe.read_text(encoding="utf-8")).replace('"../marks/', f'"{side.tree}/data/marks/')
        (side.work / "speech_1d.toml").write_text(short, encoding="utf-8")
    run, model = f"-o {MADE}/run", "run/model"
    yield words(f"train --recipe speech_1d.toml {run} -q", needs=DIGITS, kept=f"{model}/*", weights=model)
    yield words(f"train clips --epochs 3 --seed 0 {run} -q", needs="clips", kept=f"{model}/*", weights=model)


def shortened(recipe: str) -> str:
    """The recipe of speech_1d, shortened to minutes. Raises SameAnswersError if SHORTER does not fit it."""
    for pattern, replacement in SHORTER:
        recipe, count = re.subn(pattern, replacement, recipe, flags=re.MULTILINE)
        if count != 1:
            raise SameAnswersError(f"data/recipes/speech_1d.toml: {count} lines fit {pattern}; mend SHORTER")
    for pattern, replacement in SHORTER_WHERE_THERE:
        recipe = re.sub(pattern, replacement, recipe, flags=re.MULTILINE)
    return recipe


def copy_digits(place: Place) -> None:
    """Some of the digits as the folder `clips` of both sides."""
    for side in (place.old, place.new):
        for folder in sorted((side.work / DIGITS).glob("*")) if not (side.work / "clips").exists() else []:
            (side.work / "clips" / folder.name).mkdir(parents=True)
            for path in sorted(folder.glob("*.wav"))[::EVERY_DIGIT]:
                shutil.copy2(path, side.work / "clips" / folder.name)


CHECKS: Mapping[str, Callable[[Place], Iterable[Check]]] = {
    "help": check_help,
    "models": check_models,
    "describe": check_describe,
    "detect": check_detect,
    "score": check_score,
    "classify": check_classify,
    "convert": check_convert,
    "split": check_split,
    "filters": check_filters,
    "evaluate": check_evaluate,
    "others": check_others,
    "bad": check_bad,
    "train": check_train,
}


if __name__ == "__main__":
    sys.exit(main())
