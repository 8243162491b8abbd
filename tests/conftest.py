"""What several tests use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from corpora import make_corpus

# nohup, or a shell that starts the tests in the background, has some signals ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _name in ("SIGTERM", "SIGHUP"):
    if hasattr(signal, _name):
        signal.signal(getattr(signal, _name), signal.SIG_DFL)

# Each worker of the tests, and each process that it starts, has a core: a second thread only gets in the way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The recordings for training that lie beside the project; a test that wants them is skipped without."""
    if not (_SHARED_DATA / "recordings.tsv").is_file():
        pytest.skip("needs ../shared/data (recordings for training), which is not part of the project")
    return _SHARED_DATA


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Ten recordings in two folders."""
    return make_corpus(tmp_path / "corpus")


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """`exported(name)` -> (model, network, difference) of a spec with random weights; each is made once a session."""
    from fixtures_models import exporter

    return exporter(tmp_path_factory)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """(last report, reports before it, run folder, dataset) of a tiny network that learned to hear a tone."""
    from fixtures_models import trainer_of_tones

    return trainer_of_tones(tmp_path_factory)
