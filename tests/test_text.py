import codecs
import re

import pytest

from data.text import (
    UserError,
    file_errors,
    first_lines,
    is_set,
    read_json,
    read_lines,
    read_text,
    some,
    to_number,
)


@pytest.mark.parametrize(
    "data",
    (
        "Größe".encode(),
        codecs.BOM_UTF8 + "Größe".encode(),
        "Größe".encode("utf-16"),
        codecs.BOM_UTF16_BE + "Größe".encode("utf-16-be"),
    ),
)
def test_text_is_read_with_and_without_its_mark(tmp_path, data):
    (tmp_path / "a.txt").write_bytes(data)
    assert read_text(tmp_path / "a.txt") == "Größe"


@pytest.mark.parametrize(
    "data, likely",
    (("Größe".encode("latin-1"), "Latin-1"), ("Größe".encode("utf-16-le"), "UTF-16 without")),
)
def test_another_encoding_is_named_with_its_place(tmp_path, data, likely):
    (tmp_path / "a.txt").write_bytes(data + b"\xff")
    with pytest.raises(UserError, match=rf"a.txt: not UTF-8 at byte \d+ \(probably {likely}"):
        read_text(tmp_path / "a.txt")


def test_the_first_lines_of_any_file_can_be_looked_at(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "a.txt").write_text("one\n" + "two\n" * 30, encoding=encoding)
        assert first_lines(tmp_path / "a.txt") == ["one"] + ["two"] * 19
    (tmp_path / "a.txt").write_bytes(b"\x89PNG\xff\nx")
    assert len(first_lines(tmp_path / "a.txt")) == 2 and first_lines(tmp_path / "none") == []


@pytest.mark.parametrize("action, mode", (("read", "rb"), ("written", "wb")))
def test_what_the_system_refuses_is_one_line(tmp_path, action, mode):
    line = re.escape(f"{tmp_path}: cannot be {action} (")
    with pytest.raises(UserError, match=line), file_errors(tmp_path, action):
        open(tmp_path, mode)


def test_blank_lines_are_left_out_and_the_others_keep_their_numbers(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\n  two \r\n")
    assert list(read_lines(tmp_path / "a.txt")) == [(1, "one"), (3, "two")]


@pytest.mark.parametrize("text", ("{", '{"a": }', "[" * 100_000, ""))
def test_broken_json_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match="a.json.*: not (valid|readable) json"):
        read_json(tmp_path / "a.json")


def test_numbers_may_be_written_as_text():
    assert [to_number(value) for value in (3, 2.5, "7", " 8.5 ")] == [3, 2.5, 7, 8.5]


@pytest.mark.parametrize(
    "value", ("x", "", None, [], True, float("nan"), "inf", 1e12, "1e400", 10**400)
)
def test_what_is_no_length_in_pixels_is_refused(value):
    with pytest.raises(ValueError):
        to_number(value)


def test_some_names_are_named_and_the_rest_counted():
    assert some("cab", count=2) == "a, b and 1 more" and some([]) == ""


def test_a_flag_is_set_however_it_is_written():
    assert all(map(is_set, (1, 1.0, True, "1", " True ", "1.0")))
    assert not any(map(is_set, (0, None, False, "0", "", "Unspecified", [])))
