"""Weights that others trained, to start from."""
from pathlib import Path

import torch
from torchvision.models import get_model_weights

from data.errors import UserError
from utils import checkpoint
from utils.build import SIDES
from utils.transfer import adopt

FOLDER = Path("weights")


def load_weights(model, classes, recipe):
    """Give a new model the weights that its recipe names -> lines that say what became of them."""
    if recipe.weights == "none":
        return ["weights      random"]
    if recipe.weights == "imagenet":
        load_imagenet(model, recipe)
        return ["weights      ImageNet's, in the base"]
    path = Path(recipe.weights)
    path = path if path.exists() else FOLDER / path
    if recipe.model in SIDES and path.name.startswith("vgg16") and path.exists():
        load_vgg(model, read(path))
        return [f"weights      {path}, in the base"]
    content = checkpoint.load(path)
    return [f"weights      {path}", *adopt(model, classes, content["model"], content["classes"])]


def load_imagenet(model, recipe):
    if recipe.model in SIDES:
        reduced = FOLDER / "vgg16_reducedfc.pth"
        load_vgg(model, read(reduced) if reduced.exists() else fetch(get_model_weights("vgg16").IMAGENET1K_FEATURES))
    else:
        state = fetch(get_model_weights(f"resnet{recipe.depth}").IMAGENET1K_V1)
        model.base.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})


def load_vgg(model, state):
    """VGG's convolutions, by their order. torchvision's file has the first thirteen, ssd.pytorch's fc6 and fc7, too."""
    weights = [state[name] for name in state if name.endswith("weight") and state[name].ndim == 4]
    biases = [state[name.replace("weight", "bias")] for name in state
              if name.endswith("weight") and state[name].ndim == 4]
    with torch.no_grad():
        for layer, weight, bias in zip(model.base.convolutions(), weights, biases):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
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
    return read(path)


def read(path):
    return torch.load(path, map_location="cpu", weights_only=True)
