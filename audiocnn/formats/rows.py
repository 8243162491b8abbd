"""CSV and TSV out: segments and scores, one row each under a header. The twin of `jsonl.py`, with the same digits.

    file,channel,start,end,label,score          segments
    file,channel,start,end,LABEL,...            scores, one row a hop

A name with a separator, a quote or an end of a line stands in quotes (RFC 4180). Errors have no place here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audiocnn.formats.columns import side_by_side, texts
from audiocnn.formats.jsonl import SCORE_DIGITS, SEGMENT_SCORE_DIGITS
from audiocnn.segments import Segment
from audiocnn.units import SECONDS_DIGITS, round_seconds

SEPARATORS = {"csv": ",", "tsv": "\t"}
PLACE_COLUMNS = ("file", "channel", "start", "end")
SEGMENT_COLUMNS = (*PLACE_COLUMNS, "label", "score")


def row(cells: Sequence[object], separator: str) -> str:
    """One row without its end, quoted where it must be."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="").writerow(cells)
    return text.getvalue()


def segment_header(separator: str) -> str:
    """The first row of a table of segments."""
    return row(SEGMENT_COLUMNS, separator)


def segment_row(file: str, channel: int, segment: Segment, separator: str) -> str:
    """One segment."""
    times = [round_seconds(segment.start), round_seconds(segment.end)]
    return row([file, channel, *times, segment.label, round(float(segment.score), SEGMENT_SCORE_DIGITS)], separator)


def score_header(labels: Sequence[str], separator: str) -> str:
    """The first row of a table of scores."""
    return row([*PLACE_COLUMNS, *labels], separator)


def score_text(file: str, channel: int, edges: NDArray[np.float64], scores: NDArray[np.float32], separator: str) -> str:
    """Rows of scores, each with its end of line; edges and scores as in `jsonl.score_text`."""
    times = texts(edges, SECONDS_DIGITS)
    columns: list[str | list[str]] = [row([file, channel], separator) + separator, times[:-1], separator, times[1:]]
    for values in scores.T:
        columns += [separator, texts(values, SCORE_DIGITS)]
    return side_by_side(len(scores), [*columns, "\n"])
