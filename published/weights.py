"""The weights that a training starts from: random, ImageNet's in the base, or a whole
detector's."""

from pathlib import Path
from typing import NamedTuple

import torch
from torchvision.models import get_model_weights

from data.text import UserError, some
from published.families import family_of
from published.load import open_checkpoint
from utils import checkpoint
from utils.build import SSD_SIDES, with_our_images

FOLDER = Path("weights")
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
    changes["conventions"] = with_our_images(learned.conventions)
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


def checkpoint_path(name):
    """The path that a name on the command line means; a URL is fetched first."""
    return fetch_url(name) if name.startswith(("http://", "https://")) else Path(name)


def fetch_url(url):
    """The path of a file from the network, fetched into weights/ if it is not there."""
    path = FOLDER / url.rsplit("/", 1)[-1]
    if not path.exists():
        print(f"fetching {path}")
        # torchvision's names end with the first digits of their hash, which is then checked.
        end = path.stem.rsplit("-", 1)[-1]
        prefix = end if len(end) == 8 and "torch" in url else None
        try:
            FOLDER.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix)
        except (OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"{path} is missing and cannot be fetched from {url} ({reason}): put it there, or, "
                "to train from scratch, use --weights none"
            ) from None
    return path


@torch.no_grad()
def load_matching(model, classes, state, source_classes=None):
    """Copy all tensors that fit into the model -> lines for the user.

    Where the classes differ, the layers that predict them keep what they were initialised to, but
    for the rows of classes that both know by the same name.
    """
    layers, background = model.class_layers()
    class_parameters = {id(value) for layer in layers for value in layer.parameters()}
    class_names = {
        name for name, value in model.named_parameters() if id(value) in class_parameters
    }
    same_classes = source_classes is None or list(classes) == list(source_classes)
    shared = [name for name in classes if name in (source_classes or ())]
    loaded, rows, left = [], [], []
    for name, value in model.state_dict().items():
        source = state.get(name)
        if source is None:
            left.append(f"{name} (not in the file)")
        elif name in class_names and not same_classes:
            fits = copy_class_rows(value, source, classes, source_classes, shared, background)
            (rows if fits else left).append(name if fits else f"{name} (other priors)")
        elif source.shape == value.shape:
            value.copy_(source)
            loaded.append(name)
        else:
            left.append(f"{name} ({list(source.shape)}, here {list(value.shape)})")
    unused = [name for name in state if name not in model.state_dict()]
    lines = [f"loaded       {len(loaded)} tensors"]
    if rows:
        new = [name for name in classes if name not in shared]
        kept = ", ".join(shared) or "none"
        lines.append(f"class rows   kept: {kept}; new: {', '.join(new) or 'none'}")
    if left:
        lines.append(f"as before    {some(left, count=6)}")
    if unused:
        lines.append(f"left out     {some(unused, count=6)}")
    return lines


def copy_class_rows(value, source, classes, source_classes, shared, background):
    """Copy the columns of shared classes, and those that are no class's -> whether shapes agree."""
    columns, source_columns = background + len(classes), background + len(source_classes)
    shapes, source_shapes = len(value) // columns, len(source) // source_columns
    if shapes != source_shapes or value.shape[1:] != source.shape[1:]:
        return False
    rows, source_rows = value.unflatten(0, (shapes, -1)), source.unflatten(0, (shapes, -1))
    rows[:, :background] = source_rows[:, :background]
    for name in shared:
        row, source_row = classes.index(name), source_classes.index(name)
        rows[:, background + row] = source_rows[:, background + source_row]
    return True
