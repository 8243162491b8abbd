"""-o FOLDER with --ray: part files, each with the records of up to a hundred consecutive recordings of the list.

    part-00000-5b1f03aa.jsonl ... part-00019-90c1e2d7.jsonl  summary.json

The name of a part contains its position in the list and a checksum of the names of its recordings, so that a later run
recognises it. A part gets its name when it is complete. All parts, concatenated in the order of their names, equal the
output of a single machine. `summary.json` gets its name when everything is done. While a process writes to the folder,
the part file of `summary.json` is locked.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from audiocnn.errors import UsageError, show_name
from audiocnn_cli.app.options import ManyOutputs, RecordingOutputs
from audiocnn_cli.io.inputs import Input
from audiocnn_cli.io.output import open_part, output_errors
from audiocnn_cli.io.records import SEGMENT_HEAD, parse_record
from audiocnn_cli.io.results import Destination, check_existing
from audiocnn_cli.io.resume import Provenance, RecordGroup, read_record_groups

PART_RECORDINGS = 100
_PARTS = "part-*.jsonl"
SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class KeptGroup:
    """The records of a recording in a part written by an earlier run."""

    path: Path
    group: RecordGroup


Groups = dict[str, deque[KeptGroup]]


def find_parts_folder(options: ManyOutputs, resume: bool) -> Destination:
    """The folder for the parts. Raises UsageError for conflicting options and existing parts."""
    if options.output_dir is not None:
        raise UsageError("--ray writes parts to -o FOLDER; omit --output-dir")
    if options.output in (None, "", "-"):
        raise UsageError("--ray writes parts to a folder; give it with -o FOLDER")
    if resume and (options.force or options.skip_existing):
        raise UsageError("--resume continues an existing output; omit --force and --skip-existing")
    check_existing(options)
    if isinstance(options, RecordingOutputs) and options.update:
        raise UsageError("--update needs --output-dir FOLDER; to continue a run with --ray, use --resume")
    folder = Path(str(options.output))
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {show_name(folder)}: is a file; with --ray, give a folder")
    there = (folder / SUMMARY).exists() or any(folder.glob(_PARTS))
    if there and not (resume or options.force or options.skip_existing):
        raise UsageError(
            f"-o {show_name(folder)}: contains parts of another run; continue with --resume, or use --force"
        )
    done = options.skip_existing and (folder / SUMMARY).exists()
    path = folder / SUMMARY if done else None
    return Destination(path, folder, done, resume or options.skip_existing, options.force)


def part_name(number: int, names: Iterable[str]) -> str:
    """The name of the part with these recordings: its number and a checksum of their names."""
    total = crc32("\0".join(names).encode("utf-8", "surrogateescape"))
    return f"part-{number:05d}-{total:08x}.jsonl"


class Parts:
    """The parts of a folder: existing ones, recordings still to be done, and parts written. `put` takes the records of
    a recording, by its position in the list; a part is written as soon as it is complete.

    Raises OutputError if a part cannot be written, UsageError if existing parts were made with other settings or are
    not parts."""

    def __init__(self, folder: Path, inputs: Sequence[Input], provenance: Provenance, force: bool) -> None:
        self.folder, self.names, self.provenance = folder, [one.name for one in inputs], provenance
        self.lock = open_part(folder / SUMMARY)
        try:
            if force:
                self.clear()
            self.stale, own = self.read()
            self.slots = self.filled(own)
        except BaseException:
            self.lock.close()
            raise
        self.todo = [at for at, slot in enumerate(self.slots) if slot is None]
        self.segments_before = sum(slot.group.segments for slot in self.slots if isinstance(slot, KeptGroup))
        self.written: set[str] = set()
        if self.todo:
            (folder / SUMMARY).unlink(missing_ok=True)

    def clear(self) -> None:
        for path in [*self.folder.glob(_PARTS), self.folder / SUMMARY]:
            path.unlink(missing_ok=True)

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """(number, begin, end) of each part."""
        for number, start in enumerate(range(0, len(self.names), PART_RECORDINGS)):
            yield number, start, min(start + PART_RECORDINGS, len(self.names))

    def read(self) -> tuple[Groups, dict[str, Groups]]:
        """The records in parts of other lists, and the records in parts of this list, by names of parts."""
        wanted = {part_name(number, self.names[start:end]) for number, start, end in self.spans()}
        stale: Groups = {}
        own: dict[str, Groups] = {}
        for path in sorted(self.folder.glob(_PARTS)):
            into = own.setdefault(path.name, {}) if path.name in wanted else stale
            with path.open("rb") as file:
                for name, groups in read_record_groups(file, show_name(path), self.provenance, torn=False).items():
                    into.setdefault(name, deque()).extend(KeptGroup(path, group) for group in groups)
        return stale, own

    def filled(self, own: dict[str, Groups]) -> list[KeptGroup | bytes | None]:
        """For each recording, its records in an existing part, or None."""
        slots: list[KeptGroup | bytes | None] = []
        for number, start, end in self.spans():
            groups = own.get(part_name(number, self.names[start:end]), {})
            for name in self.names[start:end]:
                same = groups.get(name) or self.stale.get(name)
                slots.append(same.popleft() if same else None)
        return slots

    def put(self, at: int, records: bytes) -> None:
        """Store the records of a recording. A part is written as soon as it is complete."""
        self.slots[at] = records
        number = at // PART_RECORDINGS
        start = number * PART_RECORDINGS
        if all(slot is not None for slot in self.slots[start : start + PART_RECORDINGS]):
            self.write(number)

    def write(self, number: int) -> None:
        """Write the finished recordings of a part, under the name that belongs to them."""
        start = number * PART_RECORDINGS
        there = [at for at in range(start, min(start + PART_RECORDINGS, len(self.names))) if self.slots[at] is not None]
        name = part_name(number, [self.names[at] for at in there])
        self.store(name, [slot for at in there if (slot := self.slots[at]) is not None])
        for at in there:
            if isinstance(self.slots[at], bytes):
                self.slots[at] = b""  # written to disk

    def store(self, name: str, slots: Sequence[KeptGroup | bytes]) -> None:
        target, end = self.folder / name, 0
        self.written.add(name)
        for slot in slots:
            if isinstance(slot, bytes) or slot.path != target or slot.group.start != end:
                break
            end = slot.group.end
        else:
            if target.is_file() and target.stat().st_size == end:
                return
        part = open_part(target)
        try:
            with output_errors(target):
                part.clear()
                for slot in slots:
                    part.file.write(slot if isinstance(slot, bytes) else _content_of(slot))
                part.publish(target, replace=True)
        finally:
            part.close()

    def write_rest(self) -> None:
        """Write the incomplete parts, if the run ends early."""
        for number, start, end in self.spans():
            slots = self.slots[start:end]
            if any(isinstance(slot, bytes) and slot for slot in slots):
                self.write(number)

    def finish(self, facts: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Called when everything is done. Returns the number of kept recordings that are not in the list, and the
        summary."""
        for number, start, end in self.spans():
            if part_name(number, self.names[start:end]) not in self.written:
                self.write(number)
        unnamed = self.keep_unnamed()
        for path in self.folder.glob(_PARTS):
            if path.name not in self.written:
                path.unlink(missing_ok=True)
        summary = facts | summarize_parts(sorted(self.folder / name for name in self.written), self.provenance.kind)
        with output_errors(self.folder / SUMMARY):
            self.lock.clear()
            self.lock.file.write((json.dumps(summary, ensure_ascii=False, indent=1) + "\n").encode())
            self.lock.publish(self.folder / SUMMARY, replace=True)
        return unnamed, summary

    def keep_unnamed(self) -> int:
        """Keep recordings of earlier runs that are not in the list, in additional parts at the end. Returns their
        number."""
        named, by_path = set(self.names), dict[Path, list[tuple[str, KeptGroup]]]()
        for name, kept in self.stale.items():
            if name not in named and kept:
                by_path.setdefault(kept[0].path, []).append((name, kept[0]))
        number = len(range(0, len(self.names), PART_RECORDINGS))
        for path in sorted(by_path):
            several = sorted(by_path[path], key=lambda one: one[1].group.start)
            self.store(part_name(number, [name for name, _ in several]), [kept for _, kept in several])
            number += 1
        return sum(map(len, by_path.values()))

    def close(self) -> None:
        self.lock.close()


def _content_of(kept: KeptGroup) -> bytes:
    with kept.path.open("rb") as file:
        file.seek(kept.group.start)
        return file.read(kept.group.end - kept.group.start)


def summarize_parts(paths: Sequence[Path], kind: str) -> dict[str, Any]:
    """Totals over all parts. seconds: of segments, by label; labels: number of clips, by label. kind: as in
    `Provenance`."""
    counts = {"ok": 0, "damaged": 0, "failed": 0}
    duration, segments = 0.0, 0
    seconds, labels = dict[str, float](), dict[str, int]()
    parts = []
    for path in paths:
        recordings = 0
        for record in _records_in(path):
            whole = record["type"] != "clip" or "settings" in record
            if record["type"] == "clip" and record.get("label") is not None:
                labels[record["label"]] = labels.get(record["label"], 0) + 1
            if not whole:
                continue
            recordings += 1
            counts["failed" if record["type"] == "error" else record.get("status", "ok")] += 1
            duration += record.get("duration") or 0.0
            segments += record.get("segments") or 0
            for label, value in (record.get("seconds") or {}).items():
                seconds[label] = seconds.get(label, 0.0) + value
        parts.append({"file": path.name, "recordings": recordings})
    found: dict[str, Any] = {"recordings": sum(counts.values()), **counts}
    if kind != "clip":  # clip records do not contain the duration
        found["duration"] = round(duration, 4)
    if kind != "segments":
        found["labels"] = dict(sorted(labels.items()))
    else:
        found |= {"segments": segments, "seconds": {label: round(value, 4) for label, value in sorted(seconds.items())}}
    return found | {"parts": parts}


def _records_in(path: Path) -> Iterator[dict[str, Any]]:
    """All records except segments."""
    with path.open("rb") as file:
        for line in file:
            if not line.startswith(SEGMENT_HEAD) and (record := parse_record(line)) is not None:
                yield record
