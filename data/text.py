"""Text files as people and programs write them, in UTF-8, or in UTF-16 with its mark; and the error
that says what a user can mend."""

import codecs
import json

from tqdm import tqdm


class UserError(Exception):
    """Scripts tell it in one line, without a traceback, and end with code 2."""


def read_text(path):
    """The text of a file, its byte order mark left out."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        likely = "UTF-16 without its mark" if b"\0" in data[:100] else "Latin-1 or Windows-1252"
        raise UserError(
            f"{path}: not UTF-8 at byte {error.start} (probably {likely}); save it as UTF-8"
        ) from None


def read_head(path, size):
    """The first bytes of a file that may be text, without the marks and zeros of UTF-16; none of a
    file that cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(size)
    except OSError:
        return b""
    for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        data = data.removeprefix(mark)
    return data.replace(b"\0", b"")


def first_lines(path):
    """Up to twenty lines at the beginning of a file that may be text."""
    return read_head(path, 1 << 16).decode(errors="replace").splitlines()[:20]


def read_lines(path):
    """(line number, line) of every line that is not blank, without blanks at its ends."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def read_json(path):
    """The content of a JSON file."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not valid json ({error.msg})") from None
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path}: not readable json ({str(error)[:80]})") from None


def to_number(value):
    """A finite float, of a number or of its text; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is no number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{str(value)[:40]!r} is no number") from None
    if not abs(number) < 1e9:
        raise ValueError(f"{str(value)[:40]} is no length in pixels")
    return number


def with_progress(items, what):
    """The items of a list, and a progress bar over them if they are many."""
    few = len(items) < 5000
    return tqdm(items, desc=f"reading {what}", leave=False, disable=True if few else None)


def some(names, count=5):
    """The first of some names, and how many there are besides."""
    names = sorted(map(str, names))
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
