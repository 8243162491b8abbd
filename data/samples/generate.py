"""Makes the recordings of this folder and their `segments.tsv`. From the root of the project:

python -m data.samples.generate            # writes into data/samples
python -m data.samples.generate FOLDER     # writes somewhere else
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile

from audiocnn.errors import AudiocnnError
from data.samples.synthesis import Mixture, MixtureRule, render_mixture

ESPEAK_VERSION = "1.51"
"""What spoke in the files that are committed."""

SAMPLES: dict[str, tuple[int, MixtureRule]] = {
    "greeting.flac": (18, MixtureRule(7, snr_db=25, noises=("pink",), languages=("en",))),
    "walk.flac": (
        18,
        MixtureRule(
            38,
            snr_db=12,
            gap_seconds=(0.5, 3.2),
            noises=("hum", "rain+knocks", "pink+tune", "engine", "fan+beeps", "brown"),
        ),
    ),
    "stereo.flac": (
        11,
        MixtureRule(9, snr_db=15, sample_rate=44100, channels=2, noises=("pink+tune", "fan")),
    ),
    "storm.flac": (17, MixtureRule(10, snr_db=0, noises=("rain", "brown+knocks"), gap_seconds=(0.8, 2.0))),
    "telephone.wav": (15, MixtureRule(8, snr_db=10, sample_rate=8000, noises=("hum", "white"))),
    "no_speech.flac": (
        16,
        MixtureRule(10, snr_db=0, noises=("pink+tune", "engine+beeps", "rain+knocks"), speaks=False),
    ),
}
"""File name -> seed and rule."""


def make_sample(filename: str) -> Mixture:
    """One of SAMPLES; the same call gives the same mixture."""
    seed, rule = SAMPLES[filename]
    return render_mixture(np.random.default_rng(seed), rule)


def write_samples(folder: Path) -> None:
    """Writes every recording (16 bit) and `segments.tsv`: one row of empty fields where nobody speaks."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["filename\tonset\toffset\tevent_label"]
    for filename in SAMPLES:
        mixture = make_sample(filename)
        whole = np.round(mixture.samples.T * 32767).astype(np.int16)
        soundfile.write(folder / filename, whole, mixture.sample_rate, subtype="PCM_16")
        rows += [f"{filename}\t{s.onset:.3f}\t{s.offset:.3f}\t{s.label}" for s in mixture.segments] or [
            f"{filename}\t\t\t"
        ]
    (folder / "segments.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the recordings of data/samples.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    folder = parser.parse_args().folder
    try:
        write_samples(folder)
    except AudiocnnError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 2
    print(f"{folder}: {len(SAMPLES)} recordings and segments.tsv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
