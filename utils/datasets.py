"""From a recipe to its datasets: what is trained on, what is validated on."""

from pathlib import Path

from data.checks import examine, unreadable_images
from data.dataset import Dataset, read_folder, select_classes
from data.errors import UserError
from data.formats import coco, csv_file
from data.records import pack
from data.splits import choose_splits, unique
from data.summary import describe
from utils.build import build_levels, build_transform


def read_records(recipe, classes=None):
    """The classes, the training records, and the validation records or None where there are none.

    classes: their names in a detector's order, where it has learned some already.
    """
    source = usable_source(recipe)
    splits, notes = choose_splits(source.splits, recipe.val_share)
    source.notes += notes
    if classes and not recipe.classes:
        unknown = [name for name in select_classes(source) if name not in classes]
        if unknown:
            raise UserError(
                f"{place(recipe)} has classes that the checkpoint does not know: "
                f"{', '.join(unknown)}; it knows {', '.join(classes)}"
            )
    classes = select_classes(source, list(classes or recipe.classes))
    train_records = make_records(source, splits["train"], classes, recipe, "train")
    if not (train_records.labels >= 0).any():
        raise UserError(f"no object of any class in the training images of {place(recipe)}")
    if not splits["val"]:
        return classes, train_records, None
    return classes, train_records, make_records(source, splits["val"], classes, recipe, "val")


def make_datasets(recipe, classes, train_records, val_records):
    """What is trained on and what is validated on, never augmented, or None -> two
    Datasets."""
    train_transform = build_transform(recipe, augment=recipe.augment)
    train_dataset = Dataset(classes, train_records, train_transform, recipe.seed)
    val_dataset = None
    if val_records:
        val_dataset = Dataset(classes, val_records, build_transform(recipe), recipe.seed)
    return train_dataset, val_dataset


def describe_datasets(recipe, train_dataset, val_dataset):
    """Lines about what is trained on, and what a recipe's priors reach of it."""
    return describe(train_dataset, val_dataset, recipe, build_levels(recipe))


def eval_dataset(recipe, split, classes):
    """One split of a dataset for the evaluation of a detector with these classes: never
    augmented."""
    source = usable_source(recipe)
    everything = unique([entry for part in source.splits.values() for entry in part])
    if split == "all":
        splits = dict(all=everything)
    else:
        splits, notes = choose_splits(source.splits, recipe.val_share)
        source.notes += notes
    entries = splits.get(split)
    if not entries:
        there = [name for name, part in splits.items() if part]
        raise UserError(f"no split {split!r} in {place(recipe)}; there are {', '.join(there)}, all")
    known = match_classes(source, recipe, list(classes))
    records = make_records(source, entries, classes, recipe, split, known)
    return Dataset(classes, records, build_transform(recipe), recipe.seed)


def match_classes(source, recipe, classes):
    """Those of a detector's classes that are asked for: classes are matched by their names."""
    wanted = list(recipe.classes) or select_classes(source)
    unknown = [name for name in wanted if name not in classes]
    if recipe.classes and unknown:
        raise UserError(f"--classes {' '.join(unknown)}: the detector knows {', '.join(classes)}")
    if unknown and (len(unknown) == len(wanted) or not source.fixed_classes):
        raise UserError(
            f"the detector does not know {', '.join(unknown)} of {place(recipe)}; it knows "
            f"{', '.join(classes)}: name the classes to evaluate with --classes"
        )
    return [name for name in wanted if name in classes]


def read_source(recipe):
    """What the recipe's reader finds: in single files where it names them, else in the folder."""
    if not recipe.annotations:
        return read_folder(recipe.dataset, place(recipe))
    if recipe.dataset == "csv":
        return csv_file.read_files(
            recipe.annotations,
            recipe.val_annotations,
            recipe.class_list,
            recipe.images,
            recipe.val_images,
        )
    return coco.read_files(
        recipe.images or Path(recipe.annotations).parent,
        recipe.annotations,
        recipe.val_images,
        recipe.val_annotations,
    )


def usable_source(recipe):
    """What the reader finds, if it has no problems; without what has some, if the recipe
    says so."""
    source = read_source(recipe)
    entries = unique([entry for part in source.splits.values() for entry in part])
    unreadable = unreadable_images({str(entry.path): entry.size for entry in entries})
    source.problems += unreadable.values()
    if recipe.skip_bad:
        records = pack([entry for entry in entries if str(entry.path) not in unreadable], [])
        bad, _ = examine(records)
        usable = {records.path(i) for i in range(len(records)) if i not in bad}
        for split, part in source.splits.items():
            source.splits[split] = [entry for entry in part if str(entry.path) in usable]
        source.notes.append(f"left out: {len(source.problems) + len(bad)} that cannot be read")
        source.problems = []
    if source.problems:
        more = f" (and {len(source.problems) - 1} more)" if len(source.problems) > 1 else ""
        raise UserError(
            f"{source.problems[0]}{more}: python -m tools.check lists all; "
            "--skip-bad goes on without them"
        )
    return source


def make_records(source, entries, classes, recipe, split, known=None):
    """The records of a split. known: the classes that objects are kept of, where it is not all."""
    notes = source.notes if split == "train" else ()
    if known is not None:
        entries = [
            entry._replace(
                objects=[item for item in entry.objects if item.name is None or item.name in known
                         or item.name in source.similar]
            )
            for entry in entries
        ]  # fmt: skip
        notes = source.notes
    records = pack(entries, classes, source.category_ids, source.similar, notes)
    if records.problems:
        raise UserError(f"{records.problems[0]}: --skip-bad goes on without what cannot be read")
    if not len(records):
        raise UserError(f"no images in the {split} split of {place(recipe)}")
    return records


def place(recipe):
    """The folder or file that the recipe's dataset is read from."""
    return Path(recipe.annotations or recipe.root or f"data/{recipe.dataset}")
