"""Follow one prior of one image through both detectors, and print every number on its way."""

import torch

from data.text import UserError
from layers.boxes import cxcywh_to_xyxy, encode, iou
from layers.matching import BACKGROUND, IGNORED
from lesson.example import NAMES, look, predictions, was_kept
from lesson.runs import snapshots

WORDS = {BACKGROUND: "background", IGNORED: "ignored"}


def find_prior(view, numbers):
    """The prior that was asked for: its number, or the x, y and side of the place it should be at,
    in pixels of the image as this detector sees it."""
    try:
        numbers = [float(number) for number in numbers]
    except ValueError:
        raise UserError(f"prior {' '.join(numbers)}: expected numbers") from None
    if len(numbers) == 1:
        row = int(numbers[0])
        if not 0 <= row < len(view.priors):
            raise UserError(f"prior {row}: {NAMES[view.name]} has {len(view.priors)} here, from 0")
        return row
    if len(numbers) != 3:
        raise UserError("a prior is named by its number, or by x, y and side in pixels")
    x, y, side = numbers
    if not side > 0:
        raise UserError(f"a prior with a side of {side:g} pixels: it must be over 0")
    wanted = cxcywh_to_xyxy(torch.tensor([[x, y, side, side]]))
    return int(iou(wanted, view.priors).argmax())


def partner(view, row, other):
    """The prior of another detector's View that lies most where this one's prior does."""
    (height, width), (other_height, other_width) = (part.image.shape[:2] for part in (view, other))
    scale = [other_width / width, other_height / height] * 2
    return int(iou(view.priors[row][None] * torch.tensor(scale), other.priors).argmax())


def follow(numbers, index):
    """Lines about a prior of SSD300 on a validation image, and about RetinaNet's prior there."""
    views = {name: look(name, index) for name in NAMES}
    row = find_prior(views["ssd"], numbers)
    rows = dict(ssd=row, retinanet=partner(views["ssd"], row, views["retinanet"]))
    for name, view in views.items():
        models = snapshots(name)
        yield f"\n{NAMES[name]}, prior {rows[name]}, after {max(models)} iterations"
        yield from describe_prior(view, models[max(models)], rows[name])


def describe_prior(view, model, row):
    """Lines: what it is, the value, and the file and function that made it."""
    prediction, prior = predictions(view, model), view.priors[row]
    height, width = view.image.shape[:2]
    level, label = view.level_of(row), int(view.labels[row])
    loss = "MultiBoxLoss" if view.name == "ssd" else "FocalLoss"
    yield line("image", f"{width} x {height} pixels", "data/transforms.py")
    yield line("box", numbers_of(prior, 1), "layers/priors.py grid_priors")
    yield line("level", f"{level}, stride {view.levels[level].stride}", "layers/priors.py")
    overlap = view.overlaps[:, row]
    if len(overlap):
        best = int(overlap.argmax())
        yield line("best IoU", f"{overlap[best]:.3f}, with object {best}", "layers/boxes.py iou")
    state = WORDS.get(label) or view.classes[label]
    yield line("match", state, "layers/matching.py match")
    if label >= 0:
        deltas = encode(view.boxes[row], prior)
        yield line("target deltas", numbers_of(deltas, 3), "layers/boxes.py encode")
    yield line("deltas", numbers_of(prediction.deltas[row], 3), f"{view.name}.py forward")
    yield line("logits", numbers_of(prediction.logits[row], 3), f"{view.name}.py forward")
    yield line("scores", numbers_of(prediction.scores[row], 3), f"{view.name}.py scores")
    counted = "" if prediction.counts[row] else ", which does not count"
    cost = f"{prediction.class_costs[row]:.4f}{counted}"
    yield line("class loss", cost, f"layers/losses.py {loss}")
    yield line("box loss", f"{prediction.box_costs[row]:.4f}", f"layers/losses.py {loss}")
    yield line("gradient", gradient_signs(view, prediction, row), f"layers/losses.py {loss}")
    yield line("decoded box", numbers_of(prediction.decoded[row], 1), "layers/boxes.py decode")
    kept = "kept" if was_kept(view, model, prediction, row) else "not shown"
    yield line("after NMS", kept, "layers/detections.py detections")


def gradient_signs(view, prediction, row):
    """Which way the loss pushes every logit of a prior: up, down, or not at all."""
    label, probabilities = int(view.labels[row]), prediction.scores[row].tolist()
    names = list(view.classes)
    if not prediction.counts[row]:
        return "none: it does not count"
    signs = ["up" if place == label else "down" for place in range(len(probabilities))]
    if view.name == "ssd":
        names, signs = ["background", *names], ["up" if label < 0 else "down", *signs]
    return ", ".join(f"{name} {sign}" for name, sign in zip(names, signs))


def numbers_of(tensor, digits):
    return ", ".join(f"{value:.{digits}f}" for value in tensor.tolist())


def line(what, value, place):
    return f"  {what:14} {value:44} {place}"
