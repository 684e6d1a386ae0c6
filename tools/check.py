"""Look at a dataset before an hour is lost on it.

    python -m tools.check --root my/folder --sheet sheet.jpg

Takes train.py's flags. Ends with 1 when training would fail.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from data.dataset import Dataset, select_classes
from data.examine import examine
from data.records import pack
from data.splits import choose_splits
from data.summary import summary
from utils import draw, options, resolve
from utils.build import build_levels, build_transform
from utils.datasets import read_source
from utils.files import must_be_new
from utils.script import run_script


def main():
    parser = options.train_parser(__doc__)
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="draw 16 images with boxes as training sees them"
    )
    flags = parser.parse()
    must_be_new(flags.sheet)
    recipe = resolve.resolve(flags, resolve.starting_recipe(flags))
    source = read_source(recipe)
    splits, notes = choose_splits(source.splits, recipe.val_share)
    classes = select_classes(source, recipe.classes)
    num_images = len(splits["train"])
    recipe, _ = resolve.fit_recipe(flags, classes, num_images, {}, has_gpu=True)
    print(*source.notes, *notes, sep="\n")

    problems, pictures = list(source.problems), defaultdict(list)
    for split in ("train", "val"):
        records = pack(splits[split], classes, source.category_ids, source.similar)
        if not len(records):
            print(f"\n{split}\nno images")
            continue
        plain = Dataset(classes, records, build_transform(recipe))
        unreadable, notes = examine(records, pictures)
        problems += [*records.problems, *unreadable.values()]
        print(f"\n{split}", *summary(plain, build_levels(recipe)), *notes, sep="\n")
        if split == "train" and flags.sheet:
            usable = [i for i in range(len(records)) if i not in unreadable]
            augmented = build_transform(recipe, augment=recipe.augment)
            dataset = Dataset(classes, records.subset(usable), augmented, recipe.seed)
            draw.save_picture(flags.sheet, training_sheet(dataset))
    print("", *problems, f"{len(problems)} problems", sep="\n")
    return 1 if problems else 0


def training_sheet(dataset, count=16):
    """Images with their boxes as training sees them, after augmentation -> one picture."""
    random = np.random.default_rng(0)
    pictures = []
    for index in random.permutation(len(dataset))[:count]:
        image, target = dataset[0, int(index), (0, 0)]
        names = [*dataset.classes, "ignore"]
        pictures.append(draw.draw(image, target["boxes"], target["labels"], names))
    return draw.sheet(pictures)


if __name__ == "__main__":
    run_script(main)
