"""Packages that commands need beyond requirements-detect.txt, checked before a command begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiocnn.packages import TORCH_PACKAGES, TRAIN_PACKAGES

_EXPORT = (*TORCH_PACKAGES, "onnx", "onnxscript")


def packages_of(command: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The modules that a command imports with these options. Modules needed by a particular model, recording or recipe
    are checked later, when they are imported."""
    draws = ("matplotlib",) if options.get("output") else ()
    match command:
        case "train":
            return (*TRAIN_PACKAGES, *(["tensorboard"] if options["tensorboard"] else []))
        case "search":
            return (*TRAIN_PACKAGES, "optuna")
        case "evaluate" | "doubtful":
            return ("sklearn",)
        case "review":
            return ("librosa", "sklearn")
        case "tune":
            saves = ("onnx", "tomli_w") if options["save"] or options["save_as"] else ()
            return (*saves, *(["matplotlib"] if options["plot"] else []))
        case "ingest":
            return TORCH_PACKAGES if options["features"] else ()
        case "filters" | "explain":
            return (*TORCH_PACKAGES, *draws)
        case "plot":
            return ("librosa", *(() if str(options["output"]).lower().endswith((".html", ".htm")) else draws))
        case "ensemble":
            return (*_EXPORT, "tomli_w")
        case "export":
            return _EXPORT
    return ()
