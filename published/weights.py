"""Weights that others trained, to start from."""
from pathlib import Path

import torch
from torchvision.models import get_model_weights

from data.errors import UserError
from published.families import family
from published.load import opened
from published.transfer import adopt
from utils import checkpoint, conventions
from utils.build import SIDES

FOLDER = Path("weights")
ARCHITECTURE = ("model", "depth", "channels", "head_convs", "head_norm", "prior_sizes", "prior_scales", "prior_ratios")
BASES = {"conv1.weight", "features.0.weight", "0.weight"}  # the first tensor of a ResNet or a VGG
COCO = {"retinanet": "retinanet_resnet50_fpn_v2", "ssd300": "ssd300_vgg16"}  # torchvision's detectors trained on COCO


def open_source(recipe):
    """What a recipe's weights are: the recipe with their architecture, and (state dict, class names or None).

    The second is None where they are random or only the base's. Files are known by the names of their tensors.
    """
    if recipe.weights == "none":
        return recipe, None
    path = located(recipe)
    content = None if recipe.weights == "imagenet" else checkpoint.read(path)
    if content is None or family(content) is None and BASES & set(content):
        return recipe, None
    content, _ = opened(path, content)
    own = checkpoint.recipe_of(content)
    changes = {name: getattr(own, name) for name in ARCHITECTURE}
    # Priors and network remain its publisher's; its images went through a slower pipeline than ours.
    changes["conventions"] = conventions.with_our_images(own.conventions)
    return recipe | changes, (content["model"], content["classes"])


def load_weights(model, classes, recipe, source):
    """Give a new model the weights that its recipe names -> lines that say what became of them."""
    if recipe.weights == "none":
        return ["weights      random"]
    if source:
        return [f"weights      {recipe.weights}", *adopt(model, classes, *source)]
    path = located(recipe)
    try:
        (load_vgg if recipe.model in SIDES else load_resnet)(model, checkpoint.read(path))
    except (RuntimeError, KeyError) as error:
        raise UserError(f"{path}: other weights than this detector's base has: {str(error)[:200]}") from None
    return [f"weights      {path}, in the base"]


def located(recipe):
    """The file of a recipe's weights, as named or else within weights/; fetched if it is one of torchvision's."""
    if recipe.weights == "coco":
        if recipe.model not in COCO:
            raise UserError(f"no COCO weights of {recipe.model} are published by torchvision: use --weights imagenet")
        return fetched(get_model_weights(COCO[recipe.model]).COCO_V1)
    if recipe.weights == "imagenet" and recipe.model not in SIDES:
        return fetched(get_model_weights(f"resnet{recipe.depth}").IMAGENET1K_V1)
    if recipe.weights == "imagenet":
        reduced = FOLDER / "vgg16_reducedfc.pth"
        return reduced if reduced.exists() else fetched(get_model_weights("vgg16").IMAGENET1K_FEATURES)
    return Path(recipe.weights) if Path(recipe.weights).exists() else FOLDER / recipe.weights


def load_resnet(model, state):
    """ResNet's tensors, by their names, but for the layer that told ImageNet's classes."""
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


def fetched(weights):
    """The path of one of torchvision's files, fetched into weights/ if it is not there."""
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
    return path
