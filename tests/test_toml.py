"""Strict TOML: what is taken, what is refused, and that every refusal is one line with place, fact and remedy."""

from __future__ import annotations

import math

import pytest

from audiocnn.errors import RecipeError, SpecError
from audiocnn.toml import _MOST_BYTES, TomlTable, read_toml, repr_value

HUGE = 10**400  # larger than any float; TOML allows it


def table(**values):
    return TomlTable(values, "a.toml: [x]", SpecError)


def refused(call, *words):
    """The message of the SpecError that a call raises: one line with all of the words."""
    with pytest.raises(SpecError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in ("a.toml: [x]", *words):
        assert word in message
    return message


def test_values_are_taken_as_they_stand():
    found = table(a="x", b=3, c=2, d=[1, 2.5], e=True, f=["p", "q"], g={"h": 1})
    assert found.text("a") == "x"
    assert found.integer("b") == 3
    number = found.number("c")
    assert (number, type(number)) == (2.0, float)
    assert found.pair("d") == (1.0, 2.5)
    assert found.flag("e") is True
    assert found.texts("f") == ("p", "q")
    assert found.table("g").integer("h") == 1
    found.close()


def test_defaults_stand_in_for_what_is_absent():
    found = table()
    got = (found.text("a", None), found.integer("b", 7), found.number("c", 0.5), found.pair("d", (1.0, 2.0)))
    assert got == (None, 7, 0.5, (1.0, 2.0))
    assert (found.flag("e", False), found.texts("f", ()), found.raw("g", [])) == (False, (), [])
    assert found.table("h").values == {}


@pytest.mark.parametrize("kind", ["raw", "text", "integer", "number", "pair", "flag", "texts"])
def test_what_has_no_default_must_be_stated(kind):
    refused(lambda: getattr(table(), kind)("width"), '"width" is missing')


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("text", 3, "must be a string, not 3"),
        ("text", ["a"], "must be a string, not ['a']"),
        ("integer", 2.0, "must be a whole number from 1 to 1000000000, not 2.0"),
        ("integer", True, "not True"),
        ("integer", "2", "not '2'"),
        ("integer", 0, "not 0"),
        ("integer", HUGE, "must be a whole number"),
        ("number", True, "must be a number at least 0, not True"),
        ("number", "1", "not '1'"),
        ("number", math.nan, "not nan"),
        ("number", math.inf, "not inf"),
        ("number", -0.5, "not -0.5"),
        ("number", HUGE, "must be a number"),
        ("pair", [1, 2, 3], "must be two numbers [from, to] from 0, not [1, 2, 3]"),
        ("pair", [2, 1], "not [2, 1]"),
        ("pair", [1, True], "not [1, True]"),
        ("pair", [0, math.nan], "not [0, nan]"),
        ("pair", [0, math.inf], "not [0, inf]"),
        ("pair", [0, HUGE], "must be two numbers"),
        ("pair", [-1, 1], "not [-1, 1]"),
        ("pair", 1, "not 1"),
        ("flag", 1, "must be true or false, not 1"),
        ("flag", "true", "must be true or false, not 'true'"),
        ("texts", "a", "must be a list of strings, not 'a'"),
        ("texts", ["a", 1], "not ['a', 1]"),
    ],
)
def test_wrong_values_are_refused(kind, value, said):
    refused(lambda: getattr(table(width=value), kind)("width"), '"width"', said)


def test_bounds_belong_to_the_range_unless_it_says_above():
    assert table(a=1).integer("a", least=1, most=1) == 1
    assert table(a=0).number("a") == 0.0
    assert table(a=2).number("a", most=2) == 2.0
    refused(lambda: table(a=0).number("a", above=True), "must be a number above 0, not 0")
    refused(lambda: table(a=2.1).number("a", most=2), "at least 0 and at most 2, not 2.1")
    assert table(a=[0, 1]).pair("a", most=1.0) == (0.0, 1.0)
    refused(lambda: table(a=[0, 1.5]).pair("a", most=1.0), "from 0 to 1, not [0, 1.5]")


def test_a_word_that_is_not_a_choice_gets_the_nearest_one():
    refused(lambda: table(a="relux").text("a", choices=("relu", "tanh")), 'cannot be "relux"; did you mean "relu"?')
    refused(lambda: table(a="zzz").text("a", choices=("relu", "tanh")), "known: relu, tanh")


def test_an_unknown_key_gets_the_nearest_one_that_was_asked_for():
    found = table(chanels=1)
    found.integer("channels", 1)
    refused(found.close, 'unknown key "chanels"; did you mean "channels"?')
    refused(table(a=1).close, 'unknown key "a"; none is allowed here')


@pytest.mark.parametrize("values", [3, "x", [], None, 1.5])
def test_a_table_must_be_a_table(values):
    with pytest.raises(SpecError, match=r"^here: expected a table, not "):
        TomlTable(values, "here", SpecError)
    refused(lambda: table(inner=values if values is not None else 0).table("inner"), "[inner]: expected a table")


def test_shown_is_short_and_one_line():
    assert repr_value("a\nb") == "'a\\nb'"
    assert len(repr_value(list(range(1000)))) == 40


def toml(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = \xff", "not UTF-8 text; save it as UTF-8"),
        (b"a = = 1", "not valid TOML: Invalid value"),
        (b"a = 1\na = 2", "not valid TOML: Cannot overwrite a value"),
        (b"\x00", "not valid TOML"),
        (b"a = " + b"[" * 5000, "not valid TOML"),
        (b"a = " + b"1" * 5000, "not valid TOML"),
        (b"a = 1 #" + b"x" * _MOST_BYTES, "too large for a TOML file of this kind"),
    ],
    ids=["not_utf8", "not_toml", "twice", "nul", "nested", "long_number", "large"],
)
def test_a_file_that_is_not_toml_is_one_line(tmp_path, content, said):
    path = toml(tmp_path, content)
    with pytest.raises(RecipeError) as caught:
        read_toml(path, RecipeError)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_a_folder_is_one_line(tmp_path):
    with pytest.raises(SpecError, match=r"none\.toml: cannot be read \(No such file or directory\); check the name$"):
        read_toml(tmp_path / "none.toml", SpecError)
    with pytest.raises(SpecError, match=r"cannot be read \(Is a directory\); check the name$"):
        read_toml(tmp_path, SpecError)


def test_a_byte_order_mark_is_named_or_skipped(tmp_path):
    assert read_toml(toml(tmp_path, b"\xef\xbb\xbfa = 1"), SpecError) == {"a": 1}
