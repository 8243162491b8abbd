"""Ensembles: several models in one model folder, whose scores are the mean of theirs.

models -> checks -> members -> model.toml, weights, ONNX, card

Members may have windows of different lengths: row k of each is centred at the same place. The labels, sample rate,
channels and hop must be the same.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audiocnn.errors import ModelError, UsageError
from audiocnn.files import write_whole
from audiocnn.model.card import card_body, card_text
from audiocnn.model.export import export_onnx
from audiocnn.model.model import CARD, ONNX, TOML, WEIGHTS, Member, Model, read_model, write_model
from audiocnn.model.pooling import ClipPooling, mean_clip_pooling, mean_label_pooling
from audiocnn.segments.finder import SegmentRule

_PARTS = (WEIGHTS, ONNX, CARD, TOML)  # written last, because a folder without model.toml is not a model
_MOST_WEIGHT = 1e6


def make_ensemble(
    models: Sequence[Model], folder: Path, weights: Sequence[float] = (), force: bool = False
) -> tuple[Model, float]:
    """Write the mean of models as a model folder; returns the model, and the largest difference of its ONNX file to
    PyTorch.

    weights: relative weights, by default equal. An ensemble among the models contributes its members. Raises UsageError
    or ModelError, before any work, if the models are incompatible or the folder is not free.
    """
    _check_models(models, weights)
    _check_folder(folder, force)
    shares = list(weights) or [1.0] * len(models)
    members = tuple(member for pair in zip(models, shares, strict=True) for member in _members_of(*pair))
    labels = models[0].labels
    ensemble = Model(
        name=folder.resolve().name,
        folder=folder,
        spec=members[0].spec,
        labels=labels,
        thresholds={label: _mean_threshold(models, shares, label) for label in labels},
        tuned_on="the mean of its members' thresholds",
        members=members,
        answer="one" if all(model.answer == "one" for model in models) else "several",
        clip_pooling=_mean_clip_pooling(models, shares),
        label_pooling={
            label: mean_label_pooling([model.label_pooling[label] for model in models], shares)
            for label in labels
            if all(label in model.label_pooling for model in models)
        },
    )
    beside = _folder_beside(folder)
    try:
        difference = _write_parts(replace(ensemble, folder=beside), models)
        folder.mkdir(exist_ok=True)
        for part in _PARTS:
            (beside / part).replace(folder / part)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return read_model(folder), difference


def _check_models(models: Sequence[Model], weights: Sequence[float]) -> None:
    """Reject models that cannot be averaged, naming both."""
    if len(models) < 2:
        raise UsageError("an ensemble needs two models or more; name another")
    if weights and len(weights) != len(models):
        raise UsageError(f"{len(weights)} weights for {len(models)} models; give one for each model, in the same order")
    for weight in weights:
        if not 0.0 < weight <= _MOST_WEIGHT:
            raise UsageError(f"a weight cannot be {weight:g}; give numbers above 0, up to {_MOST_WEIGHT:g}")
    first = models[0]
    for other in models[1:]:
        both = f"{first.name} and {other.name}"
        both = both if first.name != other.name else f"{first.folder} and {other.folder}"
        if sorted(first.labels) != sorted(other.labels):
            labels = f"{', '.join(first.labels)}; {', '.join(other.labels)}"
            raise ModelError(
                f"{both} have different labels ({labels}); average models that were trained on the same labels"
            )
        if first.localises != other.localises:
            remedy = f"average models with the same [f] output (here {first.spec.f.output} and {other.spec.f.output})"
            raise ModelError(f"{both}: only one of them predicts onsets and offsets; {remedy}")
        for what, unit, one, two in _facts_of(first, other):
            if one != two:
                fact = f"differ in the {what} ({one:g} and {two:g}{unit})"
                raise ModelError(f"{both} {fact}; train one of them again with a spec that has the {what} of the other")


def _facts_of(first: Model, other: Model) -> list[tuple[str, str, float, float]]:
    """(what, unit, value of one, value of the other) of facts that must be equal."""
    one, two = first.geometry, other.geometry
    rates = ("sample rate", " Hz", one.sample_rate, two.sample_rate)
    hops = ("hop", " samples", one.hop_samples, two.hop_samples)
    return [rates, ("number of channels", "", first.channels, other.channels), hops]


def _check_folder(folder: Path, force: bool) -> None:
    """Reject a file, a folder with other content, and without `force` a folder with a model."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, not a folder; choose another name")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / TOML).is_file():
        raise UsageError(f"{folder}: contains other files; choose a new folder with -o")
    if not force:
        raise UsageError(
            f"{folder}: already contains a model; overwrite it with --force, or choose another folder with -o"
        )


def _folder_beside(folder: Path) -> Path:
    """A temporary folder beside the target, so that its content can be renamed into place."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as problem:
        raise UsageError(f"{folder}: cannot be written ({problem.strerror}); choose another folder with -o") from None


def _members_of(model: Model, share: float) -> list[Member]:
    """The members that a model contributes to an ensemble: itself, or its own members."""
    if not model.members:
        return [Member(model.name, model.spec, model.labels, share, model.training)]
    return [replace(member, weight=share * own) for member, own in zip(model.members, model.shares, strict=True)]


def _mean_threshold(models: Sequence[Model], shares: Sequence[float], label: str) -> float:
    """The threshold for the mean of scores: the mean of the models' thresholds."""
    pairs = zip(models, shares, strict=True)
    total = sum(share * model.thresholds.get(label, SegmentRule.threshold) for model, share in pairs)
    return round(total / sum(shares), 3)


def _mean_clip_pooling(models: Sequence[Model], shares: Sequence[float]) -> ClipPooling | None:
    found = [model.clip_pooling for model in models if model.clip_pooling is not None]
    return mean_clip_pooling(found, shares) if len(found) == len(models) else None


def _write_parts(model: Model, models: Sequence[Model]) -> float:
    """Write all four files; returns the largest difference of ONNX to PyTorch."""
    from audiocnn.model.weights import Ensemble, load_networks, save_weights

    ensemble = Ensemble(model)
    loaded = [load_networks(each) for each in models]
    networks = [one for each in loaded for one in (each.networks if isinstance(each, Ensemble) else [each])]
    for mine, network in zip(ensemble.networks, networks, strict=True):
        mine.load_state_dict(network.state_dict())
    write_model(model)
    save_weights(ensemble, model.folder / WEIGHTS)
    difference = export_onnx(model, ensemble)
    write_whole(model.folder / CARD, _model_card(model, models, difference).encode())
    return difference


def _model_card(model: Model, models: Sequence[Model], difference: float) -> str:
    geometry = model.geometry
    rows = "".join(
        f"| {card_text(member.name)} | {share:.3f} | {member.spec.geometry().window_seconds:.3f} s"
        f" | {member.spec.parameters():,} | {card_text(member.spec.summary)} |\n"
        for member, share in zip(model.members, model.shares, strict=True)
    )
    thresholds = card_text(", ".join(f"{label} {value:g}" for label, value in model.thresholds.items()))
    return f"""# {card_text(model.name)}

The mean of the scores of {len(model.members)} networks.

| member | share | window | weights | |
|---|---|---|---|---|
{rows}
| | |
|---|---|
| labels | {card_text(", ".join(model.labels))} |
| input | {geometry.sample_rate} Hz, {model.channels} channel(s) |
| one score each | {geometry.hop_seconds:g} s, from a window of {geometry.window_seconds:.3f} s |
| weights | {model.parameters:,} |
| thresholds | {thresholds}, {model.tuned_on}; not tuned for it |
| ONNX against torch | at most {difference:.0e} apart |

The cards of the members follow unchanged. They state the training data, their licences and the limits of each member.
{"".join(map(_embed_card, models))}"""


def _embed_card(model: Model) -> str:
    """The card of a model with its headings one level lower; empty if it has none."""
    path = model.folder / CARD
    if not path.is_file():
        return ""
    text = card_body(path.read_text(encoding="utf-8", errors="replace").strip())
    return "\n" + re.sub(r"^(#{1,5}) ", r"#\1 ", text, flags=re.MULTILINE) + "\n"
