"""Follow a prior of an image through both detectors: every number, and what computes it."""

import torch

from data.text import UserError
from layers.boxes import cxcywh_to_xyxy, encode, iou
from layers.matching import BACKGROUND, IGNORED
from lesson.example import NAMES, look, predictions, was_kept
from lesson.runs import snapshots

# What a prior is matched to, where it is not a class.
STATES = {BACKGROUND: "background", IGNORED: "ignored"}


def find_prior(view, numbers):
    """The row of the prior that was asked for.

    numbers: its row, or the x, y and side of a square that it should cover, in pixels of the image
    as this detector sees it.
    """
    try:
        numbers = [float(number) for number in numbers]
    except ValueError:
        raise UserError(f"prior {' '.join(numbers)}: these are not numbers") from None
    if len(numbers) == 1:
        row = int(numbers[0])
        if not 0 <= row < len(view.priors):
            last = len(view.priors) - 1
            raise UserError(f"prior {row}: {NAMES[view.name]} has priors 0 to {last} here")
        return row
    if len(numbers) != 3:
        raise UserError("prior takes one number, or three: x, y and side in pixels")
    x, y, side = numbers
    if not side > 0:
        raise UserError(f"prior with a side of {side:g} pixels: the side must be over 0")
    wanted = cxcywh_to_xyxy(torch.tensor([[x, y, side, side]]))
    return int(iou(wanted, view.priors).argmax())


def partner(view, row, other):
    """The row of the prior of another detector's View that overlaps this prior most."""
    height, width = view.image.shape[:2]
    other_height, other_width = other.image.shape[:2]
    scale = [other_width / width, other_height / height] * 2
    return int(iou(view.priors[row][None] * torch.tensor(scale), other.priors).argmax())


def best_priors_of(views, numbers):
    """detector -> the row of the prior that overlaps an object most: numbers hold the object's."""
    count = len(views["ssd"].overlaps)
    if len(numbers) != 1 or not numbers[0].isdigit() or int(numbers[0]) >= count:
        raise UserError(
            f"object {' '.join(numbers)}: the {count} objects of this image are numbered from 0"
        )
    return {name: view.best_prior(int(numbers[0])) for name, view in views.items()}


def follow(what, numbers, index, quick=False):
    """Lines about a prior of each detector on a validation image.

    what is "prior", for a prior of SSD300 and that of RetinaNet in its place; or "object", for the
    priors that overlap an object most. quick: of detectors that were trained for a short time only.
    """
    views = {name: look(name, index) for name in NAMES}
    if what == "object":
        rows = best_priors_of(views, numbers)
    else:
        row = find_prior(views["ssd"], numbers)
        rows = dict(ssd=row, retinanet=partner(views["ssd"], row, views["retinanet"]))
    for name, view in views.items():
        models = snapshots(name, quick)
        yield f"\n{NAMES[name]}, prior {rows[name]}, after {max(models)} iterations"
        yield from describe_prior(view, models[max(models)], rows[name])


def describe_prior(view, model, row):
    """Lines about a prior: what a number is, the number, and the file and function behind it."""
    for columns in numbers_of_prior(view, model, row):
        yield line(*columns)


def numbers_of_prior(view, model, row):
    """The three columns of each line of describe_prior."""
    prediction = predictions(view, model)
    prior = view.priors[row]
    height, width = view.image.shape[:2]
    level = view.level_of(row)
    label = int(view.labels[row])
    loss = "MultiBoxLoss" if view.name == "ssd" else "FocalLoss"
    yield "image", f"{width} x {height} pixels", "data/transforms.py"
    yield "box", numbers_of(prior, 1), "layers/priors.py grid_priors"
    yield "level", f"{level}, stride {view.levels[level].stride}", "layers/priors.py"
    overlap = view.overlaps[:, row]
    if len(overlap):
        best = int(overlap.argmax())
        yield "best IoU", f"{overlap[best]:.3f}, with object {best}", "layers/boxes.py iou"
    state = STATES.get(label) or view.classes[label]
    yield "match", state, "layers/matching.py match"
    if label >= 0:
        deltas = encode(view.boxes[row], prior)
        yield "target deltas", numbers_of(deltas, 3), "layers/boxes.py encode"
    yield "deltas", numbers_of(prediction.deltas[row], 3), f"{view.name}.py forward"
    yield "logits", numbers_of(prediction.logits[row], 3), f"{view.name}.py forward"
    yield "scores", numbers_of(prediction.scores[row], 3), f"{view.name}.py scores"
    counted = "" if prediction.counts[row] else ", which does not count"
    cost = f"{prediction.class_costs[row]:.4f}{counted}"
    yield "class loss", cost, f"layers/losses.py {loss}"
    yield "box loss", f"{prediction.box_costs[row]:.4f}", f"layers/losses.py {loss}"
    yield "gradient", gradient_signs(view, prediction, row), f"layers/losses.py {loss}"
    yield "decoded box", numbers_of(prediction.decoded[row], 1), "layers/boxes.py decode"
    kept = "kept" if was_kept(view, model, prediction, row) else "not shown"
    yield "after NMS", kept, "layers/detections.py detections"


def gradient_signs(view, prediction, row):
    """In which direction the loss pushes every logit of a prior: up, down, or not at all."""
    if not prediction.counts[row]:
        return "none: it does not count"
    label = int(view.labels[row])
    signs = [f"{name} {'up' if i == label else 'down'}" for i, name in enumerate(view.classes)]
    if view.name == "ssd":
        signs.insert(0, "background up" if label < 0 else "background down")
    return ", ".join(signs)


def numbers_of(tensor, digits):
    """A tensor's numbers as text, with so many digits after the point."""
    return ", ".join(f"{value:.{digits}f}" for value in tensor.tolist())


def line(what, value, place):
    """The three columns of a line."""
    return f"  {what:14} {value:44} {place}"
