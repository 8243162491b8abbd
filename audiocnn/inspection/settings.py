"""The settings of an explanation, apart from what computes it, so that the help of the command imports little."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExplainSettings:
    """Which score to explain, and how.

    label: None for the one with the highest score there. at_seconds: the time of the score; None without `whole` for
    what answers for the recording: of a model that learned whole clips the rows whose mean `classify` goes by, of
    another the highest score, or all scores of a recording of at most two windows. patch_seconds, patch_bands: None for
    a 16th of the window and an 8th of the bands. fill: what a patch is turned down to, one of FILL_LEVELS. points: how
    many slopes are taken between the background and the sound; 1: at the sound. top: patches to name. group: keep its
    strongest `maps` maps.
    """

    label: str | None = None
    at_seconds: float | None = None
    whole: bool = False
    patch_seconds: float | None = None
    patch_bands: int | None = None
    fill: str = "background"
    points: int = 16
    top: int = 5
    group: str | None = None
    maps: int = 16
