"""The format of PASCAL VOC (http://host.robots.ox.ac.uk/pascal/VOC): an xml file for each image."""

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict

from data.folder import below, by_split, grouped, name_parts, parent_of, stem_key, stem_of
from data.records import Entry, Object, Source, box_around_rotated, object_names, read_entries
from data.splits import folder_split
from data.text import UserError, count_note, file_errors, is_set, read_head, read_lines, to_number

CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
).split()
# The lists that published detectors are trained and tested on. Only the test set of 2007 has public
# annotations.
OFFICIAL_LISTS = (
    "VOC2007/ImageSets/Main/trainval.txt", "VOC2012/ImageSets/Main/trainval.txt",
    "VOC2007/ImageSets/Main/test.txt",
)  # fmt: skip
SIDES = ("xmin", "ymin", "xmax", "ymax")
# Where CVAT says by how many degrees a rectangle is rotated.
ROTATION = "attributes/attribute[name='rotation']/value"
FILES = r"(.*/)?[^/]*\.xml"
LAYOUT = (
    "expected VOCdevkit/VOC2007 and VOCdevkit/VOC2012, or Annotations/*.xml and JPEGImages/, "
    "or each xml file beside its image"
)


def recognise(folder):
    return folder.of_format(folder.matching(FILES), is_voc)


def is_voc(path):
    """Whether a file begins with an element "annotation"."""
    return re.search(rb"<annotation[\s>]", read_head(path, 2000)) is not None


def read(folder):
    """The Source of VOC2007 and VOC2012, or of any other folder of such annotations and images."""
    layout = f"{LAYOUT}; get VOC with: python -m tools.download voc --root {folder.root}"
    files = folder.annotations(FILES, is_voc, "VOC annotations", layout)
    notes = []
    problems = []
    listed = list_annotations(folder, files, notes, problems)
    splits = read_entries(folder, listed, parse_annotation, problems)
    is_official = any("VOC20" in file for file in files)
    if not is_official:
        notes += images_without_xml(folder, splits, files)
    found = object_names(splits)
    # A part of VOC keeps the whole list of classes, so that its labels are those of all of VOC.
    fixed = set(found) <= set(CLASSES) and (is_official or len(found) >= 15)
    classes = list(CLASSES) if fixed else found
    return Source(classes, splits, fixed_classes=fixed, notes=notes, problems=problems)


def list_annotations(folder, files, notes, problems):
    """The xml files of each split, as lists of images or else the names of folders say."""
    by_stem = grouped(files, stem_key)
    listed = defaultdict(list)
    for split, path in image_lists(folder, notes):
        for _, name in read_lines(folder.path(path)):
            # In a list of one class, a second column says whether the image shows it. But the name
            # of an image may also have a space in it.
            options = (name, name.split()[0], stem_of(name))
            file = next(filter(None, (nearest_xml(by_stem, o, path) for o in options)), None)
            if file is None:
                problems.append(f"{folder.path(path)}: no annotation of {name}")
            else:
                listed[split].append(file)
    if not listed:
        return by_split(files, folder_split)
    used = {file for chosen in listed.values() for file in chosen}
    unlisted = [file for file in files if file not in used]
    if unlisted and not {"train", "trainval"} & set(listed):
        # Lists of val or test alone leave the others to be trained on.
        listed["all"] = unlisted
    elif unlisted:
        notes.append(f"not used: {len(unlisted)} xml files that no list names")
    return listed


def image_lists(folder, notes):
    """[(split, file)] of the lists of images; in VOC itself, only the official ones."""
    lists = folder.matching(r"(.*/)?ImageSets/Main/(train|val|trainval|test)\.txt")
    # Own data in folders of these names may have lists of train and val alone.
    if any("VOC20" in file and stem_of(file) == "trainval" for file in lists):
        found = {name: [file for file in lists if file.endswith(name)] for name in OFFICIAL_LISTS}
        notes += [f"{name}: not there, left out" for name, files in found.items() if not files]
        lists = [files[0] for files in found.values() if files]
    return [(stem_of(file), file) for file in lists]


def nearest_xml(by_stem, name, path):
    """The annotation of an image that a list names, in the folder that the list belongs to."""
    # The list is in ImageSets/Main of that folder.
    home = parent_of(parent_of(parent_of(path)))
    files = by_stem.get((name_parts(name) or [""])[-1], [])
    return min(below(home, files), key=len, default=None)


def images_without_xml(folder, splits, files):
    """A list of one note, which names images without an annotation, or an empty list."""
    used = {entry.path for entries in splits.values() for entry in entries}
    stems = {stem_key(file) for file in files}
    rest = [
        file
        for file in folder.images
        if folder.path(file) not in used and stem_key(file) not in stems
    ]
    return count_note("not used: images without an xml file", rest)


def parse_annotation(folder, file, problems):
    """The Entry of one annotation.

    Coordinates are used as they are. VOC counts pixels from 1, most programs that write its format
    count from 0, and no file says which; annotators differ by more than a pixel.
    """
    path = folder.path(file)
    try:
        with file_errors(path):
            root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path}: not valid xml ({error})") from None
    objects = []
    for number, item in enumerate(root.iter("object"), start=1):
        # The parts of a person, such as a head, have a name and a bndbox one element deeper.
        name = (item.findtext("name") or "").strip()
        box = item.find("bndbox")
        if not name or box is None:
            raise UserError(f"{path}: object {number} has no name or no bndbox")
        try:
            corners = [to_number(box.findtext(side) or "") for side in SIDES]
        except ValueError as error:
            what = f"object {number}: its bndbox is not readable ({error})"
            raise UserError(f"{path}: {what}") from None
        corners = box_around_rotated(corners, item.findtext(ROTATION))
        objects.append(Object(*corners, name, is_set(item.findtext("difficult"))))
    picture = folder.find_by_stem(file, (root.findtext("filename") or "").strip())
    return Entry(picture, size_of_annotation(root), stem_of(file), objects)


def size_of_annotation(root):
    """(height, width) in an annotation, or None if it has none."""
    try:
        size = [int(to_number(root.findtext(f"size/{side}") or "")) for side in ("height", "width")]
    except ValueError:
        return None
    return tuple(size) if min(size) > 0 else None
