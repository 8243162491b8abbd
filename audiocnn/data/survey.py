"""A survey of a dataset before training: the amount of each label, and problems such as copies, leaks and silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.duplicates import SILENT, duplicates_of
from audiocnn.data.sources.settings import LABEL_SEPARATORS
from audiocnn.errors import show_name
from audiocnn.units import clock, count_noun

_QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
_FULL_SCALE = 32700  # of 32768, like the other bounds
_OVERSHOOT = 2.0  # of full scale, which a lossy codec may add to audio that was clipped before; floats may exceed it
_CLIPPED_SHARE = 1e-3
_OFFSET = 328  # of 32768: 40 dB below full scale
_UNEVEN = 3.0  # ratio of the most to the fewest recordings of a label, above which labels are reported as uneven
_FEW_RECORDINGS = 3  # recordings of a label: one each for training, early stopping and testing
_MOST_EXAMPLES = 2
_BLOCK_SAMPLES = 1 << 20


@dataclass(frozen=True)
class LabelCount:
    """The amount of a label. groups: number of groups that must stay in one part."""

    recordings: int
    seconds: float
    groups: int


@dataclass(frozen=True)
class SameSound:
    """Recordings with the same audio, exactly or nearly, with all their labels and splits."""

    files: tuple[str, ...]
    exact: bool
    labels: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """The contents of a dataset. durations: shortest, 5 %, median, 95 %, longest, in seconds.

    rates, channels: of the original files, if known. alike: labels that differ only by case or by surrounding spaces.
    parted_groups: groups that are in several splits. empty, silent, clipped, offset, unlabelled: files.
    """

    recordings: int
    seconds: float
    sample_rate: int
    labels: dict[str, LabelCount]
    durations: tuple[float, ...]
    rates: dict[int, int]
    channels: dict[int, int]
    formats: dict[str, int]
    splits: dict[str, int]
    groups: int
    annotated: int
    several: int
    refused: tuple[tuple[str, str], ...]
    alike: tuple[tuple[str, ...], ...]
    parted_groups: tuple[str, ...]
    same_sound: tuple[SameSound, ...]
    empty: tuple[str, ...]
    silent: tuple[str, ...]
    clipped: tuple[str, ...]
    offset: tuple[str, ...]
    unlabelled: tuple[str, ...]

    @property
    def unevenness(self) -> float:
        """Recordings of the most frequent label divided by those of the rarest; 1 without labels."""
        counts = [label.recordings for label in self.labels.values() if label.recordings]
        return max(counts) / min(counts) if counts else 1.0

    @property
    def leaks(self) -> tuple[SameSound, ...]:
        """The same audio in several splits, so that a model is tested on what it has learned from."""
        return tuple(same for same in self.same_sound if len(same.splits) > 1)

    @property
    def contradictions(self) -> tuple[SameSound, ...]:
        """The same audio with different labels."""
        return tuple(same for same in self.same_sound if len(same.labels) > 1 and not self.several)

    def to_dict(self) -> dict[str, Any]:
        return {"schema": 1, "type": "survey", **asdict(self), "unevenness": round(self.unevenness, 3)}


def survey(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Survey:
    """Survey all recordings of a dataset. Every sample is read once or twice, and none is kept."""
    entries = dataset.entries
    found: dict[str, list[str]] = {"empty": [], "silent": [], "clipped": [], "offset": []}
    for entry in entries:
        for fault in _find_faults(dataset, entry):
            found[fault].append(entry.filename)
    by_id = {entry.id: entry for entry in entries}
    all_twins = duplicates_of(dataset, entries, progress)
    same = [_same_sound([by_id[number] for number in twins.ids], twins.exact) for twins in all_twins]
    lengths = [dataset.duration_seconds(entry) for entry in entries]
    return Survey(
        recordings=len(entries),
        seconds=float(sum(lengths)),
        sample_rate=dataset.sample_rate,
        labels=_count_labels(dataset),
        durations=tuple(round(float(length), 4) for length in np.quantile(lengths or [0.0], _QUANTILES)),
        rates=_count_values(entry.file_rate for entry in entries),
        channels=_count_values(entry.file_channels for entry in entries),
        formats=_count_values(Path(entry.filename).suffix.lower() for entry in entries),
        splits=_count_values(entry.split for entry in entries),
        groups=len({entry.group for entry in entries}),
        annotated=sum(entry.annotated for entry in entries),
        several=sum(len(entry.labels) > 1 for entry in entries),
        refused=tuple(dataset.refused),
        alike=labels_written_alike(dataset.labels),
        parted_groups=_find_split_groups(entries),
        same_sound=tuple(same),
        unlabelled=tuple(e.filename for e in entries if not e.labels and not e.annotated and not dataset.several),
        **{name: tuple(files) for name, files in found.items()},
    )


def _count_values(values: Any) -> dict[Any, int]:
    """The count of each value, the most frequent first. Empty values and 0 mean unknown and are not counted."""
    return dict(Counter(value for value in values if value).most_common())


def _count_labels(dataset: Dataset) -> dict[str, LabelCount]:
    """The amount of each label: clips count as a whole, segments with their own seconds."""
    recordings: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    groups: dict[str, set[str]] = {}
    for entry in dataset.entries:
        marks = dataset.annotations(entry)
        for label in entry.labels:
            seconds[label] = seconds.get(label, 0.0) + dataset.duration_seconds(entry)
        for mark in marks:
            seconds[mark.label] = seconds.get(mark.label, 0.0) + mark.offset - mark.onset
        for label in {*entry.labels, *(mark.label for mark in marks)}:
            recordings[label] += 1
            groups.setdefault(label, set()).add(entry.group)
    return {
        label: LabelCount(recordings[label], round(seconds.get(label, 0.0), 4), len(groups.get(label, ())))
        for label in dataset.labels
    }


def _find_faults(dataset: Dataset, entry: Entry) -> Iterator[str]:
    if not entry.samples:
        yield "empty"
        return
    samples, scale = dataset.samples(entry), entry.scale
    full = _FULL_SCALE / scale if scale <= _OVERSHOOT else np.inf
    peak = loud = 0
    sums = np.zeros(len(samples))
    for start in range(0, entry.samples, _BLOCK_SAMPLES):
        block = samples[:, start : start + _BLOCK_SAMPLES].astype(np.int32)
        size = np.abs(block)
        peak, loud = max(peak, int(size.max())), loud + int((size >= full).sum())
        sums += block.sum(axis=1)
    if peak * scale <= SILENT:
        yield "silent"
    if loud > _CLIPPED_SHARE * samples.size:
        yield "clipped"
    if float(np.abs(sums).max()) * min(1.0, scale) / entry.samples >= _OFFSET:
        yield "offset"


def _same_sound(entries: Sequence[Entry], exact: bool) -> SameSound:
    labels = sorted({label for entry in entries for label in entry.labels})
    splits = sorted({entry.split for entry in entries if entry.split})
    return SameSound(tuple(entry.filename for entry in entries), exact, tuple(labels), tuple(splits))


def labels_written_alike(labels: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Labels that differ only by case or by surrounding spaces."""
    sets: dict[str, list[str]] = {}
    for label in labels:
        sets.setdefault(label.strip().casefold(), []).append(label)
    return tuple(tuple(same) for same in sets.values() if len(same) > 1)


def _find_split_groups(entries: Sequence[Entry]) -> tuple[str, ...]:
    splits: dict[str, set[str]] = {}
    for entry in entries:
        if entry.split:
            splits.setdefault(entry.group, set()).add(entry.split)
    return tuple(sorted(group for group, inside in splits.items() if len(inside) > 1))


def describe_survey(found: Survey) -> list[str]:
    """Lines for people: first the contents, then the problems, each with its remedy."""
    labels = f", {count_noun(len(found.labels), 'label')}" if found.labels else ""
    lines = [f"{count_noun(found.recordings, 'recording')}, {clock(found.seconds)}{labels}"]
    if found.labels:
        ranked = sorted(found.labels.items(), key=lambda item: (-item[1].recordings, item[0]))
        shown = ranked if len(ranked) <= 12 else [*ranked[:3], *ranked[-2:]]
        marked = {label: f" ({clock(count.seconds)})" if found.annotated else "" for label, count in shown}
        names = ", ".join(f"{label} {count.recordings}{marked[label]}" for label, count in shown)
        lines.append(f"recordings of each: {names}" + ("" if shown == ranked else " (three most frequent, two rarest)"))
    shortest, _, median, _, longest = found.durations
    kinds = [_counts(found.rates, " Hz"), _counts(found.channels, " channels"), _counts(found.formats, "")]
    lengths = f"{shortest:.3g} to {longest:.4g} s long, half up to {median:.3g} s"
    lines.append("; ".join(filter(None, [lengths, *kinds])))
    if found.splits:
        lines.append(f"splits: {_counts(found.splits, '')}")
    if found.groups < found.recordings:
        lines.append(f"{count_noun(found.groups, 'group')} of recordings that stay together")
    return lines + survey_warnings(found)


def survey_warnings(found: Survey) -> list[str]:
    lines = []
    if found.refused:
        lines.append(f"refused: {count_noun(len(found.refused), 'file')}, such as {': '.join(found.refused[0])}")
    for same in found.alike[:_MOST_EXAMPLES]:
        names = " and ".join(f'"{label}"' for label in same)
        what = f"labels {names} differ only in case or spaces, and count as {len(same)}"
        lines.append(f"{what}; rename all but one")
    joined = [label for label in found.labels if any(sign in label.strip(sign) for sign in LABEL_SEPARATORS)]
    if joined:
        sign = next(sign for sign in LABEL_SEPARATORS if sign in joined[0].strip(sign))
        which = f'label "{joined[0]}" contains a "{sign}"' + (f" (so do {len(joined) - 1} more)" if joined[1:] else "")
        remedy = f'if it is several labels, write labels_per_clip = "several" and separator = "{sign}" in a recipe'
        lines.append(f"{which}, and counts as one label; {remedy}")
    few = [label for label, count in found.labels.items() if count.recordings < _FEW_RECORDINGS]
    if few:
        who = f'"{few[0]}" has' if len(few) == 1 else f'{len(few)} labels, such as "{few[0]}", have'
        lines.append(f"{who} fewer than {_FEW_RECORDINGS} recordings: used for training, but not tested; add more")
    if found.unevenness >= _UNEVEN:
        times = f"{found.unevenness:.3g} times as many recordings"
        lines.append(f"uneven: the most frequent label has {times} as the rarest")
    lines += _same_lines(found)
    if found.parted_groups:
        who = f"{count_noun(len(found.parted_groups), 'group')}, such as {show_name(found.parted_groups[0])}"
        lines.append(f"leak: {who}, in several splits: scores will be too good; keep each group in one split")
    remedies = {
        "empty": ("has", "have", "no samples: nothing to learn from"),
        "silent": ("is", "are", "silent (below -60 dB); remove, or record again"),
        "clipped": ("is", "are", "clipped at full scale; record at a lower level"),
        "offset": ("has", "have", "a constant offset of more than 1 % of full scale; a high-pass filter removes it"),
        "unlabelled": ("has", "have", "no label: nothing to learn from"),
    }
    for name, (one, many, fault) in remedies.items():
        files = getattr(found, name)
        if files:
            lines.append(
                f"{count_noun(len(files), 'recording')} ({_files(files)}) {one if len(files) == 1 else many} {fault}"
            )
    return lines


def _same_lines(found: Survey) -> Iterator[str]:
    if found.same_sound:
        exact = sum(len(same.files) - 1 for same in found.same_sound if same.exact)
        near = sum(len(same.files) - 1 for same in found.same_sound if not same.exact)
        parts = [f"{exact} exactly" if exact else "", f"{near} nearly" if near else ""]
        files = _files(found.same_sound[0].files)
        how = " and ".join(filter(None, parts))
        what = f"{count_noun(exact + near, 'recording')} sound the same as another one, {how} (such as {files})"
        yield f"{what}; copies are kept in one part, unless splits or folds of the data separate them"
    if found.contradictions:
        same = found.contradictions[0]
        what = f"{count_noun(len(found.contradictions), 'sound')} with different labels: {_files(same.files)}"
        yield f"{what}; keep the right one, or correct the labels with --corrections"
    if found.leaks:
        same = found.leaks[0]
        where = " and ".join(same.splits)
        what = f"{count_noun(len(found.leaks), 'sound')} in several splits ({_files(same.files)}: {where})"
        yield f"leak: {what}: scores will be too good; remove the copies"


def _files(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_EXAMPLES} more" if len(names) > _MOST_EXAMPLES else ""
    return ", ".join(show_name(name) for name in names[:_MOST_EXAMPLES]) + more


def _counts(counts: dict[Any, int], unit: str) -> str:
    if len(counts) == 1:
        value = str(next(iter(counts)))
        return value + (unit.removesuffix("s") if value == "1" else unit)
    return ", ".join(f"{count} x {value}{unit}" for value, count in list(counts.items())[:4]) + (
        f" and {len(counts) - 4} more" if len(counts) > 4 else ""
    )
