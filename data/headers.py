"""Look at the first and the last bytes of every image before a training begins."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from data.errors import UserError
from data.images import JPEG, image_size, read_image

# How the files of a kind begin, and what their last bytes hold.
ENDS = {JPEG: b"\xff\xd9", b"\x89PNG": b"IEND"}
TAIL = 4096  # bytes; cameras write some behind the picture's end


def unreadable_images(paths, cache=None):
    """The images that cannot be read -> path: what is wrong with it.

    Files that were found good before, of the same size and time, are not looked at again: cache is
    a file that remembers them, by default in the user's own folder for such files.
    """
    cache = default_cache() if cache is None else cache
    known, problems, good = load_cache(cache), {}, {}
    todo = []
    for path in paths:
        mark = mark_of(path)
        if mark is not None and known.get(path) == mark:
            good[path] = mark
        else:
            todo.append(path)
    with ThreadPoolExecutor(max_workers=8) as pool:
        results = pool.map(look_at, todo)
        for path, problem in tqdm(
            zip(todo, results),
            total=len(todo),
            desc="looking at every image",
            leave=False,
            disable=None if len(todo) > 1000 else True,
        ):
            if problem:
                problems[path] = problem
            else:
                good[path] = mark_of(path)
    if todo:
        save_cache(cache, known | good)
    return problems


def look_at(path):
    """What is wrong with an image file, or nothing."""
    try:
        image_size(path)
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
        return str(problem)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    return None


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
