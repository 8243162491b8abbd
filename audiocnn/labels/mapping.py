"""Labels by other names: `talk` of a file is `speech` of a model. `read_label_map` reads what says so, and `map_label`
gives a label its name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from audiocnn.errors import UsageError, did_you_mean, show_name
from audiocnn.labels.formats.base import LabelledRecording
from audiocnn.segments.segment import composed

MAP_OPTION = "--label-map"
EVERY_LABEL = "*"  # stands for all labels that are not named


def read_label_map(text: str) -> dict[str, str]:
    """`talk=speech,song=music` as a dictionary; in `talk,chat=speech` two labels have one name, in `*=speech` all that
    are not named. UsageError."""
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
        f'{MAP_OPTION} cannot be "{show_name(text)}"; give a label and its name, as talk=speech,song=music'
    )


def map_label(label: str, label_map: Mapping[str, str]) -> str:
    return label_map.get(label, label_map.get(EVERY_LABEL, label))


def map_recordings(found: Sequence[LabelledRecording], label_map: Mapping[str, str]) -> list[LabelledRecording]:
    """The same recordings with the names of the map."""
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
    """What is to be said of labels that the map names and nothing has."""
    known = sorted(labels)
    missing = [name for name in label_map if name != EVERY_LABEL and name not in known]
    return [f'{MAP_OPTION}: nothing is labelled "{show_name(name)}"; {did_you_mean(name, known)}' for name in missing]
