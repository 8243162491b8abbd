"""Plots as SVG: marks are where their numbers say, what is outside is cut off, and texts cannot break out."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from audiocnn.report.svg import BOTTOM_PIXELS, RIGHT_PIXELS, TOP_PIXELS, Axis, Plot, axis_between

WIDTH, HEIGHT, LEFT = 100 + 20 + RIGHT_PIXELS, 200 + TOP_PIXELS + BOTTOM_PIXELS, 20


def plot(x=None, y=None):
    """A plot whose inside is 100 pixels wide and 200 high."""
    return Plot(x or axis_between("x"), y or axis_between("y"), WIDTH, HEIGHT, LEFT)


def found(made, name, kind):
    """Elements of a class."""
    tree = ElementTree.fromstring(made.to_svg(name))
    return [e for e in tree.iter() if kind in e.get("class", "").split()]


def points(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def test_a_line_goes_through_its_points():
    made = plot()
    made.line([0, 0.5, 1], [0, 1, 0.25], "m3")
    (line,) = found(made, "a", "m3")
    assert points(line.get("d")) == [(LEFT, TOP_PIXELS + 200), (LEFT + 50, TOP_PIXELS), (LEFT + 100, TOP_PIXELS + 150)]


def test_an_area_has_a_step_for_each_height():
    made = plot()
    made.area([0, 0.5, 1], [0.5, 1], "m0")
    (area,) = found(made, "a", "area")
    low, half, high = TOP_PIXELS + 200, TOP_PIXELS + 100, TOP_PIXELS
    assert points(area.get("d")) == [
        (LEFT, low),
        (LEFT, half),
        (LEFT + 50, half),
        (LEFT + 50, high),
        (LEFT + 100, high),
        (LEFT + 100, low),
    ]


def test_dots_inside_are_there_and_those_outside_are_not():
    made = plot(axis_between("x", 0.0, 0.5))
    made.dot(0.25, 1.0, "m0", "a < b")
    made.dot(0.6, 0.5, "m1")
    (dot,) = found(made, "a", "dot")
    assert (float(dot.get("cx")), float(dot.get("cy"))) == (LEFT + 50, TOP_PIXELS)
    assert dot.find("title").text == "a < b"


def test_stretches_and_uprights():
    made = plot()
    made.stretch(0.25, 0.75, 0.5, "m0", "an interval")
    made.upright(0.5, "threshold")
    assert found(made, "a", "stretch")[0].get("d") == f"M{LEFT + 25}.0 {TOP_PIXELS + 100}.0H{LEFT + 75}.0"
    assert found(made, "a", "threshold")[0].get("d") == f"M{LEFT + 50}.0 {TOP_PIXELS}V{TOP_PIXELS + 200}"


def test_lines_are_cut_off_at_the_edges_of_the_plot():
    made = plot()
    made.line([0, 2], [0, 2], "m0")
    tree = ElementTree.fromstring(made.to_svg("a"))
    inner = tree.find("svg")
    assert [inner.get(key) for key in ("x", "y", "width", "height")] == ["19", "9", "102", "202"]
    assert inner.get("viewBox") == "19 9 102 202"
    assert [e.get("class") for e in inner] == ["line m0"]


def test_equal_factors_are_equal_steps_on_a_log_axis():
    axis = Axis("", 0.01, 1.0, {}, log=True)
    assert [axis.share(value) for value in (0.01, 0.1, 1.0)] == pytest.approx([0, 0.5, 1])


def test_an_axis_has_its_ticks_and_its_title():
    tree = ElementTree.fromstring(plot(axis_between("a & b", 0, 0.5, 2)).to_svg("<name>"))
    assert tree.get("aria-label") == "<name>"
    texts = [(e.get("class"), e.text) for e in tree.iter("text")]
    assert texts[:3] == [("tick", "0"), ("tick", "0.25"), ("tick", "0.5")]
    assert ("axis", "a & b") in texts
