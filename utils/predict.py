"""From a batch of images to the detections on them."""

import torch

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
