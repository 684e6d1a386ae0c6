"""YOLO's format: a text file for each image, for each object `class cx cy w h` in normalised
coordinates."""

import os
from collections import Counter, defaultdict

import yaml

from data.folder import folder_split, in_photo_folder, parent_of, split_in, stem_of
from data.images import image_size
from data.records import Entry, Object, Source, count_note
from data.text import UserError, first_lines, read_lines, read_text, to_number

NAMES = r"(.*/)?(classes\.txt|obj\.names|[^/]*\.names|_darknet\.labels)"
SPLITS = ("train", "val", "valid", "validation", "test")
LAYOUT = "expected images/train and labels/train (val alike), and data.yaml or classes.txt"


def recognise(folder):
    """The label files of a folder that are of this format."""
    if not settings_file(folder) and not folder.matching(NAMES):
        return []
    return folder.of_format(label_files(folder), is_labels)


def is_labels(path):
    """Whether a file has nothing but lines of five numbers or more; it may be empty."""
    try:
        rows = [[float(word) for word in line.split()] for line in first_lines(path)]
    except ValueError:
        return False
    return all(len(row) == 0 or len(row) >= 5 for row in rows)


def label_files(folder):
    """Text files with the name of an image."""
    texts = folder.matching(r"(.*/)?[^/]*\.txt")
    return [file for file in texts if stem_of(file).lower() in folder.by_stem]


def read(folder):
    """The images of every split, with the objects of their label files -> Source.

    Class names are those of data.yaml, classes.txt or obj.names. Of a polygon (class x y x y ...)
    it is the box around it; of keypoints, where data.yaml has a kpt_shape, the box before them.
    """
    settings = read_settings(folder)
    names = class_names(folder, settings)
    notes = [f"two classes are named {name!r}" for name in repeated(names)]
    labels = defaultdict(list)
    for file in label_files(folder):
        labels[stem_of(file).lower()].append(file)
    keypoints = bool(settings.get("kpt_shape"))
    images = listed_images(folder, settings) or unlisted_images(folder, labels, notes)
    rivals = images_by_stem(file for files in images.values() for file in files)
    splits, problems, sizes, without = {}, [], Counter(), 0
    for split, files in images.items():
        splits[split] = []
        for file in files:
            stem = stem_of(file).lower()
            try:
                label = label_of(folder, file, labels.get(stem, []), rivals[stem])
                without += label is None
                size = image_size(folder.path(file))
                rows = read_rows(folder.path(label), problems) if label else []
                objects = [
                    item
                    for row in rows
                    if (item := object_of_row(row, size, names, keypoints, problems)) is not None
                ]
            except UserError as problem:
                problems.append(str(problem))
                continue
            sizes.update(len(numbers) for _, numbers in rows)
            splits[split].append(Entry(folder.path(file), size, stem_of(file), objects))
    if not any(splits.values()) and not problems:
        raise UserError(f"no images in {folder.root.absolute()}; {LAYOUT}")
    check_keypoints(folder, sizes, keypoints)
    if without:
        notes.append(f"images without a label file, taken for images without objects: {without}")
    return Source(without_repeats(names), splits, notes=notes, problems=problems)


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


def repeated(names):
    return sorted(name for name, count in Counter(names).items() if count > 1)


def without_repeats(names):
    return list(dict.fromkeys(names))


def unlisted_images(folder, labels, notes):
    """All images, by the split that their folders speak of.

    Left out, unless they have labels of their own, are masks, and what is called like a photo in
    images/ but lies elsewhere: masks in colours, photos with their boxes drawn.
    """
    splits, left_out = defaultdict(list), []
    rivals = images_by_stem(folder.images)
    for file in sorted([*folder.images, *folder.masks]):
        split, stem = folder_split(file), stem_of(file).lower()
        photos = [
            rival
            for rival in rivals[stem]
            if in_photo_folder(rival) and folder_split(rival) in (None, split)
        ]
        is_copy = file in folder.masks or photos and file not in photos
        if is_copy and not own_labels(file, labels.get(stem, [])):
            left_out.append(Entry(file, None, None, []))
        else:
            splits[split or "all"].append(file)
    what = "not used: masks, and images elsewhere that are called like those in images/"
    notes += count_note(what, left_out, range(len(left_out)))
    return splits


def images_by_stem(files):
    by_stem = defaultdict(list)
    for file in files:
        by_stem[stem_of(file).lower()].append(file)
    return by_stem


def label_of(folder, image, labels, rivals):
    """The label file of an image, of those of its stem, or None.

    A file that lies elsewhere belongs to the nearest of the rivals, the images of that stem.
    """
    split = folder_split(image)
    labels = [file for file in labels if not split or folder_split(file) in (None, split)]
    own = own_labels(image, labels)
    if own or len(labels) != 1:
        return own[0] if len(own) == 1 else None
    rivals = [rival for rival in rivals if folder_split(rival) == split]
    return labels[0] if folder.nearest(rivals, labels[0]) == image else None


def own_labels(image, labels):
    """The label files of an image by their folders: labels/... for images/..., or the one beside
    it, or else those whose last folder is called alike."""
    swapped = image.replace("images/", "labels/").rsplit(".", 1)[0] + ".txt"
    beside = image.rsplit(".", 1)[0] + ".txt"
    for exact in (swapped, beside):
        if exact in labels:
            return [exact]
    return [file for file in labels if ends_alike(file, image)]


def ends_alike(label, image):
    """Whether the last folders agree: labels/a/1.txt and images/a/1.jpg."""
    return parent_of(label).rsplit("/", 1)[-1] == parent_of(image).rsplit("/", 1)[-1]


def read_rows(path, problems):
    """(where, numbers) of each line."""
    rows = []
    for line, text in read_lines(path):
        try:
            rows.append((f"{path}, line {line}", [to_number(word) for word in text.split()]))
        except ValueError:
            problems.append(f"{path}, line {line}: expected class cx cy w h, found {text[:60]!r}")
    return rows


def object_of_row(row, size, names, keypoints, problems):
    """The Object of a line, or None and a problem."""
    where, (number, *values) = row
    polygon = len(values) > 5 and not keypoints
    if len(values) < 4 or polygon and len(values) % 2:
        problems.append(f"{where}: expected class cx cy w h, found {len(values) + 1} numbers")
        return None
    if not 0 <= number < len(names) or number != int(number):
        hint = "; do the numbers start at 1?" if number == len(names) else ""
        problems.append(f"{where}: class {number:g}, but there are {len(names)} names{hint}")
        return None
    if polygon:
        left, right = min(values[::2]), max(values[::2])
        top, bottom = min(values[1::2]), max(values[1::2])
    else:
        x, y, w, h = values[:4]
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    height, width = size
    return Object(left * width, top * height, right * width, bottom * height, names[int(number)])


def check_keypoints(folder, sizes, keypoints):
    """An error where every line is equally long, longer than any box: keypoints, or polygons?"""
    counts = {size - 1 for size in sizes if size > 9}
    if keypoints or len(counts) != 1 or sum(sizes.values()) < 3 or set(sizes) != {counts.pop() + 1}:
        return
    raise UserError(
        f"{folder.root}: every label has {set(sizes).pop()} numbers. If they are a box and "
        "keypoints, "
        "say their kpt_shape in data.yaml, as kpt_shape: [17, 3]; if polygons, add a line "
        "of another "
        "length, or write boxes"
    )
