"""What a person says is in a recording: annotations, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Annotation:
    """One labelled stretch of a recording; onset and offset in seconds from its start."""

    onset: float
    offset: float
    label: str
