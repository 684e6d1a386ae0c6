"""The format of YOLO: a text file for each image, with a line for each object.

A line is `class cx cy w h` in normalised coordinates: 0 to 1 across the image.
"""

import re
from collections import Counter, defaultdict
from itertools import chain

from data.folder import distances, grouped, in_photo_folder, parent_of, stem_key, stem_of
from data.formats.data_yaml import (
    NAME_LISTS,
    choose_settings,
    class_names,
    listed_images,
    settings_files,
)
from data.images import image_size
from data.records import Entry, Object, Source, box_around, object_names, read_entries
from data.splits import folder_split
from data.text import UserError, count_note, first_lines, read_head, read_lines, to_number

MAX_UNNAMED = 1000  # classes, where nothing gives them names
UNLABELLED = "images without a label file, taken for images without objects"
LAYOUT = "expected images/train and labels/train (val alike), and data.yaml or classes.txt"


def recognise(folder):
    if not settings_files(folder) and not folder.matching(NAME_LISTS):
        return []
    return unnamed_labels(folder)


def unnamed_labels(folder):
    """The label files of a folder, whether their classes have names or not."""
    return folder.of_format(label_files(folder), is_labels)


def is_labels(path):
    """Whether a file has only lines of at least five numbers; it may be empty."""
    try:
        rows = [[float(word) for word in line.split()] for line in first_lines(path)]
    except ValueError:
        return False
    return all(len(row) == 0 or len(row) >= 5 for row in rows)


def label_files(folder):
    """The text files that have the stem of an image."""
    texts = folder.matching(r"(.*/)?[^/]*\.txt")
    return [file for file in texts if stem_key(file) in folder.by_stem]


def read(folder):
    """The Source of a folder of images and label files.

    The names of the classes come from data.yaml, classes.txt or obj.names. A line may also be a
    polygon, class x y x y ..., whose box is the one around it, with or without that box before it.
    Left out after a box are a score and a track, and keypoints where data.yaml has a kpt_shape.
    """
    notes = []
    settings = choose_settings(folder, notes)
    listed = class_names(folder, settings, notes)
    names = listed or list(map(str, range(MAX_UNNAMED)))
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    notes += [f"two classes are named {name!r}" for name in repeated]
    labels = grouped(label_files(folder), stem_key)
    problems = []
    images = images_by_split(folder, settings, labels, notes, problems)
    rivals = grouped(chain.from_iterable(images.values()), stem_key)
    has_keypoints = bool(settings.get("kpt_shape"))
    lengths = Counter()
    unlabelled = []

    def parse(folder, file, problems):
        stem = stem_key(file)
        label = label_of(folder, file, labels[stem], rivals[stem])
        size = image_size(folder.path(file))
        objects = []
        if label is None:
            unlabelled.append(file)
        for line, text in read_lines(folder.path(label)) if label else ():
            try:
                objects.append(object_of_line(text, size, names, has_keypoints))
            except ValueError as problem:
                problems.append(f"{folder.path(label)}, line {line}: {problem}")
            lengths[len(text.split())] += 1
        return Entry(folder.path(file), size, stem_of(file), objects)

    splits = read_entries(folder, images, parse, problems)
    if not any(splits.values()) and not problems:
        raise UserError(f"no images in {folder.root.absolute()}; {LAYOUT}")
    if not has_keypoints:
        refuse_keypoints(folder, lengths)
    notes += count_note(UNLABELLED, unlabelled)
    notes += labels_without_image(folder, labels)
    classes = list(dict.fromkeys(names)) if listed else sorted(object_names(splits), key=int)
    return Source(classes, splits, notes=notes, problems=problems)


def images_by_split(folder, settings, labels, notes, problems):
    """The images of each split, as data.yaml or lists say, or else the names of folders."""
    images = listed_images(folder, settings, notes, problems)
    if not images:
        return unlisted_images(folder, labels, notes)
    rest = set(folder.images).difference(*images.values())
    notes += count_note("not used: images that data.yaml or the lists do not name", rest)
    return images


def unlisted_images(folder, labels, notes):
    """All images, by the split that their folders name.

    Masks are left out, unless they have labels of their own, and so are images outside of images/
    that have the stem of one in it, such as coloured masks and photos with drawn boxes.
    """
    splits = defaultdict(list)
    left_out = []
    images = grouped(folder.images, stem_key)
    for file in sorted([*folder.images, *folder.masks]):
        split = folder_split(file)
        stem = stem_key(file)
        photos = [
            image
            for image in images[stem]
            if in_photo_folder(image) and folder_split(image) in (None, split)
        ]
        is_copy = file in folder.masks or photos and file not in photos
        if is_copy and not own_labels(file, labels[stem]):
            left_out.append(file)
        else:
            splits[split or "all"].append(file)
    what = "not used: masks, and images elsewhere with the names of those in images/"
    notes += count_note(what, left_out)
    return splits


def labels_without_image(folder, labels):
    """A list of one note on label files without an image, in folders where others have one, or an
    empty list. labels: stem -> the label files of images."""
    homes = {parent_of(file) for file in chain.from_iterable(labels.values())}
    rest = [file for file in folder.matching(r".*\.txt") if stem_key(file) not in folder.by_stem]
    paths = [folder.path(file) for file in rest if parent_of(file) in homes]
    alone = [path for path in paths if read_head(path, 1) and is_labels(path)]
    hint = " (HEIC is not read)" if folder.matching(r".*\.hei[cf]") else ""
    return count_note(f"not used: label files without an image{hint}", alone)


def label_of(folder, image, labels, rivals):
    """The label file of an image, among those with its stem, or None.

    A file in quite another folder belongs to the nearest of the rivals, the images with its stem,
    and an image takes the nearest such file.
    """
    split = folder_split(image)
    labels = [file for file in labels if not split or folder_split(file) in (None, split)]
    own = own_labels(image, labels)
    if len(own) == 1:
        return own[0]
    far = {label: distances(label, image) for label in own or labels}
    least = min(far.values(), default=None)
    nearest = [label for label in far if far[label] == least]
    if len(nearest) != 1:
        return None
    rivals = [rival for rival in rivals if folder_split(rival) == split]
    return nearest[0] if image in folder.nearest(rivals, nearest[0]) else None


def own_labels(image, labels):
    """The label files that belong to an image by their folders, or none.

    It is the one in labels/ for an image in images/, or the one beside it, or else all those whose
    last folder has the name of the image's.
    """
    swapped = re.sub(r"(^|.*/)images/", r"\1labels/", image).rsplit(".", 1)[0] + ".txt"
    beside = image.rsplit(".", 1)[0] + ".txt"
    for exact in (swapped, beside):
        if exact in labels:
            return [exact]
    return [file for file in labels if file.split("/")[-2:-1] == image.split("/")[-2:-1]]


def object_of_line(text, size, names, has_keypoints):
    """The Object of a line in a label file; ValueError says what is wrong with it."""
    words = text.split()
    try:
        number, *values = map(to_number, words)
    except ValueError:
        raise ValueError(f"expected class cx cy w h, found {text[:60]!r}") from None
    is_polygon = len(values) > 5 and not has_keypoints
    if len(values) < 4 or is_polygon and len(values) % 2:
        raise ValueError(f"expected class cx cy w h, found {len(values) + 1} numbers")
    if not 0 <= number < len(names) or number != int(number):
        hint = "; do the numbers start at 1?" if number == len(names) else ""
        raise ValueError(f"class {number:g}, but there are {len(names)} names{hint}")
    x, y, w, h = values[:4]
    box = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if is_polygon and not is_tracked(words, box) and not is_box_around(box, values[4:]):
        box = box_around(values[::2], values[1::2])
    left, top, right, bottom = box
    height, width = size
    return Object(left * width, top * height, right * width, bottom * height, names[int(number)])


def is_tracked(words, box):
    """Whether a line is a box with its score and the number of its track, as YOLO may save it.

    A polygon of three points is as long. But its first four numbers are hardly ever a box inside
    the image where its last one is a 1 without a decimal point, and a larger number is no corner.
    """
    is_inside = all(-0.01 < side < 1.01 for side in box)
    return len(words) == 7 and words[6].isdecimal() and int(words[6]) > 0 and is_inside


def is_box_around(box, points):
    """Whether a box is the one around points, [x, y, x, y, ...], within 1 % of the image."""
    around = box_around(points[::2], points[1::2]) if len(points) >= 6 else ()
    return bool(around) and all(abs(side - other) < 0.01 for side, other in zip(box, around))


def refuse_keypoints(folder, lengths):
    """Raise an error if all lines are equally long and longer than a box.

    Polygons differ in their numbers of points, so these are probably boxes with keypoints. lengths:
    number of words -> number of lines.
    """
    if len(lengths) != 1 or min(lengths) <= 9 or lengths.total() < 3:
        return
    raise UserError(
        f"{folder.root}: every label has {min(lengths)} numbers. If they are a box and keypoints, "
        "say their kpt_shape in data.yaml, as kpt_shape: [17, 3]; if polygons, add a line of "
        "another length, or write boxes"
    )
