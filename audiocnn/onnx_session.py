"""ONNX Runtime on the CPU, which from 1.31 on would tell its makers of every session: here it tells nobody.

By its Privacy.md an environment variable, set before it is imported, keeps it from writing events and a number for this
machine to the home folder, and from sending them. Whoever sets that variable to something else has it so.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime


def open_session(graph: bytes, threads: int | None = None, **options: Any) -> onnxruntime.InferenceSession:
    """A session for a graph, with so many threads for one run (None: as many as it likes), and what else its
    `SessionOptions` take by name. It raises errors of many kinds for a graph that is none."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    if threads is not None:
        settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    for name, value in options.items():
        setattr(settings, name, value)
    # Its fallback, from the CPU to the CPU, is told on standard output, where data goes.
    return onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"], enable_fallback=0)
