"""Fixtures that several tests use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from corpora import make_corpus

# Under nohup, or in the background of a shell, some signals are ignored, and child processes inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _name in ("SIGTERM", "SIGHUP"):
    if hasattr(signal, _name):
        signal.signal(getattr(signal, _name), signal.SIG_DFL)

# Each test worker, and each process that it starts, has one core, so a second thread would only slow it down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The training recordings next to the project. Tests that need them are skipped if they are missing."""
    if not (_SHARED_DATA / "recordings.tsv").is_file():
        pytest.skip("needs ../shared/data (recordings for training), which is not part of the project")
    return _SHARED_DATA


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Ten recordings in two folders."""
    return make_corpus(tmp_path / "corpus")


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """`exported(name)` -> (model, network, difference) of a spec with random weights, made once per session."""
    from fixtures_models import exporter

    return exporter(tmp_path_factory)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """(last report, reports before it, run folder, dataset) of a tiny network trained to detect a tone."""
    from fixtures_models import trainer_of_tones

    return trainer_of_tones(tmp_path_factory)
