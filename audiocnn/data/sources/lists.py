"""Tables and lists of parts in a folder of recordings. `read_tables` reads labels from tables, `find_part_lists` reads
parts from lists of names such as `testing_list.txt`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from audiocnn.audio.find import files_in
from audiocnn.data.parts import PartNotes, UnusedPart, name_list, part_in_name
from audiocnn.data.sources.settings import TABLE_SUFFIXES, DataSettings
from audiocnn.data.sources.tables import ReadTable, Refused, names_in_table, read_recordings
from audiocnn.data.writer import Item
from audiocnn.errors import AudiocnnError, LabelError, show_name
from audiocnn.labels.formats import dcase
from audiocnn.labels.formats.text import read_lines
from audiocnn.units import count_noun

_LIST_SUFFIXES = frozenset({".txt", ".lst", ".list", ".scp", *TABLE_SUFFIXES})
_LEAST_SHARE = 0.5  # of the rows that name recordings in the folder; with fewer, the file has another subject
_MOST_LIST_BYTES = 1 << 25


def parts_of_names(stems: Sequence[str]) -> list[str]:
    """The parts in the names of sibling files, if all names are alike except for different parts; otherwise empty."""
    found = [one for stem in stems if (one := part_in_name(stem)) is not None]
    parts = [part for part, _ in found]
    whole = len(set(parts)) == len(stems) > 1 and len({rest for _, rest in found}) == 1
    return parts if whole else []


def tables_beside(table: Path) -> list[Path]:
    """Tables beside one that are named like other parts of the same data, such as `test.csv` beside `train.csv`."""
    own = part_in_name(table.stem)
    if own is None:
        return []
    others = [path for path in table.parent.iterdir() if path != table and path.suffix.lower() in TABLE_SUFFIXES]
    named = {path: part_in_name(path.stem) for path in sorted(others)}
    return [path for path, found in named.items() if found and found[1] == own[1] and found[0] != own[0]]


def read_tables(settings: DataSettings, audio: Sequence[Path]) -> ReadTable | None:
    """The content of the table of recordings in a folder, or of several that are named like parts. None if there is
    none.

    settings: the folder, and how labels are read. Tables are searched for in the folder and its subfolders. They need
    columns for the file and its label, and most rows must name recordings in the folder. Raises LabelError if there are
    several that are not named like parts, unless one of them contains all recordings of the others.
    """
    root, stems = settings.source, {path.stem for path in audio}
    tables = [path for path in _near_files(root, TABLE_SUFFIXES) if _is_about(path, stems)]
    if not tables:
        return None
    parts = parts_of_names([path.stem for path in tables])
    if len(tables) > 1 and not parts:
        named = [set(names_in_table(path)[0]) for path in tables]
        whole = [number for number, names in enumerate(named) if names.issuperset(set().union(*named))]
        if len(whole) != 1:
            names = name_list(show_name(path.relative_to(root)) for path in tables)
            raise LabelError(
                f"{show_name(root)}: the tables {names} all list its recordings; name one, or keep only one"
            )
        tables = [tables[whole[0]]]
    items: dict[str, Item] = {}
    refused: Refused = []
    notes, told, several = PartNotes(), dict[str, None](), False
    for number, path in enumerate(tables):
        found = read_recordings(replace(settings, recordings=path, where=show_name(path)))
        refused, notes, several = refused + found.refused, notes + found.parts, several or found.several
        told |= dict.fromkeys(found.notes)
        for item in found.items:
            if item.filename in items:
                why = f"also listed in {show_name(path)}, besides another table; keep it in one part"
                refused.append((item.filename, why))
                continue
            # The table of a part may have a column that divides it further, such as the "dev" of FSD50K.
            items[item.filename] = replace(item, split=item.split or parts[number]) if parts else item
    names = name_list(show_name(path.relative_to(root)) for path in tables)
    said: list[str] = [] if parts else [f"labels from the table {names}"]
    left = len({path.resolve() for path in audio} - {Path(str(item.path)).resolve() for item in items.values()})
    if left:
        said.append(f"{count_noun(left, 'recording')} not listed in any table: ignored")
    used = PartNotes((f"splits by the tables {names}",) if parts else (), said=tuple(said))
    origin = name_list(show_name(path.relative_to(root)) for path in tables)
    return ReadTable(list(items.values()), refused, tuple(told), several, used + notes, origin)


def _near_files(root: Path, suffixes: Iterable[str]) -> Iterator[Path]:
    wanted = frozenset(suffixes)
    for path in files_in(root):
        if path.suffix.lower() in wanted and len(path.relative_to(root).parts) <= 2:
            yield path


def _is_about(path: Path, stems: set[str]) -> bool:
    """Whether a table has files and labels, and most of its files are these recordings."""
    try:
        names, labelled = names_in_table(path)
    except LabelError:
        return False
    return labelled and _share_named(names, stems) >= _LEAST_SHARE


def _share_named(names: Sequence[str], stems: set[str]) -> float:
    return sum(Path(name).stem in stems or Path(name).name in stems for name in names) / len(names) if names else 0.0


@dataclass(frozen=True)
class PartLists:
    """Parts of recordings from lists of their names. of: path below the root -> its part. Recordings that are not in
    any list get the part `rest`, or are ignored if it is None."""

    files: Sequence[Path]
    of: Mapping[str, str]
    rest: str | None
    notes: PartNotes
    below: str = ""  # the folder in which their paths begin

    def apply(self, items: Iterable[Item]) -> list[Item]:
        if not self.of:
            return list(items)
        found = [(item, self.of.get(item.filename, self.rest)) for item in items]
        return [replace(item, split=part) for item, part in found if part is not None]


def find_part_lists(root: Path, names: Sequence[str]) -> PartLists | None:
    """The lists in a folder that assign recordings with these paths to parts. None if there are none.

    A list is a file named like a part (`testing_list.txt`, `valid.csv`), with a path on each line, or a table with a
    column of files. Without a list for training, all unlisted recordings are used for training.
    """
    whole = {name: name for name in names} | {name.rpartition(".")[0]: name for name in names}
    bases: dict[str, list[str]] = {}
    for name in names:
        bases.setdefault(Path(name).stem, []).append(name)
    of: dict[str, str] = {}
    begins: set[str] = set()
    kinds: dict[tuple[str, ...], set[str]] = {}
    used: list[Path] = []
    unused: list[UnusedPart] = []
    for path in _near_files(root, _LIST_SUFFIXES):
        named = part_in_name(path.stem)
        if named is None or path.relative_to(root).as_posix() in bases:
            continue
        listed = _listed(path)
        found = [_find(name, whole, bases) for name in listed]
        known = [name for name in found if name is not None]
        if listed and len(known) >= _LEAST_SHARE * len(listed):
            used.append(path)
            kinds.setdefault(named[1], set()).update(known)
            for name in known:
                of.setdefault(name, named[0])
            pairs = ((one, dcase.normal_name(plain)) for one, plain in zip(found, listed, strict=True) if one)
            begins |= {_folder_before(one, plain) for one, plain in pairs if "/" in plain}
        elif not named[1] and listed:
            fact = f"the list {show_name(path.relative_to(root))} looks like a part, but names other recordings"
            unused.append(UnusedPart(f"{fact}, so it is not used; correct the names, or remove it"))
    if sum(map(len, kinds.values())) > len(of):  # such as "fold1_train" and "fold2_train"
        files = name_list(show_name(path.relative_to(root)) for path in used)
        fact = f"the lists {files} look like parts, but belong to several divisions, so they are not used"
        unused.append(UnusedPart(f"{fact}; keep those of one division, or add a column fold to a table"))
        used = []
    if not used:
        return PartLists((), {}, None, PartNotes(unused=tuple(unused))) if unused else None
    rest = None if "train" in of.values() else "train"
    line = f"splits by the lists {name_list(show_name(path.relative_to(root)) for path in used)}"
    left = len(names) - len(of) if rest is None else 0
    said = (f"{count_noun(left, 'recording')} not listed in any list: ignored",) if left else ()
    below = begins.pop() if len(begins) == 1 else ""
    return PartLists(used, of, rest, PartNotes((line,), said=said, unused=tuple(unused)), below)


def _folder_before(path: str, listed: str) -> str:
    """The leading folders of a path that the list omits."""
    folders, inside = path.split("/")[:-1], listed.split("/")[:-1]
    return "/".join(folders[: len(folders) - len(inside)])


def _listed(path: Path) -> list[str]:
    """The names in a list, without comments and other text on their line. Empty if the file cannot be read."""
    try:
        if path.stat().st_size > _MOST_LIST_BYTES:
            return []
        if path.suffix.lower() in TABLE_SUFFIXES:
            with suppress(LabelError):  # otherwise, each line is a name
                return names_in_table(path)[0]
        return [line.split("\t")[0].split(",")[0].strip() for _, line in read_lines(path) if line.strip()]
    except (AudiocnnError, OSError):
        return []


def _find(name: str, whole: Mapping[str, str], bases: Mapping[str, Sequence[str]]) -> str | None:
    plain = dcase.normal_name(name)
    if plain in whole:
        return whole[plain]
    ends = [one for one in bases.get(Path(plain).stem, ()) if one.endswith("/" + plain) or "/" not in plain]
    return ends[0] if len(ends) == 1 else None
