"""What data.yaml, or lists of files, say of a dataset in the format of YOLO: the names of its
classes and the images of its splits."""

import os

import yaml

from data.folder import parent_of, split_in, stem_of
from data.text import UserError, read_lines, read_text

NAME_LISTS = r"(.*/)?(classes\.txt|obj\.names|[^/]*\.names|_darknet\.labels)"
# The splits that data.yaml, or lists of files, may have.
SPLITS = ("train", "val", "valid", "validation", "test")


def settings_file(folder):
    """data.yaml, or another yaml file with class names in it, or None."""
    found = outermost_first(folder.matching(r"(.*/)?[^/]*\.ya?ml"))
    usual = [file for file in found if stem_of(file) in ("data", "dataset")]
    return next((file for file in usual + found if "names" in read_text(folder.path(file))), None)


def outermost_first(files):
    """The files in order, those in the fewest folders first."""
    return sorted(files, key=lambda file: (file.count("/"), file))


def read_settings(folder):
    """The content of data.yaml, and as "file" the file itself; empty if there is none."""
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
    """The names of the classes, in the order of their numbers."""
    names = settings.get("names")
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            path = folder.path(settings["file"])
            raise UserError(f"{path}: the numbers of names are not 0 to {len(names) - 1}")
        names = [names[key] for key in sorted(names, key=int)]
    if isinstance(names, list) and names:
        return [str(name).strip() for name in names]
    lists = outermost_first(folder.matching(NAME_LISTS))
    if not lists:
        raise UserError(
            f"no class names in {folder.root.absolute()}: no data.yaml, classes.txt or obj.names"
        )
    return [line for _, line in read_lines(folder.path(lists[0]))]


def listed_images(folder, settings):
    """The images of each split that data.yaml, or lists such as train.txt, name; perhaps none."""
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
    """The images in a folder, or those that a list names; place is its path in data.yaml.

    Programs that export data write paths relative to a folder above the one that the user has. So
    folders are removed from the front of the path until it exists.
    """
    parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    home = parent_of(settings.get("file", ""))
    for start in range(len(parts) + 1):
        rest = "/".join(parts[start:])
        for candidate in dict.fromkeys((f"{home}/{rest}".strip("/"), rest)):
            if candidate in folder.files:
                lines = read_lines(folder.path(candidate))
                paths = [folder.find_image(line, candidate) for _, line in lines]
                return [os.path.relpath(path, folder.root).replace(os.sep, "/") for path in paths]
            inside = [file for file in folder.images if file.startswith(f"{candidate}/")]
            if candidate and inside:
                return inside
    if not parts:
        return list(folder.images)
    outside = os.path.join(folder.root, home, place)
    if os.path.isdir(outside):
        raise UserError(
            f"{folder.path(settings['file'])}: {place} lies outside the folder: use --root"
        )
    return []
