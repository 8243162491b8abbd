"""The results of `benchmarks.detect` as two tables: the goals, and all figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.detect_cases import ALLOWED, CASES, EACH, LONGEST, MEMORY, ONE, SLID, START, Round
from benchmarks.measuring import Figure
from benchmarks.pages import around_table

MEGABYTE = 1e6
OURS_1D, OURS_2D = "audiocnn, speech_1d", "audiocnn, speech_2d"
SEQUENCE, ONNX = "Silero VAD, sequence", "Silero VAD, onnx"
DECODE = "decode and resample alone"
GOAL_HEAD = ("case", "what", "goal", "reached", "")
HEAD = ("contender", "time, median (least - most)", "speed", "time against ours", "memory")
Rounds = Mapping[str, Sequence[Round]]
"""Case -> its rounds."""


class NotMeasuredError(Exception):
    """A figure that a goal needs is missing."""


@dataclass(frozen=True)
class Goal:
    """A figure to be reached. `value`: computed from one round; the median over all rounds counts."""

    case: str
    what: str
    wanted: float
    value: Callable[[Round], float]
    show: str  # a format
    at_least: bool = True

    def reached(self, value: float) -> bool:
        """Whether a value meets the goal."""
        return value >= self.wanted if self.at_least else value <= self.wanted


def seconds(figures: Round, name: str) -> float:
    """The seconds of one contender."""
    figure = figures.get(name, {})
    if "seconds" not in figure:
        raise NotMeasuredError(name)
    return float(figure["seconds"])


def speed(name: str) -> Callable[[Round], float]:
    """How much a contender processes per second."""
    return lambda figures: figures[name]["amount"] / seconds(figures, name)


def against(name: str, ours: str = OURS_1D) -> Callable[[Round], float]:
    """The time of a contender relative to ours."""
    return lambda figures: seconds(figures, name) / seconds(figures, ours)


def lasting(name: str) -> Callable[[Round], float]:
    """The time of a contender, in seconds."""
    return lambda figures: seconds(figures, name)


def peak(name: str) -> Callable[[Round], float]:
    """The peak memory of a contender, in megabytes."""
    return lambda figures: figures[name]["peak_bytes"] / MEGABYTE


def share_of_decoding(figures: Round) -> float:
    """Our speed relative to that of the faster loop on one core."""
    loops = (f"{DECODE}, shortest loop", f"{DECODE}, Recording.blocks")
    return min(seconds(figures, loop) for loop in loops) / seconds(figures, OURS_1D)


def growth(figures: Round) -> float:
    """The relative difference between the memory for ten hours and for ten minutes."""
    return abs(figures["ten hours"]["peak_bytes"] / figures["ten minutes"]["peak_bytes"] - 1.0)


def saving(model: str) -> Callable[[Round], float]:
    """The speed-up of the dense pass, as a share of window / hop."""

    def value(figures: Round) -> float:
        ratio = seconds(figures, f"{model}, sliding windows") / seconds(figures, f"{model}, dense")
        return float(ratio / figures[f"{model}, dense"]["window_over_hop"])

    return value


def difference(model: str) -> Callable[[Round], float]:
    """The largest difference between the scores of the two."""
    return lambda figures: float(figures[f"{model}, dense"]["difference"])


GOALS = (
    Goal("hour_1d", "`speech_1d`, x real time", 3000, speed(OURS_1D), ",.0f"),
    Goal("hour_1d", f"against Silero VAD (sequence), {ONE}", 15, against(f"{SEQUENCE}, {ONE}"), ".1f"),
    Goal("hour_1d", f"against Silero VAD (sequence), {EACH}", 8, against(f"{SEQUENCE}, {EACH}"), ".1f"),
    Goal("hour_1d", f"against Silero VAD (frame by frame, ONNX), {ONE}", 15, against(f"{ONNX}, {ONE}"), ".1f"),
    Goal("hour_1d", f"against Silero VAD (frame by frame, ONNX), {EACH}", 8, against(f"{ONNX}, {EACH}"), ".1f"),
    Goal("warm", "`speech_1d`, loaded, x real time", 4500, speed(OURS_1D), ",.0f"),
    Goal("hour_2d", "`speech_2d`, x real time", 800, speed(OURS_2D), ",.0f"),
    Goal("mp3", "share of the speed of decode and resample alone", 0.9, share_of_decoding, ".2f"),
    Goal("clips", "files/s", 500, speed(OURS_1D), ",.0f"),
    Goal("start", "ten seconds from a cold start, s", 0.5, lasting("audiocnn detect, ten seconds"), ".2f", False),
    Goal("start", "`--help`, s", 0.2, lasting("audiocnn --help"), ".2f", False),
    Goal("memory", "ten hours, MB", 150, peak("ten hours"), ".0f", False),
    Goal("memory", "ten hours against ten minutes, difference", 0.1, growth, ".1%", False),
    Goal("sliding", f"`{SLID}`, share of window / hop that the dense pass saves", 0.5, saving(SLID), ".2f"),
    Goal("sliding", f"`{SLID}`, largest difference of scores", 1e-4, difference(SLID), ".1e", False),
    Goal("live", "longest delay of an onset, against what is allowed", 1.0, against(LONGEST, ALLOWED), ".2f", False),
)


def value_of(goal: Goal, rounds: Rounds) -> float | None:
    """The median over the rounds; None if it was not measured."""
    try:
        values = [goal.value(figures) for figures in rounds.get(goal.case, ())]
    except (NotMeasuredError, KeyError):
        return None
    return statistics.median(values) if values else None


def goal_cells(goal: Goal, rounds: Rounds) -> list[str]:
    """A row of the table of goals."""
    value = value_of(goal, rounds)
    wanted = f"at {'least' if goal.at_least else 'most'} {goal.wanted:{goal.show}}"
    if value is None:
        return [f"`{goal.case}`", goal.what, wanted, "not measured", ""]
    return [f"`{goal.case}`", goal.what, wanted, f"{value:{goal.show}}", "yes" if goal.reached(value) else "**no**"]


def short(value: float) -> str:
    """Seconds with three significant digits."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def cells(name: str, rounds: Sequence[Round], first: str) -> list[str]:
    """A row of the table of figures: one contender of a case, over all rounds."""
    figures = [figure[name] for figure in rounds if "seconds" in figure.get(name, {})]
    if not figures:
        reasons = [figure[name]["missing"] for figure in rounds if "missing" in figure.get(name, {})]
        return [name, reasons[0] if reasons else "not measured", "", "", ""]
    times = [figure["seconds"] for figure in figures]
    shown = f"{short(statistics.median(times))} s ({short(min(times))} - {short(max(times))})"
    first = figures[0].get("against", first)
    both = [figure for figure in rounds if all("seconds" in figure.get(x, {}) for x in (name, first))]
    ratio = f"{statistics.median(against(name, first)(figure) for figure in both):.2f}" if both else ""
    memory = statistics.median(figure.get("peak_bytes", 0) for figure in figures) / MEGABYTE
    return [name, shown, speed_words(figures), ratio, f"{memory:,.0f} MB" if memory else ""]


def speed_words(figures: Sequence[Figure]) -> str:
    """The amount processed per second, if that is meaningful."""
    unit = figures[0].get("unit")
    if unit in (None, START):
        return ""
    value = statistics.median(figure["amount"] / figure["seconds"] for figure in figures)
    return f"{value:,.0f} {'x real time' if unit == MEMORY else unit}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> list[str]:
    """A table whose first columns are text."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * words + "---:|" * (len(head) - words)]
    return lines + [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]


def to_markdown(rounds: Rounds, machine: str) -> str:
    """Both tables, and the machine they were measured on."""
    lines = [*markdown(GOAL_HEAD, [goal_cells(goal, rounds) for goal in GOALS], 2), ""]
    for name, case in CASES.items():
        mine = rounds.get(name, ())
        if not mine:
            continue
        names = list(dict.fromkeys(contender for figures in mine for contender in figures))
        runs = f"{len(mine)} run{'s' * (len(mine) != 1)}"
        lines += [f"**`{name}`** {case.title} ({runs}).", ""]
        lines += [*markdown(HEAD, [cells(contender, mine, names[0]) for contender in names], 1), ""]
    return "\n".join([*lines, f"Measured on {machine}."])


def write_page(page: Path, rounds: Rounds, machine: str) -> None:
    """Replace the tables between the marks of a page. Raises UsageError if it has no marks."""
    from audiocnn.files import write_whole  # imported here to keep the measuring process small

    before, after = around_table(page)
    write_whole(page, f"{before}{to_markdown(rounds, machine)}\n{after}".encode())
