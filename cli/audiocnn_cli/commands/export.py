"""`audiocnn export`: write the ONNX file of a model again and compare it with PyTorch."""

from __future__ import annotations

import json
from typing import Annotated

from audiocnn.errors import as_argument, format_command
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import ModelArgument, ReportFormat, TableFormat, flag
from audiocnn_cli.app.terminal import Terminal

_StreamFlag = Annotated[bool, flag("--stream", "Write stream.onnx, which processes a live stream step by step.")]


def export(
    terminal: Terminal, model: ModelArgument, stream: _StreamFlag = False, format: TableFormat = ReportFormat.auto
) -> ExitStatus:
    """model.onnx takes samples (batch, channels, time) and returns scores (batch, positions, classes); it pads the
    ends of a recording by itself. stream.onnx takes and returns the state of a live stream. A file is only written if
    its scores are within 1e-4 of those of PyTorch.

    \b
    audiocnn export runs/speech
    audiocnn export runs/words --stream
    """
    from audiocnn.model.model import ONNX, STREAM_ONNX, find_model

    chosen = find_model(model)
    from audiocnn.model.export import export_onnx, export_stream
    from audiocnn.model.weights import load_networks

    difference = (export_stream if stream else export_onnx)(chosen, load_networks(chosen))
    path = chosen.folder / (STREAM_ONNX if stream else ONNX)
    if terminal.wants_table(format):
        size = path.stat().st_size
        terminal.write(f"{path}: {size / 1e6:.2f} MB; largest difference to PyTorch {difference:.1e}\n")
        terminal.write(f"to share the model, copy the folder {chosen.folder}; with audiocnn installed, use it with:\n")
        verb = "detect" if chosen.usual_answer == "several" else "classify"
        words = ["audiocnn", verb, "--model", as_argument(chosen.folder.resolve().name)]
        terminal.write(f"  {format_command(words)} FILE...\n")
    else:
        record = {"schema": 1, "type": "export", "model": chosen.name, "file": str(path), "difference": difference}
        terminal.write(json.dumps(record, ensure_ascii=False) + "\n")
    return ExitStatus.OK
