"""`audiocnn export`: the ONNX file of a model, made again and compared."""

from __future__ import annotations

import json

from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import ModelArgument, ReportFormat, TableFormat
from audiocnn_cli.app.terminal import Terminal


def export(terminal: Terminal, model: ModelArgument, format: TableFormat = ReportFormat.auto) -> ExitStatus:
    """The file takes samples (batch, channels, time) and gives scores (batch, positions, classes); it extends a
    recording at its ends by itself. It is only written if its scores are within 1e-4 of torch.

    \b
    audiocnn export runs/speech
    """
    from audiocnn.model.model import ONNX, find_model

    chosen = find_model(model)
    from audiocnn.model.export import export_onnx
    from audiocnn.model.weights import load_networks

    difference = export_onnx(chosen, load_networks(chosen))
    path = chosen.folder / ONNX
    if terminal.wants_table(format):
        size = path.stat().st_size
        terminal.write(f"{path}: {size / 1e6:.2f} MB; largest difference to torch {difference:.1e}\n")
    else:
        record = {"schema": 1, "type": "export", "model": chosen.name, "file": str(path), "difference": difference}
        terminal.write(json.dumps(record, ensure_ascii=False) + "\n")
    return ExitStatus.OK
