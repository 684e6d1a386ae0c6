"""Convert a checkpoint of another program to ours, or ours to torchvision's; or a dataset to the
format of COCO, YOLO or PASCAL VOC.

python -m tools.convert FILE                     # its family, and what is known of its detector
python -m tools.convert FILE --output ours.pth   # the same detector as a checkpoint of ours
python -m tools.convert best.pth --to torchvision --output theirs.pth
python -m tools.convert --root my/folder --to yolo --output new/folder
python -m tools.convert --dataset kitti --root data/kitti --classes Car Van --to coco --output cars

The images of a dataset are copied, and each stays in its split.
"""

from dataclasses import fields
from pathlib import Path

from data.reading import dataset_path, must_be_outside, select_classes, usable_source
from data.records import pack
from data.splits import disjoint, merge_repeated
from data.text import UserError, file_errors
from data.write import WRITERS, write_dataset
from published.conventions import CONVENTIONS
from published.load import UNLIMITED, open_checkpoint
from published.to_torchvision import torchvision_code, torchvision_state
from utils import checkpoint, options
from utils.files import must_be_new
from utils.options import Parser
from utils.recipe import Recipe
from utils.resolve import with_flags
from utils.stop import run_script

CHECKPOINTS = ("ours", "torchvision")


def main():
    flags = parse_flags()
    must_be_new(flags.output)
    if flags.file:
        show_checkpoint(flags)
    else:
        convert_dataset(flags)


def parse_flags():
    parser = Parser(__doc__)
    add = parser.add_argument
    add("file", type=Path, nargs="?", help="a checkpoint; --classes gives its classes other names")
    add("--to", choices=(*CHECKPOINTS, *WRITERS), help="the program or the format")
    add("--output", type=Path, metavar="NEW", help="the new file, or the new folder of a dataset")
    add("--prior-sizes", type=float, nargs="+", metavar="PX", help="the sizes of an SSD's priors")
    options.add_flags(parser, "data")
    flags = parser.parse()
    if not (flags.file or flags.dataset or flags.root or flags.annotations):
        raise UserError("name a checkpoint, or a dataset: --root my/folder")
    kind, known = ("checkpoint", CHECKPOINTS) if flags.file else ("dataset", tuple(WRITERS))
    if flags.file and flags.to is None:
        flags.to = "ours"
    if flags.to not in known:
        raise UserError(f"a {kind} is converted --to {' or '.join(known)}")
    if not (flags.file or flags.output):
        raise UserError("name a new folder: --output FOLDER")
    return flags


def show_checkpoint(flags):
    """Print what a checkpoint holds, and save it for the program that was asked for."""
    content, family = open_checkpoint(
        flags.file, classes=flags.classes, prior_sizes=flags.prior_sizes or ()
    )
    sizes = tuple(flags.prior_sizes or ())
    if sizes and sizes != tuple(checkpoint.recipe_of(content, flags.file).prior_sizes):
        raise UserError(f"--prior-sizes: only for an SSD of another program, not {family}")
    print(*describe(content, family, flags.file), sep="\n")
    if flags.to == "torchvision":
        save_for_torchvision(checkpoint.build_model(content, flags.file), flags.output)
    elif flags.output:
        with file_errors(flags.output, "written"):
            checkpoint.save(flags.output, content)
        print(f"saved        {flags.output}")


def convert_dataset(flags):
    """Write a dataset of any format that is read in the format that was asked for."""
    recipe = with_flags(Recipe(), flags)
    must_be_outside(flags.output, recipe)
    source = usable_source(recipe)
    classes = select_classes(source, recipe.classes) if recipe.classes else source.classes
    merged, merge_notes = merge_repeated(source.splits)
    kept = disjoint(merged)
    num_removed = sum(map(len, merged.values())) - sum(map(len, kept.values()))
    if num_removed:
        merge_notes.append(f"images in several splits, which stay in one of them: {num_removed}")
    splits = {split: pack(entries, classes, source.category_ids) for split, entries in kept.items()}
    if not splits:
        raise UserError(f"no images in {dataset_path(recipe)}")
    notes = merge_notes + [note for records in splits.values() for note in records.notes]
    notes += write_dataset(flags.output, flags.to, classes, splits)
    print(*source.notes, *notes, sep="\n")
    counts = ", ".join(f"{len(records)} in {split}" for split, records in splits.items())
    print(f"images: {counts}; classes: {len(classes)}; written into {flags.output}")


def save_for_torchvision(loaded, output):
    """Print the code that builds the model with torchvision, and save its tensors as output."""
    code = torchvision_code(loaded)
    name = output or "theirs.pth"
    print(f"\n{code}model.load_state_dict(torch.load({str(name)!r}))\nmodel.eval()\n")
    if output:
        with file_errors(output, "written"):
            checkpoint.save(output, torchvision_state(loaded, code))
        print(f"saved        {output}; the lines above build the model that loads it")
        print("note         it does not store its priors: read here again, it gets torchvision's")


def describe(content, family, path):
    """Lines about the detector that a checkpoint holds."""
    recipe = checkpoint.recipe_of(content, path)
    classes = content["classes"]
    tensors = [value for value in content["model"].values() if value.is_floating_point()]
    detector = recipe.model
    if recipe.model == "retinanet":
        detector += f", depth {recipe.depth}, heads' norm {recipe.head_norm}"
    topk = "all" if recipe.pre_nms_topk == UNLIMITED else recipe.pre_nms_topk
    most = "all" if recipe.max_detections == UNLIMITED else recipe.max_detections
    yield f"family       {family}"
    yield f"detector     {detector}"
    yield f"parameters   {sum(value.numel() for value in tensors):,}"
    yield f"classes      {len(classes)}: {', '.join(classes)}"
    if recipe.prior_sizes:
        yield f"prior sizes  {', '.join(f'{size:g}' for size in recipe.prior_sizes)}"
    names = {name for changes in CONVENTIONS.values() for name in changes}
    differing = [
        f"{option.name} {getattr(recipe, option.name)}"
        for option in fields(recipe)
        if option.name in names and getattr(recipe, option.name) != option.default
    ]
    yield f"conventions  {', '.join(differing) or 'ours'}"
    yield (
        f"evaluated    score_threshold {recipe.score_threshold}, nms_iou {recipe.nms_iou}, "
        f"pre_nms_topk {topk} per {recipe.topk_per}, max_detections {most}"
    )


if __name__ == "__main__":
    run_script(main)
