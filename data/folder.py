"""A dataset's folder, listed once: which files there are, and which image a name means."""

import os
import re
from collections import defaultdict
from pathlib import Path

from data.errors import UserError
from data.images import EXTENSIONS

SPLIT_WORDS = dict(
    train="train", training="train", val="val", valid="val", validation="val", dev="val",
    test="test", testing="test", trainval="trainval",
)  # fmt: skip
# What file managers and archives leave behind.
JUNK = re.compile(
    r"^(\._.*|\.DS_Store|__MACOSX|Thumbs\.db|desktop\.ini|\.git|\.venv|\.cache)$", re.I
)


class Folder:
    """files: every file under root, as sorted paths relative to it, with / between their parts."""

    def __init__(self, root):
        self.root = Path(root)
        if not self.root.is_dir():
            raise UserError(f"no such folder: {self.root.absolute()}")
        self.files = sorted(list_files(self.root))
        self.images = [file for file in self.files if file.lower().endswith(EXTENSIONS)]
        self.by_name, self.by_stem = defaultdict(list), defaultdict(list)
        for file in self.images:
            name = file.rsplit("/", 1)[-1].lower()
            self.by_name[name].append(file)
            self.by_stem[name.rsplit(".", 1)[0]].append(file)
        self.image_splits = {folder_split(file) for file in self.images} - {None}

    def path(self, file):
        return os.path.join(self.root, file)

    def matching(self, pattern):
        """The files whose whole relative path fits a regular expression; case does not matter."""
        fits = re.compile(pattern, re.I).fullmatch
        return [file for file in self.files if fits(file)]

    def find_image(self, name, beside, split=None):
        """The image that an annotation file, `beside`, means by a name -> path.

        The name may have folders, and backslashes, that no longer exist; case does not matter. Of
        several images of that name it is the nearest, and never one of another split.
        """
        parts = [
            part.lower() for part in re.split(r"[\\/]+", name.strip()) if part not in ("", ".")
        ]
        found = self.by_name.get(parts[-1], []) if parts else []
        if len(found) > 1:
            wanted = "/" + "/".join(parts)
            found = [file for file in found if f"/{file.lower()}".endswith(wanted)] or found
        path = self.nearest(found, beside, split)
        if path is None:
            raise UserError(f"{self.path(beside)}: no such image: {name}")
        return path

    def find_by_stem(self, beside, split=None):
        """The path of the image that has an annotation file's own name, or None."""
        return self.nearest(self.by_stem.get(stem_of(beside).lower(), []), beside, split)

    def nearest(self, found, beside, split=None):
        """The path of the nearest of several images, seen from an annotation file; None of none."""
        if split in self.image_splits:
            found = [file for file in found if folder_split(file) in (None, split)]
        if not found:
            return None
        steps = sorted((distance(parent_of(beside), parent_of(file)), file) for file in found)
        if len(steps) > 1 and steps[0][0] == steps[1][0]:
            raise UserError(
                f"{self.path(beside)}: two images could be meant: {steps[0][1]} and {steps[1][1]}"
            )
        return self.path(steps[0][1])


def list_files(root):
    """Every file under a folder, through links to folders too, but never round in a circle."""
    seen = set()
    for place, folders, names in os.walk(root, followlinks=True):
        status = os.stat(place)
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = [name for name in folders if not JUNK.match(name)]
        within = os.path.relpath(place, root).replace(os.sep, "/")
        prefix = "" if within == "." else f"{within}/"
        yield from (prefix + name for name in names if not JUNK.match(name))


def folder_split(file):
    """The split that a file's folders speak of, the last that does so; None if none does.

    train2017/a.jpg, my_train/a.jpg and train/images/a.jpg are of train, trainer/test.jpg of none.
    """
    return next(filter(None, map(split_in, reversed(file.split("/")[:-1]))), None)


def file_split(file):
    """The same for a file that describes many images: its own name is asked first."""
    return split_in(stem_of(file)) or folder_split(file)


def split_in(name):
    """The split that a single name speaks of, as train2017, instances_val and valid do, or None."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def stem_of(file):
    return file.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def parent_of(file):
    return file.rpartition("/")[0]


def distance(folder, other):
    """How many folder names two places do not share, at the start or at the end of their paths."""
    a, b = folder.split("/"), other.split("/")
    shared = len(os.path.commonprefix([a, b]))
    a, b = a[shared:], b[shared:]
    return len(a) + len(b) - 2 * len(os.path.commonprefix([a[::-1], b[::-1]]))
