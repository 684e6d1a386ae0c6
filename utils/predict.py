"""From a batch of images to what is seen on them."""
import torch

from layers.boxes import clip, decode
from layers.detections import detections


@torch.no_grad()
def predict(network, model, images, targets, recipe):
    """Detections of every image of a batch, in pixels of the batch: B dicts of boxes [D, 4], scores [D], labels [D]."""
    box_deltas, class_logits = network(images)
    all_boxes = decode(box_deltas, model.priors(images.shape[-2:]))
    all_scores = model.scores(class_logits)
    return [detections(clip(boxes, target["size"]), scores, recipe.min_score, recipe.max_iou, limit=recipe.limit)
            for boxes, scores, target in zip(all_boxes, all_scores, targets)]


def to_original(found, size, original_size):
    """Detections in pixels of the image as it was before resizing, on the CPU. Sizes are (height, width)."""
    scale = found["boxes"].new_tensor([original_size[1] / size[1], original_size[0] / size[0]] * 2)
    found = found | dict(boxes=clip(found["boxes"] * scale, original_size))
    return {name: value.cpu() for name, value in found.items()}
