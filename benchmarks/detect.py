"""Compares the speed of `audiocnn detect` with other detectors and with the limits of the machine, on the same files.

python -m benchmarks.detect [--case NAME ...] [--runs 3] [--table docs/background/performance.md] [--again] [--list]

Measures whole processes unless a case says otherwise, on recordings made from real meetings. In each run of a case, the
contenders take turns (A B A B ...). A ratio compares two turns of the same run, and the table shows the median over the
runs. For contenders that are not installed, the table gives the reason; install them with
`pip install -c constraints.txt -e '.[bench]'`.

- If the command is killed, running it again resumes: each run of a case is a line of `results.jsonl`. Lines made with
  different code, weights, cores or length of the recordings are ignored.
- Nothing else should run meanwhile. The recordings are kept in `--sounds` (about 1 GB), except for the ten hours.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocnn.errors import AudiocnnError, UsageError
from audiocnn.units import clock
from benchmarks.detect_cases import CASES, Case, Place, Round
from benchmarks.detect_sounds import CLIPS, Sounds
from benchmarks.detect_table import to_markdown, write_page
from benchmarks.measuring import ROOT, usable_cores

SOURCES = ("audiocnn/**/*.py", "cli/**/*.py", "models/**/*.onnx", "benchmarks/detect*.py")


@dataclass(frozen=True)
class Settings:
    """What is measured, how often, and where the results are stored."""

    place: Place
    results: Path
    cases: tuple[Case, ...]
    runs: int = 3

    @property
    def log(self) -> Path:
        """A line for one run of a case."""
        return self.results / "results.jsonl"

    def runs_of(self, case: Case) -> int:
        """The number of runs of a case."""
        return min(self.runs, case.most_runs)

    def digest(self) -> str:
        """Of everything that determines the result."""
        content = hashlib.sha256(f"{self.place.cores} {self.place.sounds.seconds} {self.place.sounds.clips}".encode())
        for path in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
            content.update(path.read_bytes())
        return content.hexdigest()[:16]


def read_rounds(log: Path, digest: str) -> dict[str, list[Round]]:
    """The finished rounds by case. An incomplete line, left by a killed process, is ignored."""
    rounds: dict[str, list[Round]] = defaultdict(list)
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["digest"] == digest and record["case"] in CASES:
            rounds[record["case"]].append(record["figures"])
    return rounds


def write_round(log: Path, digest: str, case: Case, figures: Round) -> None:
    """Append a line; after an incomplete line, start a new one."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        start = "\n" if file.tell() else ""
        file.write(start + json.dumps({"case": case.name, "digest": digest, "figures": figures}))


def run_cases(settings: Settings, rounds: dict[str, list[Round]], say: Callable[[str], None]) -> int:
    """Measure what is missing, the first run of all cases before the second. Returns how many cases failed."""
    digest, failed = settings.digest(), set[str]()
    for number in range(settings.runs):
        for case in settings.cases:
            if case.name in failed or not len(rounds[case.name]) <= number < settings.runs_of(case):
                continue
            say(f"[{number + 1}/{settings.runs_of(case)}] {case.name}: {case.title}")
            begin = time.monotonic()
            try:
                figures = case.measure(settings.place)
            except AudiocnnError as problem:
                failed.add(case.name)
                say(f"  failed: {problem}")
                continue
            write_round(settings.log, digest, case, figures)
            rounds[case.name].append(figures)
            for name, figure in figures.items():
                say(f"  {name}: " + (f"{figure['seconds']:.3f} s" if "seconds" in figure else figure["missing"]))
            say(f"  {clock(time.monotonic() - begin)}")
    return len(failed)


def machine(cores: int) -> str:
    """A description of the machine, shown below the table."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{cores} core{'s' * (cores != 1)} ({name}), Python {platform.python_version()}"


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings from the command line."""
    if options.runs < 1 or options.seconds < 36 or options.clips < 1:
        raise UsageError("--runs and --clips must be at least 1, --seconds at least 36")
    sounds = Sounds(options.sounds / f"{options.seconds:g}", options.data / "meetings", options.seconds, options.clips)
    place = Place(sounds, options.data, usable_cores())
    return Settings(place, options.results, tuple(CASES[name] for name in options.case or CASES), options.runs)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description="The speed of `audiocnn detect`, beside its peers and its limits.")
    parser.add_argument("--case", nargs="+", metavar="NAME", choices=list(CASES), help="measure only these")
    parser.add_argument("--runs", type=int, default=3, help="runs per case; the table shows the median")
    parser.add_argument("--again", action="store_true", help="discard earlier results of these cases")
    parser.add_argument("--table", type=Path, metavar="PAGE", help="write the tables into this page")
    parser.add_argument("--no-measuring", action="store_true", help="only write the tables from existing results")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--seconds", type=float, default=3600.0, help="length of the hour")
    parser.add_argument("--clips", type=int, default=CLIPS, help="number of clips of one second")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder with `meetings`")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "detect", help="folder of the results")
    sounds = Path(tempfile.gettempdir()) / "audiocnn_benchmark"
    parser.add_argument("--sounds", type=Path, default=sounds, help="folder of the recordings that are made")
    return parser


def forget(log: Path, cases: Sequence[Case]) -> None:
    """Remove the results of these cases."""
    names = {case.name for case in cases}
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    kept = [line for line in lines if not any(f'"case": "{name}"' in line for name in names)]
    if lines:
        log.write_text("\n".join(kept), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.list:
        print("\n".join(f"{name:10} {case.title}" for name, case in CASES.items()))
        return 0
    try:
        settings = settings_of(options)
        if options.again:
            forget(settings.log, settings.cases)
        rounds = read_rounds(settings.log, settings.digest())
        failed = 0
        if not options.no_measuring:
            failed = run_cases(settings, rounds, lambda line: print(line, file=sys.stderr, flush=True))
        if options.table:
            write_page(options.table, rounds, machine(settings.place.cores))
        else:
            print(to_markdown(rounds, machine(settings.place.cores)))
    except AudiocnnError as problem:
        print(f"detect: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("detect: interrupted; run the same command again to resume", file=sys.stderr)
        return 130
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
