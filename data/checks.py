"""Is a dataset what it seems to be? Its image files, whole and in their heads, and its boxes."""

import hashlib
import json
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.images import JPEG, PNG, image_size, is_exif_rotated, read_image, size_message
from data.text import UserError

# How the files of a kind begin, and what their last bytes hold.
ENDS = {JPEG: b"\xff\xd9", PNG: b"IEND"}
TAIL = 4096  # bytes; cameras write some behind the picture's end
FEW = 5  # boxes, of which nothing is concluded
IMPOSSIBLE = 0.5  # the share of boxes from which on the reader has misunderstood them


def unreadable_images(sizes, cache=None):
    """The images that cannot be read, or are of another size than annotated -> path: what is wrong.

    sizes: path -> its annotation's (height, width), or None where it tells none. Files that were
    found good before, of the same size and time, are not looked at again: cache is a file that
    remembers them, by default in the user's own folder for such files.
    """
    cache = default_cache() if cache is None else cache
    known, problems, good = load_cache(cache), {}, {}
    todo = []
    for path in sizes:
        mark = mark_of(path)
        entry = known.get(path)
        if mark is not None and is_entry(entry) and entry[:2] == mark:
            good[path] = entry
        else:
            todo.append(path)
    with ThreadPoolExecutor(max_workers=8) as pool:
        results = pool.map(look_at, todo)
        for path, (problem, size) in tqdm(
            zip(todo, results),
            total=len(todo),
            desc="looking at every image",
            leave=False,
            disable=None if len(todo) > 1000 else True,
        ):
            if problem:
                problems[path] = problem
            else:
                good[path] = [*mark_of(path), *size]
    if todo:
        save_cache(cache, known | good)
    for path, (_, _, *size) in good.items():
        problem = wrong_size(path, size, sizes[path])
        if problem:
            problems[path] = problem
    return problems


def look_at(path):
    """What is wrong with an image file, or None; and its height, width and whether it was rotated
    sideways to be shown."""
    try:
        size = (*image_size(path), is_exif_rotated(path))
        with open(path, "rb") as file:
            head = file.read(4)
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - TAIL, 0))
            tail = file.read()
        for start, end in ENDS.items():
            if head.startswith(start) and end not in tail:
                # It may be cut short: only decoding it tells.
                read_image(path)
    except UserError as problem:
        return str(problem), None
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})", None
    return None, size


def wrong_size(path, size, annotated):
    """What is wrong with the size of an image as look_at found it, or None."""
    height, width, sideways = size
    # Boxes may have been drawn before the photo was rotated.
    if annotated is None or tuple(annotated) in [(height, width), (width, height)][: 1 + sideways]:
        return None
    return size_message(path, (height, width), annotated)


def is_entry(value):
    """Whether a value is what the cache keeps of a file: size, time, height, width, sideways."""
    return isinstance(value, list) and len(value) == 5 and all(isinstance(n, int) for n in value)


def mark_of(path):
    """A file's size and time, or None."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def default_cache():
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder, "onestage", "images.json")


def load_cache(path):
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def save_cache(path, content):
    """Write the cache; where it cannot be written, the next start looks at every image again."""
    unfinished = Path(f"{path}.{os.getpid()}")
    try:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(content))
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()


def examine(records, pictures=None):
    """Decode every image -> image number: what is wrong with it; and notes on equal and rotated
    ones.

    pictures (content -> paths) may hold those of another split, and learns these.
    """
    problems, rotated = {}, 0
    pictures = defaultdict(list) if pictures is None else pictures
    for index in tqdm(range(len(records)), desc="reading every image", disable=None, leave=False):
        path = records.path(index)
        try:
            image = read_image(path, records.sizes[index])
        except UserError as problem:
            problems[index] = str(problem)
            continue
        content = hashlib.md5(image.tobytes(), usedforsecurity=False).digest()
        pictures[content].append(path)
        rotated += is_exif_rotated(path)
    paths = {records.path(index) for index in range(len(records))}
    duplicates = [same for same in pictures.values() if len(same) > 1 and paths & set(same)]
    notes = [f"duplicates, the same picture: {', '.join(same)}" for same in duplicates]
    if rotated:
        notes.append(
            f"photos rotated by their EXIF data: {rotated}; their boxes must fit the "
            "picture as shown"
        )
    return problems, notes


def refuse_impossible(boxes, sizes, paths):
    """An error with its likely cause where most boxes lie outside of their images.

    boxes [K, 4] as they were read, in pixels; sizes [K, 2], (height, width) of their images.
    """
    if len(boxes) < FEW:
        return
    fits = inside(boxes, sizes)
    if fits.mean() > IMPOSSIBLE:
        return
    example = np.flatnonzero(~fits)[0]
    box = ", ".join(f"{side:g}" for side in boxes[example])
    height, width = sizes[example]
    raise UserError(
        f"{(~fits).sum()} of {len(boxes)} boxes are impossible, as in {paths[example]}: left, top, "
        f"right, bottom would be {box} in an image of {width} x {height} pixels. "
        + likely_cause(boxes, sizes, paths[example])
    )


def inside(boxes, sizes):
    """Which boxes have at least half of their area, and a pixel both ways, within the image."""
    limits = sizes[:, [1, 0, 1, 0]]
    with np.errstate(invalid="ignore", over="ignore"):
        cut = np.clip(boxes, 0, limits)
        width, height = (cut[:, 2:] - cut[:, :2]).T
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        return (width >= 1) & (height >= 1) & (width * height >= 0.5 * area)


def likely_cause(boxes, sizes, path):
    """What was probably written, and what to change."""
    with np.errstate(invalid="ignore", over="ignore"):
        if np.nanmax(np.abs(boxes)) <= 2:
            return (
                "They look normalised, from 0 to 1: multiply them by the image's width and height"
            )
        if np.median(np.abs(boxes) / sizes[:, [1, 0, 1, 0]]) > 3:
            return "They look like pixels: divide them by the image's width and height"
        as_sizes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        if inside(as_sizes, sizes).mean() > 1 - IMPOSSIBLE / 2:
            return "They look like left, top, width, height, where corners are expected"
        if inside(boxes[:, [1, 0, 3, 2]], sizes).mean() > 1 - IMPOSSIBLE / 2:
            return "x and y look swapped: write x before y"
        if inside(boxes, sizes[:, ::-1]).mean() > 1 - IMPOSSIBLE / 2:
            rotated = " (this one is EXIF-rotated)" if is_exif_rotated(path) else ""
            return (
                f"They fit the photo before it is rotated{rotated}: rotate the files, or the boxes"
            )
    return "Look at one of them beside its image: python -m tools.check --sheet FILE"
