"""The arithmetic of sizes against torch, and the laws that chunks and geometry rest on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from audiocnn.errors import SpecError
from audiocnn.spec.geometry import ReceptiveField, Size, align_branches


def reach_of(kernel, stride, padding, dilation):
    return ReceptiveField(dilation * (kernel - 1) + 1, stride, *padding)


def torch_length(positions, kernel, stride, padding, dilation):
    """What torch makes of it; 0 where it refuses."""
    x = functional.pad(torch.zeros(1, 1, positions), padding)
    if x.shape[-1] < dilation * (kernel - 1) + 1:
        return 0
    return functional.conv1d(x, torch.zeros(1, 1, kernel), stride=stride, dilation=dilation).shape[-1]


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 0), (0, 3)])
def test_the_formula_is_that_of_torch(padding, dilation):
    for positions, kernel, stride in itertools.product(range(1, 14), (1, 2, 3, 5), (1, 2, 3, 7)):
        said = reach_of(kernel, stride, padding, dilation).out(positions)
        assert max(0, said) == torch_length(positions, kernel, stride, padding, dilation), (positions, kernel, stride)


def random_reach(random):
    kernel = int(random.integers(1, 9))
    start, end = random.integers(0, 5, 2)
    return ReceptiveField(kernel, int(random.integers(1, 5)), int(start), int(end))


def test_two_reaches_in_a_row_are_one_exactly():
    random = np.random.default_rng(0)
    for _ in range(2000):
        first, second, third = (random_reach(random) for _ in range(3))
        positions = int(random.integers(0, 200))
        both = first.then(second)
        assert both.out(positions) == second.out(first.out(positions))
        assert both.then(third) == first.then(second.then(third))
        assert first.then(second.then(third)) == both.then(third)
        assert both.shrink == both.kernel - both.start - both.end
    assert ReceptiveField() == ReceptiveField().then(ReceptiveField())


def test_shrink_is_the_fewest_positions_that_give_one_output():
    random = np.random.default_rng(1)
    for _ in range(200):
        reach = random_reach(random).then(random_reach(random))
        assert reach.out(reach.shrink) == 1
        assert reach.out(reach.shrink - 1) == 0


def test_the_centre_of_an_output():
    assert ReceptiveField(3).centre == 1.0  # inputs 0, 1, 2
    assert ReceptiveField(3, 1, 1, 1).centre == 0.0  # one zero, inputs 0, 1
    assert ReceptiveField(4).centre == 1.5


def test_stride_3_does_not_fit_7_inputs_and_the_last_one_is_left_out():
    """Two windows of 3 fit, at 0 and 3; a third, at 6, would need inputs 7 and 8. The rest is not looked at."""
    reach = ReceptiveField(3, 3)
    assert reach.out(7) == 2
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1000.0]]])
    assert functional.conv1d(x, torch.ones(1, 1, 3), stride=3).flatten().tolist() == [6.0, 15.0]


def test_the_moving_average_of_the_essays_has_7_11_and_5_outputs():
    """[1 2 3 1 2 3 1 2 3] under a kernel of three thirds: as it is, with two zeros at both ends, and with stride 2
    and one zero at both ends."""
    x = torch.tensor([[[1.0, 2, 3, 1, 2, 3, 1, 2, 3]]])
    kernel = torch.full((1, 1, 3), 1 / 3)
    wanted = {
        ReceptiveField(3): [2.0] * 7,
        ReceptiveField(3, 1, 2, 2): [1 / 3, 1.0, 2, 2, 2, 2, 2, 2, 2, 5 / 3, 1.0],
        ReceptiveField(3, 2, 1, 1): [1.0, 2.0, 2.0, 2.0, 5 / 3],
    }
    assert [reach.out(9) for reach in wanted] == [7, 11, 5]
    for reach, values in wanted.items():
        got = functional.conv1d(functional.pad(x, (reach.start, reach.end)), kernel, stride=reach.stride)
        assert got.flatten().tolist() == pytest.approx(values, abs=1e-6)


def test_branches_that_shrink_alike_need_no_crop():
    whole, crops = align_branches([ReceptiveField(1), ReceptiveField(3, 1, 1, 1), ReceptiveField(5, 1, 2, 2)])
    assert (whole, crops) == (ReceptiveField(5, 1, 2, 2), [(0, 0)] * 3)


def test_the_branch_that_shrinks_most_decides_and_the_others_are_cropped_in_the_middle():
    whole, crops = align_branches([ReceptiveField(1), ReceptiveField(3), ReceptiveField(7)])
    assert (whole, crops) == (ReceptiveField(7), [(3, 3), (2, 2), (0, 0)])
    whole, crops = align_branches([ReceptiveField(4), ReceptiveField(1)])
    assert (whole, crops) == (ReceptiveField(4), [(0, 0), (1, 2)])
    whole, crops = align_branches([ReceptiveField(5, 2), ReceptiveField(1, 2)])
    assert (whole, crops) == (ReceptiveField(5, 2), [(0, 0), (2, 2)])


def test_the_joint_reach_covers_every_branch():
    """A padded branch may see further than the one that shrinks most; the window must know."""
    whole, crops = align_branches([ReceptiveField(5, 1, 1, 1), ReceptiveField(9, 1, 4, 4)])
    assert crops == [(0, 0), (1, 1)]
    assert (whole.kernel, whole.start, whole.end) == (9, 3, 3)


def brute_force(reach, output):
    """The inputs [first, last] that an output of one reach looks at."""
    first = output * reach.stride - reach.start
    return first, first + reach.kernel - 1


def test_random_branches_line_up_and_are_covered():
    random = np.random.default_rng(2)
    joined = 0
    while joined < 300:
        stride = int(random.integers(1, 4))
        reaches = [ReceptiveField(r.kernel, stride, r.start, r.end) for r in (random_reach(random) for _ in range(3))]
        try:
            whole, crops = align_branches(reaches)
        except SpecError:
            continue
        joined += 1
        for positions in (40, 41, 42, 55):
            lengths = {r.out(positions - sum(crop)) for r, crop in zip(reaches, crops, strict=True)}
            assert lengths == {whole.out(positions)}
        seen = [brute_force(r, 7) for r in reaches]
        seen = [(first + crop[0], last + crop[0]) for (first, last), crop in zip(seen, crops, strict=True)]
        assert brute_force(whole, 7) == (min(first for first, _ in seen), max(last for _, last in seen))
        centres = [r.centre + crop[0] for r, crop in zip(reaches, crops, strict=True)]
        assert max(centres) - min(centres) < 1.0


def test_branches_that_cannot_line_up_say_why():
    with pytest.raises(SpecError, match="the branches have strides 1, 2; they must be equal"):
        align_branches([ReceptiveField(3), ReceptiveField(3, 2)])
    with pytest.raises(SpecError, match="cannot be aligned; give them paddings that keep the same centre"):
        align_branches([ReceptiveField(9, 1, 8, 0), ReceptiveField(1)])


def test_a_size_is_read_as_channels_and_positions():
    assert (Size(3, (7,)).bands, Size(3, (7,)).time, Size(3, (7,)).positions, str(Size(3, (7,)))) == (1, 7, 7, "3x7")
    size = Size(3, (4, 5))
    assert (size.bands, size.time, size.positions, str(size)) == (4, 5, 20, "3x4x5")
