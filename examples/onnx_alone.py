"""Scores a recording with ONNX Runtime alone, without audiocnn:  pip install numpy onnxruntime soundfile, then
python examples/onnx_alone.py models/audiocnn_models/speech_1d/model.onnx data/samples/greeting.flac

The metadata of the file contain everything needed: the sample rate, the samples between two scores, and the labels.
"""

import sys

import numpy
import onnxruntime
import soundfile


def score(model: str, recording: str) -> tuple[list[str], float, numpy.ndarray]:
    """The labels, the seconds between two scores, and the scores (rows, labels)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    rate, hop = int(said["sample_rate"]), int(said["hop_samples"])
    samples, found = soundfile.read(recording, dtype="float32", always_2d=True)
    if found != rate:
        sys.exit(f"{recording}: has {found} Hz, but the model needs {rate} Hz; convert it with ffmpeg -ar {rate}")
    mixed = samples.mean(axis=1, dtype=numpy.float32)[None, None]  # (batch, channels, samples), floats in [-1, 1]
    (scores,) = session.run(["scores"], {"samples": mixed})
    return said["labels"].split("\n"), hop / rate, scores[0]


def main(model: str, recording: str) -> None:
    labels, hop_seconds, scores = score(model, recording)
    print("start", *labels, sep=",")
    for number, row in enumerate(scores):
        print(f"{number * hop_seconds:.2f}", *(f"{value:.4f}" for value in row), sep=",")


if __name__ == "__main__":
    main(*sys.argv[1:])
