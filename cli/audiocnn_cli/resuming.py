"""--resume: what an earlier run finished is taken from its output, and the rest is done.

The part of the output is a journal: whole recordings in the order in which they were finished, by any number of runs.
When all are there they are brought into the order of the list, if they are not, and the output is that of one run.
"""

from __future__ import annotations

import dataclasses
import json
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zlib import crc32  # quick to import; it tells changes, and nobody is to be kept out

from audiocnn.errors import UsageError
from audiocnn.filenames import show_name
from audiocnn_cli.inputs import STDIN_NAMES, Input
from audiocnn_cli.records import SEGMENT_HEAD, has_file_record, is_torn, name_of, record_of

if TYPE_CHECKING:
    from audiocnn.detection import DetectSettings
    from audiocnn.model import Model
    from audiocnn.pcm import RawFormat
    from audiocnn_cli.output import Output


@dataclass(frozen=True, slots=True)
class Group:
    """The records of a recording that is done: from where to where in the file, in bytes, and how many segments, or
    clips that have a label."""

    start: int
    end: int
    segments: int


@dataclass(frozen=True)
class Made:
    """What findings were made with: the records of an output must agree in it.

    kind: what is found in a recording. "segments" and "clips" have a `file` record behind them; a "clip" stands alone.
    """

    model: str
    settings: str
    kind: str = "segments"

    @property
    def command(self) -> str:
        """Which command writes it."""
        return "detect" if self.kind == "segments" else "classify"

    @property
    def types(self) -> tuple[str, ...]:
        """The records that it writes, besides `segment`."""
        return {"segments": ("file", "error"), "clip": ("clip", "error"), "clips": ("clip", "file", "error")}[self.kind]

    def is_part(self, record: dict[str, Any]) -> bool:
        """Whether more of the same recording follows."""
        return self.kind == "clips" and record["type"] == "clip" and "settings" not in record

    def is_whole(self, record: dict[str, Any], parts: int) -> bool:
        """Whether a recording is done with this record, behind so many others of it."""
        if record["type"] == "clip":
            return bool(record.get("status", "ok") == "ok")
        return bool(record["type"] == "file" and record.get("status") == "ok" and record.get(self.kind) == parts)

    def check(self, record: dict[str, Any], place: str) -> None:
        """UsageError for a `file` record that was made otherwise."""
        told = record.get("model"), record.get("settings")
        if told == (self.model, self.settings):
            return
        if told[0] != self.model:
            why = f"was made with the model {told[0]}, not {self.model}"
        elif told[1] is None:
            why = "does not say with which settings it was made"
        else:
            why = "was made with another model file, other thresholds or other options"
        raise UsageError(f"{place}: {why}; give the same as then, or begin anew with --force")


def made_with(model: Model, settings: DetectSettings, raw: RawFormat | None) -> Made:
    """What segments are made with."""
    rules = {label: dataclasses.asdict(rule) for label, rule in settings.rules(model).items()}
    return Made(model.name, sum_of_settings(model, [rules, settings.channel], raw))


def sum_of_settings(model: Model, settings: list[Any], raw: RawFormat | None) -> str:
    """A short sum of all that findings depend on besides the recording: the files of the model, the rules and the
    channel in `settings`, what raw samples are, and the version of the program."""
    from audiocnn import __version__
    from audiocnn.model import ONNX, TOML, WEIGHTS

    raw_facts = None if raw is None else dataclasses.asdict(raw)
    total = crc32(json.dumps([__version__, *settings, raw_facts], sort_keys=True).encode())
    network = ONNX if (model.folder / ONNX).is_file() else WEIGHTS
    for name in (TOML, network):
        path = model.folder / name
        total = crc32(path.read_bytes() if path.is_file() else b"", total)
    return f"{total:08x}"


def read_groups(file: IO[bytes], place: str, made: Made, torn: bool) -> dict[str, deque[Group]]:
    """Recordings that a file of JSON Lines has whole, by name, in its order. One that failed or is damaged is not done.
    UsageError: something else stands there, or it was made otherwise. torn: its last record may be cut off.
    """
    groups: dict[str, deque[Group]] = {}
    start = at = parts = found = 0
    for number, line in enumerate(file, 1):
        at += len(line)
        if made.kind == "segments" and line.startswith(SEGMENT_HEAD) and line.endswith(b"}\n"):
            parts, found = parts + 1, found + 1
            continue
        record = record_of(line)
        if record is None or record["type"] not in made.types:
            if torn and is_torn(line):
                break
            raise UsageError(
                f"{place}: line {number} is no record of `audiocnn {made.command}`; name another file, or begin anew "
                "with --force"
            )
        found += record["type"] == "clip" and record.get("label") is not None
        if made.is_part(record):
            parts += 1
            continue
        if made.is_whole(record, parts):
            made.check(record, place)
            groups.setdefault(name_of(record), deque()).append(Group(start, at, found))
        start, parts, found = at, 0, 0
    return groups


class Journal:
    """What is done, and where in the part it stands. `wanted` is called by who reads, the rest by who writes."""

    def __init__(self, output: Output, groups: dict[str, deque[Group]]) -> None:
        self.output, self.groups = output, groups
        self.segments = sum(group.segments for same in groups.values() for group in same)
        self.waiting: deque[Group | None] = deque()  # in the order of the list: kept, or None: to be done
        self.order = array("q")  # start and end of each recording, in the order of the list

    def wanted(self, inputs: Iterable[Input]) -> Iterator[Input]:
        """The recordings that are not done."""
        for one in inputs:
            same = self.groups.get(one.name) if one.name not in STDIN_NAMES else None
            if same:
                self.waiting.append(same.popleft())
            else:
                self.waiting.append(None)
                yield one

    def supersede(self, name: str) -> None:
        """It is done anew, as standard input always is; what was kept of it is of something else."""
        if name in STDIN_NAMES:
            self.groups.pop(name, None)

    @property
    def unnamed(self) -> int:
        """How many are done that were not in the list, when it is over."""
        return sum(map(len, self.groups.values()))

    def turn(self) -> None:
        """It is the turn of a recording to be written: those before it in the list have their places."""
        while (group := self.waiting.popleft()) is not None:
            self.place(group.start, group.end)

    def place(self, start: int, end: int) -> None:
        """The next recording of the list stands here."""
        self.order.extend((start, end))

    def finish(self) -> None:
        """Bring everything into order. What was kept and not named this time is not lost: it comes at the end."""
        unnamed = sorted((group for same in self.groups.values() for group in same), key=lambda group: group.start)
        for group in [*(group for group in self.waiting if group is not None), *unnamed]:
            self.place(group.start, group.end)
        self.waiting.clear()
        self.groups.clear()
        spans = joined(self.order)
        if spans != [(0, self.output.whole)]:
            self.output.rearrange(spans)


def joined(order: array[int]) -> list[tuple[int, int]]:
    """Stretches, (start, end), with those that touch as one."""
    spans: list[tuple[int, int]] = []
    for start, end in zip(order[::2], order[1::2], strict=True):
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def open_journal(output: Output, path: Path, made: Made, resume: bool, force: bool) -> Journal:
    """The journal in the part of an output: of what an earlier run left there, or of the output itself, with --resume;
    else a new one. UsageError where that run left something and nothing says what is to become of it."""
    part = output.part
    assert part is not None
    groups: dict[str, deque[Group]] = {}
    if resume:
        groups = read_both(output, path, made)
    else:
        if part.size and not force and has_file_record(part.file):
            raise UsageError(
                f"-o {show_name(path)}: a run that was cut off has left what it finished; "
                "go on with --resume, or begin anew with --force"
            )
        output.cut(0)
    output.keep = bool(groups)
    return Journal(output, groups)


def read_both(output: Output, path: Path, made: Made) -> dict[str, deque[Group]]:
    """What is done, as the part has it, which has all that the output has. UsageError where one is none of ours."""
    part = output.part
    assert part is not None
    left = part.size > 0
    groups = read_groups(part.file, show_name(part.path), made, torn=True) if left else {}
    if path.is_file():
        with path.open("rb") as file:
            there = read_groups(file, show_name(path), made, torn=False)
            if left:
                check_both(groups, there, show_name(path), show_name(part.path))
            else:
                groups = there
                part.refill(file, [(0, end_of(there))])
                output.moved()
        output.replace = True
    if left:
        output.cut(end_of(groups))
    return groups


def check_both(groups: dict[str, deque[Group]], there: dict[str, deque[Group]], path: str, part: str) -> None:
    """UsageError where an output has recordings that the part does not: they come from two runs."""
    if any(len(same) > len(groups.get(name, ())) for name, same in there.items() if name not in STDIN_NAMES):
        raise UsageError(
            f"{path}: has recordings that {part} does not have, which another run left; give one of them another name"
        )


def end_of(groups: dict[str, deque[Group]]) -> int:
    """Where the last of them ends, in bytes."""
    return max((group.end for same in groups.values() for group in same), default=0)
