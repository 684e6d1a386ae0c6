"""Which images are trained on, which are validated on: no image is ever in both.

This is the only place that decides it. A reader says which splits a dataset has, and that is kept:

train and val             as they are
train, no val             test is validated on; without a test, a share of train is held out
trainval                  as train, where there is no train; PASCAL VOC is trained on both years'
                          trainval and validated on 2007's test in this way
no train                  the images that have no split, or those of val, are trained on
an image in train and val, by whatever name or link, is validated on and not trained on
"""

import os
import zlib
from collections import defaultdict

from data.text import UserError, some

VAL_SHARE = 0.2


def choose_splits(splits, val_share=VAL_SHARE):
    """A dataset's own splits, entries by name -> dict of train, val, test (entries), and notes.

    val_share 0 trains on everything but test, and validates on nothing.
    """
    splits = {name: list(entries) for name, entries in splits.items() if entries}
    test = splits.pop("test", [])
    if val_share == 0:
        train = unique([entry for entries in splits.values() for entry in entries])
        return check_splits(train, [], test), ["all images are trained on, none is validated on"]

    notes = []
    source = next((name for name in ("train", "trainval", "all", "val") if name in splits), None)
    train = splits.get(source, [])
    val = splits.get("val", []) if source != "val" else []
    if source is not None and not val and test:
        val, notes = test, ["there is no val: the images of test are validated on"]
    if source is not None and same_files(train, val):
        notes = ["train and val are the same images"]
        val = []
    if source is not None and not val:
        train, val = train_val_split(train, val_share)
        where = "the images" if source == "all" else f"the images of {source}"
        notes.append(f"no val of its own: {len(val)} of {where} are held out for validation")
    train, shared = without(train, val)
    if shared:
        what = "are in train and in val, and are only validated on"
        notes.append(f"{shared} images {what}")
    used = {source, "val"}
    for name in sorted(set(splits) - used):
        extra, _ = without(splits[name], train + val)
        if extra:
            notes.append(f"not used: {len(extra)} images of {name}")
    if test and val is not test:
        notes.append(f"not used: {len(test)} images of test (eval.py --split test)")
    return check_splits(train, val, test), notes


def train_val_split(entries, val_share=VAL_SHARE):
    """Hold out a share of the images -> train, val.

    Names decide, so that it is the same on every machine, and more images move none from one side
    to the other. Equal pictures stay together.
    """
    groups = equal_pictures(entries)
    if len(groups) < 2:
        raise UserError(
            f"{len(entries)} different images are too few to hold out some for validation: "
            "--val-share 0 trains on all of them and validates on none"
        )
    marks = [zlib.crc32(min(stem_of_entry(entry) for entry in group).encode()) for group in groups]
    held_out = [mark % 1000 < val_share * 1000 for mark in marks]
    # Of a few images, too, neither side is left empty.
    if not any(held_out):
        held_out[marks.index(min(marks))] = True
    if all(held_out):
        held_out[marks.index(max(marks))] = False
    val = {id(entry) for group, held in zip(groups, held_out) if held for entry in group}
    return (
        [entry for entry in entries if id(entry) not in val],
        [entry for entry in entries if id(entry) in val],
    )


def equal_pictures(entries):
    """Entries in groups whose files are equal, byte for byte."""
    by_size = defaultdict(list)
    for entry in entries:
        try:
            by_size[os.path.getsize(entry.path)].append(entry)
        except OSError:
            by_size[entry.path].append(entry)
    groups = []
    for same_size in by_size.values():
        if len(same_size) == 1:
            groups.append(same_size)
            continue
        by_content = defaultdict(list)
        for entry in same_size:
            by_content[content_mark(entry.path)].append(entry)
        groups += by_content.values()
    return groups


def content_mark(path):
    """A number that equal files share and others do not."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return path
    return zlib.crc32(data), zlib.adler32(data)


def stem_of_entry(entry):
    """A file's name without its folders and ending: it decides, wherever the dataset lies."""
    return os.path.splitext(os.path.basename(str(entry.path)))[0]


def identity(entry):
    """What two names of one file have in common."""
    try:
        status = os.stat(entry.path)
    except OSError:
        return os.path.realpath(entry.path)
    return status.st_dev, status.st_ino


def same_files(entries, others):
    return bool(others) and set(map(identity, entries)) == set(map(identity, others))


def unique(entries):
    """Each file once."""
    return list({identity(entry): entry for entry in reversed(entries)}.values())[::-1]


def without(entries, others):
    """The entries whose files are not among the others, and how many are."""
    taken = set(map(identity, others))
    kept = [entry for entry in entries if identity(entry) not in taken]
    return kept, len(entries) - len(kept)


def check_splits(train, val, test):
    """The three as a dictionary, if no file is in two of train and val."""
    _, shared = without(train, val)
    assert not shared, some(map(stem_of_entry, val))
    return dict(train=train, val=val, test=test)
