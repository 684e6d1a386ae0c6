"""Look at the first and the last bytes of every image before a training begins."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from data.errors import UserError
from data.images import JPEG, PNG, image_size, is_exif_rotated, read_image, size_message

# How the files of a kind begin, and what their last bytes hold.
ENDS = {JPEG: b"\xff\xd9", PNG: b"IEND"}
TAIL = 4096  # bytes; cameras write some behind the picture's end


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
