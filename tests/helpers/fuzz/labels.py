"""Reads damaged annotation files with every reader: the result is annotations or a LabelError of one line. Annotations
can be written in another format, and `audiocnn convert` converts the intact file among them.

python -m tests.helpers.fuzz.labels --count 5000 --seed 0
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from audiocnn.errors import LabelError
from audiocnn.labels.convert import segment_problem
from audiocnn.labels.formats import FORMATS, format_writer, label_format, read_labelled_recordings, read_labels
from audiocnn.labels.formats.base import LabelledRecording
from audiocnn.segments.segment import Segment
from tests.helpers.fuzz.mutating import mutant, pick

ROOT = Path(__file__).resolve().parents[3]
CODE = "import sys; from audiocnn_cli.main import run; sys.exit(run())"
BATCH = 250  # files per call of `audiocnn convert`
MOST_SECONDS, MOST_BYTES = 5.0, 1 << 30
RAVEN_HEAD = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"

# Files as other programs write them. All formats are also included as audiocnn writes them.
OTHERS = {
    "rttm": ";; made by hand\nSPKR-INFO a 1 <NA> <NA> <NA> unknown ann <NA> <NA>\nSPEAKER a 1 0.5 1.25 <NA> <NA> ann\n",
    "audacity": "0.500000\t1.750000\tdog bark\n\\\t100.000000\t200.000000\n2.0\t2.0\t\n",
    "dcase": "a.wav\t0.5\t1\tdog\na.wav\t2\t3\tcat\n",
    "raven": f"{RAVEN_HEAD}\tCommon Name\tConfidence\tBegin Path\tFile Offset (s)\n"
    "1\tSpectrogram 1\t1\t63.0\t66.0\t0\t15000\tGreat Tit\t0.8123\t/d/b.wav\t3.0\n",
    "kaldi": "ann-0001 rec1 0.50 1.25\nann-0002 rec1 2 3 1\n",
    "lhotse": '[\n {"id": "a-1", "recording_id": "a", "start": 0.5, "duration": 1.25, "channel": [0, 1]},\n'
    ' {"id": "a-2", "recording_id": "a", "start": 2, "duration": 1, "channel": 0, "speaker": "ann"}\n]\n',
    "nemo": '{"audio_filepath": "a.wav", "duration": 0.63, "label": "background", "text": "_", "offset": null}\n',
    "srt": "\ufeff1\n00:00:01,250 --> 00:00:03,500\n<i>Hello</i>\nthere\n\n2\n00:00:04,000 --> 00:00:05,000\nWorld\n",
    "vtt": "WEBVTT - a\n\nNOTE b\n\nintro\n00:01.250 --> 00:03.500 align:start\n<v Ann>Hello &amp; bye\n\n",
    "textgrid": 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2.3\n<exists>\n2\n"IntervalTier"\n"Ann"\n0\n'
    '2.3\n2\n0\n1\n""\n1\n2.3\n"say ""hi"""\n"TextTier"\n"bell"\n0\n2.3\n1\n1.5\n"ding"\n',
    "elan": '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT AUTHOR="" DATE="2020-01-01T00:00:00Z">\n'
    '<HEADER TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/a%20b.wav" TIME_ORIGIN="9"/></HEADER>\n'
    '<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="780"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1590"/>\n'
    '<TIME_SLOT TIME_SLOT_ID="ts3"/></TIME_ORDER>\n<TIER TIER_ID="K-Spch"><ANNOTATION>\n<ALIGNABLE_ANNOTATION '
    'ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2"><ANNOTATION_VALUE>so</ANNOTATION_VALUE>\n'
    "</ALIGNABLE_ANNOTATION></ANNOTATION></TIER></ANNOTATION_DOCUMENT>\n",
}  # fmt: skip


@dataclass
class Figures:
    """Outcomes of the files. parsed: by format, the number that still gave annotations."""

    count: int = 0
    by_format: collections.Counter[str] = field(default_factory=collections.Counter)
    parsed: collections.Counter[str] = field(default_factory=collections.Counter)
    written: int = 0  # of the parsed files, the number that could be written in another format
    converted: int = 0  # files given to `audiocnn convert`
    slowest_seconds: float = 0.0  # CPU time of the slowest file
    wrong: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The share of files that can still be parsed."""
        return self.parsed.total() / max(1, self.count)

    @property
    def most_bytes(self) -> int:
        """The peak memory of this process and its children."""
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024

    def lines(self) -> str:
        """The figures as lines of text."""
        shares = ", ".join(f"{one} {self.parsed[one] / n:.0%}" for one, n in sorted(self.by_format.items()))
        return (
            f"{self.count} files: {self.share:.0%} still parse ({shares}); {self.written} written in another format; "
            f"{self.converted} through audiocnn convert; slowest {self.slowest_seconds:.2f} s; "
            f"most memory {self.most_bytes / 1e6:.0f} MB; {len(self.wrong)} wrong\n"
            + "".join(f"  wrong: {one}\n" for one in self.wrong)
        )


def seeds():
    """[(format, bytes)] of intact files."""
    tracks = {0: (Segment(0.5, 1.75, "speech", 0.9321), Segment(2.0, 3.0, "dog bark", 0.5))}
    both = {**tracks, 1: (Segment(1.0, 2.5, 'a "b" <c> %20\té', 0.75),)}
    found = [
        LabelledRecording("d/a b.wav", both, 10.0, 44100, 2, "speech_1d", {"speech": 0.5, "dog bark": 0.4}),
        LabelledRecording("-c\udcff.flac", tracks, 3.5, 16000, 1, "speech_1d", {"speech": 0.5}),
    ]
    made = [(name, text.encode()) for name, text in OTHERS.items()]
    for name, one in FORMATS.items():
        for some in [found] if one.many else [[found[0]], [found[1]]]:
            writer = format_writer(name)
            text = writer.begin() + "".join(writer.recording(recording) for recording in some) + writer.end()
            made.append((name, text.encode("utf-8", "surrogateescape")))
    packed = next(data for name, data in reversed(made) if name == "lhotse")
    return [*made, ("lhotse", gzip.compress(packed))]


def fuzz(count, seed, folder, kept=None):
    """Make `count` mutants and read each, and in batches also with the command."""
    random, figures = np.random.default_rng(seed), Figures()
    signal.signal(signal.SIGPROF, _too_long)
    made = seeds()
    others = [data for _, data in made]
    for start in range(0, count, BATCH):
        paths = []
        for at in range(start, min(start + BATCH, count)):
            name, data = pick(made, random)
            path = folder / f"{at:06d}-{name}{pick(FORMATS[name].suffixes, random)}"
            path.write_bytes(mutant(data, others, random))
            paths.append(path)
            before = len(figures.wrong)
            try_file(path, name, random, figures)
            if len(figures.wrong) > before:
                keep(path, kept)
        convert_all(paths, folder, figures)
        for path in paths:
            path.unlink()
    return figures


def try_file(path, name, random, figures):
    """Read a file in its original format and in the detected format; then write it in another format."""
    figures.count += 1
    figures.by_format[name] += 1
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, 2 * MOST_SECONDS)
    try:
        figures.parsed[name] += judge(path, name, random, figures)
        judge(path, label_format(path), random, figures)
    except LabelError as problem:
        check_line(problem, path, figures)
    except BaseException as problem:  # noqa: BLE001 - whatever it is, it is what we look for
        figures.wrong.append(f"{path.name}: {type(problem).__name__}: {str(problem)[:200]}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - begun
    figures.slowest_seconds = max(figures.slowest_seconds, seconds)
    if seconds > MOST_SECONDS:
        figures.wrong.append(f"{path.name}: took {seconds:.1f} s")


def judge(path, name, random, figures):
    """Whether a file can be read in a format. All errors except LabelError are raised."""
    try:
        found = read_labelled_recordings(path, name)
        read_labels(path, name)
    except LabelError as problem:
        check_line(problem, path, figures)
        return False
    if any(segment_problem(segment) for one in found for segment in one.segments):
        return True
    other = pick(list(FORMATS), random)
    writer = format_writer(other)
    writer.begin()
    for one in found if FORMATS[other].many else found[:1]:
        writer.recording(one).encode("utf-8", "surrogateescape")
    writer.end()
    figures.written += 1
    return True


def check_line(problem, path, figures):
    """Check that a message is one line that begins with the place."""
    if not str(problem).isprintable() or path.name not in str(problem):
        figures.wrong.append(f"{path.name}: a message that is not one line with the place: {str(problem)[:200]!r}")


def convert_all(paths, folder, figures):
    """Convert all files in one call, the last of which is intact. It is converted, and each other file is reported in
    one line."""
    good, made = folder / "good.rttm", folder / "made.jsonl"
    good.write_text("SPEAKER good-one 1 0.5 1.25 <NA> <NA> speech <NA> <NA>\n")
    environ = {**os.environ, "PYTHONPATH": ":".join(str(ROOT / one) for one in ("", "cli", "models"))}
    names = [str(path) for path in (*paths, good)]
    command = [sys.executable, "-c", CODE, "convert", *names, "--to", "jsonl", "-o", str(made), "--force"]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, check=False, timeout=300)
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode not in (0, 3) or re.search("Traceback|audiocnn: internal error", said):
        figures.wrong.append(f"audiocnn convert: exit {done.returncode}: {said[-300:]}")
        return
    records = [json.loads(line) for line in made.read_bytes().split(b"\n") if line]
    if not any(record["file"] == "good-one" and record["type"] == "segment" for record in records):
        figures.wrong.append(f"audiocnn convert: the good file is not done among {paths[0].name} and on")
    figures.converted += len(paths)


def keep(path, kept):
    """Keep a file for inspection by hand."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        (kept / path.name).write_bytes(path.read_bytes())


def main():
    """Print the figures; exit code 1 if something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for files that go wrong")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = fuzz(given.count, given.seed, Path(folder), given.keep)
    if figures.most_bytes > MOST_BYTES:
        figures.wrong.append(f"{figures.most_bytes / 1e6:.0f} MB of memory")
    sys.stdout.write(figures.lines())
    return 1 if figures.wrong else 0


def _too_long(*_):
    raise TimeoutError("does not end")


if __name__ == "__main__":
    sys.exit(main())
