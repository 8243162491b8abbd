"""What an ingest has to do: files that are new or have changed, what stays as it is, and what the sources do not name
any more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from audiocnn.addresses import NotThereError, Remote
from audiocnn.dataset_writer import Item, Stored
from audiocnn.decoding import Job, reason_of
from audiocnn.errors import RecordingError

ADDRESSES_AT_A_TIME = 8


def plan(stored: list[Stored], items: list[Item]) -> tuple[list[Job], list[Stored], list[tuple[str, str]]]:
    """What to do, what the sources do not name any more, and files that cannot be asked for their size."""
    by_name = {one.filename: one for one in stored}
    by_path = {one.path: one for one in stored}
    left = {one.id: one for one in stored}
    work: list[Job] = []
    unread: list[tuple[str, str]] = []
    for item, identity in zip(items, _identities(items), strict=True):
        known = by_name.get(item.filename)
        if known is None or known.path != str(item.path):
            known = by_path.get(str(item.path), known)  # the same file under another name, as with a second source
        known = left.pop(known.id, None) if known is not None else None
        if not isinstance(identity, RecordingError):
            work.append(Job(item, known, identity))
            continue
        reason = reason_of(identity, item.path)
        if known is not None and isinstance(item.path, Remote) and not isinstance(identity, NotThereError):
            reason += "; what was read before is kept"
            work.append(Job(item, known, (known.size, known.mtime_ns)))
        elif known is not None:
            left[known.id] = known
        unread.append((item.filename, reason))
    return work, list(left.values()), unread


def _identities(items: list[Item]) -> list[tuple[int, int] | RecordingError]:
    """By what a file is known to have changed, or why nobody can tell; of addresses, several at a time."""
    if not any(isinstance(item.path, Remote) for item in items):
        return list(map(_identity, items))
    with ThreadPoolExecutor(ADDRESSES_AT_A_TIME) as pool:
        return list(pool.map(_identity, items))


def _identity(item: Item) -> tuple[int, int] | RecordingError:
    """The same of one."""
    try:
        return item.identity()
    except RecordingError as error:
        return error
    except OSError as error:
        return RecordingError(f"cannot be read ({error.strerror}); check the name and its rights")
