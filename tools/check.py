"""Look at a dataset before an hour is lost on it.

    python -m tools.check --dataset voc --root my/folder --sheet sheet.png

Takes train.py's flags. Ends with 1 when training would fail.
"""
from pathlib import Path

import numpy as np

from data.dataset import Dataset
from data.examine import examine
from data.summary import summary
from utils import draw, options
from utils.build import build_levels, build_transform, read
from utils.files import must_be_new


def sheet(dataset, count=16):
    """Images with their boxes as training sees them, after augmentation -> one picture."""
    random = np.random.default_rng(0)
    pictures = []
    for index in random.permutation(len(dataset))[:count]:
        image, target = dataset[0, int(index)]
        pictures.append(draw.draw(image, target["boxes"], target["labels"], [*dataset.classes, "ignore"]))
    return draw.sheet(pictures)


def main():
    parser = options.train_parser(__doc__)
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="draw 16 images and boxes as training sees them")
    flags = options.parse(parser)
    must_be_new(flags.sheet)
    recipe = options.resolve(flags, options.named_recipe(flags))
    names, problems = recipe.classes or None, []
    for split in ("train", "val"):
        names, records = read(recipe, split, names)
        dataset = Dataset(names, records, build_transform(recipe, train=split == "train"), recipe.seed)
        unreadable, notes = examine(records)
        problems += [*records.problems, *unreadable.values()]
        print(f"\n{split}", *summary(dataset, build_levels(recipe), build_transform(recipe)), *notes, sep="\n")
        if split == "train" and flags.sheet and len(dataset):
            draw.save(flags.sheet, sheet(dataset))
    print("", *problems, f"{len(problems)} problems", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    options.script(main)
