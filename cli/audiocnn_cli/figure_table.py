"""Tables of figures on a terminal: what figures are called, how a value stands with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from audiocnn.comparing import is_sure
from audiocnn.figures import Figure
from audiocnn_cli.terminal import Terminal, printable

TITLES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "tpr_at_5pct_fpr": "TPR at 5 % FPR",
    "tpr_at_31_5pct_fpr": "TPR at 31.5 % FPR",
    "fpr_at_5pct_miss": "FPR at 5 % miss",
    "eer": "EER",
    "calibration_error": "calibration error",
    "detection_error_rate": "detection error rate",
    "miss_rate": "miss rate",
    "false_alarm_rate": "false alarm rate",
    "detection_cost": "detection cost",
    "f1": "F1",
    "segment_f1": "segment F1",
    "false_segment_share": "clips with a false segment",
    "edges_within_50ms": "edges within 50 ms",
    "edges_within_100ms": "edges within 100 ms",
    "accuracy": "accuracy",
    "subset_accuracy": "all labels right",
    "balanced_accuracy": "balanced accuracy",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "top_3_accuracy": "top-3 accuracy",
    "top_5_accuracy": "top-5 accuracy",
    "mean_average_precision": "mean average precision",
    "mean_auroc": "mean AUROC",
}

Row = tuple[str, list[str]]
"""What a row is called, and its cells."""


def show(title: str, rows: list[Row], heads: Sequence[str], terminal: Terminal) -> None:
    """A table: a row a figure, a column a head; where the window is narrow, intervals go below their value."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    edges = box.SIMPLE_HEAD if terminal.unicode else box.ASCII
    table = Table(box=edges, pad_edge=False, show_edge=False, title=Text(printable(title)), title_justify="left")
    table.add_column("")
    for head in heads:
        table.add_column(Text(printable(head)), min_width=6)
    for name, cells in rows:
        table.add_row(name, *[Text(cell) for cell in cells])
    terminal.out.print()
    terminal.out.print(table)


def shown(figure: Figure | None, name: str, signed: bool = False) -> str:
    """A value and its interval; a difference with its sign, and a star where it is sure."""
    if figure is None or figure.value is None:
        return "-"
    form = f"{'+' if signed else ''}.{1 if name.endswith('_ms') else 4}f"
    star = " *" if signed and is_sure(figure) else ""
    value = f"{figure.value:{form}}{star}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value}  [{figure.low:{form}}, {figure.high:{form}}]"
