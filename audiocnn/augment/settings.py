"""The `[mix]` table of a recipe: `MixSettings`, its different defaults for whole clips, and checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocnn.errors import RecipeError, did_you_mean
from audiocnn.toml import TomlTable


@dataclass(frozen=True)
class MixSettings:
    """The `[mix]` table of a recipe. Shares are probabilities, ranges are drawn from uniformly, and levels are in
    dB."""

    seconds: float = 4.0
    foreground_share: float = 0.78
    silence_share: float = 0.0
    gap_seconds: tuple[float, float] = (0.0, 1.5)
    level_db: tuple[float, float] = (-8.0, 6.0)
    audible_db: tuple[float, float] = (120.0, 120.0)
    speed: tuple[float, float] = (0.9, 1.1)
    unsure_target: float = 0.0
    bridged_share: float = 0.0
    bridged_seconds: float = 0.3
    conversation_share: float = 0.0
    conversation_bridged_seconds: float = 0.5
    conversation_pad_seconds: float = 0.1
    conversation_floor_db: tuple[float, float] = (12.0, 35.0)
    overlap_share: float = 0.15
    background_share: float = 0.9
    coloured_share: float = 0.15
    background_speed: tuple[float, float] = (0.7, 1.4)
    reversed_share: float = 0.3
    background_labels: tuple[str, ...] = ()
    coloured_label: str = ""
    second_share: float = 0.15
    heard_db: float = 25.0
    event_share: float = 0.3
    made_share: float = 0.0
    hard_negatives: str = ""
    hard_share: float = 0.0
    snr_db: tuple[float, float] = (-5.0, 30.0)
    floor_share: float = 0.0
    floor_db: tuple[float, float] = (15.0, 60.0)
    murmur_share: float = 0.4
    murmur_db: tuple[float, float] = (18.0, 40.0)
    murmur_heard_db: float = 0.0
    gain_db: tuple[float, float] = (-22.0, 6.0)
    float_share: float = 0.0
    room_share: float = 0.45
    room_seconds: tuple[float, float] = (0.1, 0.8)
    direct_db: tuple[float, float] = (-3.0, 12.0)
    telephone_share: float = 0.15
    tilt_db: float = 3.0
    clip_share: float = 0.15
    clip_peak: tuple[float, float] = (0.05, 0.7)
    equaliser_db: float = 10.0
    band_masks: int = 1
    band_mask_width: float = 0.15
    band_warp: tuple[float, float] = (1.0, 1.0)
    time_masks: int = 0
    time_mask_width: float = 0.15
    mixup: float = 0.0
    between_share: float = 0.0
    nothing_share: float = 0.0
    balance: str = ""


# Defaults that differ for whole clips. A clip already contains its noise and room, and a telephone band or an equaliser
# of 10 dB would often turn its sound into that of another label.
CLIP_MIX: dict[str, Any] = {
    "background_share": 0.3,
    "snr_db": (10.0, 40.0),
    "gain_db": (-12.0, 6.0),
    "room_share": 0.0,
    "telephone_share": 0.0,
    "tilt_db": 0.0,
    "clip_share": 0.0,
    "equaliser_db": 6.0,
    "time_masks": 1,
}

# Settings that change the samples of a clip other than by a gain, with the values that switch them off.
SAMPLE_CHANGES: dict[str, Any] = {
    "speed": (1.0, 1.0),
    "mixup": 0.0,
    "between_share": 0.0,
    "nothing_share": 0.0,
    "background_share": 0.0,
    "room_share": 0.0,
    "telephone_share": 0.0,
    "tilt_db": 0.0,
    "clip_share": 0.0,
}


def find_sample_changes(settings: MixSettings) -> dict[str, Any]:
    """The settings, by key, that change samples of clips other than by a gain."""
    values = {key: getattr(settings, key) for key in SAMPLE_CHANGES}
    return {key: value for key, value in values.items() if value != SAMPLE_CHANGES[key]}


def check_backgrounds(settings: MixSettings, labels: Sequence[str], place: str) -> None:
    """Raises RecipeError for labels in `[mix]` that are not learned, and for backgrounds that leave no foreground
    label."""
    for key, names in (
        ("background_labels", settings.background_labels),
        ("coloured_label", (settings.coloured_label,)),
    ):
        for name in names:
            if name and name not in labels:
                raise RecipeError(f'{place}: "{key}": "{name}" is not a learned label; {did_you_mean(name, labels)}')
    if settings.background_labels and settings.made_share:
        raise RecipeError(
            f'{place}: "made_share": synthetic sounds have no label, but "background_labels" needs one; set it to 0'
        )
    if settings.background_labels and set(labels) <= set(settings.background_labels):
        raise RecipeError(f'{place}: "background_labels" names every label; remove one, which becomes foreground')


def read_mix(table: TomlTable, folder: Path) -> MixSettings:
    """`[mix]`. The path of the table of hard negatives is relative to the recipe."""
    base = MixSettings()
    hard_negatives = table.text("hard_negatives", base.hard_negatives)
    shares = [field.name for field in dataclasses.fields(base) if field.name.endswith("_share")]
    shares.remove("nothing_share")  # some examples must carry a label
    wide = ("level", "snr", "floor", "conversation_floor", "gain", "direct", "murmur", "audible")
    values: dict[str, Any] = {key: table.number(key, getattr(base, key), most=1.0) for key in shares}
    for key in (f"{name}_db" for name in wide):
        values[key] = table.pair(key, getattr(base, key), least=-200.0, most=200.0)
    values["nothing_share"] = table.number("nothing_share", base.nothing_share, most=0.9)
    settings = dataclasses.replace(
        base,
        seconds=table.number("seconds", base.seconds, above=True, most=600.0),
        gap_seconds=table.pair("gap_seconds", base.gap_seconds),
        speed=table.pair("speed", base.speed, least=0.25, most=4.0),
        background_speed=table.pair("background_speed", base.background_speed, least=0.25, most=4.0),
        room_seconds=table.pair("room_seconds", base.room_seconds, most=10.0),
        clip_peak=table.pair("clip_peak", base.clip_peak, most=1.0),
        equaliser_db=table.number("equaliser_db", base.equaliser_db, most=60.0),
        tilt_db=table.number("tilt_db", base.tilt_db, most=60.0),
        band_masks=table.integer("band_masks", base.band_masks, least=0, most=20),
        band_mask_width=table.number("band_mask_width", base.band_mask_width, most=1.0),
        band_warp=table.pair("band_warp", base.band_warp, least=0.25, most=4.0),
        time_masks=table.integer("time_masks", base.time_masks, least=0, most=20),
        time_mask_width=table.number("time_mask_width", base.time_mask_width, most=1.0),
        mixup=table.number("mixup", base.mixup, most=100.0),
        balance=table.text("balance", base.balance),
        background_labels=table.texts("background_labels", base.background_labels),
        hard_negatives=str((folder / hard_negatives).resolve()) if hard_negatives else "",
        coloured_label=table.text("coloured_label", base.coloured_label),
        heard_db=table.number("heard_db", base.heard_db, least=-200.0, most=200.0),
        murmur_heard_db=table.number("murmur_heard_db", base.murmur_heard_db, least=-200.0, most=200.0),
        unsure_target=table.number("unsure_target", base.unsure_target, most=1.0),
        bridged_seconds=table.number("bridged_seconds", base.bridged_seconds, most=10.0),
        conversation_bridged_seconds=table.number(
            "conversation_bridged_seconds", base.conversation_bridged_seconds, most=10.0
        ),
        conversation_pad_seconds=table.number("conversation_pad_seconds", base.conversation_pad_seconds, most=10.0),
        **values,
    )
    table.close()
    return settings
