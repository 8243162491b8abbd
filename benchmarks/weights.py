"""The gain in speed and the loss in quality of smaller weights.

python -m benchmarks.weights [--model speech_1d] [--model speech_2d] [--against RUN] [--seconds 300] [--json FILE]

Each model is measured unchanged and as `int8`: static quantisation of weights and activations of the convolutions to 8
bits, with one scale per channel, calibrated on recordings of the training part. With --against, other trained models
(folders) are measured, too. Prints a Markdown table:

- speed relative to real time: the network alone on one core, chunks of 30 s, all contenders in turn, the median
- size of the ONNX file
- AUROC on the meetings, by `audiocnn evaluate`
- the largest and the mean difference of a score from the unchanged model
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.recording import read_samples
from audiocnn.errors import AudiocnnError
from audiocnn.inference.engine import OnnxBackend
from audiocnn.model.model import ONNX, Model, find_model, read_model
from benchmarks.measuring import ROOT, BenchmarkError, audiocnn, measure

DATA = ROOT.parent / "shared" / "data"
CHUNK_SECONDS = 30
CALIBRATION_RECORDINGS = 48
Samples = NDArray[np.float32]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", action="append", metavar="MODEL", help="speech_1d and speech_2d")
    parser.add_argument("--against", action="append", default=[], metavar="RUN", help="a trained model")
    parser.add_argument("--seconds", type=float, default=300.0, help="seconds of sound for the speed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    given = parser.parse_args(arguments)
    try:
        rows = compare(given.model or ["speech_1d", "speech_2d"], given.against, given.seconds)
    except AudiocnnError as problem:
        print(f"weights: {problem}", file=sys.stderr)
        return 2
    print(to_markdown(rows))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


def compare(names: Sequence[str], against: Sequence[str], seconds: float) -> list[dict[str, Any]]:
    """One row per contender."""
    if not (DATA / "recordings.tsv").exists():
        raise BenchmarkError(f"{DATA}: does not exist; it should contain the recordings to measure on")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            model = find_model(name)
            print(f"{name}: to 8 bits", file=sys.stderr)
            contenders = {name: model, f"{name}, int8": to_int8(model, Path(folder) / f"{name}-int8")}
            rows += measured(contenders, seconds)
        rows += measured({str(path): find_model(path) for path in against}, seconds)
    return rows


def measured(contenders: dict[str, Model], seconds: float) -> list[dict[str, Any]]:
    """The figures of models measured in turn; scores are compared with those of the first."""
    backends = {name: OnnxBackend(model, threads=1) for name, model in contenders.items()}
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    scores: dict[str, list[Samples]] = {name: [] for name in contenders}
    for number, samples in enumerate(chunks(seconds)):
        for name, backend in backends.items():
            print(f"{name}: {number * CHUNK_SECONDS} s", end="\r", file=sys.stderr)
            backend.run(samples)
            begin = time.perf_counter()
            scores[name].append(backend.run(samples))
            speeds[name].append(CHUNK_SECONDS / (time.perf_counter() - begin))
    first = next(iter(contenders), "")
    rows = []
    for name, model in contenders.items():
        pairs = zip(scores[name], scores[first], strict=True) if name.startswith(f"{first},") else ()
        moved = [np.abs(one - other).ravel() for one, other in pairs]
        differences = np.concatenate(moved) if moved else None
        rows.append(
            {
                "name": name,
                "times_real_time": statistics.median(speeds[name]),
                "onnx_bytes": model.part(ONNX).stat().st_size,
                "auroc": auroc(model),
                "largest_difference": None if differences is None else float(differences.max()),
                "mean_difference": None if differences is None else float(differences.mean()),
            }
        )
    return rows


def chunks(seconds: float) -> Iterator[Samples]:
    """(1, 1, samples) of meetings, joined and repeated as needed."""
    rate = 16_000
    sound = np.concatenate([read_samples(path, rate)[0][0] for path in sorted((DATA / "meetings").glob("*.flac"))])
    wanted = CHUNK_SECONDS * rate
    for number in range(max(1, round(seconds / CHUNK_SECONDS))):
        begin = number * wanted % max(1, len(sound) - wanted)
        yield np.ascontiguousarray(sound[None, None, begin : begin + wanted])


def auroc(model: Model) -> float:
    """AUROC of the frames of the meetings."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        measure(audiocnn("evaluate", DATA / "meetings", "-m", model.folder, "--resamples", "0", "-o", report))
        figures = json.loads(report.read_text(encoding="utf-8"))["labels"]["speech"]["figures"]
    return float(figures["auroc"]["value"])


def to_int8(model: Model, folder: Path) -> Model:
    """A copy of the model with 8-bit convolutions, except those of the features."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Recordings(CalibrationDataReader):
        def __init__(self) -> None:
            self.paths = iter(training_recordings())

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            path = next(self.paths, None)
            if path is None:
                return None
            samples, _ = read_samples(path, model.geometry.sample_rate)
            return {"samples": samples[None, :, : 10 * model.geometry.sample_rate]}

    shutil.copytree(model.folder, folder)
    convolutions = [node.name for node in onnx.load(folder / ONNX).graph.node if node.op_type == "Conv"]
    quantize_static(
        folder / ONNX,
        folder / ONNX,
        Recordings(),
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=convolutions[:1],  # the mel matrix
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return read_model(folder)


def training_recordings() -> list[Path]:
    """Some recordings of the training part, evenly drawn."""
    lines = (DATA / "recordings.tsv").read_text(encoding="utf-8").splitlines()
    head = lines[0].split("\t")
    rows = [dict(zip(head, line.split("\t"), strict=False)) for line in lines[1:]]
    names = [row["filename"] for row in rows if row["split"] == "train" and row["kind"] in ("speech", "nonspeech")]
    return [DATA / name for name in names[:: max(1, len(names) // CALIBRATION_RECORDINGS)]]


def to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    lines = [
        "| weights | times real time, one core | ONNX, kB | AUROC, meetings | a score moves by at most, on average |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        moved = (
            "" if not row["largest_difference"] else f"{row['largest_difference']:.3f}, {row['mean_difference']:.4f}"
        )
        size = row["onnx_bytes"] / 1000
        lines.append(f"| {row['name']} | {row['times_real_time']:,.0f} | {size:,.0f} | {row['auroc']:.4f} | {moved} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
