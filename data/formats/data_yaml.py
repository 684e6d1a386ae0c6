"""What data.yaml, or lists of files, say of a dataset in the format of YOLO: the names of its
classes and the images of its splits."""

import os
from collections import defaultdict
from functools import partial
from pathlib import Path

import yaml

from data.folder import below, parent_of, stem_key, stem_of
from data.records import Entry, with_images
from data.splits import split_in
from data.text import UserError, read_head, read_lines, read_text, some

NAME_LISTS = r"(.*/)?(classes\.txt|obj\.names|[^/]*\.names|_darknet\.labels)"
# It leaves every value the text that it is; to YAML, no and off are False. The one in C, which is
# not everywhere, is ten times as fast.
LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
MAX_SIZE = 1 << 20  # bytes of a yaml file in which names are looked for
# The splits that data.yaml, or lists of files, may have.
SPLITS = ("train", "val", "valid", "validation", "test")


def settings_files(folder):
    """data.yaml and all other yaml files with class names in them, the likeliest first."""
    found = outermost_first(folder.matching(r"(.*/)?[^/]*\.ya?ml"))
    found.sort(key=lambda file: stem_of(file) not in ("data", "dataset"))
    return [file for file in found if b"names" in read_head(folder.path(file), MAX_SIZE)]


def outermost_first(files):
    """The files in order, those in the fewest folders first."""
    return sorted(files, key=lambda file: (file.count("/"), file))


def choose_settings(folder, notes):
    """The content of data.yaml, and as "file" the file itself; empty if there is none.

    A file whose places are all missing, perhaps of another computer, is the last choice.
    """
    files = settings_files(folder)
    settings = {}
    for file in files:
        content = read_settings(folder, file)
        settings = settings or content
        if has_places(folder, content):
            settings = content
            break
    others = set(files) - {settings.get("file")}
    if others:
        notes.append(
            f"classes and splits are those of {settings['file']}; not used: {some(others)} "
            "(--root with a smaller folder reads another)"
        )
    return settings


def has_places(folder, settings):
    """Whether at least one of the places that settings name has images, or none is named."""
    places = split_places(folder, settings)
    try:
        return not places or any(images_at(folder, place, settings, []) for _, place in places)
    except UserError:
        # One lies outside of the folder.
        return False


def read_settings(folder, file):
    """The content of a yaml file, and as "file" the file itself."""
    path = folder.path(file)
    try:
        content = yaml.load(read_text(path), LOADER)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not valid yaml ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a list of names and folders")
    return content | dict(file=file)


def class_names(folder, settings, notes):
    """The names of the classes, in the order of their numbers; None if nothing names them."""
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
        notes.append("no data.yaml, classes.txt or obj.names: classes are called by their numbers")
        return None
    names, *others = [listed_names(folder.path(file)) for file in lists]
    if "" in names:
        raise UserError(f"{folder.path(lists[0])}, line {names.index('') + 1}: no name of a class")
    unused = [file for file, other in zip(lists[1:], others) if other != names]
    if unused:
        notes.append(f"class names are those of {lists[0]}; not used: {some(unused)}")
    return names


def listed_names(path):
    """The lines of a list of names; those between them that are blank are empty."""
    names = dict(read_lines(path))
    return [names.get(number, "") for number in range(1, max(names, default=0) + 1)]


def split_places(folder, settings):
    """[(split, place)] of the folders and lists that data.yaml names, or lists like train.txt."""
    found = []
    for word in SPLITS:
        places = settings.get(word) or (f"{word}.txt" if f"{word}.txt" in folder.files else [])
        places = places if isinstance(places, list) else [places]
        found += [(split_in(word), str(place)) for place in places]
    return found


def listed_images(folder, settings, notes, problems):
    """The images of each split that data.yaml, or lists such as train.txt, name; perhaps none.

    Where none are at a place, they are looked for in a folder that has the name of the split;
    images of no other folder ever take their part.
    """
    splits = defaultdict(list)
    missing = {}
    places = split_places(folder, settings)
    for split, place in places:
        try:
            files = images_at(folder, place, settings, problems)
        except UserError:
            # A copy of a dataset may be without its test, which no training needs.
            if split != "test":
                raise
            files = []
        splits[split] += files
        if not files:
            path = folder.path(settings.get("file", place))
            missing[split] = f"{path}: no images of {split} at {place}"
    listed = {file for files in splits.values() for file in files}
    for split, problem in missing.items():
        renamed = {} if splits[split] else split_folders(folder, split, settings, listed)
        if len(renamed) == 1:
            ((place, splits[split]),) = renamed.items()
            problem += f"; those in {place} are taken"
        notes.append(problem)
    splits = {split: files for split, files in splits.items() if files}
    if splits and "train" in missing and "train" not in splits:
        raise UserError(f"{missing['train']}: correct the place there, or remove it")
    if splits.get("train") and splits["train"] == splits.get("val"):
        wanted = {
            split: [place_of(folder, other, settings) for name, other in places if name == split]
            for split in ("train", "val")
        }
        if "file" in settings and wanted["train"] != wanted["val"]:
            path = folder.path(settings["file"])
            raise UserError(f"{path}: train and val lead to the same images: correct one of them")
        splits["all"] = splits.pop("train")
        del splits["val"]
    return splits


def split_folders(folder, split, settings, listed):
    """The images that are not listed yet, by the folders with the name of a split: folder -> files.

    Only folders beside data.yaml, or below, belong to the same dataset. Images without labels may
    be drawings of what another program detected.
    """
    stems = {stem_key(file) for file in folder.matching(r".*\.txt")}
    folders = defaultdict(list)
    for file in below(home_of(settings), folder.images):
        parts = parent_of(file).split("/")
        while parts and not split_in(parts[-1]):
            parts.pop()
        is_free = file not in listed and stem_key(file) in stems
        if is_free and parts and split_in(parts[-1]) == split:
            folders["/".join(parts)].append(file)
    return folders


def images_at(folder, place, settings, problems):
    """The images in a folder, or those that a list names; place is its path in data.yaml.

    Programs that export data write paths relative to a folder above the one that the user has. So
    folders are removed from the front of the path until it exists.
    """
    home = home_of(settings)
    parts = path_parts(f"{settings.get('path') or ''}/{place}")
    own = path_parts(place)
    # Without its front, valid/images would be images of all splits.
    num_kept = 2 if len(own) > 1 and split_in(own[-2]) else 1
    for start in range(len(parts) - num_kept + 1):
        if start > len(parts) - len(own):
            # What follows is only the end of the place that was named.
            refuse_outside(folder, place, settings)
        rest = "/".join(parts[start:])
        for candidate in dict.fromkeys((f"{home}/{rest}".strip("/"), rest)):
            if candidate in folder.files:
                lines = read_lines(folder.path(candidate))
                named = [Entry(line, None, line, []) for _, line in lines]
                find_image = partial(folder.find_image, beside=candidate)
                paths = [entry.path for entry in with_images(named, find_image, problems)]
                return [os.path.relpath(path, folder.root).replace(os.sep, "/") for path in paths]
            inside = below(candidate, folder.images)
            if inside:
                return inside
    if not own:
        return below(home, folder.images)
    refuse_outside(folder, place, settings)
    return []


def refuse_outside(folder, place, settings):
    """Raise a UserError if data.yaml names a place that exists, but not in its dataset's folder."""
    named = place_of(folder, place, settings)
    # A link inside may lead outside.
    is_inside = any(
        Path(whole(named)).is_relative_to(whole(folder.root))
        for whole in (os.path.abspath, os.path.realpath)
    )
    # Unlike Path.exists, this takes what may not be looked at for missing.
    if os.path.exists(named) and not is_inside:
        raise UserError(
            f"{folder.path(settings['file'])}: {place} is {named}, which lies outside the folder: "
            "use --root, or correct the place"
        )


def place_of(folder, place, settings):
    """The path that data.yaml gives to a place, literally."""
    top, place = (str(part).replace("\\", "/") for part in (settings.get("path") or "", place))
    return Path(os.path.abspath(Path(folder.root, home_of(settings), top, place)))


def home_of(settings):
    """The folder of data.yaml; empty if it is the dataset's, or there is no data.yaml."""
    return parent_of(settings.get("file", ""))


def path_parts(path):
    """The folders and the name in a path of data.yaml, without those that lead nowhere."""
    parts = str(path).replace("\\", "/").split("/")
    return [part for part in parts if part not in ("", ".", "..")]
