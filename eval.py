"""Judge a checkpoint on a dataset.

    python eval.py weights/retinanet_shapes/best.pth
    python eval.py best.pth --dataset voc --root my/VOCdevkit --split val
"""
from pathlib import Path

from published.load import load_detector
from utils import options, parallel
from utils.build import build_dataset
from utils.evaluation import evaluate, save_results, table
from utils.files import must_be_new, new_name


def main():
    parser = options.new_parser(__doc__)
    parser.add_argument("checkpoint", type=Path)
    options.add_dataset_flags(parser)
    parser.add_argument("--split", default="val", help="val if not given")
    parser.add_argument("--batch", "--batch-size", type=int, help="images at a time")
    parser.add_argument("--output", type=Path, help="new folder of its files; eval, beside the checkpoint, if not given")
    options.add_device_flags(parser)
    flags = options.parse(parser)

    output = flags.output or new_name(flags.checkpoint.with_name("eval"))
    must_be_new(output / "detections.json", output / "predictions.png")
    device = parallel.start(flags.device)
    model, recipe, classes = load_detector(flags.checkpoint)
    recipe = options.resolve(flags, recipe)
    with parallel.one_first():
        dataset = build_dataset(recipe, flags.split, list(recipe.classes) or classes)
    average, each, found = evaluate(model.to(device), dataset, recipe, device)
    if parallel.rank() == 0:
        print(table(average, each, dataset.records))
        save_results(output, dataset, found)


if __name__ == "__main__":
    options.script(main)
