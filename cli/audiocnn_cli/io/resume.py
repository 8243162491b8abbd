"""--resume: what an earlier run finished is taken from its output, and the rest is done.

The part of the output is a journal: whole recordings in the order in which they were finished, by any number of runs.
When all are there they are brought into the order of the list, if they are not, and the output is that of one run.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from audiocnn.errors import UsageError, show_name
from audiocnn_cli.io.inputs import STDIN_NAMES, Input
from audiocnn_cli.io.records import SEGMENT_HEAD, has_file_record, is_torn, parse_record, parse_recording_name

if TYPE_CHECKING:
    from audiocnn_cli.io.output import Output


@dataclass(frozen=True, slots=True)
class RecordGroup:
    """The records of a recording that is done: from where to where in the file, in bytes, and how many segments, or
    clips that have a label."""

    start: int
    end: int
    segments: int


class OtherSettingsError(UsageError):
    """Results that were made with another model, or with other settings."""


@dataclass(frozen=True)
class Provenance:
    """What results were made with: the records of an output must agree in it. settings: a digest of all that they
    depend on besides the recording and the name of the model.

    kind: what is found in a recording. "segments" and "clips" have a `file` record behind them; a "clip" stands alone.
    """

    model: str
    settings: str
    kind: str = "segments"

    @property
    def command(self) -> str:
        return "detect" if self.kind == "segments" else "classify"

    @property
    def types(self) -> tuple[str, ...]:
        """The types of records that the command writes, besides `segment`."""
        return {"segments": ("file", "error"), "clip": ("clip", "error"), "clips": ("clip", "file", "error")}[self.kind]

    def is_part(self, record: dict[str, Any]) -> bool:
        """Whether more records of the same recording follow."""
        return self.kind == "clips" and record["type"] == "clip" and "settings" not in record

    def is_whole(self, record: dict[str, Any], parts: int) -> bool:
        """Whether a recording is done with this record, behind so many others of it."""
        if record["type"] == "clip":
            return bool(record.get("status", "ok") == "ok")
        return bool(record["type"] == "file" and record.get("status") == "ok" and record.get(self.kind) == parts)

    def check(self, record: dict[str, Any], place: str) -> None:
        """UsageError for a record that was made otherwise."""
        told = record.get("model"), record.get("settings")
        if told == (self.model, self.settings):
            return
        if told[0] != self.model:
            why = f"was made with the model {told[0]}, not {self.model}"
        elif told[1] is None:
            why = "does not say with which settings it was made"
        else:
            why = "was made with another model file, other thresholds or other options"
        raise OtherSettingsError(f"{place}: {why}; give the same as then, or begin anew with --force")


def read_record_groups(
    file: IO[bytes], place: str, provenance: Provenance, torn: bool
) -> dict[str, deque[RecordGroup]]:
    """Recordings that a file of JSON Lines has whole, by name, in its order. One that failed or is damaged is not done.
    UsageError: something else stands there, or it was made otherwise. torn: its last record may be cut off.
    """
    groups: dict[str, deque[RecordGroup]] = {}
    start = at = parts = found = 0
    for number, line in enumerate(file, 1):
        at += len(line)
        if provenance.kind == "segments" and line.startswith(SEGMENT_HEAD) and line.endswith(b"}\n"):
            parts, found = parts + 1, found + 1
            continue
        record = parse_record(line)
        if record is None or record["type"] not in provenance.types:
            if torn and is_torn(line):
                break
            raise UsageError(
                f"{place}: line {number} is no record of `audiocnn {provenance.command}`; name another file, or begin "
                "anew with --force"
            )
        found += record["type"] == "clip" and record.get("label") is not None
        if provenance.is_part(record):
            parts += 1
            continue
        if provenance.is_whole(record, parts):
            provenance.check(record, place)
            groups.setdefault(parse_recording_name(record), deque()).append(RecordGroup(start, at, found))
        start, parts, found = at, 0, 0
    return groups


class Journal:
    """What is done, and where in the part it stands. `wanted` is called by who reads, the rest by who writes."""

    def __init__(self, output: Output, groups: dict[str, deque[RecordGroup]]) -> None:
        self.output, self.groups = output, groups
        self.segments = sum(group.segments for same in groups.values() for group in same)
        self.waiting: deque[RecordGroup | None] = deque()  # in the order of the list: kept, or None: to be done
        self.order = array("q")  # start and end of each recording, in the order of the list

    def wanted(self, inputs: Iterable[Input]) -> Iterator[Input]:
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
        """How many recordings are done that were not in the list."""
        return sum(map(len, self.groups.values()))

    def turn(self) -> None:
        """It is the turn of a recording to be written: those before it in the list have their places."""
        while (group := self.waiting.popleft()) is not None:
            self.place(group.start, group.end)

    def place(self, start: int, end: int) -> None:
        """Note where the next recording of the list stands."""
        self.order.extend((start, end))

    def finish(self) -> None:
        """Bring everything into order. What was kept and not named this time is not lost: it comes at the end."""
        unnamed = sorted((group for same in self.groups.values() for group in same), key=lambda group: group.start)
        for group in [*(group for group in self.waiting if group is not None), *unnamed]:
            self.place(group.start, group.end)
        self.waiting.clear()
        self.groups.clear()
        spans = merge_spans(self.order)
        if spans != [(0, self.output.whole)]:
            self.output.rearrange(spans)


def merge_spans(order: array[int]) -> list[tuple[int, int]]:
    """(start, end) of each span, with those that touch as one."""
    spans: list[tuple[int, int]] = []
    for start, end in zip(order[::2], order[1::2], strict=True):
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def open_journal(output: Output, path: Path, provenance: Provenance, resume: bool, force: bool) -> Journal:
    """The journal in the part of an output: of what an earlier run left there, or of the output itself, with --resume;
    else a new one. UsageError where that run left something and nothing says what is to become of it."""
    part = output.part
    assert part is not None
    groups: dict[str, deque[RecordGroup]] = {}
    if resume:
        groups = _read_both(output, path, provenance)
    else:
        if part.size and not force and has_file_record(part.file):
            raise UsageError(
                f"-o {show_name(path)}: a run that was cut off has left what it finished; "
                "go on with --resume, or begin anew with --force"
            )
        output.cut(0)
    output.keep = bool(groups)
    return Journal(output, groups)


def _read_both(output: Output, path: Path, provenance: Provenance) -> dict[str, deque[RecordGroup]]:
    """What is done, as the part has it, which has all that the output has. UsageError where one is none of ours."""
    part = output.part
    assert part is not None
    left = part.size > 0
    groups = read_record_groups(part.file, show_name(part.path), provenance, torn=True) if left else {}
    if path.is_file():
        with path.open("rb") as file:
            there = read_record_groups(file, show_name(path), provenance, torn=False)
            if left:
                _check_both(groups, there, show_name(path), show_name(part.path))
            else:
                groups = there
                part.refill(file, [(0, _end_of(there))])
                output.moved()
        output.replace = True
    if left:
        output.cut(_end_of(groups))
    return groups


def _check_both(
    groups: dict[str, deque[RecordGroup]], there: dict[str, deque[RecordGroup]], path: str, part: str
) -> None:
    """UsageError where an output has recordings that the part does not: they come from two runs."""
    if any(len(same) > len(groups.get(name, ())) for name, same in there.items() if name not in STDIN_NAMES):
        raise UsageError(
            f"{path}: has recordings that {part} does not have, which another run left; give one of them another name"
        )


def _end_of(groups: dict[str, deque[RecordGroup]]) -> int:
    return max((group.end for same in groups.values() for group in same), default=0)
