"""`[mix]` of a recipe, read and checked."""

from __future__ import annotations

import dataclasses
from typing import Any

from audiocnn.mixing import MixSettings
from audiocnn.tables import Table


def read_mix(table: Table) -> MixSettings:
    """`[mix]`."""
    base = MixSettings()
    shares = (
        "foreground_share",
        "background_share",
        "coloured_share",
        "room_share",
        "telephone_share",
        "clip_share",
        "overlap_share",
        "murmur_share",
        "reversed_share",
        "event_share",
        "made_share",
        "second_share",
        "between_share",
    )
    wide = ("level_db", "snr_db", "gain_db", "direct_db", "murmur_db", "audible_db")
    values: dict[str, Any] = {key: table.number(key, getattr(base, key), most=1.0) for key in shares}
    values |= {key: table.pair(key, getattr(base, key), least=-200.0, most=200.0) for key in wide}
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
        coloured_label=table.text("coloured_label", base.coloured_label),
        heard_db=table.number("heard_db", base.heard_db, least=-200.0, most=200.0),
        **values,
    )
    table.close()
    return settings
