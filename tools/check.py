"""Check a dataset before training on it.

    python -m tools.check --root my/folder --sheet sheet.jpg

Takes all flags of train.py. The exit code is 1 if there are problems; with most of them, training
would refuse to start.
"""

import argparse
from pathlib import Path

import numpy as np

from data.checks import examine, unreadable_images
from data.dataset import Dataset
from data.reading import must_be_outside, read_source, select_classes, without_objects
from data.records import pack
from data.splits import choose_splits
from data.summary import summary
from data.text import counted
from published.weights import Weights, find_weights
from utils import draw, options, parallel
from utils.build import build_levels, build_transform, make_datasets
from utils.files import must_be_new
from utils.resolve import asked_recipe, describe_recipe, fitted_recipe, resolve_recipe
from utils.stop import run_script

SHOWN_FLAGS = ("options", "the detector", "data")  # groups in --help


def main():
    flags = parse_flags()
    must_be_new(flags.sheet)
    device = parallel.start(flags.device)
    asked = asked_recipe(flags)
    must_be_outside(flags.sheet, asked)
    # The priors of COCO's weights are those of the recipes, so there is no need to fetch them now.
    weights = Weights({}) if asked.weights == "coco" else find_weights(asked)
    source = read_source(asked)
    splits, notes = choose_splits(source.splits, asked.val_share)
    classes = select_classes(source, asked.classes)
    num_images = len(splits["train"])
    recipe, reason = resolve_recipe(flags, asked, classes, num_images, device, weights)
    useless = options.without_effect(flags, recipe)
    print(reason, *useless, describe_recipe(recipe), *source.notes, *notes, sep="\n")

    problems = [*source.problems, *problems_elsewhere(source, splits)]
    pictures = {}
    sheet_dataset = None
    for split in ("train", "val"):
        records = pack(splits[split], classes, source.category_ids)
        if not len(records):
            print(f"\n{split}\nno images")
            if split == "train":
                problems.append(without_objects(records, split))
            continue
        is_augmented = recipe.augment and split == "train"
        dataset = Dataset(classes, records, build_transform(recipe, is_augmented))
        unreadable, notes = examine(records, pictures)
        problems += [*records.problems, *unreadable.values()]
        print(f"\n{split}", *summary(dataset, build_levels(recipe)), *notes, sep="\n")
        readable = [i for i in range(len(records)) if i not in unreadable]
        if split == "train" and flags.sheet and readable:
            sheet_dataset, _ = make_datasets(recipe, classes, records.subset(readable), None)
        problem = without_objects(records, split)
        if problem:
            problems.append(problem)
        elif split == "train":
            print(fitted_recipe(recipe, dataset, bool(weights.classes))[1])
    # Drawing can take long or fail, so the problems are listed before.
    print("", *problems, counted(len(problems), "problem"), sep="\n")
    if sheet_dataset:
        draw.save_picture(flags.sheet, training_sheet(sheet_dataset))
    return 1 if problems else 0


def problems_elsewhere(source, splits):
    """The problems of images that are neither in train nor in val; training looks at their files,
    too."""
    examined = {str(entry.path) for split in ("train", "val") for entry in splits[split]}
    sizes = {str(entry.path): entry.size for entry in source.entries()}
    sizes = {path: size for path, size in sizes.items() if path not in examined}
    return unreadable_images(sizes, decode=True).values()


def parse_flags():
    parser = options.train_parser(__doc__)
    parser.add_argument(
        "--sheet",
        type=draw.picture_path,
        metavar="FILE",
        help="draw 16 images with their boxes, as training sees them, into this new file",
    )
    # A run's flags are taken, so that its command can be checked, but only these matter.
    for group in parser._action_groups:
        for action in group._group_actions if group.title not in SHOWN_FLAGS else ():
            action.help = argparse.SUPPRESS
    return parser.parse()


def training_sheet(dataset, count=16):
    """One picture of images with their boxes as training sees them, after augmentation: half of
    them at random, half the hardest."""
    random = np.random.default_rng(0).permutation(len(dataset)).tolist()
    hardest = hardest_images(dataset.records, count // 2)
    # An image that is in both halves is drawn once, and one more at random takes its place.
    chosen = dict.fromkeys([*random[: count - len(hardest)], *hardest, *random])
    pictures = []
    chosen = list(chosen)[:count]
    for index in chosen:
        image, target = dataset[0, index, (0, 0)]
        names = [*dataset.classes, "ignore"]
        pictures.append(draw.draw(image, target["boxes"], target["labels"], names))
    caption = "random images; then those with the smallest, the most and the longest objects"
    paths = [Path(dataset.records.path(index)) for index in chosen]
    return draw.sheet(pictures, caption, names=[path.name for path in paths])


def hardest_images(records, count):
    """The numbers of at most count images: those with the smallest objects, with the most objects,
    and with the most extreme ratios of width to height."""
    image = np.repeat(np.arange(len(records)), np.diff(records.offsets))
    width, height = (records.boxes[:, 2:] - records.boxes[:, :2]).T
    by_area = image[np.argsort(width * height, kind="stable")].tolist()
    by_count = np.argsort(-np.diff(records.offsets), kind="stable").tolist()
    by_ratio = image[np.argsort(-np.abs(np.log(width / height)), kind="stable")].tolist()
    # The three kinds take turns, and no image comes twice.
    in_turn = [index for three in zip(by_area, by_count, by_ratio) for index in three]
    return list(dict.fromkeys(in_turn))[:count]


if __name__ == "__main__":
    run_script(main)
