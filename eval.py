"""Judge a checkpoint on a dataset.

    python eval.py weights/retinanet_shapes/best.pth
    python eval.py best.pth --dataset voc --root my/VOCdevkit --split val
"""
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.batch import EvalBatches
from utils import draw, options, parallel
from utils.build import build_dataset, build_loader
from utils.files import must_be_new, new_name, write
from utils.metrics import judge
from utils.predict import predict, to_original
from utils.published import load_detector


def evaluate(model, dataset, recipe, device):
    """The recipe's metrics of a model on a dataset -> averages, each class's, detections by image number.

    Of several processes, each predicts its share of the images, and all get the whole result.
    """
    network = parallel.Network(model, device, recipe.full_precision)
    batches = EvalBatches(dataset.records.sizes, recipe.batch, parallel.rank(), parallel.world())
    loader = build_loader(dataset, batches, recipe, device)
    training = model.training
    model.eval()
    found = {}
    hidden = True if parallel.rank() else None
    for images, targets in tqdm(loader, desc="judging", leave=False, disable=hidden, dynamic_ncols=True):
        images, targets = parallel.to_device(images, targets, device)
        for one, target in zip(predict(network, model, images, targets, recipe), targets):
            one = to_original(one, target["size"], dataset.records.sizes[target["index"]].tolist())
            found[target["index"]] = {name: value.numpy() for name, value in one.items()}
    model.train(training)
    found = dict(sorted(parallel.together(found).items()))
    return *judge(recipe.metric, dataset.classes, dataset.records, found), found


def table(average, each, records):
    """The metrics as text: a line for each class, then the averages."""
    counts = np.bincount(records.labels[~records.ignore], minlength=len(each))
    width = max(len(name) for name in [*each, "class"])
    columns = list(next(iter(each.values())))
    lines = [f"{'class':{width}}  objects  " + "  ".join(f"{name:>5}" for name in columns)]
    for (name, one), count in zip(each.items(), counts):
        lines.append(f"{name:{width}}  {count:7}  " + "  ".join(number(one[column]) for column in columns))
    return "\n".join([*lines, "", *(f"{name:10} {number(value)}" for name, value in average.items())])


def number(value):
    return "  n/a" if value != value else f"{value:5.3f}"


def coco_format(dataset, found):
    """Detections as COCO's result file, with the dataset's own image and category ids."""
    records = dataset.records
    return [dict(image_id=records.image_id(image), category_id=records.category_ids[label],
                 bbox=[round(value, 2) for value in (left, top, right - left, bottom - top)], score=round(score, 5))
            for image, one in found.items()
            for (left, top, right, bottom), score, label in zip(one["boxes"].tolist(), one["scores"].tolist(),
                                                                one["labels"].tolist())]


def save_results(folder, dataset, found, replace=False):
    """detections.json and predictions.png. replace: the folder is a run's, and they may be its own, older ones."""
    write(folder / "detections.json", json.dumps(coco_format(dataset, found)), replace)
    draw.save(folder / "predictions.png", prediction_sheet(dataset, found), replace)
    print(f"detections   {folder / 'detections.json'}\npredictions  {folder / 'predictions.png'}")


def prediction_sheet(dataset, found, min_score=0.5, count=16):
    """The first images with what was found on them, truth in white."""
    pictures = []
    for index in range(min(count, len(dataset))):
        image, target = dataset.read(index)
        sure = found[index]["scores"] >= min_score
        boxes, labels, scores = (found[index][name][sure] for name in ("boxes", "labels", "scores"))
        pictures.append(draw.draw(image, boxes, labels, dataset.classes, scores, target["boxes"]))
    return draw.sheet(pictures)


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
