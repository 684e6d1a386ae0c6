"""Which images show the same: copies of a file, what Roboflow makes of an image, and the frames of
a video."""

import os
import re
import zlib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from data.images import read_image
from data.text import UserError, some

# In how many of 64 places the fingerprints of two pictures differ: by chance, in 32, and hardly
# ever in less than 20; if one is a smaller copy of the other, in up to 4; if a camera moved by a
# hundredth of the picture between them, in 5, and by two hundredths, in 9 (medians on photos).
COPY_DIFFERENCES = 4
FRAME_DIFFERENCES = 10
# A video is held out in runs of frames, of which those in the middle have no neighbour in train:
# at least so many runs, and at most so many frames in each.
MIN_RUNS = 10
MAX_RUN = 25
MAX_VERSIONS = 50  # of one photo that Roboflow makes
PAIRS_LOOKED_AT = 200  # to find out whether numbered images are frames of videos at all


def group_copies(entries):
    """The entries in groups, so that copies of one image are in one group, and so are frames of a
    video that follow each other."""
    counts = Counter(file_size(entry.path) for entry in entries)
    repeated = {size for size, count in counts.items() if count > 1}
    runs = runs_of_frames(entries)
    groups = defaultdict(list)
    common = common_names(entries)
    copies = [copy_key(entry, repeated, common) for entry in entries]
    # Copies of a frame belong to its run; those in several runs to the first of them.
    run_of = {}
    for entry, copy in zip(entries, copies):
        if entry.path in runs:
            run_of.setdefault(copy, runs[entry.path])
    for entry, copy in zip(entries, copies):
        groups[run_of.get(copy, copy)].append(entry)
    return list(groups.values())


def runs_of_frames(entries):
    """The frames of videos, by their paths: path -> the path of the first frame of its run.

    Frames have one stem with consecutive numbers, and each looks like the one before.
    """
    sequences = defaultdict(list)
    for entry in entries:
        folder, name = os.path.split(entry.path)
        number = re.search(r"\d+(?=\D*$)", Path(entry.path).stem)
        if number:
            place = (folder, name[: number.start()], name[number.end() :])
            sequences[place].append((int(number[0]), entry.path, entry))
    ordered = [[entry for *_, entry in sorted(part)] for part in sequences.values()]
    pairs = [pair for part in ordered for pair in zip(part, part[1:])]
    sample = pairs[:: len(pairs) // PAIRS_LOOKED_AT + 1]
    alike = look_alike(sample)
    if not any(alike):
        return {}
    alike = iter(alike if len(sample) == len(pairs) else look_alike(pairs))
    first_of = {}
    for part in ordered:
        longest = min(MAX_RUN, -(-len(part) // MIN_RUNS))
        length = 0
        for before, entry in zip(part, part[1:]):
            length += 1
            if next(alike) and length < longest:
                first_of[entry.path] = first_of.setdefault(before.path, before.path)
            else:
                length = 0
    return first_of


def look_alike(pairs):
    """Whether the two pictures of each pair of entries look alike; False if one is unreadable."""
    prints = fingerprints({entry.path: entry for pair in pairs for entry in pair}.values())
    return [
        before.path in prints
        and entry.path in prints
        and num_differences(prints[before.path], prints[entry.path]) <= FRAME_DIFFERENCES
        for before, entry in pairs
    ]


def alike_note(prints, others):
    """A list of one note on pictures that look like some of another split, or an empty list: copies
    of another size or quality, and frames of a video. Both are path -> fingerprint."""
    paths = list(others)
    marks = np.array(list(others.values()), np.uint8).reshape(-1, 8)
    pairs = []
    for path, mark in prints.items():
        differences = num_differences(marks, mark)
        for place in np.flatnonzero(differences <= COPY_DIFFERENCES):
            share = f"alike in {64 - differences[place]} of 64 places"
            pairs.append(f"{path} and {paths[place]}, {share}")
    what = "pictures of both splits that look alike (smaller copies? frames of a video?)"
    return [f"{what}: {len(pairs)}, of {some(pairs, count=3)}"] if pairs else []


def fingerprints(entries):
    """The fingerprints of those entries' pictures that can be read: path -> fingerprint."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        prints = pool.map(fingerprint_of, entries)
        return {entry.path: mark for entry, mark in zip(entries, prints) if mark is not None}


def fingerprint_of(entry):
    """The fingerprint of an entry's picture, or None if it cannot be read."""
    try:
        # A small JPEG is all that is needed, and several times faster.
        return fingerprint(read_image(entry.path, entry.size, entry.size and (8, 9)))
    except UserError:
        return None


def fingerprint(image):
    """[8] bytes, which are nearly the same for pictures that look alike, whatever their size.

    Each of the 64 bits says whether a place of the picture, [H, W, 3], is darker than the place to
    its right.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, :-1] < small[:, 1:])


def num_differences(prints, others):
    """In how many of 64 places fingerprints differ: [..., 8], [..., 8] -> [...]."""
    return np.unpackbits(prints ^ others, axis=-1).sum(axis=-1)


def without_copies(entries, others):
    """The entries that are copies of none of the others, and those that are."""
    sizes = [{file_size(entry.path) for entry in part} for part in (entries, others)]
    repeated = set.intersection(*sizes)
    common = common_names([*entries, *others])
    taken = {copy_key(other, repeated, common) for other in others}
    copies = [entry for entry in entries if copy_key(entry, repeated, common) in taken]
    left_out = set(map(id, copies))
    return [entry for entry in entries if id(entry) not in left_out], copies


def common_names(entries):
    """The names before .rf. that more images share than Roboflow makes of one photo, such as
    image_jpg, which some phones give to every photo. They say nothing about copies."""
    counts = Counter(Path(entry.path).stem.partition(".rf.")[0] for entry in entries)
    return {name for name, count in counts.items() if count > MAX_VERSIONS}


def copy_key(entry, repeated_sizes, common):
    """A value that copies of an image have in common: files that are equal byte for byte, and what
    Roboflow makes of an image, NAME.rf.HASH.jpg, unless the name is a common one.

    Files are only read if their size is one of those that occur repeatedly.
    """
    name, mark, _ = Path(entry.path).stem.partition(".rf.")
    if mark and name not in common:
        return name
    size = file_size(entry.path)
    if size not in repeated_sizes:
        return size, entry.path
    try:
        data = Path(entry.path).read_bytes()
    except OSError:
        return size, entry.path
    return size, zlib.crc32(data), zlib.adler32(data)


def file_size(path):
    """The size of a file in bytes; without a file, its path, which is unique."""
    return os.path.getsize(path) if os.path.isfile(path) else path
