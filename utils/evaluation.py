"""Evaluation: a model's detections on a dataset, their metrics, and the files that tell of them."""
import json

import numpy as np
from tqdm import tqdm

from data.batch import EvalBatches
from utils import draw, parallel
from utils.build import build_loader
from utils.files import write
from utils.metrics import judge
from utils.predict import predict, to_original


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
