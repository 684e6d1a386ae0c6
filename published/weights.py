"""The weights that a training starts from: random, ImageNet's in the base, or a whole
detector's."""

from pathlib import Path
from typing import NamedTuple

import torch
from torchvision.models import get_model_weights

from data.errors import UserError
from published.families import family_of
from published.fetch import FOLDER, fetch_url
from published.load import open_checkpoint
from published.transfer import load_matching
from utils import checkpoint, conventions
from utils.build import SSD_SIDES

# What a detector's weights fix in a recipe.
ARCHITECTURE = (
    "model", "depth", "finest_stride", "channels", "head_convs", "head_norm", "vgg_norm",
    "prior_sizes", "prior_scales", "prior_ratios", "base_priors",
)  # fmt: skip
BASES = {"conv1.weight", "features.0.weight", "0.weight"}  # the first tensor of a ResNet or a VGG
# torchvision's detectors that were trained on COCO.
COCO = {"retinanet": "retinanet_resnet50_fpn_v2", "ssd300": "ssd300_vgg16"}


class Weights(NamedTuple):
    """A detector's weights, or nothing where they are random or only the base's."""

    changes: dict  # what they fix in a recipe
    state: dict = None
    classes: list = None


def find_weights(recipe):
    """What a recipe's weights are -> Weights. Files are known by the names of their tensors."""
    if recipe.weights in ("none", "imagenet", "imagenet_v2"):
        return Weights({})
    path = locate(recipe)
    content = checkpoint.read(path)
    if family_of(content) is None and BASES & set(content):
        return Weights({})
    content, _ = open_checkpoint(path, content)
    learned = checkpoint.recipe_of(content, path)
    changes = {name: getattr(learned, name) for name in ARCHITECTURE}
    # Priors and network remain the source program's; our images go through a faster pipeline.
    changes["conventions"] = conventions.with_our_images(learned.conventions)
    return Weights(changes, content["model"], content["classes"])


def load_weights(model, classes, recipe, weights):
    """Give a new model the weights that its recipe names -> lines that say what became of them."""
    if recipe.weights == "none":
        return ["weights      random"]
    if weights.state is not None:
        lines = load_matching(model, classes, weights.state, weights.classes)
        return [f"weights      {recipe.weights}", *lines]
    path = locate(recipe)
    load_base = load_vgg if recipe.model in SSD_SIDES else load_resnet
    try:
        load_base(model, checkpoint.read(path))
    except (RuntimeError, KeyError, AttributeError) as error:
        reason = str(error)[:200]
        raise UserError(f"{path}: other weights than this detector's base has: {reason}") from None
    return [f"weights      {path}, in the base"]


def locate(recipe):
    """The file of a recipe's weights, as named or within weights/; fetched if it is
    torchvision's."""
    if recipe.weights == "coco":
        if recipe.model not in COCO:
            raise UserError(
                f"no COCO weights of {recipe.model} are published by torchvision: use --weights "
                "imagenet"
            )
        return fetch(get_model_weights(COCO[recipe.model]).COCO_V1)
    if recipe.weights in ("imagenet", "imagenet_v2") and recipe.model in SSD_SIDES:
        reduced = FOLDER / "vgg16_reducedfc.pth"
        if reduced.exists():
            return reduced
        return fetch(get_model_weights("vgg16").IMAGENET1K_FEATURES)
    if recipe.weights in ("imagenet", "imagenet_v2"):
        versions = get_model_weights(f"resnet{recipe.depth}")
        if recipe.weights == "imagenet":
            return fetch(versions.IMAGENET1K_V1)
        if not hasattr(versions, "IMAGENET1K_V2"):
            raise UserError(
                f"--weights imagenet_v2: torchvision has none for depth {recipe.depth}, only for "
                "50, 101 and 152"
            )
        return fetch(versions.IMAGENET1K_V2)
    if recipe.weights.startswith(("http://", "https://")):
        return fetch_url(recipe.weights)
    named = Path(recipe.weights)
    return named if named.exists() else FOLDER / named


def load_resnet(model, state):
    """ResNet's tensors, by their names, but for the layer that told ImageNet's classes."""
    model.base.load_state_dict(
        {name: value for name, value in state.items() if not name.startswith("fc.")}
    )


@torch.no_grad()
def load_vgg(model, state):
    """VGG's convolutions, by their order.

    torchvision's file has the first thirteen, ssd.pytorch's fc6 and fc7 too.
    """
    if model.base.norms():
        raise UserError("ImageNet's VGG has no batch norm: --weights none, or vgg_norm none")
    names = [name for name in state if name.endswith("weight") and state[name].ndim == 4]
    for layer, name in zip(model.base.convolutions(), names):
        layer.weight.copy_(state[name])
        layer.bias.copy_(state[name.replace("weight", "bias")])
    # They were trained on pixels that were not divided by a deviation.
    model.base.conv1[0].weight.mul_(model.std)


def fetch(weights):
    """The path of one of torchvision's files, fetched into weights/ if it is not there."""
    return fetch_url(weights.url)
