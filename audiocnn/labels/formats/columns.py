"""Roles of table columns: `find_roles` decides by their names, `choose_label_column` also by their cells.

Column names vary between tables: `filename`, `Path`, `fname`; `onset`, `Start (s)`; `species`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from audiocnn.errors import LabelError, did_you_mean, show_name
from audiocnn.units import is_numeric

_SLICE_COLUMN = "slice_file_name"  # times beside such a column refer to the recording from which slices were cut
# In order of precedence, in the form of `normal_column`.
FILE_COLUMNS = (
    *("filename", "file_name", "file", "filepath", "file_path", "path", "fname", "audio", "audio_file"),
    *(
        "audio_filename",
        "audio_path",
        "audio_filepath",
        "audiofile",
        "wav",
        "wav_file",
        "wav_path",
        "wavfile",
        "slice_file_name",
    ),
    *("recording", "sound", "sound_file", "clip"),
)
_ONSET_COLUMNS = ("onset", "start", "start_time", "begin", "begin_time", "tmin")
_OFFSET_COLUMNS = ("offset", "end", "end_time", "stop", "stop_time", "tmax")
_DURATION_COLUMNS = ("duration", "length")
FIRST_LABEL_COLUMNS = ("event_label", "label", "annotation")  # unambiguous names
LABEL_COLUMNS = (
    *("labels", "class", "classes", "class_name", "class_label", "category", "target", "species", "tag", "tags"),
    *("event", "sound_event", "common_name", "scientific_name", "species_code", "primary_label", "keyword"),
    *("genre", "scene_label"),
)
# Names and codes of a species, which are equivalent.
_SPECIES_COLUMNS = frozenset({"common_name", "scientific_name", "species_code", "primary_label", "ebird_code"})
# Never labels, whatever they contain.
_OTHER_COLUMNS = frozenset(
    {"split", "subset", "partition", "fold", "group", "channel", "score", "confidence", "license", "licence", "url"}
)
_UNIT = re.compile(r"_(s|sec|secs|seconds)$")
_ONE_HOT_CELLS = frozenset({"", "0", "1", "0.0", "1.0"})
_LEAST_ONE_HOT = 2
LABEL_OPTION = "--label-column"
NamedCells = dict[str, str]
"""column -> cell"""


class SeveralColumnsError(LabelError):
    """Several columns may contain the label."""


def normal_column(name: str) -> str:
    """The name in lower case, with underscores for all but letters and digits: `Start Time` becomes `start_time`."""
    return re.sub(r"\W+", "_", name.casefold()).strip("_")


@dataclass(frozen=True)
class Roles:
    """Names of columns, or None. A duration is used if there is an onset but no offset."""

    file: str | None
    onset: str | None
    offset: str | None
    duration: str | None

    @property
    def timed(self) -> bool:
        return self.onset is not None and (self.offset or self.duration) is not None

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(one for one in (self.file, self.onset, self.offset, self.duration) if one is not None)


def find_roles(columns: Sequence[str]) -> Roles:
    """The roles of columns by their names. Times need an onset and an end: a column `start` alone does not count."""
    named = {normal_column(column): column for column in reversed(columns)}
    times = {_UNIT.sub("", name): column for name, column in named.items()}
    file = _first(FILE_COLUMNS, named)
    onset, offset = _first(_ONSET_COLUMNS, times), _first(_OFFSET_COLUMNS, times)
    duration = _first(_DURATION_COLUMNS, times)
    if file is not None and normal_column(file) == _SLICE_COLUMN:
        return Roles(file, None, None, None)
    if onset is not None and offset is not None:
        return Roles(file, onset, offset, None)
    if onset is None and offset is not None and normal_column(offset).startswith("offset"):
        onset, offset = offset, None  # as in manifests, followed by a duration
    if onset is not None and duration is not None:
        return Roles(file, onset, None, duration)
    return Roles(file, None, None, None)


def _first(wanted: Iterable[str], named: Mapping[str, str]) -> str | None:
    return next((named[name] for name in wanted if name in named), None)


@dataclass(frozen=True)
class LabelColumn:
    """Where the labels are: in a column, or (one_hot) as 1 in columns that are named after the labels.

    told: whether to report the choice, because the table is ambiguous. speech: the column has speakers, and every
    segment is speech.
    """

    name: str = ""
    one_hot: tuple[str, ...] = ()
    told: bool = False
    speech: bool = False

    def labels_in(self, row: NamedCells) -> list[str]:
        """The labels of a row, unchanged; may be empty."""
        if self.one_hot:
            return [column for column in self.one_hot if row[column] and float(row[column]) > 0]
        return [row[self.name]] if row[self.name] else []

    def describe(self) -> str:
        if self.speech and not self.name:
            return f'no column has labels, so everything is labelled "speech"; choose a column with {LABEL_OPTION} NAME'
        if self.speech:
            return (
                f'everything is labelled "speech", whoever speaks; {LABEL_OPTION} {self.name} uses'
                " the speakers as labels"
            )
        if not self.one_hot:
            return f'labels are read from the column "{show_name(self.name)}"; choose another with {LABEL_OPTION}'
        names = ", ".join(map(show_name, self.one_hot[:4])) + (", ..." if len(self.one_hot) > 4 else "")
        return f"labels are read from the {len(self.one_hot)} columns {names}: a 1 means that the label applies"


def choose_label_column(
    where: str,
    columns: Sequence[str],
    rows: Sequence[NamedCells],
    wanted: str | None = None,
    taken: Collection[str] = (),
    any_text: bool = False,
) -> LabelColumn:
    """Find the column with labels: `wanted` if given; otherwise one of `FIRST_LABEL_COLUMNS`, one with another usual
    name, columns of 0 and 1, or the only column with text. Equivalent columns, such as a number and the word for it,
    count as one. any_text: a usual name has no precedence over text. taken: columns with other roles.

    Raises LabelError if there are none or several; `where` begins its message.
    """
    if wanted is not None:
        return LabelColumn(_wanted_column(where, columns, wanted))
    free = [one for one in columns if one not in taken and normal_column(one) not in _OTHER_COLUMNS]
    filled = {one: [row[one] for row in rows] for one in free if any(row[one] for row in rows)}
    filled = filled or {one: [] for one in free}
    for candidates in (filled, free):
        for name in FIRST_LABEL_COLUMNS:
            for column in candidates:
                if normal_column(column) == name:
                    return LabelColumn(column)
    named = [one for one in filled if normal_column(one) in LABEL_COLUMNS]
    texts = [one for one in filled if _is_text(filled[one])]
    named = [one for one in named if one in texts] or named  # numbers beside words are codes for them
    one_hot = tuple(one for one in filled if _ONE_HOT_CELLS.issuperset(filled[one]) and one not in named)
    found = [*texts, *([] if texts else named)] if any_text else named
    if not found and len(one_hot) >= _LEAST_ONE_HOT and not any_text:
        return LabelColumn(one_hot=one_hot, told=True)
    found = _without_twins(found or texts, filled, texts)
    if len(found) == 1:
        return LabelColumn(found[0], told=True)
    if not found:
        shown = " ".join(map(show_name, columns[:8])) + (" ..." if len(columns) > 8 else "")
        raise LabelError(
            f'{where}: no label column, found {shown}; name one "label", or choose with {LABEL_OPTION} NAME'
        )
    shown = ", ".join(f'"{show_name(one)}"' for one in found)
    raise SeveralColumnsError(
        f"{where}: {len(found)} columns may contain the label: {shown}; choose with {LABEL_OPTION} NAME"
    )


def find_column(columns: Sequence[str], wanted: str) -> str | None:
    """The column of this name, ignoring case; None if there is none."""
    same = [one for one in columns if one.casefold() == wanted.strip().casefold()]
    return wanted if wanted in columns else next(iter(same), None)


def _wanted_column(where: str, columns: Sequence[str], wanted: str) -> str:
    if (found := find_column(columns, wanted)) is not None:
        return found
    raise LabelError(f'{where}: no column "{show_name(wanted)}"; {did_you_mean(wanted, columns)}')


def _is_text(cells: Sequence[str]) -> bool:
    return any(cell and not is_numeric(cell) for cell in cells)


def _without_twins(columns: Sequence[str], cells: Mapping[str, Sequence[str]], texts: Sequence[str]) -> list[str]:
    """The columns without equivalent ones: the first of the names and codes of a species, and words instead of the
    numbers that stand for them. Columns of words are never taken as equivalent, since few rows may look that way by
    chance."""
    species = [one for one in columns if normal_column(one) in _SPECIES_COLUMNS]
    found = [one for one in columns if one not in species[1:]]
    for column in [one for one in found if one not in texts]:
        same = [one for one in texts if _pattern(cells[one]) == _pattern(cells[column])]
        if len(same) == 1:
            found[found.index(column)] = same[0]
    return list(dict.fromkeys(found))


def _pattern(cells: Sequence[str]) -> list[int]:
    """Which rows have equal cells: the same result for equivalent columns."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(cell, len(numbers)) for cell in cells]
