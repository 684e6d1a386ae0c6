"""Reading the dataset that a recipe names: its format, its splits, its classes, its records."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from data import shapes
from data.checks import unreadable_images
from data.copies import alike_note, fingerprints
from data.folder import Folder
from data.formats import cityscapes, coco, csv_file, kitti, labelme, via, voc, widerface, yolo
from data.records import object_names, of_classes, pack
from data.splits import choose_splits, identity, splits_by_folder, unique
from data.text import UserError, counted, read_head, some

FORMATS = dict(
    coco=coco,
    voc=voc,
    yolo=yolo,
    csv=csv_file,
    kitti=kitti,
    cityscapes=cityscapes,
    widerface=widerface,
    labelme=labelme,
    via=via,
)
# What the files of other programs contain near their start -> the program, and what to do instead.
EXPORT = "export COCO or YOLO there, or write a reader (docs/data.md)"
FOREIGN = {
    rb"^PK\x03\x04|^\x1f\x8b": ("an archive", "unpack it"),
    rb"<annotations>": ("CVAT for images", EXPORT),
    rb"^ImageID,": ("OpenImages", "FiftyOne downloads it as COCO"),
    rb'"from_name"|"rectanglelabels"': ("Label Studio's own json", EXPORT),
    rb'"classTitle"|"classId".*"geometryType"|"shape": "rectangle"': ("Supervisely", EXPORT),
    rb'"media_type"|"dm_format_version"|"items".*"label_id"': ("Datumaro", EXPORT),
    rb'"asset".*"regions"': ("VoTT", "export PASCAL VOC or csv there"),
    rb'"coordinates"\s*:\s*\{': ("CreateML", EXPORT),
    rb"^(imagesource:.*)?(-?[\d.]+ ){8}[\w-]+ [012]\s": ("DOTA", "convert it to COCO"),
    rb"^\s*\{[^\n]*\}\s*\n\s*\{": ("ndjson, a line for each image", EXPORT),
}
# A run looks for pictures of val that are like some of train among so many images, which takes
# a few seconds at most; python -m tools.check does so among any number.
MAX_COMPARED = 1000
# What may be named in place of the folder that it lies in.
FILES_OF_FOLDERS = (".yaml", ".yml", ".json", ".csv", ".tsv", ".xml")
DATASETS = ("shapes", *FORMATS, "auto")


def read_records(recipe, classes=None):
    """The classes, the training records, and the validation records or None.

    Give the classes of a detector, in its order, if it has been trained already; some may have no
    objects in these data.
    """
    source = usable_source(recipe)
    reading_notes = list(source.notes)
    splits, notes = choose_splits(source.splits, recipe.val_share)
    source.notes += notes
    if len(splits["train"] + splits["val"]) <= MAX_COMPARED:
        source.notes += alike_note(fingerprints(splits["val"]), fingerprints(splits["train"]))
    if not classes:
        classes = select_classes(source, list(recipe.classes))
    elif not recipe.classes:
        found = [name for name in object_names(source.splits) if name in source.classes]
        unknown = [name for name in found if name not in classes]
        if unknown:
            raise UserError(
                f"{dataset_path(recipe)} has classes that the checkpoint does not know: "
                f"{', '.join(unknown)}; it knows {', '.join(classes)}"
            )
    annotated = source.annotated_classes()
    absent = [name for name in classes if name not in annotated]
    if absent:
        source.notes.append(f"classes that the data do not have: {', '.join(absent)}")
    val_records = pack(splits["val"], classes, source.category_ids)
    val_problem = without_objects(val_records, "val")
    if len(val_records) and val_problem:
        reason = f"{val_problem}, so AP is n/a"
        source.notes.append(f"nothing is validated, and last.pth is the result: {reason}")
    train_records = pack(splits["train"], classes, source.category_ids, source.notes)
    train_problem = without_objects(train_records, "train")
    if train_problem:
        # What became of the objects is in the notes of reading and of packing.
        reasons = [*reading_notes, *train_records.notes[len(source.notes) :]]
        raise UserError("; ".join([f"{dataset_path(recipe)}: {train_problem}", *reasons]))
    return list(classes), train_records, None if val_problem else val_records


def read_eval_records(recipe, split, classes):
    """The records of one split, for the evaluation of a detector with these classes."""
    source = usable_source(recipe)
    if split == "all":
        splits = dict(all=unique(source.entries()))
    else:
        splits, notes = choose_splits(source.splits, recipe.val_share)
        source.notes += notes
    entries = splits.get(split)
    if not entries:
        there = [name for name, part in splits.items() if part]
        known = ", ".join([*there, "all"])
        raise UserError(f"no split {split!r} in {dataset_path(recipe)}; there are {known}")
    entries = of_classes(entries, match_classes(source, recipe, list(classes)))
    # Objects of a class that the dataset does not list may be there without being annotated.
    listed = set(source.annotated_classes()) & set(recipe.classes or source.classes)
    ignored = tuple(label for label, name in enumerate(classes) if name not in listed)
    notes = list(source.notes)
    if ignored:
        notes.append(f"detections of classes that are not listed are left out: {len(ignored)}")
    records = pack(entries, classes, source.category_ids, notes)
    return replace(records, ignored_labels=ignored)


def usable_source(recipe):
    """The Source of a recipe's dataset, if everything in it can be read.

    With skip_bad, what cannot be read is left out; otherwise it is an error.
    """
    source = read_source(recipe)
    entries = source.entries()
    sizes = {entry.path: entry.size for entry in entries}
    unreadable = unreadable_images(sizes, decode=recipe.skip_bad)
    source.problems += unreadable.values()
    if recipe.skip_bad:
        # Where an object could not be read, the image would teach that it is background.
        left_out = {
            identity(entry)
            for entry in entries
            if entry.path in unreadable or not entry.is_complete
        }
        for split, part in source.splits.items():
            source.splits[split] = [entry for entry in part if identity(entry) not in left_out]
        left = {entry.path for entry in source.entries()}
        source.notes.append(
            "left out: images that cannot be read, or have an object that cannot "
            f"({counted(len(source.problems), 'problem')}, which python -m tools.check lists); "
            f"{counted(len(left), 'image')} are left"
        )
        source.problems = []
    if source.problems:
        more = f" (and {len(source.problems) - 1} more)" if len(source.problems) > 1 else ""
        raise UserError(
            f"{source.problems[0]}{more}: python -m tools.check lists all; "
            "--skip-bad goes on without them"
        )
    return source


def read_source(recipe):
    """The Source of a recipe's dataset, read from the files that it names or else from a folder."""
    if not recipe.annotations:
        return read_folder(recipe.dataset, dataset_path(recipe))
    dataset = recipe.dataset
    if dataset == "auto":
        dataset = format_of_file(recipe.annotations)
    if dataset not in ("coco", "csv"):
        raise UserError(f"--dataset {dataset}: with --annotations, it must be coco or csv")
    files = (recipe.annotations, recipe.val_annotations, recipe.images, recipe.val_images)
    if dataset == "csv":
        return csv_file.read_files(*files, recipe.class_list)
    return coco.read_files(*files)


def format_of_file(annotations):
    """The format of a single file of annotations, by the ending of its name."""
    return "csv" if annotations.lower().endswith((".csv", ".tsv")) else "coco"


def dataset_path(recipe):
    """The folder or the file that a recipe's dataset is read from."""
    return Path(recipe.annotations or recipe.root or f"data/{recipe.dataset}")


def must_be_outside(path, recipe):
    """An error where a file or folder that would be written lies in the dataset. path is None where
    nothing is written."""
    folder = dataset_path(recipe)
    if folder.is_file() and not recipe.annotations:
        folder = folder.parent
    if path is not None and Path(path).resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{path} lies in the dataset, of which it would become a part")


def read_folder(name, root):
    """The Source of a folder in the format of this name; with "auto", the format is recognised.

    root may also be a file of annotations or settings in that folder.
    """
    if name == "shapes":
        return shapes.read(root)
    root = Path(root)
    is_inside = root.is_file() and root.suffix.lower() in FILES_OF_FOLDERS
    folder = Folder(root.parent if is_inside else root)
    format_notes = []
    if name == "auto":
        name, format_notes = recognise_format(folder)
    source = FORMATS[name].read(folder)
    source.splits, split_notes = splits_by_folder(source.splits, folder.root)
    source.notes = [*format_notes, *source.notes, *split_notes]
    return source


def recognise_format(folder):
    """The name of the only format that a folder has files of, and a note about it in a list."""
    found = {name: files for name, form in FORMATS.items() if (files := form.recognise(folder))}
    if len(found) == 1:
        ((name, files),) = found.items()
        return name, [f"{folder.root} is read as --dataset {name}: {some(files, count=2)}"]
    if not found and yolo.unnamed_labels(folder):
        return "yolo", []
    if found:
        options = "; ".join(f"--dataset {name} ({some(files, 1)})" for name, files in found.items())
        raise UserError(f"{folder.root} could be read in {len(found)} ways; choose one: {options}")
    pictures = {*folder.images, *folder.masks}
    others = [file for file in folder.files if file not in pictures]
    likely = [file for file in others if file.lower().endswith((".json", ".xml", ".csv", ".txt"))]
    looked_at = [folder.path(file) for file in (likely[:100] or others[:100])]
    hint = next(filter(None, map(foreign_hint, looked_at)), "")
    raise UserError(
        f"{folder.root.absolute()}: no annotations of a known format in its {len(folder.files)} "
        f"files, {len(folder.images)} of them images; known are {', '.join(FORMATS)}"
        + (f"; the other files: {some(likely or others, count=3)}" if others else "")
        + (f". {hint}" if hint else "")
    )


def foreign_hint(path):
    """What a file of another program looks like, and what to do with it; empty if not known."""
    head = read_head(path, 4000)
    for pattern, (program, advice) in FOREIGN.items():
        if re.search(pattern, head, re.S):
            return f"{path} looks like {program}: {advice}"
    return ""


def select_classes(source, names=None):
    """The names of the classes to detect: those that are asked for, or all that have objects.

    A class without objects is left out, and a note says so, unless the dataset's list of classes is
    a well-known one.
    """
    if names:
        known = source.annotated_classes()
        unknown = [name for name in names if name not in known]
        if unknown:
            hint = " (--classes takes the names of classes, not their number)"
            raise UserError(
                f"no class {', '.join(map(repr, unknown))}; there are {', '.join(known)}"
                + (hint if unknown[0].isdecimal() else "")
            )
        return list(dict.fromkeys(names))
    alike = Counter(map(str.lower, source.classes))
    for name in source.classes:
        if alike[name.lower()] > 1:
            source.notes.append(f"another class is named almost like {name!r}")
    found = set(object_names(source.splits))
    empty = [name for name in source.classes if name not in found]
    if source.fixed_classes or not empty or len(empty) == len(source.classes):
        return list(source.classes)
    source.notes.append(f"classes without any object, left out: {', '.join(empty)}")
    return [name for name in source.classes if name in found]


def without_objects(records, split):
    """Why there is nothing to find in the images of a split, or None."""
    if not len(records):
        return f"no images in {split}"
    if not (records.labels >= 0).any():
        return f"no object of any class in {split}"
    if records.ignore.all():
        return f"all {len(records.labels)} objects in {split} are ignored: crowds, or difficult"
    return None


def match_classes(source, recipe, classes):
    """The classes to evaluate: those of the dataset that the detector knows, by their names."""
    wanted = list(recipe.classes) or select_classes(source)
    unknown = [name for name in wanted if name not in classes]
    if recipe.classes and unknown:
        raise UserError(f"--classes {' '.join(unknown)}: the detector knows {', '.join(classes)}")
    listed = source.annotated_classes()
    if listed and not set(wanted) & set(listed) & set(classes):
        asked = ", ".join(recipe.classes or classes)
        there = ", ".join(listed)
        raise UserError(
            f"{dataset_path(recipe)} has no class in common with {asked}; it has {there}"
        )
    if unknown and not source.fixed_classes:
        raise UserError(
            f"the detector does not know {', '.join(unknown)} of {dataset_path(recipe)}; it knows "
            f"{', '.join(classes)}: name the classes to evaluate with --classes"
        )
    return [name for name in wanted if name in classes]
