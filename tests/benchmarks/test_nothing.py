"""The figures of `benchmarks.nothing`, on sounds whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures_cli import tone_model  # noqa: F401
from sounds import sine, write

from audiocnn.inference.detect import detect_many
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import find_model
from benchmarks import nothing
from benchmarks.measuring import BenchmarkError


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Four words of which two are heard, and silence with a tone in a tenth of it."""
    rows = ["filename\tkind\tsplit\tduration"]
    for number, split in enumerate(("dev", "dev", "train", "train", "train")):
        for word, hertz in (("tone", 1000), ("left", 3000)):
            name = f"commands/{word}/{number}.wav"
            write(tmp_path / name, sine(hertz, 1.0, 16000, 0.3), 16000)
            rows.append(f"{name}\tcommands\t{split}\t1")
    quiet = np.zeros(160000, np.float32)
    quiet[:16000] = sine(1000, 1.0, 16000, 0.3)
    for name, split in (("a", "dev"), ("b", "train")):
        write(tmp_path / "nonspeech" / f"{name}.wav", quiet, 16000)
        rows.append(f"nonspeech/{name}.wav\tnonspeech\t{split}\t10")
    (tmp_path / "recordings.tsv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(nothing, "DATA", tmp_path)
    return tmp_path


def test_what_is_marked_and_what_is_right(data, tone_model, capsys):  # noqa: F811
    engine = load_engine(find_model(str(tone_model)), "cpu")
    assert [path.name for path in nothing.quiet_clips()] == ["a.wav"]
    assert nothing.marked_share(list(detect_many(nothing.quiet_clips(), engine))) == pytest.approx(0.1, abs=0.02)
    paths, labels = nothing.clips_of(("tone", "left"))
    assert sorted(labels) == ["left", "left", "tone", "tone"]
    assert nothing.right_shares(paths, labels, engine) == (0.5, 0.5, 0.0)
    with pytest.raises(BenchmarkError, match="no clip of `dev` is labelled dog"):
        nothing.clips_of(("dog",))
    assert nothing.main(["-m", str(tone_model)]) == 0
    assert "| 10" in capsys.readouterr().out


def test_the_folder_of_words_has_so_many_clips_of_train(data):
    with nothing.folder_of_words(2) as folder:
        found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav"))
        assert found == [f"words/{word}/{number}.wav" for word in ("left", "tone") for number in (2, 3)]
