"""Broken annotation files of every format: each is read, or is one line; none is a traceback.

At length: python -m tests.test_fuzz --count 30000 --seed 1
"""

import argparse
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest

from data.reading import read_folder, select_classes
from data.records import pack
from data.splits import choose_splits
from data.text import UserError
from tests.test_formats import LAYOUTS, linked_images

PIECES = [
    b"null", b"-1", b"1e400", b"nan", b'""', b"[]", b"{}", b"[[[[", b"9" * 30, b"\0", b"\xff\xfe",
    b"\xef\xbb\xbf", b",", b";", b"\n", b'"', b"<", b">", b"&", b"..", b"/", b"\\", b" ", b": ",
    b"*a",
]  # fmt: skip
TEXT = (".json", ".xml", ".txt", ".csv", ".tsv", ".yaml", ".names", ".data")


def mutated(data, dice):
    """The bytes of a file, changed, cut or added to in up to three places."""
    data = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 3))):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.choice((0, 1, 5, 20)))
        data[start:end] = dice.choice((b"", *PIECES))
    return bytes(data)


FUZZED = [layout for layout in LAYOUTS if layout is not linked_images]


@pytest.mark.parametrize("layout", FUZZED, ids=lambda layout: layout.__name__)
def test_a_broken_file_is_read_or_is_one_line(layout, tmp_path):
    break_files(layout, tmp_path, count=21, dice=random.Random(0))


def break_files(layout, tmp_path, count, dice):
    """Read a layout so many times, each time with a broken file -> how many of them were read."""
    layout(tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.suffix in TEXT)
    num_read = 0
    for _ in range(count):
        path = dice.choice(files)
        before = path.read_bytes()
        path.write_bytes(mutated(before, dice))
        try:
            source = read_folder(dice.choice((LAYOUTS[layout][0], "auto")), tmp_path)
            classes = select_classes(source)
            for entries in source.splits.values():
                boxes = pack(entries, classes).boxes
                assert np.isfinite(boxes).all() and (boxes[:, 2:] - boxes[:, :2] >= 1).all()
            choose_splits(source.splits)
            num_read += 1
        except UserError as mistake:
            assert "\n" not in str(mistake)
        path.write_bytes(before)
    return num_read


def test_a_bug_of_ours_keeps_its_traceback(tmp_path, monkeypatch):
    layout = next(layout for layout in LAYOUTS if layout.__name__ == "kaggle_voc")
    layout(tmp_path)
    monkeypatch.setattr("data.formats.voc.size_of_annotation", lambda root: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read_folder("auto", tmp_path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=500, help="how many files are broken")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    dice = random.Random(flags.seed)
    num_read = 0
    for layout in FUZZED:
        with tempfile.TemporaryDirectory() as folder:
            count = -(-flags.count // len(FUZZED))
            num_read += break_files(layout, Path(folder), count, dice)
    print(f"{count * len(FUZZED)} broken files, {num_read} read, the others one line each")


if __name__ == "__main__":
    main()
