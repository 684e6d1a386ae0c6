"""Weights that others trained, to start from."""
from pathlib import Path

import torch
from torchvision.models import get_model_weights

from data import voc
from data.errors import UserError
from utils import checkpoint
from utils.build import SIDES
from utils.families import convert
from utils.transfer import adopt

FOLDER = Path("weights")
ARCHITECTURE = ("model", "depth", "channels", "head_convs", "head_norm", "p6_from", "p7_relu", "prior_sizes",
                "prior_scales", "prior_ratios")
COCO = {"retinanet": "retinanet_resnet50_fpn_v2", "ssd300": "ssd300_vgg16"}  # torchvision's detectors trained on COCO


def open_source(recipe):
    """What a recipe's weights are: the recipe with their architecture, and (state dict, class names or None).

    The second is None where they are random or only the base's. Published detectors are known by the names of their
    tensors. For starting from: where other programs round their priors or shift them by half a cell, we do not.
    """
    path = located(recipe.weights)
    if recipe.weights in ("none", "imagenet") or path.name.startswith("vgg16") and path.exists():
        return recipe, None
    if recipe.weights == "coco":
        if recipe.model not in COCO:
            raise UserError(f"no COCO weights of {recipe.model} are published by torchvision: use --weights imagenet")
        content = fetch(get_model_weights(COCO[recipe.model]).COCO_V1)
    else:
        content = checkpoint.read(path)
    if {"model", "recipe", "classes"} <= set(content):
        own = checkpoint.recipe_of(content)
        return recipe | {name: getattr(own, name) for name in ARCHITECTURE}, (content["model"], content["classes"])
    state = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), content)
    state, changes = convert({name.removeprefix("module."): value for name, value in state.items()})
    return recipe | changes, (state, names_of(state, changes["model"]))


def names_of(state, model):
    """The classes of a published detector, which its file does not tell, by their number."""
    listed = get_model_weights(COCO["retinanet"]).COCO_V1.meta["categories"]
    if model == "retinanet":
        last = [value for name, value in state.items() if name.startswith("class_head") and name.endswith("bias")][-1]
        count, background = len(last) // 9, 0
    else:
        count, background = len(state["class_heads.0.bias"]) // 4 - 1, 1
    known = {len(listed) - background: listed[background:], 20: list(voc.CLASSES),
             80: [name for name in listed if name not in ("N/A", "__background__")]}
    return known.get(count)


def load_weights(model, classes, recipe, source):
    """Give a new model the weights that its recipe names -> lines that say what became of them."""
    if source:
        return [f"weights      {recipe.weights}", *adopt(model, classes, *source)]
    if recipe.weights == "none":
        return ["weights      random"]
    if recipe.weights == "imagenet":
        load_imagenet(model, recipe)
        return ["weights      ImageNet's, in the base"]
    load_vgg(model, checkpoint.read(located(recipe.weights)))
    return [f"weights      {recipe.weights}, in the base"]


def located(name):
    """A file as it was named, or else within weights/."""
    return Path(name) if Path(name).exists() else FOLDER / name


def load_imagenet(model, recipe):
    if recipe.model in SIDES:
        reduced = FOLDER / "vgg16_reducedfc.pth"
        features = get_model_weights("vgg16").IMAGENET1K_FEATURES
        load_vgg(model, checkpoint.read(reduced) if reduced.exists() else fetch(features))
    else:
        state = fetch(get_model_weights(f"resnet{recipe.depth}").IMAGENET1K_V1)
        model.base.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})


def load_vgg(model, state):
    """VGG's convolutions, by their order. torchvision's file has the first thirteen, ssd.pytorch's fc6 and fc7, too."""
    names = [name for name in state if name.endswith("weight") and state[name].ndim == 4]
    with torch.no_grad():
        for layer, name in zip(model.base.convolutions(), names):
            layer.weight.copy_(state[name])
            layer.bias.copy_(state[name.replace("weight", "bias")])
        # They were trained on pixels that were not divided by a deviation.
        model.base.conv1[0].weight.mul_(model.normalize.std)


def fetch(weights):
    """One of torchvision's files, fetched into weights/ if it is not there."""
    path = FOLDER / weights.url.rsplit("/", 1)[-1]
    if not path.exists():
        print(f"fetching {path}")
        try:
            # To a temporary name, then renamed if the hash within the name is right.
            torch.hub.download_url_to_file(weights.url, str(path), hash_prefix=path.stem.rsplit("-", 1)[-1])
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(f"{path} is missing and cannot be fetched from {weights.url} ({reason}): put it there, or "
                            "train from scratch with --weights none") from None
    return checkpoint.read(path)
