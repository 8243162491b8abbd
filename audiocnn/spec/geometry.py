"""The arithmetic of convolutions: sizes, receptive fields, and the positions of a network's scores.

output = (n + p_start + p_end - d (k - 1) - 1) // s + 1

The effect of a network along one axis is a `ReceptiveField`: a kernel (including dilation), a stride and the padding at
both ends. Two in sequence are exactly one again (`then`), because integer divisions nest; so are parallel branches
(`align_branches`). All sizes are known without weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from audiocnn.errors import SpecError


@dataclass(frozen=True)
class ReceptiveField:
    """How the outputs of one or many layers depend on their inputs along one axis, in input positions. skew: by how
    much an output looks further back than ahead; 0 if it is in the middle of its kernel. spare_start, spare: the part
    of the padding at the start and end that only serves to measure the level of a recording; a live output can do
    without the audio ahead."""

    kernel: int = 1
    stride: int = 1
    start: int = 0
    end: int = 0
    skew: int = 0
    spare: int = 0
    spare_start: int = 0

    def out(self, positions: int) -> int:
        """Output positions for this number of input positions; less than 1 means that nothing remains."""
        return (positions + self.start + self.end - self.kernel) // self.stride + 1

    def then(self, later: ReceptiveField) -> ReceptiveField:
        return ReceptiveField(
            kernel=self.kernel + (later.kernel - 1) * self.stride,
            stride=self.stride * later.stride,
            start=self.start + later.start * self.stride,
            end=self.end + later.end * self.stride,
            skew=self.skew + later.skew * self.stride,
            spare=self.spare + later.spare * self.stride,
            spare_start=self.spare_start + later.spare_start * self.stride,
        )

    @property
    def shrink(self) -> int:
        """Kernel minus padding: the smallest number of inputs that gives one output."""
        return self.kernel - self.start - self.end

    @property
    def centre(self) -> float:
        """The centre of output 0, in input positions."""
        return (self.kernel - 1 + self.skew) / 2 - self.start


def align_branches(branches: Sequence[ReceptiveField]) -> tuple[ReceptiveField, list[tuple[int, int]]]:
    """The joint receptive field of branches, and how many inputs each must drop at its two ends to be aligned.

    The branch that shrinks its input most is decisive; the others are cropped around the same centre. The joint field
    covers all that any branch sees. Raises SpecError, without the place, if they cannot be aligned.
    """
    if len({branch.stride for branch in branches}) > 1:
        strides = ", ".join(str(branch.stride) for branch in branches)
        raise SpecError(f"the branches have strides {strides}; they must be equal")
    whole = max(branches, key=lambda branch: (branch.shrink, branch.kernel))
    crops = []
    for branch in branches:
        total = whole.shrink - branch.shrink
        start = math.floor(whole.centre - branch.centre)
        if not 0 <= start <= total:
            raise SpecError("the branches cannot be aligned; give them paddings that keep the same centre")
        crops.append((start, total - start))
    # A crop removes what padding adds, so the first input that a branch sees is after both.
    before = max(branch.start - start for branch, (start, _) in zip(branches, crops, strict=True))
    behind = max(branch.kernel - branch.start + start for branch, (start, _) in zip(branches, crops, strict=True))
    kernel = before + behind
    skew = round(2 * (whole.centre + before)) - (kernel - 1) if any(branch.skew for branch in branches) else 0
    spares = [min(getattr(branch, name) for branch in branches) for name in ("spare", "spare_start")]
    return ReceptiveField(kernel, whole.stride, before, kernel - before - whole.shrink, skew, *spares), crops


@dataclass(frozen=True)
class Size:
    """The data between two layers: channels, and positions on each axis, `(time,)` or `(frequency, time)`."""

    channels: int
    axes: tuple[int, ...]

    @property
    def bands(self) -> int:
        return self.axes[0] if len(self.axes) == 2 else 1

    @property
    def time(self) -> int:
        return self.axes[-1]

    @property
    def positions(self) -> int:
        return math.prod(self.axes)

    def __str__(self) -> str:
        # Strides multiply: a hundred of them give numbers too long for a line.
        numbers = (self.channels, *self.axes)
        return "x".join(str(n) if abs(n) < 10**15 else f"10^{abs(n).bit_length() * 30103 // 100_000}" for n in numbers)


Crop = tuple[int, int]
"""The number of frames after a level that are dropped at the start and at the end."""
NO_CROP: Crop = (0, 0)


@dataclass(frozen=True)
class Geometry:
    """The positions of scores, in samples. Score k is centred on the samples [k * hop, (k + 1) * hop)."""

    sample_rate: int
    window_samples: int  # the receptive field of one score
    hop_samples: int
    positions: int  # positions of the last group's output in one window: the width of F
    hop_positions: int
    pad_start: int  # samples added by padding inside the network at the two ends
    pad_end: int
    skew: int = 0  # by how many samples a score looks further back than ahead
    spare_end: int = 0  # part of pad_end that only measures the level, for which a live detector does not wait
    spare_start: int = 0  # part of pad_start that only measures the level
    level_hop: int = 0  # frames in a hop, if all padding belongs to a level that receives the features first

    @property
    def hop_seconds(self) -> float:
        return self.hop_samples / self.sample_rate

    @property
    def window_seconds(self) -> float:
        return self.window_samples / self.sample_rate

    @property
    def core_samples(self) -> int:
        """The smallest number of samples that gives one score."""
        return self.window_samples - self.pad_start - self.pad_end

    @property
    def known_samples(self) -> int:
        """The samples of a recording needed for its first score; each further score needs a hop more."""
        return self.core_samples - self.extend_start

    @property
    def shift_exact(self) -> bool:
        """Whether a score depends on its window alone, however much is read at once: there is no padding in time."""
        return self.pad_start == self.pad_end == 0

    @property
    def extend_start(self) -> int:
        """Zeros before the start of a recording: the first score is centred half a hop after the start."""
        return self.back_samples - self.pad_start

    @property
    def extend_end(self) -> int:
        """Zeros after the end, so that there are ceil(samples / hop) scores."""
        return self.window_samples - 1 - self.back_samples - self.pad_end

    @property
    def back_samples(self) -> int:
        """How far a window begins before the row of its score."""
        return (self.window_samples - self.hop_samples + self.skew) // 2

    @property
    def level_samples(self) -> tuple[int, int]:
        """The parts of a window, at its start and end, that only tell a padded level how loud the recording is."""
        return self.spare_start, self.spare_end

    @property
    def look_ahead_seconds(self) -> float:
        """How much of the window, without these parts, lies after the middle of the row of its score."""
        behind = self.window_samples - self.hop_samples - self.back_samples - self.spare_end
        return (behind + self.hop_samples / 2) / self.sample_rate

    @property
    def near_samples(self) -> int:
        """The window without these parts."""
        return self.window_samples - sum(self.level_samples)

    @property
    def near_seconds(self) -> float:
        return self.near_samples / self.sample_rate

    @property
    def margin_rows(self) -> tuple[int, int]:
        """The number of scores at the start and end of a chunk that padding inside the network affects, so that they
        differ from those of the whole recording."""
        return -(-self.pad_start // self.hop_samples), -(-self.pad_end // self.hop_samples)

    @property
    def live_margin_rows(self) -> int:
        """The number of these at the end for which a live detector waits."""
        return -(-(self.pad_end - self.spare_end) // self.hop_samples)

    def rows(self, samples: int) -> int:
        """Scores for a recording of this many samples. They cover it completely; the end may cut the last one."""
        return -(-samples // self.hop_samples)

    def crop(self, samples: int, drop: int, rows: int) -> Crop:
        """For samples that give `drop` rows, then `rows` wanted ones, and more: how many frames after a level the rest
        of the network can do without, at the start and at the end; none if it needs all."""
        behind = (samples - self.core_samples) // self.hop_samples + 1 - drop - rows
        return (drop * self.level_hop, behind * self.level_hop) if self.level_hop and behind >= 0 else NO_CROP


@dataclass(frozen=True)
class JointGeometry(Geometry):
    """Alignment of the scores of several networks that read the same samples. Row k of each is centred at the same
    place, so a network with a smaller window drops the samples by which the largest one extends further."""

    members: tuple[Geometry, ...] = ()

    @property
    def margin_rows(self) -> tuple[int, int]:
        befores, afters = zip(*(member.margin_rows for member in self.members), strict=True)
        return max(befores), max(afters)

    @property
    def live_margin_rows(self) -> int:
        return max(member.live_margin_rows for member in self.members)

    @property
    def shift_exact(self) -> bool:
        return all(member.shift_exact for member in self.members)

    @property
    def crops(self) -> list[tuple[int, int]]:
        """For each network, the number of samples to drop at the two ends of the common input."""
        return [
            (self.extend_start - member.extend_start, self.extend_end - member.extend_end) for member in self.members
        ]


def joint_geometry(members: Sequence[Geometry]) -> JointGeometry:
    """The geometry of networks in parallel, with one rate and one hop: the largest window and the largest
    extensions."""
    widest = max(members, key=lambda member: member.window_samples)
    window, hop = widest.window_samples, widest.hop_samples
    before, after = (window - hop) // 2, window - 1 - (window - hop) // 2
    return JointGeometry(
        sample_rate=widest.sample_rate,
        window_samples=window,
        hop_samples=hop,
        positions=widest.positions,
        hop_positions=widest.hop_positions,
        pad_start=before - max(member.extend_start for member in members),
        pad_end=after - max(member.extend_end for member in members),
        members=tuple(members),
    )
