"""From a batch of images to what is seen on them."""
import torch

from layers.boxes import clip
from layers.detections import detections
from layers.priors import level_sizes


@torch.no_grad()
def predict(network, model, images, targets, recipe):
    """Detections of every image of a batch, in pixels of the batch: B dicts of boxes [D, 4], scores [D], labels [D]."""
    image_size = tuple(images.shape[-2:])
    box_deltas, class_logits = network(images)
    priors = model.priors(image_size)
    levels = level_sizes(image_size, model.levels) if recipe.candidates_of == "level" else None
    borders = [dict(image=target["size"], input=image_size).get(recipe.conventions.clip) for target in targets]
    return [detections(deltas, logits, priors, border, model.scores, levels, recipe.min_score, recipe.max_iou,
                       recipe.candidates, recipe.limit)
            for deltas, logits, border in zip(box_deltas, class_logits, borders)]


def to_original(found, size, original_size):
    """Detections in pixels of the image as it was before resizing, on the CPU. Sizes are (height, width)."""
    scale = found["boxes"].new_tensor([original_size[1] / size[1], original_size[0] / size[0]] * 2)
    found = found | dict(boxes=clip(found["boxes"] * scale, original_size))
    return {name: value.cpu() for name, value in found.items()}
