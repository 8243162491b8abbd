"""Runs a network step by step with ONNX Runtime alone, as a program in any language can:
python examples/stream_onnx.py models/audiocnn_models/speech_live/stream.onnx data/samples/greeting.flac"""

import sys
from collections.abc import Iterator

import numpy
import onnxruntime
import soundfile


def step_scores(path: str, samples: numpy.ndarray) -> Iterator[numpy.ndarray]:
    """(samples,) float32 at the rate of the model -> (1, labels) for each hop, as soon as it is known."""
    session = onnxruntime.InferenceSession(path)
    said = session.get_modelmeta().custom_metadata_map
    hop, lead, drop = (int(said[key]) for key in ("hop_samples", "lead_samples", "lead_rows"))
    tails = {one.name: numpy.zeros((1, *one.shape[1:]), numpy.float32) for one in session.get_inputs()[1:]}
    numbers = range(len(tails))
    silence = numpy.zeros((1, 1, hop), numpy.float32)
    # The states of the layers after the silence before the beginning.
    tails = dict(zip(tails, session.run([f"first.{n}" for n in numbers], {"samples": silence, **tails}), strict=True))
    heard = numpy.concatenate([numpy.zeros(lead, numpy.float32), samples])
    for number, start in enumerate(range(0, len(heard) - hop + 1, hop)):
        feeds = {"samples": heard[None, None, start : start + hop], **tails}
        scores, *behind = session.run(["scores", *(f"next.{n}" for n in numbers)], feeds)
        tails = dict(zip(tails, behind, strict=True))
        if number >= drop:
            yield scores[0]


def main(path: str, recording: str) -> None:
    samples, _ = soundfile.read(recording, dtype="float32", always_2d=True)
    for number, (score,) in enumerate(step_scores(path, samples[:, 0])):
        print(f"{number * 0.02:7.2f} s  {score[0]:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
