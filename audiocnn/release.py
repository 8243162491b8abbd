"""A trained network as a model folder: thresholds tuned, ONNX made and compared, card written."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray

from audiocnn.batches import Material
from audiocnn.calibrating import fit_calibration, fold_calibration
from audiocnn.clip_calibrating import MOST_POSITIONS, best_threshold, fit_clips
from audiocnn.clip_examples import HeldOut
from audiocnn.evaluation import tune_threshold
from audiocnn.export import export_onnx
from audiocnn.model import CARD, WEIGHTS, Model, write_model
from audiocnn.network import Network
from audiocnn.recipe import KEPT, Recipe
from audiocnn.segments import SegmentRule
from audiocnn.validation import as_recordings, clip_logits, clip_targets, scores_of, thinned_logits
from audiocnn.weights import save_weights
from audiocnn.whole_files import write_whole

MOST_VALUES = 2**26  # clips x positions x labels that a calibration takes; of more clips every second, third ...
LEAST_CLIPS = 20  # held out, from where on they say more about scores than the network does


def release(
    recipe: Recipe, material: Material, network: Network, folder: Path, training: dict[str, Any]
) -> tuple[Model, float]:
    """Write the folder; returns the model and the largest difference of its ONNX file to torch."""
    network = network.eval().cpu()
    if material.clips:
        thresholds, tuned_on = tune_clips(recipe, material, network)
    else:
        thresholds, tuned_on = tune_segments(recipe, material, network)
    spec = recipe.spec.with_classes(len(material.labels))
    training = {"seed": recipe.seed, "groups": material.groups, "hours": round(material.seconds / 3600, 2)} | training
    model = Model(
        recipe.name, folder, spec, material.labels, thresholds, tuned_on, training, answer=answer_of(material)
    )
    write_model(model)
    write_whole(folder / KEPT, tomli_w.dumps(portable(recipe.to_table())).encode())
    save_weights(network, folder / WEIGHTS)
    difference = export_onnx(model, network)
    write_whole(folder / CARD, card(model, recipe, difference).encode())
    return model, difference


def answer_of(material: Material) -> str:
    """How clips are answered: by one label, or by all that are there."""
    return "" if not material.clips else "several" if material.several else "one"


def tune_segments(recipe: Recipe, material: Material, network: Network) -> tuple[dict[str, float], str]:
    """A threshold for each label, and what they were tuned on; none where nothing was held out."""
    if not len(material.validation):
        return {}, ""
    logits = scores_of(network, material.validation, recipe.train.batch_size)
    if recipe.evaluate.calibrate:
        logits = calibrate(network, material, logits)
    recordings = as_recordings(network, material, logits)
    rule, measure = SegmentRule(pad_seconds=0.0), recipe.evaluate.tune_for
    tuned = {
        label: round(tune_threshold(recordings, material.labels, label, rule, measure)[0], 3)
        for label in material.labels
    }
    return tuned, f"{set_of(recipe, len(recordings))}, {measure.replace('_', ' ')}"


def tune_clips(recipe: Recipe, material: Material, network: Network) -> tuple[dict[str, float], str]:
    """For clips of several labels a threshold for each that some held-out clips have and some have not, the one with
    the best F1 of clips; for clips of one label none, since the highest score is the answer."""
    count = len(material.validation)
    if count < LEAST_CLIPS or not (recipe.evaluate.calibrate or material.several):
        return {}, ""
    clips, targets, batch_size = material.validation, clip_targets(material), recipe.train.batch_size
    if recipe.evaluate.calibrate:
        every = -(-targets.size * MOST_POSITIONS // MOST_VALUES)
        some = HeldOut(clips.clips, every) if isinstance(clips, HeldOut) else clips[::every]
        logits = thinned_logits(network, some, batch_size)
        fold_calibration(network, fit_clips(logits, targets[::every], network.spec.f.output == "softmax"))
    if not material.several:
        return {}, ""
    scores = 1.0 / (1.0 + np.exp(-clip_logits(network, clips, batch_size).astype(np.float64)))
    tuned = {
        label: round(best_threshold(scores[:, column], targets[:, column] > 0.5), 6)
        for column, label in enumerate(material.labels)
        if 0.0 < targets[:, column].mean() < 1.0
    }
    return tuned, f"{count} clips held out from training, f1" if tuned else ""


def portable(table: dict[str, Any]) -> dict[str, Any]:
    """A recipe in full whose paths are names: of a folder or file, wherever it lies on another machine."""
    shorter = {part: dict(values) if isinstance(values, dict) else values for part, values in table.items()}
    data = shorter.get("data", {})
    for key in ("recordings", "segments"):
        if key in data:
            inside = Path(data[key]).is_relative_to(data["source"])
            data[key] = Path(data[key]).relative_to(data["source"]).as_posix() if inside else Path(data[key]).name
    paths = (("data", "source"), ("data", "corrections"), ("evaluate", "conditions"))
    for part, key in (*paths, ("train", "teacher"), ("train", "from")):
        if shorter.get(part, {}).get(key):
            shorter[part][key] = Path(shorter[part][key]).name
    return shorter


def calibrate(network: Network, material: Material, logits: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Make the network's scores probabilities on the validation examples; returns their new logits."""
    targets = [example.targets for example in material.validation]
    fitted = fit_calibration(logits, targets, network.spec.f.output == "softmax")
    if not fold_calibration(network, fitted):
        return logits
    gain, shift = np.array(fitted.gain, np.float32), np.array(fitted.shift, np.float32)
    return [rows * gain + shift for rows in logits]


def set_of(recipe: Recipe, count: int) -> str:
    """What the thresholds were tuned on."""
    conditions = recipe.evaluate.conditions
    if conditions is None:
        return f"{count} mixtures of the part held out from training"
    return f'part "{recipe.evaluate.part}" of {conditions.name} ({count} recordings)'


def machine_of(device: torch.device) -> str:
    """What it was trained on, in a few words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {os.cpu_count()} cores, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def origin_row(origin: dict[str, Any] | None) -> str:
    """The card's line about the model that a training began from, if there was one."""
    if not origin:
        return ""
    parts = f"groups {', '.join(origin['groups'])}"
    parts += f" ({', '.join(origin['frozen'])} unchanged)" if origin["frozen"] else ""
    return f"| began from | `{origin['model']}`: {parts}, F {origin['f']}; its card says what it was trained on |\n"


def teacher_row(training: dict[str, Any], recipe: Recipe) -> str:
    """The card's line about who taught, if anyone did."""
    if "teacher" not in training:
        return ""
    return f"| taught by | `{training['teacher']}`, {recipe.train.teacher_share:.0%} of each target |\n"


def held_out(training: dict[str, Any]) -> str:
    """What stopped the training."""
    groups = training["groups"]["validation"]
    return f"{groups} groups held out to stop early" if training["validation"] else "nothing was held out"


def figure_row(training: dict[str, Any]) -> str:
    """The card's line about the figure that stopped the training, if there was one."""
    return "".join(f"| held out: {name} | {figure:.4f} |\n" for name, figure in [*training["validation"].items()][:1])


def card(model: Model, recipe: Recipe, difference: float) -> str:
    """The model card: what the trainer knows, then what the recipe adds."""
    geometry, training = model.geometry, model.training
    thresholds = ", ".join(f"{label} {value:g}" for label, value in model.thresholds.items()) or "0.5 (not tuned)"
    if model.answer == "one":
        thresholds = "none: the answer is the label with the highest mean score"
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
{held_out(training)} |
{origin_row(training.get("from"))}{teacher_row(training, recipe)}| training | \
{training["epochs"]} epochs, best {training["best_epoch"]}, seed {training["seed"]}, \
{training["seconds"] / 60:.0f} min on {training["threads"]} thread(s) ({training["machine"]}) |
{figure_row(training)}| ONNX against torch | at most {difference:.0e} apart |
{recipe.card and chr(10) + recipe.card.strip() + chr(10)}"""
