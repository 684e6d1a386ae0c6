"""Write a dataset of any format that is read here as COCO, YOLO or PASCAL VOC.

python -m tools.reformat --root my/folder --to yolo --output new/folder
python -m tools.reformat --dataset kitti --root data/kitti --classes Car Van --to coco --output cars

The images are copied, and each stays in its split.
"""

from pathlib import Path

from data.reading import place, select_classes, usable_source
from data.records import pack
from data.splits import disjoint
from data.text import UserError
from data.write import WRITERS, write_dataset
from utils import options
from utils.files import must_be_new
from utils.options import Parser
from utils.recipe import Recipe
from utils.resolve import with_flags
from utils.stop import run_script


def main():
    flags = parse_flags()
    must_be_new(flags.output)
    recipe = with_flags(Recipe(), flags)
    if flags.output.resolve().is_relative_to(place(recipe).resolve()):
        raise UserError(f"{flags.output} lies in the dataset, of which it would become a part")
    source = usable_source(recipe)
    classes = select_classes(source, recipe.classes) if recipe.classes else source.classes
    ids, similar = source.category_ids, source.similar
    splits = {
        split: pack(entries, classes, ids, similar)
        for split, entries in disjoint(source.splits).items()
    }
    if not splits:
        raise UserError(f"no images in {place(recipe)}")
    notes = [note for records in splits.values() for note in records.notes]
    notes += write_dataset(flags.output, flags.to, classes, splits)
    print(*source.notes, *notes, sep="\n")
    counts = ", ".join(f"{len(records)} in {split}" for split, records in splits.items())
    print(f"images: {counts}; classes: {len(classes)}; written into {flags.output}")


def parse_flags():
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--to", choices=tuple(WRITERS), required=True, help="the format to write")
    add("--output", type=Path, metavar="FOLDER", required=True, help="a new folder for the dataset")
    options.add_dataset_flags(parser)
    flags = parser.parse()
    if not (flags.dataset or flags.root or flags.annotations):
        raise UserError("name the dataset: --root my/folder")
    return flags


if __name__ == "__main__":
    run_script(main)
