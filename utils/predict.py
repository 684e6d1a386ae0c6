"""From a batch of images to its detections, and from detections to JSON."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data.formats.coco import is_official, names_by_id
from data.records import Entry, Object, pack
from layers.boxes import area, clip
from layers.detections import detections
from layers.priors import level_counts
from utils.parallel import precision_of

BYTES_OF_PIXEL = 150  # which a network holds at a time, at least; in half precision half as many


def forward(model, images, precision):
    """A model's predictions in the precision that a recipe asks for, as float32."""
    device = images.device
    dtype = precision_of(precision, device)
    is_mixed = dtype != torch.float32
    if device.type == "cpu":
        # Linux promises memory that it lacks, and kills who uses it. It refuses what is too much
        # for it at once, so all that the network will need is asked for, and not used.
        size = images[:, 0].numel() * BYTES_OF_PIXEL
        torch.empty(size // 2 if is_mixed else size, dtype=torch.uint8)
    with torch.autocast(device.type, dtype, enabled=is_mixed):
        box_deltas, class_logits = model(images)
    return box_deltas.float(), class_logits.float()


@torch.no_grad()
def predict(model, images, targets, recipe, shown_classes=None):
    """The detections of each image in a batch, as layers.detections returns them -> B dicts.

    Boxes are in pixels of the images as the network sees them. shown_classes [C] is False for the
    classes to leave out; by default, for none.
    """

    def scores(class_logits):
        all_scores = model.scores(class_logits)
        return all_scores if shown_classes is None else all_scores * shown_classes

    image_size = tuple(images.shape[-2:])
    box_deltas, class_logits = forward(model, images, recipe.precision)
    priors = model.priors(image_size)
    counts = level_counts(image_size, model.levels) if recipe.topk_per == "level" else None
    results = []
    for deltas, logits, target in zip(box_deltas, class_logits, targets):
        # Programs differ in where boxes end: at the image, at its padding, or nowhere.
        borders = dict(image=target["size"], input=image_size, nothing=None)
        result = detections(
            deltas,
            logits,
            priors,
            borders[recipe.clip_boxes],
            scores,
            counts,
            recipe.score_threshold,
            recipe.nms_iou,
            recipe.pre_nms_topk,
            recipe.max_detections,
        )
        results.append(result)
    return results


def to_original(result, size, original_size):
    """The same detections in pixels of the image before resizing, on the CPU, but those outside.

    size and original_size: (height, width) after resizing and before.
    """
    y_scale = original_size[0] / size[0]
    x_scale = original_size[1] / size[1]
    boxes = result["boxes"] * result["boxes"].new_tensor([x_scale, y_scale, x_scale, y_scale])
    result = result | dict(boxes=clip(boxes, original_size))
    # Of a box outside the image, in the padding, nothing is left.
    kept = area(result["boxes"]) > 0
    return {name: value[kept].cpu() for name, value in result.items()}


def plain_results(results):
    """Detections as a list of dicts: image (or video and frame), class, score, box.

    results: (source, detections) of each image, where source is a dict that names it. Boxes are
    xyxy in pixels.
    """
    rows = []
    for source, image_detections in results:
        columns = (image_detections[key] for key in ("boxes", "scores", "names"))
        for box, score, name in zip(*columns):
            box = [round(side, 1) for side in box.tolist()]
            rows.append(source | {"class": name, "score": round(float(score), 4), "box": box})
    return rows


def coco_results(results, classes, dataset=None):
    """The same in COCO's result format: image_id, category_id, bbox and score.

    bbox is left, top, width, height. The ids are those of the dataset. For an image that is not in
    it, the id is the number in the file's name, or else the name. Where several have one id, as in
    the splits of some datasets, it is the path. A category has COCO's id if the classes are COCO's,
    or else its place among them, from 1.
    """
    image_ids = {}
    category_ids = tuple(category_numbers(classes).values())
    if dataset is not None:
        records = dataset.records
        category_ids = records.category_ids or category_ids
        image_ids = {path: records.image_ids[i] for path, i in image_numbers(records).items()}
    known = [image_ids.get(Path(source.get("image", "")).resolve()) for source, _ in results]
    ids = [named_id(source) if i is None else i for (source, _), i in zip(results, known)]
    ids = distinct_ids(ids, [" ".join(map(str, source.values())) for source, _ in results])
    rows = []
    for image_id, (_, image_detections) in zip(ids, results):
        rows += coco_rows(image_id, category_ids, image_detections)
    return rows


def distinct_ids(ids, paths):
    """The ids of images, but the path of an image whose id another one has as well."""
    counts = Counter(ids)
    return [path if counts[image_id] > 1 else image_id for image_id, path in zip(ids, paths)]


def detected_records(results, classes, dataset=None):
    """The detections on image files as the records of a dataset, with their scores.

    dataset: that of the images, if there is one, which knows their sizes as they were read.
    """
    numbers = {} if dataset is None else image_numbers(dataset.records)
    entries = []
    scores = []
    for source, image_detections in results:
        boxes = image_detections["boxes"]
        # Smaller ones would be dropped as soon as they are read.
        kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        names = np.array(image_detections["names"], dtype=object)
        objects = [Object(*box, name) for box, name in zip(boxes[kept].tolist(), names[kept])]
        # Boxes that were clipped may be equal; the first has the best score.
        best = {}
        for item, score in zip(objects, image_detections["scores"][kept].tolist()):
            best.setdefault(item, score)
        number = numbers.get(Path(source["image"]).resolve())
        size = None if number is None else tuple(dataset.records.sizes[number].tolist())
        entries.append(Entry(source["image"], size, source["image"], list(best)))
        scores += best.values()
    records = pack(entries, classes, category_numbers(classes))
    return replace(records, scores=np.array(scores))


def category_numbers(classes):
    """Class name -> COCO's own id if the classes are COCO's, or else its place, from 1."""
    if is_official(classes):
        return {name: names_by_id().index(name) for name in classes}
    return {name: number for number, name in enumerate(classes, start=1)}


def coco_rows(image_id, category_ids, image_detections):
    """The detections of one image in COCO's result format: a dict for each."""
    columns = (image_detections[key].tolist() for key in ("boxes", "scores", "labels"))
    for (left, top, right, bottom), score, label in zip(*columns):
        box = [round(side, 2) for side in (left, top, right - left, bottom - top)]
        result = dict(image_id=image_id, category_id=category_ids[label], bbox=box)
        yield result | dict(score=round(score, 5))


def image_numbers(records):
    """Absolute path of an image -> its number in the records."""
    return {Path(records.path(i)).resolve(): i for i in range(len(records))}


def named_id(source):
    """The number in an image's name, or else the name; of a video, the number of the frame."""
    if "frame" in source:
        return source["frame"]
    stem = Path(source["image"]).stem
    return int(stem) if stem.isdecimal() else Path(source["image"]).name
