"""Which images are trained on, and which are not: no image that is validated or tested on is.

Only this module decides it, from the splits that a dataset has itself, by its lists or by the names
of its files and folders:

train and val             are used as they are
train, no val             test is validated on; without a test, a part of train is held out
trainval, no train        as train; PASCAL VOC is thus trained on trainval of both years, and
                          validated on test of 2007
no train, no trainval     the images without a split, or else those of val, are the training images

An image of train that is also in val or test, under any name or link or as a copy, is not trained
on.
"""

import os
import re
import zlib
from collections import defaultdict
from functools import cache
from pathlib import Path

from data.copies import group_copies, without_copies
from data.text import UserError, count_note, counted

SPLIT_WORDS = dict(
    train="train", training="train", trainval="trainval", test="test", testing="test",
    val="val", valid="val", validation="val", validate="val", dev="val",
)  # fmt: skip
VAL_SHARE = 0.2  # of the images that are held out for validation


def choose_splits(splits, val_share=VAL_SHARE):
    """What to train, validate and test on: a dict of lists of entries, train, val and test, which
    may be empty; and notes that say how it was decided.

    splits: the dataset's own name of a split -> entries. With a val_share of 0, everything but
    test is trained on, and nothing is validated on.
    """
    splits, notes = merge_repeated(splits)
    test = splits.pop("test", [])
    if val_share == 0:
        train = unique([entry for entries in splits.values() for entry in entries])
        train, test_notes = apart_from_test(train, test)
        notes += ["all images are trained on, none is validated on", *test_notes]
        return dict(train=train, val=[], test=test), notes

    source = next((name for name in ("train", "trainval", "all", "val") if name in splits), None)
    train = splits.get(source, [])
    val = splits.get("val", []) if source != "val" else []
    if train and test and not val:
        val = test
        notes += ["there is no val: the images of test are validated on"]
    apart, shared_notes = keep_apart(train, val, "val")
    if apart:
        train = apart
        notes += shared_notes
    elif val:
        notes += ["train and val are the same images"]
        train = unique(train + val)
        val = []
    if val is not test:
        train, test_notes = apart_from_test(train, test)
        notes += test_notes
    if train and not val:
        train, val = train_val_split(train, val_share)
        where = "the images" if source == "all" else f"the images of {source}"
        notes.append(f"no val of its own; held out for validation: {len(val)} of {where}")
    used = {source, "val"}
    for name in sorted(set(splits) - used):
        extra = without(splits[name], train + val)
        if extra:
            notes.append(f"not used: {counted(len(extra), 'image')} of {name}")
    if test and val is not test:
        notes.append(f"not used: {counted(len(test), 'image')} of test (eval.py --split test)")
    return dict(train=train, val=val, test=test), notes


def splits_by_folder(splits, root):
    """The splits that the folders of the images name, where the annotations name none and every
    image lies in the folder of a split; and notes. root: the folder of the dataset."""
    if set(splits) != {"all"}:
        return splits, []
    parts = defaultdict(list)
    for entry in splits["all"]:
        file = os.path.relpath(entry.path, root).replace(os.sep, "/")
        parts[folder_split(file)].append(entry)
    if None in parts or len(parts) < 2 or not {"train", "trainval"} & set(parts):
        return splits, []
    names = ", ".join(sorted(parts))
    return dict(parts), [f"splits are those that the folders of the images name: {names}"]


def keep_apart(train, others, split):
    """Leave out of train what another split has, under any name or link or as a copy -> the rest of
    train, and notes. split: the name of the other."""
    apart = without(train, others)
    num_shared = len(train) - len(apart)
    what = f"left out of train, images that are also in {split}"
    notes = [f"{what}: {num_shared}"] if num_shared else []
    apart, copies = without_copies(apart, others)
    what = f"left out of train, copies of images in {split}"
    notes += count_note(what, [entry.path for entry in copies])
    return apart, notes


def apart_from_test(train, test):
    """The images of train without those of test, and notes; all of them if none would be left."""
    if not test:
        return train, []
    apart, notes = keep_apart(train, test, "test")
    if train and not apart:
        return train, ["all images of train are also in test; they are trained on nevertheless"]
    return apart, notes


def train_val_split(entries, val_share=VAL_SHARE):
    """Hold out a share of the images for validation -> train, val.

    A hash of an image's name decides, which is the same on every computer. Copies of one image stay
    together, and so do frames of a video that follow each other. Images that are added later move
    others to the other side only if they are copies of them or frames of the same video.
    """
    groups = group_copies(entries)
    if len(groups) < 2:
        raise UserError(
            f"{len(groups)} different images are too few to hold out some for validation: "
            "--val-share 0 trains on all of them and validates on none"
        )
    names = [min(Path(entry.path).stem for entry in group) for group in groups]
    hashes = [zlib.crc32(name.encode(errors="surrogateescape")) for name in names]
    held_out = [number % 1000 < val_share * 1000 for number in hashes]
    # With only a few images, one side might be empty.
    if not any(held_out):
        held_out[hashes.index(min(hashes))] = True
    if all(held_out):
        held_out[hashes.index(max(hashes))] = False
    val = {id(entry) for group, is_val in zip(groups, held_out) if is_val for entry in group}
    return (
        [entry for entry in entries if id(entry) not in val],
        [entry for entry in entries if id(entry) in val],
    )


def identity(entry):
    """A value that two names or links of one file have in common."""
    try:
        status = os.stat(entry.path)
    except OSError:
        return os.path.realpath(entry.path)
    return status.st_dev, status.st_ino


def disjoint(splits):
    """The dataset's own splits with each image in one of them only, and without empty ones.

    An image stays in test rather than val, and in val rather than train.
    """
    last = [name for name in splits if name not in ("test", "val", "train")]
    kept = {}
    for name in ("test", "val", "train", *last):
        taken = [entry for entries in kept.values() for entry in entries]
        kept[name] = without(splits.get(name, []), taken)
    return {name: kept[name] for name in splits if kept[name]}


def merge_repeated(splits):
    """The splits that have images, with each image of a split only once, and notes."""
    num_listed = sum(map(len, splits.values()))
    splits = {name: unique(entries) for name, entries in splits.items() if entries}
    num_merged = num_listed - sum(map(len, splits.values()))
    what = "images that a split names more than once, whose objects are put together"
    return splits, [f"{what}: {num_merged}"] if num_merged else []


def unique(entries):
    """The entries, with each file only once and then with the objects of all its entries."""
    merged = {}
    for entry in entries:
        first = merged.setdefault(identity(entry), entry)
        if first is not entry:
            known = set(first.objects)
            objects = first.objects + [item for item in entry.objects if item not in known]
            merged[identity(entry)] = first._replace(objects=objects)
    return list(merged.values())


def without(entries, others):
    """The entries whose files none of the others has."""
    taken = set(map(identity, others))
    return [entry for entry in entries if identity(entry) not in taken]


def folder_split(file):
    """The split that the innermost of a file's folders with the name of a split names, or None.

    train2017/a.jpg, my_train/a.jpg and train/images/a.jpg belong to train, trainer/test.jpg to no
    split.
    """
    return next(filter(None, map(split_in, reversed(file.split("/")[:-1]))), None)


def file_split(file):
    """The split that a file of many annotations names, in its own name or else in its folders."""
    return split_in(file.rsplit("/", 1)[-1]) or folder_split(file)


@cache
def split_in(name):
    """The split that a single name contains as a word, as train2017 and instances_val do."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
