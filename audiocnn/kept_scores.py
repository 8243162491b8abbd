"""Scores of a model on a set of recordings, kept in a file, so that they are made once.

The file is an .npz: the names of the recordings, the rows (rows, outputs) float32 of each, and a digest of the model
and the samples. What is of another model, or of other samples, is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import UsageError
from audiocnn.model import ONNX, WEIGHTS, Model
from audiocnn.whole_files import write_whole

Kept = dict[str, NDArray[np.float32]]


def digest_of(model: Model, dataset: Dataset, entries: Iterable[Entry]) -> str:
    """SHA-256 of what scores depend on: weights, specs, and the samples under their names."""
    digest = hashlib.sha256()
    for name in (WEIGHTS, ONNX):
        if (path := model.folder / name).is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            break
    tables = [spec.table for spec in model.specs]
    digest.update(json.dumps([tables, model.shares, model.labels, dataset.sample_rate], sort_keys=True).encode())
    for entry in entries:
        digest.update(entry.filename.encode(errors="surrogateescape") + b"\0")
        digest.update(np.ascontiguousarray(dataset.samples(entry)).data)
    return digest.hexdigest()


def load_scores(path: Path, digest: str | None = None) -> Kept:
    """What is kept in a file, nothing where there is none. UsageError where it is damaged, or of something else than
    the digest, if one is given, says."""
    if not path.exists():
        return {}
    remedy = "name another file, or remove this one"
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["digest"]) != digest and digest is not None:
                raise UsageError(f"--scores {path}: holds scores of another model or of other recordings; {remedy}")
            names = [name.decode(errors="surrogateescape") for name in file["names"].tolist()]
            return {name: file[f"scores_{number}"] for number, name in enumerate(names)}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, AttributeError):
        raise UsageError(f"--scores {path}: holds no scores; {remedy}") from None


def save_scores(path: Path, digest: str, kept: Kept) -> None:
    """Write them, whole or not at all. UsageError where that cannot be."""
    content = io.BytesIO()
    names = np.array([name.encode(errors="surrogateescape") for name in kept], dtype=np.bytes_)
    rows = {f"scores_{number}": scores for number, scores in enumerate(kept.values())}
    np.savez(content, digest=np.array(digest), names=names, **rows)  # type: ignore[arg-type]
    try:
        write_whole(path, content.getvalue())
    except OSError as problem:
        raise UsageError(f"--scores {path}: cannot be written ({problem.strerror}); name another file") from None
