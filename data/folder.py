"""The files of a dataset, listed once: which are photos, and which photo an annotation means."""

import filecmp
import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from data.images import EXTENSIONS, looks_like_mask
from data.splits import folder_split
from data.text import UserError, file_errors

# What the formats call the folders of their photos, and those of their annotations.
PHOTO_FOLDERS = {"images", "jpegimages", "image_2", "leftimg8bit"}
ANNOTATION_FOLDERS = {"annotations", "labels", "label_2", "gtfine", "xml", "json"}
OWN_MARK = ".onestage"  # the file in folders that train, eval or detect has written
FILES_OPENED = 20  # at most, of each folder, to recognise their format
# What is hidden, and what file managers, archives, disks and network drives leave behind.
JUNK = re.compile(
    r"\..*|__MACOSX|@eaDir|#recycle|\$RECYCLE\.BIN|System Volume Information|lost\+found"
    r"|Thumbs\.db|desktop\.ini",
    re.I,
)


class Folder:
    """The files below a folder, as paths relative to it, in order, with / between their parts.

    files are all of them; images are the photos among them; masks are images of regions that were
    drawn for a photo of the same stem. A stem is a name without its folders and its ending.
    """

    def __init__(self, root):
        self.root = Path(root)
        if not self.root.is_dir():
            raise UserError(f"no such folder: {self.root.absolute()}")
        self.files = sorted(list_files(self.root))
        pictures = [file for file in self.files if file.lower().endswith(EXTENSIONS)]
        self.by_name = grouped(pictures, base_name)
        self.by_stem = grouped(pictures, stem_key)
        self.masks = {
            mask for same in self.by_stem.values() if len(same) > 1 for mask in self.masks_of(same)
        }
        self.images = [file for file in pictures if file not in self.masks]
        self.image_splits = {folder_split(file) for file in self.images} - {None}

    def path(self, file):
        """The path of a file that is relative to the folder."""
        return os.path.join(self.root, file)

    def matching(self, pattern):
        """The files whose relative path matches a regular expression; case is ignored."""
        matches = re.compile(pattern, re.I).fullmatch
        return [file for file in self.files if matches(file)]

    def of_format(self, files, has_format):
        """Those of the given files that lie in a folder with at least one file of a format.

        has_format(path) says whether the content of a file is of that format. It is asked about a
        few files of each folder only, as there may be a hundred thousand.
        """
        found = []
        for neighbours in grouped(files, parent_of).values():
            step = -(-len(neighbours) // FILES_OPENED)  # rounded up
            if any(has_format(self.path(file)) for file in neighbours[::step]):
                found += neighbours
        return sorted(found)

    def annotations(self, pattern, has_format, what, layout):
        """The files of a format that the user named; an error that says what is expected if none.

        If no file has the format, those that the pattern matches are read and reported.
        """
        files = self.matching(pattern)
        files = self.of_format(files, has_format) or files
        if not files:
            raise UserError(f"no {what} in {self.root.absolute()}; {layout}")
        return files

    def masks_of(self, pictures):
        """The masks among images of one stem. Whatever lies in a folder of photos is a photo."""
        masks = [
            file
            for file in pictures
            if not in_photo_folder(file) and looks_like_mask(self.path(file))
        ]
        photo_splits = {folder_split(file) for file in pictures if file not in masks}
        return [file for file in masks if photo_splits & {None, folder_split(file)}]

    def find_image(self, name, beside, split=None, path=None):
        """The path of the image that an annotation file, `beside`, names; without an ending, the
        name is a stem. If the file itself lies elsewhere, give its path, for messages.

        Folders in the name may no longer exist, they may be separated by backslashes, and case is
        ignored. Of several images with that name the nearest is meant, and one of another split
        only if its folder is named.
        """
        for written in (name, from_url(name)):
            parts = name_parts(written) or [""]
            found = self.by_name.get(parts[-1]) or self.by_stem.get(parts[-1], [])
            # A val that was cut from train names the folder of train.
            named = folder_split("/".join(parts))
            in_named = [file for file in found if named and folder_split(file) == named]
            if any(lies_at(file, parts, beside) for file in in_named):
                split = named
            image = self.choose(found, written, beside, split, path)
            if image is not None:
                return image
        raise UserError(f"{path or self.path(beside)}: no such image: {name}")

    def find_by_stem(self, beside, name=""):
        """The path of the image that has the stem of an annotation file, `beside`.

        If the file names its image, pass name: of a.jpg and a.png it tells which is meant. Many
        programs rename files and leave a stale name inside, so a name with another stem is only
        used if no image has the file's.
        """
        split = folder_split(beside)
        found = self.by_stem.get(stem_key(beside), [])
        path = self.choose(found, name, beside, split)
        return path or self.find_image(name or stem_of(beside), beside, split)

    def choose(self, found, name, beside, split, path=None):
        """The path of the one image that an annotation file means, or None if none was found.

        An image that lies where the name leads comes first. Then photos come before
        masks, the ending and the case that the name has before others, and near ones before far.
        """
        if split in self.image_splits:
            found = [file for file in found if folder_split(file) in (None, split)]
        if not found:
            return None
        parts = name_parts(name)
        at_place = [file for file in found if lies_at(file, parts, beside)]
        found = at_place or [file for file in found if file not in self.masks] or found
        found = [file for file in found if base_name(file) in parts[-1:]] or found
        found = [file for file in found if name.endswith(file.rsplit("/", 1)[-1])] or found
        return self.path(self.nearest(found, beside, path)[0])

    def nearest(self, found, beside, path=None):
        """The images that lie nearest to an annotation file, those in folders of photos first;
        if there are several, they are copies of one another, otherwise it is an error."""
        rank = {file: (*distances(beside, file), not in_photo_folder(file)) for file in found}
        least = min(rank.values())
        first, *others = sorted(file for file in found if rank[file] == least)
        for other in others:
            if not filecmp.cmp(self.path(first), self.path(other), shallow=False):
                where = path or self.path(beside)
                raise UserError(f"{where}: two images could be meant: {first} and {other}")
        return [first, *others]


def named_parts(annotations, val_annotations, images, val_images):
    """[(split, path, Folder, file)] of one or two annotation files that the user names.

    file is where it would be in the folder of its images, which is by default its own.
    """
    parts = [("train" if val_annotations else "all", annotations, images)]
    if val_annotations:
        parts.append(("val", val_annotations, val_images or images))
    return [
        (split, path, Folder(place or Path(path).parent), Path(path).name)
        for split, path, place in parts
    ]


def from_url(name):
    """The name of a file in a URL: decoded, without ?query, or Label Studio's ?d=name."""
    before, _, query = name.partition("?")
    return unquote(query.removeprefix("d=") if query.startswith("d=") else before)


def list_files(root):
    """Yield every file below a folder, but none that this program wrote; links to folders are
    followed, but never in a circle."""
    visited = set()
    for place, folders, names in os.walk(root, onerror=refuse_folder, followlinks=True):
        status = os.stat(place)
        identity = (status.st_dev, status.st_ino)
        is_own = OWN_MARK in names and not os.path.samefile(place, root)
        if identity in visited or is_own:
            folders.clear()
            continue
        visited.add(identity)
        # os.walk goes into the folders that remain in the list.
        folders[:] = [name for name in folders if not JUNK.fullmatch(name)]
        relative = os.path.relpath(place, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        yield from (prefix + name for name in names if not JUNK.fullmatch(name))


def refuse_folder(error):
    """Raise a UserError for a folder that os.walk cannot list, and would leave out in silence."""
    with file_errors(error.filename):
        raise error


def grouped(files, key_of):
    """The files in lists, by what key_of(file) returns; other keys have an empty list."""
    groups = defaultdict(list)
    for file in files:
        groups[key_of(file)].append(file)
    return groups


def below(place, files):
    """The files that lie in a folder, or in a folder in it; all of them if its name is empty."""
    return [file for file in files if file.startswith(f"{place}/")] if place else list(files)


def by_split(files, split_of):
    """The files of each split, "all" where split_of(file) is None."""
    return dict(grouped(files, lambda file: split_of(file) or "all"))


def name_parts(name):
    """The folders and the name in a path of any operating system, as they are compared."""
    parts = re.split(r"[\\/]+", comparable(name.strip()))
    return [part for part in parts if part not in ("", ".")]


def lies_at(file, parts, beside):
    """Whether a file lies where the parts of a path lead, seen from an annotation file.

    A path that was written on another computer is right if the file's own path ends with it.
    """
    file = comparable(file)
    if file == posixpath.normpath(posixpath.join(comparable(parent_of(beside)), *parts)):
        return True
    tail = "/".join(part for part in parts if part != "..")
    return "/" in tail and f"/{file}".endswith(f"/{tail}")


def in_photo_folder(file):
    """Whether one of a file's folders has the name of a folder of photos."""
    return not PHOTO_FOLDERS.isdisjoint(file.lower().split("/")[:-1])


def base_name(file):
    """A file's name without its folders, as it is compared."""
    return comparable(file.rsplit("/", 1)[-1])


def stem_key(file):
    """A file's name without its folders and its ending, as it is compared."""
    return comparable(stem_of(file))


def comparable(name):
    """A name as names are compared: without case, and with accents joined to their letters, which
    some systems write apart."""
    return unicodedata.normalize("NFC", name.lower())


def stem_of(file):
    """A file's name without its folders and its ending."""
    return file.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def parent_of(file):
    """The folder of a file, empty if it has none."""
    return file.rpartition("/")[0]


def distances(beside, file):
    """How far an image is from an annotation file, as two numbers to be compared in this order.

    The first counts no folders whose names only say what is in them, so that Annotations/a.xml is
    nearer to JPEGImages/a.jpg than to drawings/a.jpg. The second counts all.
    """
    return folder_distances(parent_of(beside), parent_of(file))


@cache
def folder_distances(home, place):
    """distances() of all files in these two folders."""
    bare_home = without_folders(home, ANNOTATION_FOLDERS)
    bare_place = without_folders(place, PHOTO_FOLDERS)
    return distance(bare_home, bare_place), distance(home, place)


def without_folders(path, names):
    """A path without the folders that have one of these names."""
    return "/".join(folder for folder in path.split("/") if folder.lower() not in names)


def distance(folder, other):
    """The number of folders in two paths that they do not share, at their starts or their ends."""
    first = folder.split("/")
    second = other.split("/")
    num_shared = len(os.path.commonprefix([first, second]))
    first = first[num_shared:]
    second = second[num_shared:]
    num_shared = len(os.path.commonprefix([first[::-1], second[::-1]]))
    return len(first) + len(second) - 2 * num_shared
