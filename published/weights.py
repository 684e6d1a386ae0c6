"""The weights that a run starts from: random, ImageNet's for the base, or a detector's."""

import hashlib
import math
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zipfile import is_zipfile

import torch
from torchvision.models import get_model_weights

from data.text import UserError, some
from published.families import width_of_base
from published.fetch import fetch, short_hash
from published.load import open_checkpoint
from utils import checkpoint
from utils.build import SSD_SIDES, build_collate

FOLDER = Path("weights")  # where fetched files are kept
TORCH_HUB = "https://download.pytorch.org/"
# The fields of a recipe that the weights of a base decide, and those of a whole detector. How its
# program resized and padded images is not among them, since our own way is faster.
BASE_FIELDS = ("model", "depth", "base_width", "vgg_norm", "pixel_mean", "norm_epsilon")
DETECTOR_FIELDS = (
    *BASE_FIELDS, "finest_stride", "channels", "head_convs", "head_norm", "p6_from", "p7_relu",
    "prior_sizes", "prior_scales", "prior_ratios", "base_priors", "fitted_stride", "prior_clamp",
)  # fmt: skip
# A smaller epsilon shows that batch norm was frozen when the weights were trained. It must stay so:
# a channel that is always 0 has variance 0, by which its gradient would be divided.
MIN_LIVE_EPSILON = 1e-6
# torchvision's detectors that were trained on COCO.
COCO_DETECTORS = {"retinanet": "retinanet_resnet50_fpn_v2", "ssd300": "ssd300_vgg16"}


class Weights(NamedTuple):
    """A detector's weights; empty if they are random, or only those of the base."""

    changes: dict  # the fields of a recipe that they decide
    state: dict = None
    classes: list = None  # that its heads have learned; without heads, None
    resize: int = None  # the short side of the images that ours were trained on


def find_weights(recipe):
    """The Weights that a recipe names; a file is recognised by the names of its tensors."""
    if recipe.weights == "none":
        return Weights({})
    if recipe.weights in ("imagenet", "imagenet_v2"):
        # Known before anything is fetched: torchvision's bases are as wide as the papers'.
        return Weights(dict(base_width=64))
    path = locate(recipe)
    content = checkpoint.read(path)
    width = width_of_base(content, path)
    if width:
        return Weights(dict(base_width=width))
    content, family = open_checkpoint(path, content)
    learned = checkpoint.recipe_of(content, path)
    names = BASE_FIELDS if recipe.only_base else DETECTOR_FIELDS
    changes = {name: getattr(learned, name) for name in names}
    if learned.vgg_norm == "none":
        # It can be given norms: whether it is, is for the recipe to say.
        del changes["vgg_norm"]
    if learned.norm_epsilon < MIN_LIVE_EPSILON:
        changes["frozen_norm"] = True
    if recipe.only_base:
        base = {n: value for n, value in content["model"].items() if n.startswith("base.")}
        return Weights(changes, base)
    resize = learned.resize if family == "ours" else None
    return Weights(changes, content["model"], content["classes"], resize)


def load_weights(model, dataset, recipe, weights):
    """Load the weights that a recipe names into a new model -> lines that say what was loaded.

    dataset: the images to train on. Batch norm that the weights lack is fitted to some of them.
    """
    if recipe.weights == "none":
        return ["weights      random"]
    if weights.state is None:
        path = locate(recipe)
        state = checkpoint.read(path)
        load_base = load_vgg if recipe.model in SSD_SIDES else load_resnet
        with checkpoint.mismatch_is_an_error(f"{path}: not the weights of this detector's base"):
            load_base(model, state)
        lines = [f"weights      {path}, in the base"]
    else:
        state = weights.state
        lines = [f"weights      {recipe.weights}{'' if weights.classes else ', in the base'}"]
        loaded = load_matching(model, dataset.classes, state, weights.classes)
        lines += loaded if weights.classes else []
    if lacks_norms(model, state):
        fit_norms(model, dataset, recipe, keeps_maps=weights.classes is not None)
        lines.append("batch norm   new in the VGG, set so that it computes the same at first")
    return lines


def lacks_norms(model, state):
    """Whether a model has batch norm in its base that the state of a file lacks."""
    return bool(model.base.norms()) and not any(name.endswith("running_mean") for name in state)


@torch.no_grad()
def fit_norms(model, dataset, recipe, keeps_maps, count=8):
    """Set the new batch norms of a VGG so that, for some images of a dataset, it computes the same
    as without them.

    The weights of a convolution before batch norm may have any size, which it divides by, but the
    steps of training have not: so weights and norms get the size that they have in a new network.
    The feature maps then have another size than in the file, unless keeps_maps is set, for heads
    that have learned it.
    """
    norms = model.base.norms()
    convs = dict(zip(norms, model.base.convolutions(), strict=True))
    kept = (model.base.conv4[-1], norms[-1]) if keeps_maps else ()
    factors = {}
    for norm, conv in convs.items():
        size = conv.weight.square().mean().sqrt()
        he_size = math.sqrt(2 / conv.weight[0].numel())
        factors[norm] = he_size / size if size else 1.0
        conv.weight.mul_(factors[norm])
    ratio = 1.0  # of a layer's inputs in the file to those here

    def fit(norm, inputs):
        nonlocal ratio
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        # What the layer returns in the file: the same bias is added to more or less than here.
        bias = convs[norm].bias
        ratio = ratio / factors[norm]
        file_mean = (mean - bias) * ratio + bias
        file_deviation = (variance + norm.eps).sqrt() * ratio
        ratio = 1.0 if norm in kept else file_deviation.square().mean().sqrt()
        norm.bias.copy_(file_mean / ratio)
        norm.weight.copy_(file_deviation / ratio)

    hooks = [norm.register_forward_pre_hook(fit) for norm in norms]
    step = len(dataset) // count + 1
    samples = [dataset[0, index, (0, 0)] for index in range(0, len(dataset), step)]
    images, _ = build_collate(recipe)(samples)
    model.eval().base((images - model.mean) / model.std)
    for hook in hooks:
        hook.remove()


def locate(recipe):
    """The path of a recipe's weights, by its name or in weights/; torchvision's are fetched."""
    if recipe.weights == "coco":
        if recipe.model not in COCO_DETECTORS:
            raise UserError(
                f"torchvision has published no COCO weights of {recipe.model}: use --weights "
                "imagenet"
            )
        return fetch_weights(get_model_weights(COCO_DETECTORS[recipe.model]).COCO_V1.url)
    if recipe.weights in ("imagenet", "imagenet_v2"):
        if recipe.model in SSD_SIDES:
            reduced = FOLDER / "vgg16_reducedfc.pth"
            url = get_model_weights("vgg16").IMAGENET1K_FEATURES.url
            return reduced if reduced.exists() else fetch_weights(url)
        versions = get_model_weights(f"resnet{recipe.depth}")
        if recipe.weights == "imagenet":
            return fetch_weights(versions.IMAGENET1K_V1.url)
        if not hasattr(versions, "IMAGENET1K_V2"):
            raise UserError(
                f"--weights imagenet_v2: torchvision has none for depth {recipe.depth}, only for "
                "50, 101 and 152"
            )
        return fetch_weights(versions.IMAGENET1K_V2.url)
    path = checkpoint_path(recipe.weights)
    return path if path.exists() else FOLDER / path


def load_resnet(model, state):
    """Load a ResNet's tensors by name, except for the layer that predicts ImageNet's classes."""
    model.base.load_state_dict(
        {name: value for name, value in state.items() if not name.startswith("fc.")}
    )


@torch.no_grad()
def load_vgg(model, state):
    """Load a VGG's convolutions in their order, and its batch norms.

    torchvision's file has the first thirteen of them; ssd.pytorch's has fc6 and fc7 as well.
    """
    statistics = [name for name in state if name.endswith("running_mean")]
    if statistics and not model.base.norms():
        raise RuntimeError('it has batch norm, which a recipe with vgg_norm="batch" takes')
    for norm, name in zip(model.base.norms(), statistics):
        tensors = {kind: state[name.replace("running_mean", kind)] for kind in norm.state_dict()}
        norm.load_state_dict(tensors)
    names = [name for name in state if name.endswith("weight") and state[name].ndim == 4]
    for layer, name in zip(model.base.convolutions(), names):
        layer.weight.copy_(state[name])
        layer.bias.copy_(state[name.replace("weight", "bias")])
    if not statistics:
        # They were trained on pixels that were not divided by a standard deviation.
        model.base.conv1[0].weight.mul_(model.std)


def checkpoint_path(name):
    """The path of a checkpoint that the user names; a URL is fetched first."""
    return fetch_weights(name) if name.startswith(("http://", "https://")) else Path(name)


def fetch_weights(url):
    """The path of a file at a URL, fetched into weights/ if it is not there."""
    name = url.partition("?")[0].partition("#")[0].rsplit("/", 1)[-1]
    # torchvision's names end with the first digits of a hash, which is then compared. Other files
    # of equal names, best.pth say, are told apart by the whole URL.
    digits = Path(name).stem.rsplit("-", 1)[-1] if url.startswith(TORCH_HUB) else ""
    path = FOLDER / (name if digits else f"{short_hash(url)}-{name}")
    if not path.exists():
        print(f"fetching {path}")
        try:
            fetch(url, path, partial(damage_of_weights, digits=digits))
        except UserError as mistake:
            raise UserError(
                f"{mistake}: put {path} there, or, to train from scratch, use --weights none"
            ) from None
    return path


def damage_of_weights(path, digits):
    """What is wrong with a file of weights that was fetched, or nothing."""
    content = path.read_bytes()
    if content[:1] == b"<":
        return "what came is a web page"
    if digits and not hashlib.sha256(content).hexdigest().startswith(digits):
        return "what came has another hash than its name says"
    return "what came is cut off" if content[:2] == b"PK" and not is_zipfile(path) else ""


@torch.no_grad()
def load_matching(model, classes, state, source_classes=None):
    """Copy all tensors that fit into the model -> lines that say what was copied.

    If the classes differ, the layers that predict them keep their initial values, except for the
    rows of classes that have the same name in both.
    """
    layers, background = model.class_layers()
    class_parameters = {id(value) for layer in layers for value in layer.parameters()}
    class_names = {
        name for name, value in model.named_parameters() if id(value) in class_parameters
    }
    same_classes = source_classes is None or list(classes) == list(source_classes)
    shared = [name for name in classes if name in (source_classes or ())]
    loaded = []
    rows = []
    kept_initial = []
    for name, value in model.state_dict().items():
        source = state.get(name)
        if source is None:
            kept_initial.append(f"{name} (not in the file)")
        elif name in class_names and not same_classes:
            if copy_class_rows(value, source, classes, source_classes, shared, background):
                rows.append(name)
            else:
                kept_initial.append(f"{name} (other priors)")
        elif source.shape == value.shape:
            value.copy_(source)
            loaded.append(name)
        else:
            kept_initial.append(f"{name} ({list(source.shape)}, here {list(value.shape)})")
    unused = [name for name in state if name not in model.state_dict()]
    lines = [f"loaded       {len(loaded)} tensors"]
    if rows:
        new = [name for name in classes if name not in shared]
        kept = ", ".join(shared) or "none"
        lines.append(f"class rows   kept: {kept}; new: {', '.join(new) or 'none'}")
    if kept_initial:
        lines.append(f"as before    {some(kept_initial, count=6)}")
    if unused:
        lines.append(f"left out     {some(unused, count=6)}")
    return lines


def copy_class_rows(value, source, classes, source_classes, shared, background):
    """Copy the rows of shared classes, and of the background they were compared with -> whether
    the priors agree."""
    shapes = len(value) // (background + len(classes))
    source_shapes = len(source) // (background + len(source_classes))
    if shapes != source_shapes or value.shape[1:] != source.shape[1:]:
        return False
    rows = value.unflatten(0, (shapes, -1))
    source_rows = source.unflatten(0, (shapes, -1))
    if shared:
        rows[:, :background] = source_rows[:, :background]
    for name in shared:
        row = background + classes.index(name)
        source_row = background + source_classes.index(name)
        rows[:, row] = source_rows[:, source_row]
    return True
