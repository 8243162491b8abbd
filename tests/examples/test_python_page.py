"""docs/how-to/python.md: its snippets run, one after the other."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fixtures_cli import small_spec
from sounds import sine, write

import audiocnn
from audiocnn.audio.recording import read_samples

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
SMALL = small_spec(0.2)
# A training of three minutes is left to those who read the page.
SHORT = {"minutes=3": 'epochs=1, spec="small.toml", device="cpu"'}


def snippets():
    """The indented blocks that are Python."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)
    for block in map(textwrap.dedent, blocks):
        ast.parse(block)
        yield block


@pytest.mark.long
def test_every_snippet_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    samples, rate = read_samples(ROOT / "data" / "samples" / "greeting.flac")
    for name in ("a.wav", "b.flac", "meetings/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, samples.T, rate)
    Path("meetings/segments.tsv").write_text("filename\tonset\toffset\tevent_label\na.wav\t0.83\t4.47\tspeech\n")
    Path("small.toml").write_text(SMALL)
    for label, hertz in (("low", 300), ("high", 2000)):
        for number in range(20):
            write(Path("sounds") / label / f"{number}.wav", sine(hertz + 5 * number, 0.25, 16000, 0.3), 16000)
    names: dict[str, object] = {}
    for number, snippet in enumerate(snippets(), 1):
        for long, short in SHORT.items():
            snippet = snippet.replace(long, short)
        exec(compile(snippet, f"snippet {number}", "exec"), names)
    assert number >= 12
    printed = capsys.readouterr().out
    assert "not read: missing.wav" in printed
    assert "evaluate 1/1" in printed
    wanted = audiocnn.score("a.wav").scores
    np.testing.assert_allclose(names["scores"], wanted, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in dir(audiocnn) if inspect.isfunction(getattr(audiocnn, name))])
def test_every_public_function_is_named(name):
    assert f"`{name}`" in PAGE or name == "find_segments"


def test_every_field_of_progress_is_named():
    section = PAGE.split("## Progress")[1].split("\n## ")[0]
    assert all(f"`{name}`" in section for name in inspect.signature(audiocnn.Progress).parameters)
