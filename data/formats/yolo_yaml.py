"""What YOLO's data.yaml, or the files in its place, say: class names, and the images of each
split."""

import os

import yaml

from data.errors import UserError
from data.folder import parent_of, split_in, stem_of
from data.text import read_lines, read_text

NAMES = r"(.*/)?(classes\.txt|obj\.names|[^/]*\.names|_darknet\.labels)"
SPLITS = ("train", "val", "valid", "validation", "test")


def settings_file(folder):
    """data.yaml, or another yaml with class names in it."""
    found = sorted(folder.matching(r"(.*/)?[^/]*\.ya?ml"), key=lambda file: (file.count("/"), file))
    first = [file for file in found if stem_of(file) in ("data", "dataset")]
    for file in first + found:
        if "names" in read_text(folder.path(file)):
            return file
    return None


def read_settings(folder):
    """The content of data.yaml, and where it lies; empty where there is none."""
    file = settings_file(folder)
    if file is None:
        return {}
    path = folder.path(file)
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not valid yaml ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a list of names and folders")
    return content | dict(file=file)


def class_names(folder, settings):
    """The names in the order of their numbers."""
    names = settings.get("names")
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise UserError(
                f"{folder.path(settings['file'])}: the numbers of names are not 0 to "
                f"{len(names) - 1}"
            )
        names = [names[key] for key in sorted(names, key=int)]
    if isinstance(names, list) and names:
        return [str(name).strip() for name in names]
    lists = sorted(folder.matching(NAMES), key=lambda file: (file.count("/"), file))
    if not lists:
        raise UserError(
            f"no class names in {folder.root.absolute()}: no data.yaml, classes.txt or obj.names"
        )
    return [line for _, line in read_lines(folder.path(lists[0]))]


def listed_images(folder, settings):
    """The images of each split, as data.yaml or lists of files say; none where they say nothing."""
    splits = {}
    for word in SPLITS:
        places = settings.get(word) or (f"{word}.txt" if f"{word}.txt" in folder.files else None)
        if not places:
            continue
        places = places if isinstance(places, list) else [places]
        files = [file for place in places for file in images_at(folder, str(place), settings)]
        if files:
            splits[split_in(word)] = files
    if splits.get("train") and splits.get("train") == splits.get("val"):
        return dict(all=splits["train"])
    return splits


def images_at(folder, place, settings):
    """The images in a folder, or in a list, as data.yaml names it.

    Exporters write paths relative to a folder above the one that the user has: parts are taken from
    their front until something is there.
    """
    parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    home = parent_of(settings.get("file", ""))
    for start in range(len(parts) + 1):
        rest = "/".join(parts[start:])
        for candidate in dict.fromkeys((f"{home}/{rest}".strip("/"), rest)):
            if candidate in folder.files:
                return listed_in(folder, candidate)
            inside = [file for file in folder.images if file.startswith(f"{candidate}/")]
            if candidate and inside:
                return inside
    if not parts or set(place) <= set("./\\"):
        return list(folder.images)
    outside = os.path.join(folder.root, home, place)
    if os.path.isdir(outside):
        raise UserError(
            f"{folder.path(settings['file'])}: {place} lies outside the folder: use --root"
        )
    return []


def listed_in(folder, file):
    """The images that a list names; those of one that is not there are an error."""
    images = [folder.find_image(line, file) for _, line in read_lines(folder.path(file))]
    return [os.path.relpath(path, folder.root).replace(os.sep, "/") for path in images]
