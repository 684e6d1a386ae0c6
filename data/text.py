"""Text files as people and programs write them, and the error for what a user can correct."""

import codecs
import json
import os
import re
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

SHOW_PROGRESS_FROM = 5000  # items: fewer are read in a few seconds
END_SIZE = 100_000  # bytes at either end of a file; COCO's categories, which come last, have 5,000
MAX_PIXEL_VALUE = 1e9  # no image is larger; what is more comes from a broken file


class UserError(Exception):
    """Something that the user can correct: scripts print it in one line and exit with code 2."""


class MissingFile(UserError, FileNotFoundError):
    """A UserError about a missing file, which may be caught as a FileNotFoundError, too."""


@contextmanager
def file_errors(path, action="read"):
    """Turn an OSError into a UserError: path cannot be read, or written, and why."""
    try:
        yield
    except UserError:
        # A MissingFile is an OSError as well, and says what is missing.
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be {action} ({error.strerror})") from None


def read_text(path):
    """The text of a file in UTF-8 or UTF-16, without its byte order mark."""
    with file_errors(path), open(path, "rb") as file:
        data = file.read()
    # Without a byte order mark, UTF-16 cannot be told from UTF-8 with certainty.
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        likely = "UTF-16 without its mark" if b"\0" in data[:100] else "Latin-1 or Windows-1252"
        raise UserError(
            f"{path}: not UTF-8 at byte {error.start} (probably {likely}); save it as UTF-8"
        ) from None


def read_head(path, size, from_end=False):
    """The first bytes of a file, or its last ones, or none if it cannot be read.

    UTF-16 is stripped of its mark and its zero bytes, so that ASCII words are found in it.
    """
    try:
        with open(path, "rb") as file:
            if from_end:
                file.seek(max(os.path.getsize(path) - size, 0))
            data = file.read(size)
    except OSError:
        return b""
    for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        data = data.removeprefix(mark)
    return data.replace(b"\0", b"")


def first_lines(path):
    """The first lines of a file, at most twenty; what is not text in it is replaced."""
    return read_head(path, 1 << 16).decode(errors="replace").splitlines()[:20]


def has_keys(path, *keys):
    """Whether a JSON file has all these keys, regular expressions, near its start or its end.

    The file is not searched as a whole: those of COCO have up to 450 MB.
    """
    ends = read_head(path, END_SIZE) + read_head(path, END_SIZE, from_end=True)
    return all(re.search(rf'"({key})"\s*:'.encode(), ends) for key in keys)


def read_lines(path):
    """Yield (line number, stripped line) for every line that is not blank."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def read_json(path):
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not valid json ({error.msg})") from None
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path}: not readable json ({str(error)[:80]})") from None


def to_number(value):
    """A number, or the text of one, as a float; ValueError if it is not a possible length."""
    # In Python, True is a number; in a dataset, it is a mistake.
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{str(value)[:40]!r} is not a number") from None
    # Written so that NaN, which is neither smaller nor larger, is refused as well.
    if not abs(number) < MAX_PIXEL_VALUE:
        raise ValueError(f"{str(value)[:40]} is not a length in pixels")
    return number


def is_set(flag):
    """Whether a flag in an annotation is set: 1, 1.0 or true, as a value or as text."""
    return str(flag).strip().lower() in ("1", "1.0", "true")


def with_progress(items, what):
    """The items of a list, with a progress bar if there are many and the output is a terminal."""
    disable = True if len(items) < SHOW_PROGRESS_FROM else None
    return tqdm(items, desc=f"reading {what}", leave=False, disable=disable)


def counted(number, noun):
    """A number and a noun: 1 image, 2 images, 0 classes."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"


def count_note(what, paths):
    """A list of one note, which counts what happened to images and names them, or an empty list.

    paths: that of an image each time that it happened.
    """
    names = [Path(path).name for path in set(paths)]
    return [f"{what}: {len(paths)}, of {some(names)}"] if paths else []


def some(names, count=5):
    """The first few names in alphabetical order, and how many more there are, as one text."""
    names = sorted(map(str, names))
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
