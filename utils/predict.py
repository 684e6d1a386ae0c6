"""From a batch of images to the detections on them, and from detections to JSON."""

from pathlib import Path

import torch

from data.formats.coco import is_official, names_by_id
from layers.boxes import clip
from layers.detections import detections
from layers.priors import level_sizes
from utils.parallel import half_type_of


def forward(model, images, precision):
    """A model's predictions in the precision that a recipe asks for, as float32."""
    device = images.device
    half_type = half_type_of(precision, device)
    with torch.autocast(device.type, half_type, enabled=half_type is not None):
        box_deltas, class_logits = model(images)
    return box_deltas.float(), class_logits.float()


@torch.no_grad()
def predict(model, images, targets, recipe):
    """The detections of every image of a batch, in its pixels: B dicts as
    layers.detections makes."""
    image_size = tuple(images.shape[-2:])
    box_deltas, class_logits = forward(model, images, recipe.precision)
    priors = model.priors(image_size)
    levels = level_sizes(image_size, model.levels) if recipe.topk_per == "level" else None
    results = []
    for deltas, logits, target in zip(box_deltas, class_logits, targets):
        borders = dict(image=target["size"], input=image_size, nothing=None)
        result = detections(
            deltas,
            logits,
            priors,
            borders[recipe.conventions.clip_boxes],
            model.scores,
            levels,
            recipe.score_threshold,
            recipe.nms_iou,
            recipe.pre_nms_topk,
            recipe.max_detections,
        )
        results.append(result)
    return results


def to_original(result, size, original_size):
    """Detections in pixels of the image before resizing, on the CPU. Sizes are (height, width)."""
    y_scale, x_scale = original_size[0] / size[0], original_size[1] / size[1]
    boxes = result["boxes"] * result["boxes"].new_tensor([x_scale, y_scale, x_scale, y_scale])
    result = result | dict(boxes=clip(boxes, original_size))
    return {name: value.cpu() for name, value in result.items()}


def plain_results(found):
    """A list of dicts: image (or video and frame), class, score and box, xyxy in pixels.

    found: (what it is, its detections) of every image.
    """
    results = []
    for source, image_detections in found:
        columns = (image_detections[key] for key in ("boxes", "scores", "names"))
        for box, score, name in zip(*columns):
            box = [round(side, 1) for side in box.tolist()]
            results.append(source | {"class": name, "score": round(float(score), 4), "box": box})
    return results


def coco_results(found, classes, dataset=None):
    """COCO's result format: image_id, category_id, score and bbox, (left, top, width, height).

    The ids are the dataset's own where it has the image. Else an image's id is the number that it
    is named by, or its name, and a category's that of COCO, or for other classes its place among
    them, from 1.
    """
    image_ids, category_ids = {}, tuple(range(1, 1 + len(classes)))
    if is_official(classes):
        category_ids = [names_by_id().index(name) for name in classes]
    if dataset is not None:
        records = dataset.records
        category_ids = records.category_ids or category_ids
        image_ids = {path: records.image_id(i) for path, i in image_numbers(records).items()}
    results = []
    for source, image_detections in found:
        image_id = image_ids.get(Path(source.get("image", "")).resolve(), named_id(source))
        results += coco_rows(image_id, category_ids, image_detections)
    return results


def coco_rows(image_id, category_ids, image_detections):
    """The detections of one image in COCO's result format."""
    columns = (image_detections[key].tolist() for key in ("boxes", "scores", "labels"))
    for (left, top, right, bottom), score, label in zip(*columns):
        box = [round(side, 2) for side in (left, top, right - left, bottom - top)]
        result = dict(image_id=image_id, category_id=category_ids[label], bbox=box)
        yield result | dict(score=round(score, 5))


def image_numbers(records):
    """Resolved path of an image -> its number."""
    return {Path(records.path(i)).resolve(): i for i in range(len(records))}


def named_id(source):
    """The number that an image's file is named by, else the name; the frame of a video."""
    if "frame" in source:
        return source["frame"]
    stem = Path(source["image"]).stem
    return int(stem) if stem.isdecimal() else Path(source["image"]).name
