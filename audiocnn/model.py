"""A model is a folder: `model.toml` (spec, labels, thresholds), `model.safetensors`, `model.onnx`, `README.md`.

Nothing in it is code: TOML, plain tensors and an ONNX graph. Loading imports neither torch nor onnxruntime.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec as find_package
from pathlib import Path
from typing import Any

from audiocnn.architecture import Spec, spec_from_table
from audiocnn.errors import ModelError, SpecError, did_you_mean
from audiocnn.segments import SegmentRule
from audiocnn.tables import Table, read_toml

FORMAT = 1
DEFAULT_MODEL = "speech_1d"
TOML, WEIGHTS, ONNX, CARD = "model.toml", "model.safetensors", "model.onnx", "README.md"


@dataclass(frozen=True)
class Model:
    """What `model.toml` says. The weights stay on the disk until an engine wants them."""

    name: str
    folder: Path
    spec: Spec
    labels: tuple[str, ...]
    thresholds: dict[str, float]
    tuned_on: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)

    def part(self, name: str) -> Path:
        """A file of the folder. Raises ModelError, with the remedy, if it is not there."""
        path = self.folder / name
        if not path.is_file():
            remedy = {
                ONNX: f"make it again with `audiocnn export {self.folder}`",
                WEIGHTS: "copy the folder again, or train again",
            }.get(name, "copy the folder again")
            raise ModelError(f"{self.folder}: {name} is missing; {remedy}")
        return path

    def rule(self, label: str, **changes: float | None) -> SegmentRule:
        """The segment rule for a label: the model's threshold, where `changes` does not name another."""
        given = {key: value for key, value in changes.items() if value is not None}
        return SegmentRule(**{"threshold": self.thresholds.get(label, SegmentRule.threshold), **given})

    def to_table(self) -> dict[str, Any]:
        """`model.toml` as a dictionary."""
        return {
            "format": FORMAT,
            "name": self.name,
            "summary": self.spec.summary,
            "labels": list(self.labels),
            "thresholds": self.thresholds,
            "tuned_on": self.tuned_on,
            "training": self.training,
            "evaluation": self.evaluation,
            "spec": self.spec.table,
        }


def read_model(folder: Path) -> Model:
    """A model folder (or a run that holds one). Raises ModelError with fact, place and remedy."""
    if not (folder / TOML).is_file() and (folder / "model" / TOML).is_file():
        folder = folder / "model"
    if not (folder / TOML).is_file():
        raise ModelError(f"{folder}: is not a model: it has no {TOML}; name a model folder or one of `audiocnn models`")
    place = str(folder / TOML)
    table = Table(read_toml(folder / TOML, ModelError), place, ModelError)
    version = table.integer("format")
    if version > FORMAT:
        newer = f"format {version} is newer than this audiocnn reads ({FORMAT})"
        raise ModelError(f"{place}: {newer}; upgrade with `pip install -U audiocnn`")
    labels = table.texts("labels")
    if not labels or len(set(labels)) < len(labels):
        raise table.wrong('"labels" must name each label once')
    thresholds = table.table("thresholds")
    try:
        spec = spec_from_table(table.raw("spec"), table.text("name"), len(labels))
    except SpecError as problem:
        raise ModelError(f"{place}: the spec inside is damaged: {problem}") from None
    table.text("summary", "")
    model = Model(
        name=spec.name,
        folder=folder,
        spec=spec,
        labels=labels,
        thresholds={label: thresholds.number(label, SegmentRule.threshold, most=1.0) for label in labels},
        tuned_on=table.text("tuned_on", ""),
        training=table.table("training").values,
        evaluation=table.table("evaluation").values,
    )
    thresholds.close()
    table.close()
    return model


def write_model(model: Model) -> None:
    """Write `model.toml`, whole or not at all."""
    import tomli_w

    model.folder.mkdir(parents=True, exist_ok=True)
    write_whole(model.folder / TOML, tomli_w.dumps(model.to_table()).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename: a reader sees the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def shipped_folder() -> Path:
    """Where the released models and specs lie."""
    package = find_package("audiocnn_models")
    if package is None or not package.submodule_search_locations:
        raise ModelError("the package audiocnn_models is not installed; install audiocnn again")
    return Path(next(iter(package.submodule_search_locations)))


def shipped_models() -> Iterator[Path]:
    """The folders of the released models, the default first, then by name."""
    folders = [path.parent for path in shipped_folder().glob(f"*/{TOML}")]
    return iter(sorted(folders, key=lambda folder: (folder.name != DEFAULT_MODEL, folder.name)))


def spec_folders() -> list[Path]:
    """Where specs are looked up by name."""
    return [shipped_folder() / "specs"]


def find_model(name: str | Path) -> Model:
    """A model by the name of a released one, or by its folder, wherever it lies."""
    path = Path(name)
    try:
        there, whole = path.exists(), any(file.is_file() for file in (path / TOML, path / "model" / TOML))
    except OSError:  # a name that is too long for a file
        there = whole = False
    if whole:
        return read_model(path)
    shipped = {folder.name: folder for folder in shipped_models()}
    if str(name) in shipped:
        return read_model(shipped[str(name)])
    if there:
        return read_model(path)
    raise ModelError(f'there is no model "{name}"; {did_you_mean(str(name), shipped)}; or name a model folder')
