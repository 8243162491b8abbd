"""Renaming of labels, such as `talk` in a file to `speech` in a model. `read_label_map` reads a map, and `map_label`
applies it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from audiocnn.errors import UsageError, did_you_mean, show_name
from audiocnn.labels.formats.base import LabelledRecording
from audiocnn.segments.segment import composed

MAP_OPTION = "--label-map"
EVERY_LABEL = "*"  # stands for all other labels


def read_label_map(text: str) -> dict[str, str]:
    """`talk=speech,song=music` as a dictionary. In `talk,chat=speech`, two labels get one name; `*=speech` applies to
    all other labels. Raises UsageError."""
    found: dict[str, str] = {}
    names: list[str] = []
    for piece in text.split(","):
        name, equals, target = piece.partition("=")
        names.append(composed(name.strip()))
        if not equals:
            continue
        target = composed(target.strip())
        if not target or "" in names or found.keys() & {*names}:
            break
        found |= dict.fromkeys(names, target)
        names = []
    else:
        if found and not names:
            return found
    raise UsageError(
        f'{MAP_OPTION} cannot be "{show_name(text)}"; give labels and their new names, as in talk=speech,song=music'
    )


def map_label(label: str, label_map: Mapping[str, str]) -> str:
    return label_map.get(label, label_map.get(EVERY_LABEL, label))


def map_recordings(found: Sequence[LabelledRecording], label_map: Mapping[str, str]) -> list[LabelledRecording]:
    """The same recordings with renamed labels."""
    return [
        replace(
            one,
            tracks={
                channel: [replace(segment, label=map_label(composed(segment.label), label_map)) for segment in track]
                for channel, track in one.tracks.items()
            },
        )
        for one in found
    ]


def describe_unmapped(label_map: Mapping[str, str], labels: Collection[str]) -> list[str]:
    """Warnings about labels that the map names but that do not occur."""
    known = sorted(labels)
    missing = [name for name in label_map if name != EVERY_LABEL and name not in known]
    return [f'{MAP_OPTION}: nothing is labelled "{show_name(name)}"; {did_you_mean(name, known)}' for name in missing]
