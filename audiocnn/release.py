"""A trained network as a model folder: thresholds tuned, ONNX made and compared, card written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiocnn.batches import Material
from audiocnn.evaluation import tune_threshold
from audiocnn.export import export_onnx
from audiocnn.model import CARD, WEIGHTS, Model, write_model, write_whole
from audiocnn.network import Network
from audiocnn.recipe import Recipe
from audiocnn.segments import SegmentRule
from audiocnn.validation import as_recordings
from audiocnn.weights import save_weights


def release(
    recipe: Recipe, material: Material, network: Network, folder: Path, training: dict[str, Any]
) -> tuple[Model, float]:
    """Write the folder; returns the model and the largest difference of its ONNX file to torch."""
    network = network.eval().cpu()
    recordings = as_recordings(network, material, recipe.train.batch_size)
    rule = SegmentRule(pad_seconds=0.0)
    thresholds, tuned_on = {}, ""
    for label in material.labels if recordings else ():
        measure = recipe.evaluate.tune_for
        thresholds[label] = round(tune_threshold(recordings, material.labels, label, rule, measure)[0], 3)
        tuned_on = f"{len(recordings)} mixtures of the part held out from training, {measure.replace('_', ' ')}"
    spec = recipe.spec.with_classes(len(material.labels))
    training = {"seed": recipe.seed, "groups": material.groups, "hours": round(material.seconds / 3600, 2)} | training
    model = Model(recipe.name, folder, spec, material.labels, thresholds, tuned_on, training)
    write_model(model)
    save_weights(network, folder / WEIGHTS)
    difference = export_onnx(model, network)
    write_whole(folder / CARD, card(model, recipe, difference).encode())
    return model, difference


def origin_row(origin: dict[str, Any] | None) -> str:
    """The card's line about the model that a training began from, if there was one."""
    if not origin:
        return ""
    parts = f"groups {', '.join(origin['groups'])}"
    parts += f" ({', '.join(origin['frozen'])} unchanged)" if origin["frozen"] else ""
    return f"| began from | `{origin['model']}`: {parts}, F {origin['f']}; its card says what it was trained on |\n"


def card(model: Model, recipe: Recipe, difference: float) -> str:
    """The model card: what the trainer knows, then what the recipe adds."""
    geometry, training = model.geometry, model.training
    (name, figure), *_ = training["validation"].items()
    thresholds = ", ".join(f"{label} {value:g}" for label, value in model.thresholds.items()) or "0.5 (not tuned)"
    data = recipe.data.source.name if recipe.data else "a dataset"
    return f"""# {model.name}

{model.spec.summary}

| | |
|---|---|
| labels | {", ".join(model.labels)} |
| input | {geometry.sample_rate} Hz, {model.channels} channel(s) |
| one score each | {geometry.hop_seconds:g} s, from a window of {geometry.window_seconds:.3f} s |
| thresholds | {thresholds}{", tuned on " + model.tuned_on if model.tuned_on else ""} |
| trained on | {training["hours"]} h of `{data}`, {training["groups"]["train"]} groups; \
{training["groups"]["validation"]} groups held out to stop early |
{origin_row(training.get("from"))}| training | \
{training["epochs"]} epochs, best {training["best_epoch"]}, seed {training["seed"]}, \
{training["seconds"] / 60:.0f} min on {training["threads"]} threads ({training["device"]}) |
| held out: {name} | {figure:.4f} |
| ONNX against torch | at most {difference:.0e} apart |
{recipe.card and chr(10) + recipe.card.strip() + chr(10)}"""
