"""One model or peer, evaluated on one set of recordings: `EvaluationReport`, the contents of report.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from audiocnn.evaluation.advice import Advice
from audiocnn.evaluation.compare import Comparison
from audiocnn.evaluation.results import Evaluation, Figure
from audiocnn.inference.frames import data_frame
from audiocnn.model.model import OperatingPoint, describe_price
from audiocnn.segments.finder import SegmentRule

if TYPE_CHECKING:
    import pandas

_DEFAULT_THRESHOLD = SegmentRule.threshold


@dataclass(frozen=True)
class EvaluationReport:
    """The results of one model or other detector on a set of recordings. `sound_seconds` of sound were scored in
    `seconds`.

    - `folder`: the folder of the model. Another detector has a version instead.
    - `tuned_on`: what the thresholds were chosen on. A rule with a different threshold was given by the caller.
    - `points`: operating points of the model.
    - `difference`: to the first report, named in `difference_to`.
    - `warnings`: problems with the recordings. Those that could not be scored are in `evaluation.failures`.
    - `title`: name in tables, if several reports have the same name.
    - `advice`: what to do next.
    """

    name: str
    folder: str | None
    tuned_on: str
    thresholds: Mapping[str, float]
    data: str
    split: str | None
    evaluation: Evaluation
    sound_seconds: float
    seconds: float
    version: str | None = None
    difference_to: str | None = None
    difference: Comparison | None = None
    warnings: tuple[str, ...] = ()
    points: Mapping[str, Mapping[str, OperatingPoint]] = field(default_factory=dict)
    title: str = ""
    advice: Sequence[Advice] = ()

    @property
    def head(self) -> str:
        return self.title or self.name

    @property
    def figures(self) -> dict[str, Figure]:
        """The main figures by name, such as "accuracy" or "f1": those of clips if there are any, otherwise those of the
        segments of its label. With several labels, the label precedes the name, as in "dog f1"."""
        if self.evaluation.clip is not None:
            return dict(self.evaluation.clip.figures)
        labels = self.evaluation.labels
        if len(labels) == 1:
            return dict(next(iter(labels.values())).figures)
        return {f"{label} {name}": figure for label, one in labels.items() for name, figure in one.figures.items()}

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per figure: of ("segments" or "clips"), label (None for all of them), figure, value, low, high.
        Raises UsageError without pandas."""
        rows: list[tuple[str, str | None, str, Figure]] = []
        for label, found in self.evaluation.labels.items():
            rows += [("segments", label, name, figure) for name, figure in found.figures.items()]
        if clip := self.evaluation.clip:
            rows += [("clips", None, name, figure) for name, figure in clip.figures.items()]
            for label, one in clip.labels.items():
                rows += [("clips", label, name, figure) for name, figure in one.figures.items()]
        numbers = [figure.to_dict() for *_, figure in rows]
        return data_frame(
            {
                "of": [row[0] for row in rows],
                "label": [row[1] for row in rows],
                "figure": [row[2] for row in rows],
                **{name: [one[name] for one in numbers] for name in ("value", "low", "high")},
            }
        )

    def origin(self, label: str) -> str:
        own = self.evaluation.labels[label].rule.threshold == self.thresholds.get(label, _DEFAULT_THRESHOLD)
        return self.tuned_on or "not tuned" if own else "given"

    def prices(self) -> list[str]:
        """What the operating points that fit these recordings best cost on other recordings."""
        best = {label: part.best_point for label, part in self.evaluation.labels.items()}
        found = [describe_price(label, self.points.get(label, {}), name) for label, name in best.items() if name]
        return [f"{self.head}: {price}; check it on recordings of music and noise" for price in found if price]

    def to_dict(self) -> dict[str, Any]:
        about = {
            "model": self.name,
            **({"version": self.version} if self.version else {}),
            "folder": self.folder,
            "tuned_on": self.tuned_on,
            "data": self.data,
            "split": self.split,
            "sound_seconds": round(self.sound_seconds, 4),
            "times_real_time": round(self.sound_seconds / self.seconds, 1) if self.seconds > 0 else None,
        }
        contents = self.evaluation.to_dict()
        for label, found in contents["labels"].items():
            found["tuned_on"] = self.origin(label)
        contents["advice"] = [one.to_dict() for one in self.advice]
        if self.difference is not None:
            contents["difference_to"] = {"model": self.difference_to, **self.difference.to_dict()}
        return {"schema": contents.pop("schema"), "type": contents.pop("type"), **about, **contents}


def write_json(reports: Sequence[EvaluationReport], write: Callable[[str], object], pretty: bool) -> None:
    """One report as an object. Several reports as a list in a file, or as lines on stdout."""
    contents = [report.to_dict() for report in reports]
    if pretty:
        write(json.dumps(contents[0] if len(contents) == 1 else contents, indent=2, ensure_ascii=False) + "\n")
    else:
        write("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in contents))
