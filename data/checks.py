"""Checks of a dataset before it is trained on: of its image files and of its boxes."""

import hashlib
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from data.copies import alike_note, fingerprint
from data.images import (
    JPEG,
    PNG,
    SIDEWAYS,
    is_exif_rotated,
    open_image,
    read_image,
    size_and_orientation,
    size_message,
)
from data.text import UserError, file_errors, with_progress

# The bytes that a file begins with -> those that stand near its end if it is whole.
END_MARKS = {JPEG: b"\xff\xd9", PNG: b"IEND"}
TAIL_SIZE = 4096  # bytes; some cameras write their own data after the end of the image
MIN_BOXES_TO_JUDGE = 5
# If no more than this share of the boxes is possible, all of them have been misread.
MIN_POSSIBLE_SHARE = 0.5


def unreadable_images(sizes, decode=False):
    """The images that cannot be read or do not have their annotated size, as path -> problem.

    sizes: path -> (height, width) in the annotation, or None if it has none. Unless decode is set,
    images are decoded only if their files may have been cut short.
    """
    with ThreadPoolExecutor(max_workers=8) as pool:
        problems = pool.map(partial(check_image, decode=decode), sizes, sizes.values())
        paired = zip(with_progress(sizes, "every image"), problems)
        return {path: problem for path, problem in paired if problem}


def check_image(path, annotated, decode):
    """The problem with an image file, or None."""
    try:
        size, orientation = size_and_orientation(path)
        if decode or may_be_cut_short(path):
            read_image(path, annotated)
    except UserError as problem:
        return str(problem)
    # Its boxes may have been drawn before it was rotated.
    possible = [size, size[::-1]] if orientation in SIDEWAYS else [size]
    if annotated is None or tuple(annotated) in possible:
        return None
    return size_message(path, size, annotated)


def may_be_cut_short(path):
    """Whether the end of an image file lacks the mark that a whole file of its kind has there."""
    with file_errors(path), open_image(path) as file:
        head = file.read(4)
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - TAIL_SIZE, 0))
        tail = file.read()
    return any(head.startswith(start) and end not in tail for start, end in END_MARKS.items())


def examine(records, pictures):
    """Decode every image -> problems by image number, and notes on duplicates and rotated photos.

    pictures (path -> hash of the pixels, fingerprint) collects the images. With those of another
    split in it, duplicates are found between the two as well, and pictures that look alike.
    """
    problems = {}
    num_rotated = 0
    others = dict(pictures)
    for index in with_progress(range(len(records)), "every image"):
        path = records.path(index)
        try:
            image = read_image(path, records.sizes[index])
        except UserError as problem:
            problems[index] = str(problem)
            continue
        content = hashlib.md5(image.tobytes(), usedforsecurity=False).digest()
        pictures[path] = (content, fingerprint(image))
        num_rotated += is_exif_rotated(path)
    by_content = defaultdict(list)
    for path, (content, _) in pictures.items():
        by_content[content].append(path)
    own = pictures.keys() - others.keys()
    duplicates = [same for same in by_content.values() if len(same) > 1 and own & set(same)]
    notes = [f"duplicates, the same picture: {', '.join(same)}" for same in duplicates]
    prints = {path: mark for path, (_, mark) in pictures.items() if path in own}
    notes += alike_note(prints, {path: mark for path, (_, mark) in others.items()})
    if num_rotated:
        notes.append(
            f"photos rotated by their EXIF data: {num_rotated}; their boxes must fit the picture "
            "as it is shown"
        )
    return problems, notes


def refuse_impossible(boxes, sizes, paths):
    """Raise an error that names the likely cause if most boxes cannot be in their images.

    boxes [K, 4] are in pixels as they were read; sizes [K, 2] are (height, width) of their images.
    """
    if len(boxes) < MIN_BOXES_TO_JUDGE:
        return
    possible = are_inside(boxes, sizes)
    if possible.mean() > MIN_POSSIBLE_SHARE:
        return
    example = np.flatnonzero(~possible)[0]
    box = ", ".join(f"{side:g}" for side in boxes[example])
    height, width = sizes[example]
    raise UserError(
        f"{(~possible).sum()} of {len(boxes)} boxes are impossible, as in {paths[example]}: left, "
        f"top, right, bottom would be {box} in an image of {width} x {height} pixels. "
        + likely_cause(boxes, sizes, paths[example])
    )


def are_inside(boxes, sizes):
    """Which boxes are within their images by half of their area, and by a pixel in both directions:
    [K, 4], [K, 2] -> [K]."""
    limits = sizes[:, [1, 0, 1, 0]]
    with np.errstate(invalid="ignore", over="ignore"):
        visible = np.clip(boxes, 0, limits)
        width, height = (visible[:, 2:] - visible[:, :2]).T
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        return (width >= 1) & (height >= 1) & (width * height >= 0.5 * area)


def likely_cause(boxes, sizes, path):
    """What was probably written instead of corners in pixels, and what to change."""
    # Another reading of the numbers explains them if it makes most boxes possible.
    explained = 1 - MIN_POSSIBLE_SHARE / 2
    with np.errstate(invalid="ignore", over="ignore"):
        if np.nanmax(np.abs(boxes)) <= 2:
            return (
                "They look normalised, from 0 to 1: multiply them by the image's width and height"
            )
        if np.median(np.abs(boxes) / sizes[:, [1, 0, 1, 0]]) > 3:
            return "They look like pixels: divide them by the image's width and height"
        as_sizes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        if are_inside(as_sizes, sizes).mean() > explained:
            return "They look like left, top, width, height, but corners are expected"
        if are_inside(boxes[:, [1, 0, 3, 2]], sizes).mean() > explained:
            return "x and y look swapped: write x before y"
        if are_inside(boxes, sizes[:, ::-1]).mean() > explained:
            rotated = " (this one is EXIF-rotated)" if is_exif_rotated(path) else ""
            return (
                f"They fit the photo before it is rotated{rotated}: rotate the files, or the boxes"
            )
    return "Look at one of them beside its image: python -m tools.check --sheet FILE"
