"""The example that runs through the lesson: an image, an object on it, and both detectors."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from data.dataset import Dataset
from data.reading import read_folder, select_classes
from data.records import pack
from layers.boxes import decode, encode, giou, iou
from layers.detections import detections
from layers.losses import cost_if_absent, mine_hard_negatives
from layers.matching import IGNORED, assign
from layers.priors import level_counts, pyramid_priors
from lesson.runs import DATA, RECIPES
from utils.build import build_collate, build_levels, build_transform

IMAGE = 66  # the example among the validation images
EXAMPLE = 6  # the example among the objects of that image: a turquoise ellipse
NAMES = dict(ssd="SSD300", retinanet="RetinaNet")


class View(NamedTuple):
    """An image as a detector sees it in training, and what each of its priors should predict."""

    name: str
    recipe: object
    classes: list
    image: np.ndarray  # [H, W, 3], without padding
    images: torch.Tensor  # [1, 3, H, W], the same with padding
    targets: list  # the target of this image alone
    levels: tuple
    level_counts: list  # how many priors each level has
    priors: torch.Tensor  # [A, 4]
    overlaps: torch.Tensor  # [N, A] IoU of objects and priors
    labels: torch.Tensor  # [A] a class, BACKGROUND or IGNORED
    boxes: torch.Tensor  # [A, 4] the box of the object that each prior is matched to

    def level_of(self, prior):
        """The number of the level that a prior belongs to; 0 is the finest."""
        return int(np.searchsorted(np.cumsum(self.level_counts), prior, side="right"))

    def best_prior(self, row):
        """The number of the prior that overlaps an object most."""
        return int(self.overlaps[row].argmax())


def val_dataset(name):
    """The validation images of shapes as a detector, ssd or retinanet, sees them."""
    source = read_folder("shapes", DATA)
    classes = select_classes(source)
    records = pack(source.splits["val"], classes)
    return Dataset(classes, records, build_transform(RECIPES[name]))


def look(name, index=IMAGE):
    """The View that a detector, ssd or retinanet, has of a validation image."""
    recipe = RECIPES[name]
    dataset = val_dataset(name)
    image, target = dataset[0, index, (0, 0)]
    images, targets = build_collate(recipe)([(image, target)])
    levels = build_levels(recipe)
    size = tuple(images.shape[-2:])
    priors = pyramid_priors(size, levels)
    labels, boxes = assign(
        targets, priors, recipe.positive_iou, recipe.negative_iou, recipe.force_match
    )
    return View(
        name=name,
        recipe=recipe,
        classes=dataset.classes,
        image=image,
        images=images,
        targets=targets,
        levels=levels,
        level_counts=level_counts(size, levels),
        priors=priors,
        overlaps=iou(targets[0]["boxes"], priors),
        labels=labels[0],
        boxes=boxes[0],
    )


class Prediction(NamedTuple):
    """What a model predicts for an image, and what that costs, prior by prior."""

    deltas: torch.Tensor  # [A, 4]
    logits: torch.Tensor  # [A, C or 1 + C]
    scores: torch.Tensor  # [A, C]
    decoded: torch.Tensor  # [A, 4]
    class_costs: torch.Tensor  # [A] SSD's before mining, RetinaNet's summed over classes
    box_costs: torch.Tensor  # [A] 0 where no object is matched
    counts: torch.Tensor  # [A] whether the class cost is a part of the loss


@torch.no_grad()
def predictions(view, model):
    """The Prediction of a model for a View."""
    deltas, logits = (part[0] for part in model(view.images))
    decoded = decode(deltas, view.priors)
    if view.name == "ssd":
        class_costs, counts = ssd_costs(view, logits)
        errors = F.smooth_l1_loss(deltas, encode(view.boxes, view.priors), reduction="none")
        box_costs = errors.sum(dim=-1)
    else:
        class_costs, counts = focal_costs(view, logits)
        box_costs = 1 - giou(decoded, view.boxes)
    is_matched = view.labels >= 0
    return Prediction(
        deltas=deltas,
        logits=logits,
        scores=model.scores(logits),
        decoded=decoded,
        class_costs=class_costs,
        box_costs=view.recipe.box_weight * box_costs * is_matched,
        counts=counts,
    )


def ssd_costs(view, logits):
    """The cross entropy of every prior, and which priors count, as in MultiBoxLoss."""
    costs = F.cross_entropy(logits, (view.labels + 1).clamp(min=0), reduction="none")
    ratio = view.recipe.negatives_per_positive
    hard = mine_hard_negatives(costs[None], view.labels[None], ratio)[0]
    return costs, hard | (view.labels >= 0)


def focal_costs(view, logits):
    """The focal loss of every prior, summed over classes, and which priors count, as in
    FocalLoss."""
    alpha = view.recipe.focal_alpha
    gamma = view.recipe.focal_gamma
    is_class = F.one_hot(view.labels.clamp(min=0), logits.shape[-1]).bool()
    is_class &= (view.labels >= 0)[:, None]
    present = alpha * cost_if_absent(-logits, gamma)
    absent = (1 - alpha) * cost_if_absent(logits, gamma)
    return torch.where(is_class, present, absent).sum(dim=-1), view.labels != IGNORED


def was_kept(view, model, prediction, row):
    """Whether the box that a prior predicts is among the detections of the image."""
    recipe = view.recipe
    found = detections(
        prediction.deltas, prediction.logits, view.priors, None, model.scores,
        view.level_counts if recipe.topk_per == "level" else None,
        recipe.score_threshold, recipe.nms_iou, recipe.pre_nms_topk, recipe.max_detections,
    )  # fmt: skip
    return bool(torch.isclose(found["boxes"], prediction.decoded[row]).all(dim=1).any())
