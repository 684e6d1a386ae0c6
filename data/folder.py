"""A dataset's folder, listed once: which files there are, and which image a name means."""

import os
import posixpath
import re
from collections import defaultdict
from pathlib import Path

from data.images import EXTENSIONS, looks_like_mask
from data.text import UserError

SPLIT_WORDS = dict(
    train="train", training="train", val="val", valid="val", validation="val", dev="val",
    test="test", testing="test", trainval="trainval",
)  # fmt: skip
# What the formats call the folders of their photos, and those of their annotations.
PHOTO_FOLDERS = {"images", "jpegimages", "image_2", "leftimg8bit"}
ANNOTATION_FOLDERS = {"annotations", "labels", "label_2", "gtfine", "xml", "json"}
LOOKED_INTO = 20  # files of each folder, to tell their format
# What file managers and archives leave behind.
JUNK = re.compile(
    r"^(\._.*|\.DS_Store|__MACOSX|Thumbs\.db|desktop\.ini|\.git|\.venv|\.cache)$", re.I
)


class Folder:
    """The files of a dataset, as sorted paths relative to its root, with / between their parts.

    files: all of them. images: those that are photos; masks: pictures of areas, drawn for photos.
    """

    def __init__(self, root):
        self.root = Path(root)
        if not self.root.is_dir():
            raise UserError(f"no such folder: {self.root.absolute()}")
        self.files = sorted(list_files(self.root))
        pictures = [file for file in self.files if file.lower().endswith(EXTENSIONS)]
        self.by_name = defaultdict(list)
        self.by_stem = defaultdict(list)
        for file in pictures:
            self.by_name[base_name(file)].append(file)
            self.by_stem[stem_of(file).lower()].append(file)
        self.masks = {
            mask for same in self.by_stem.values() if len(same) > 1 for mask in self.masks_of(same)
        }
        self.images = [file for file in pictures if file not in self.masks]
        self.image_splits = {folder_split(file) for file in self.images} - {None}

    def path(self, file):
        return os.path.join(self.root, file)

    def matching(self, pattern):
        """The files whose whole relative path fits a regular expression; case does not matter."""
        fits = re.compile(pattern, re.I).fullmatch
        return [file for file in self.files if fits(file)]

    def of_format(self, files, fits):
        """Those of some files that lie in a folder where one of a few is of a format.

        fits (path) -> whether the content of a file is. How many files there are decides nothing.
        """
        by_folder = defaultdict(list)
        for file in files:
            by_folder[parent_of(file)].append(file)
        found = []
        for inside in by_folder.values():
            few = inside[:: -(-len(inside) // LOOKED_INTO)]
            if any(fits(self.path(file)) for file in few):
                found += inside
        return sorted(found)

    def masks_of(self, pictures):
        """Those of several pictures of one stem that are masks, drawn for another of them.

        What lies in a folder of photos is a photo, however it looks.
        """
        masks = [
            file
            for file in pictures
            if not in_photo_folder(file) and looks_like_mask(self.path(file))
        ]
        photo_splits = {folder_split(file) for file in pictures if file not in masks}
        return [file for file in masks if photo_splits & {None, folder_split(file)}]

    def find_image(self, name, beside, split=None):
        """The image that an annotation file, `beside`, means by a name -> path.

        The name may have folders, and backslashes, that no longer exist; case does not matter. Of
        several images of that name it is the nearest, and never one of another split.
        """
        parts = name_parts(name)
        found = self.by_name.get(parts[-1], []) if parts else []
        path = self.choose(found, parts, beside, split)
        if path is None:
            raise UserError(f"{self.path(beside)}: no such image: {name}")
        return path

    def find_by_stem(self, beside, split=None, name=""):
        """The path of the image that has an annotation file's own stem, or None.

        name is the one that the file gives its image, if it does: of several images of the stem it
        is the one of this name. A name of another stem is stale, and is not followed.
        """
        found = self.by_stem.get(stem_of(beside).lower(), [])
        return self.choose(found, name_parts(name), beside, split)

    def choose(self, found, name, beside, split):
        """The path of the image that an annotation file means, of those found; None without any.

        First comes the image that lies where the parts of its name say, then any photo before a
        mask, then the one whose name has the ending that is given, then the nearest.
        """
        if split in self.image_splits:
            found = [file for file in found if folder_split(file) in (None, split)]
        if not found:
            return None
        there = [file for file in found if lies_at(file, name, beside)]
        found = there or [file for file in found if file not in self.masks] or found
        found = [file for file in found if base_name(file) in name[-1:]] or found
        return self.path(self.nearest(found, beside))

    def nearest(self, found, beside):
        """The nearest of some images, seen from an annotation file."""
        steps = sorted((*distances(beside, file), file) for file in found)
        if len(steps) > 1 and steps[0][:2] == steps[1][:2]:
            first, second = steps[0][2], steps[1][2]
            raise UserError(f"{self.path(beside)}: two images could be meant: {first} and {second}")
        return steps[0][2]


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


def name_parts(name):
    """The folders and the name in a path as any system writes it, in small letters."""
    parts = re.split(r"[\\/]+", name.strip().lower())
    return [part for part in parts if part not in ("", ".")]


def lies_at(file, parts, beside):
    """Whether a file lies where the parts of a name lead from an annotation file, or has all of
    their folders."""
    file = file.lower()
    if file == posixpath.normpath(posixpath.join(parent_of(beside).lower(), *parts)):
        return True
    tail = "/".join(part for part in parts if part != "..")
    return "/" in tail and f"/{file}".endswith(f"/{tail}")


def in_photo_folder(file):
    """Whether a file lies in a folder, or below one, whose name says that it holds photos."""
    return not PHOTO_FOLDERS.isdisjoint(file.lower().split("/")[:-1])


def base_name(file):
    """A file's name without its folders, in small letters."""
    return file.rsplit("/", 1)[-1].lower()


def stem_of(file):
    return file.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def parent_of(file):
    return file.rpartition("/")[0]


def distances(beside, file):
    """How far an image lies from an annotation file, and by which steps -> two numbers to compare.

    Names that only say what a folder holds are no steps in the first: Annotations/a.xml is nearer
    to JPEGImages/a.jpg than to drawings/a.jpg.
    """
    home = parent_of(beside)
    place = parent_of(file)
    bare_home = without_folders(home, ANNOTATION_FOLDERS)
    bare_place = without_folders(place, PHOTO_FOLDERS)
    return distance(bare_home, bare_place), distance(home, place)


def without_folders(path, names):
    """A path without those of its folders that have one of these names."""
    return "/".join(folder for folder in path.split("/") if folder.lower() not in names)


def distance(folder, other):
    """How many folder names two places do not share, at the start or at the end of their paths."""
    a, b = folder.split("/"), other.split("/")
    shared = len(os.path.commonprefix([a, b]))
    a, b = a[shared:], b[shared:]
    return len(a) + len(b) - 2 * len(os.path.commonprefix([a[::-1], b[::-1]]))
