"""Commands, with the packages that they need or do not need. They run in a folder of `write_tones` with the model
`tone`."""

from __future__ import annotations

from pathlib import Path

from audiocnn.packages import TORCH_PACKAGES, TRAIN_PACKAGES

TRAIN = list(TRAIN_PACKAGES)
# Commands and the packages they need. Only a missing package makes them fail.
NEEDS = {
    "train labels -o made": TRAIN,
    "train labels -o made --tensorboard": [*TRAIN, "tensorboard"],
    "search small.toml -o made": [*TRAIN, "optuna"],
    "evaluate tones.tsv -m tone": ["sklearn"],
    "evaluate tones.tsv -m tone --against silero": ["sklearn"],
    "doubtful labels -m tone -o made.tsv": ["sklearn"],
    "review labels --no-open": ["librosa", "sklearn"],
    "tune tones.tsv -m tone --save": ["onnx", "tomli_w"],
    "tune tones.tsv -m tone --save-as made": ["onnx", "tomli_w"],
    "tune tones.tsv -m tone --plot made.png": ["matplotlib"],
    "ingest labels -o made --features sound_2d": list(TORCH_PACKAGES),
    "filters tone": list(TORCH_PACKAGES),
    "filters tone -o made.png": [*TORCH_PACKAGES, "matplotlib"],
    "explain one.wav -m tone": list(TORCH_PACKAGES),
    "explain one.wav -m tone -o made.png": [*TORCH_PACKAGES, "matplotlib"],
    "plot one.wav -m tone -o made.html": ["librosa"],
    "plot one.wav -m tone -o made.png": ["librosa", "matplotlib"],
    "ensemble tone tone -o made": [*TORCH_PACKAGES, "onnx", "onnxscript", "tomli_w"],
    "export tone": [*TORCH_PACKAGES, "onnx", "onnxscript"],
    "detect one.wav -m tone --device cuda": list(TORCH_PACKAGES),
    "score one.wav -m tone --device cuda": list(TORCH_PACKAGES),
    "classify one.wav -m tone --device cuda": list(TORCH_PACKAGES),
    "split one.wav -m tone --output-dir made --device cuda": list(TORCH_PACKAGES),
    "detect labels -m tone -o made --ray local": ["ray", "pandas", "pyarrow"],
    "detect s3://bucket/a.wav -m tone": ["fsspec"],
}
LIGHT = [
    "detect one.wav -m tone",
    "detect --follow - -m tone",
    "score one.wav -m tone",
    "classify one.wav -m tone",
    "tune tones.tsv -m tone",
    "ingest labels -o made",
    "models",
    "describe tone conv_cqt",
    "runs .",
    "convert tones.tsv -o made.rttm",
    "split one.wav -m tone --output-dir made",
    "info",
    "info --bundle one.wav -m tone -o made.zip",
]


def stdin_of(line):
    """The standard input of one of these commands."""
    return Path("one.wav").read_bytes() if " - " in line else b""
