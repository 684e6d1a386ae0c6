"""Published checkpoints: which program wrote a file, and its tensors as ours.

Six families are told apart by the names of their tensors: pytorch-retinanet, NVIDIA's
retinanet-examples (odtk), torchvision, MMDetection, ssd.pytorch and lufficc's SSD. Where programs
differ, the numbers are changed so that our networks compute what theirs do: the order of the prior
shapes, the scale of the deltas, the column of the background, pixels that were not divided by a
standard deviation.
"""

import re

import torch

from data.text import UserError
from layers.boxes import DELTA_SCALE
from published.conventions import CONVENTIONS, retinanet_priors, ssd_sizes
from ssd import STD
from utils.recipe import MAX_WIDTH

# A tensor that only this family has. torchvision and MMDetection have two kinds of detectors.
MARKS = {
    "fpn.P3_1.weight": "pytorch-retinanet",
    "cls_head.8.weight": "odtk",
    "vgg.0.weight": "ssd.pytorch",
    "backbone.vgg.0.weight": "lufficc",
    "backbone.body.conv1.weight": "torchvision",
    "backbone.scale_weight": "torchvision",
    "bbox_head.retina_cls.weight": "mmdetection",
    "bbox_head.cls_convs.0.0.weight": "mmdetection",
}
# The first tensor of a ResNet or a VGG, whose length is the base's width.
BASE_TENSORS = {"conv1.weight", "features.0.weight", "0.weight"}
# A ResNet's depth by the blocks in its third stage, and whether they are bottlenecks.
DEPTH_OF_BLOCKS = {(2, False): 18, (6, False): 34, (6, True): 50, (23, True): 101, (36, True): 152}
SHAPES_PER_CELL = 9  # of RetinaNet's priors: three ratios of three scales
# odtk's prior shapes go scale by scale through the ratios 1, 2, 1/2 (height / width); ours go ratio
# by ratio through 1/2, 1, 2.
ODTK_ORDER = [scale * 3 + ratio for ratio in (2, 0, 1) for scale in range(3)]
# How the parts of a RetinaNet are named: our layers -> patterns of theirs, which are counted in the
# order of the numbers in them; and what the names of the base begin with.
RETINANET_PARTS = {
    "pytorch-retinanet": {
        "pyramid.lateral.{}": r"fpn\.P[345]_1",
        "pyramid.smooth.{}": r"fpn\.P[345]_2",
        "pyramid.p6": r"fpn\.P6",
        "pyramid.p7": r"fpn\.P7_2",
        "class_head.convs.{}": r"classificationModel\.conv\d",
        "class_head.last": r"classificationModel\.output",
        "box_head.convs.{}": r"regressionModel\.conv\d",
        "box_head.last": r"regressionModel\.output",
        "base.": r"(?=conv1\.|bn1\.|layer\d|fc\.)",
    },
    "odtk": {
        "pyramid.lateral.{}": r"backbones\.\w+\.lateral\d",
        "pyramid.smooth.{}": r"backbones\.\w+\.smooth\d",
        "pyramid.p6": r"backbones\.\w+\.pyramid6",
        "pyramid.p7": r"backbones\.\w+\.pyramid7",
        "class_head.convs.{}": r"cls_head\.[0246]",
        "class_head.last": r"cls_head\.8",
        "box_head.convs.{}": r"box_head\.[0246]",
        "box_head.last": r"box_head\.8",
        "base.": r"backbones\.\w+\.features\.",
    },
    # Older and newer names of its first RetinaNet, and those of its second.
    "torchvision": {
        "pyramid.lateral.{}": r"backbone\.fpn\.inner_blocks\.\d(\.0)?",
        "pyramid.smooth.{}": r"backbone\.fpn\.layer_blocks\.\d(\.0)?",
        "pyramid.p6": r"backbone\.fpn\.extra_blocks\.p6",
        "pyramid.p7": r"backbone\.fpn\.extra_blocks\.p7",
        "class_head.convs.{}": r"head\.classification_head\.conv\.\d(\.0)?",
        "class_head.norms.{}": r"head\.classification_head\.conv\.\d\.1",
        "class_head.last": r"head\.classification_head\.cls_logits",
        "box_head.convs.{}": r"head\.regression_head\.conv\.\d(\.0)?",
        "box_head.norms.{}": r"head\.regression_head\.conv\.\d\.1",
        "box_head.last": r"head\.regression_head\.bbox_reg",
        "base.": r"backbone\.body\.",
    },
    "mmdetection": {
        "pyramid.lateral.{}": r"neck\.lateral_convs\.\d\.conv",
        "pyramid.smooth.{}": r"neck\.fpn_convs\.[012]\.conv",
        "pyramid.p6": r"neck\.fpn_convs\.3\.conv",
        "pyramid.p7": r"neck\.fpn_convs\.4\.conv",
        "class_head.convs.{}": r"bbox_head\.cls_convs\.\d\.conv",
        "class_head.last": r"bbox_head\.retina_cls",
        "box_head.convs.{}": r"bbox_head\.reg_convs\.\d\.conv",
        "box_head.last": r"bbox_head\.retina_reg",
        "base.": r"backbone\.",
    },
}
# How the parts of an SSD are named: the VGG's convolutions, the extra ones, the box heads, the
# class heads, and the scale of conv4_3.
SSD_PARTS = {
    "ssd.pytorch": (r"vgg\.\d+", r"extras\.\d+", r"loc\.\d+", r"conf\.\d+", "L2Norm.weight"),
    "lufficc": (
        r"backbone\.vgg\.\d+",
        r"backbone\.extras\.\d+",
        r"box_head\.predictor\.reg_headers\.\d+",
        r"box_head\.predictor\.cls_headers\.\d+",
        "backbone.l2_norm.weight",
    ),
    "mmdetection": (
        r"backbone\.features\.\d+",
        r"neck\.extra_layers\.\d+\.\d+\.conv",
        r"bbox_head\.reg_convs\.\d+\.0",
        r"bbox_head\.cls_convs\.\d+\.0",
        "neck.l2_norm.weight",
    ),
    "torchvision": (
        r"backbone\.(features\.\d+|extra\.0\.[\d.]+)",
        r"backbone\.extra\.[1-9]\.\d+",
        r"head\.regression_head\.module_list\.\d+",
        r"head\.classification_head\.module_list\.\d+",
        "backbone.scale_weight",
    ),
}
VGG_LAYERS = [
    f"base.conv{stage}.{3 * i}"
    for stage, convs in enumerate((2, 2, 3, 3, 3), start=1)
    for i in range(convs)
]


def family_of(names):
    """The family whose checkpoints have tensors of these names, or None."""
    return next((family for mark, family in MARKS.items() if mark in names), None)


def convert(state, dated=True, prior_sizes=()):
    """A published state dict -> ours, the fields of a recipe that it decides, and its family.

    dated: whether an odtk file is from its first release, which rounded priors. prior_sizes: the
    sizes of an SSD's priors, if they are not its program's defaults.
    """
    family = family_of(state)
    if family is None:
        unknown = ", ".join(list(state)[:5])[:300]
        more = " ..." if len(state) > 5 else ""
        raise UserError(f"no known detector has such tensors: {unknown}{more}")
    is_ssd = family in SSD_PARTS and SSD_PARTS[family][-1] in state
    ours, changes = ssd_state(state, family) if is_ssd else retinanet_state(state, family)
    if family == "torchvision":
        version = "v2" if has_group_norm(state) else "v1"
        family += " ssd" if is_ssd else f" {version}"
    elif family == "mmdetection" and is_ssd:
        family += " ssd"
    elif family == "odtk" and dated:
        family += " 19.04"
    changes |= CONVENTIONS[family]
    if family == "torchvision v1" and any(name.endswith("num_batches_tracked") for name in state):
        # Only the published weights, whose batch norm was frozen all along, have no epsilon.
        changes["norm_epsilon"] = 1e-5
    if is_ssd:
        changes["prior_sizes"] = tuple(prior_sizes) or ssd_sizes(changes["model"], family, ours)
    else:
        changes["base_priors"] = retinanet_priors(family)
    return ours, changes, family


def width_of_base(content, path):
    """The width of the base whose weights are all that a file holds; None if it holds others."""
    first = min(BASE_TENSORS & set(content), default=None)
    if first is None or family_of(content) is not None:
        return None
    weight = content[first]
    if not torch.is_tensor(weight) or weight.ndim != 4 or not 0 < len(weight) <= MAX_WIDTH:
        raise UserError(f"{path}: not the weights of a detector's base: {first} does not fit")
    return len(weight)


def retinanet_state(state, family):
    """A RetinaNet's state dict -> ours, and the fields of a recipe that it decides.

    The last layers of the heads get our order of prior shapes and our scale of deltas.
    """
    names = retinanet_names(state, family)
    ours = {names[theirs]: value for theirs, value in state.items()}
    ours = {name: value for name, value in ours.items() if not name.startswith("base.fc.")}
    for name in [name for name in ours if name.endswith("running_mean")]:
        # Frozen batch norm counts no batches.
        ours.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    shapes = len(ours["box_head.last.bias"]) // 4
    if shapes != SHAPES_PER_CELL:
        raise UserError(
            f"its names are {family}'s, but it predicts {shapes} boxes for each cell, where "
            f"RetinaNet has {SHAPES_PER_CELL} priors"
        )
    for head in ("box_head", "class_head"):
        layers = [f"{head}.last.weight", f"{head}.last.bias"]
        if family == "odtk":
            for name in layers:
                ours[name] = ours[name].unflatten(0, (9, -1))[ODTK_ORDER].flatten(0, 1)
        if head == "box_head" and family != "pytorch-retinanet":
            # Their deltas have no scale, ours are in units of DELTA_SCALE.
            for name in layers:
                ours[name] = ours[name].double() / delta_scale(ours[name])
    ours = {n: value.float() if value.is_floating_point() else value for n, value in ours.items()}
    blocks = {name.split(".")[2] for name in ours if name.startswith("base.layer3.")}
    head_convs = {name.split(".")[2] for name in ours if name.startswith("box_head.convs.")}
    return ours, dict(
        model="retinanet",
        depth=DEPTH_OF_BLOCKS[len(blocks), "base.layer3.0.conv3.weight" in ours],
        base_width=len(ours["base.conv1.weight"]),
        finest_stride=8,
        channels=len(ours["pyramid.lateral.0.bias"]),
        head_convs=len(head_convs),
        head_norm="group" if has_group_norm(state) else "none",
        prior_sizes=(),
        prior_scales=(),
        prior_ratios=(),
    )


def retinanet_names(state, family):
    """The names of a RetinaNet's tensors -> ours; an unknown one stays as it is."""
    *parts, (base, base_pattern) = RETINANET_PARTS[family].items()
    layers = {
        theirs: ours.format(i)
        for ours, pattern in parts
        for i, theirs in enumerate(numbered(state, pattern))
    }
    names = {}
    for name in state:
        layer, _, kind = name.rpartition(".")
        known = f"{layers[layer]}.{kind}" if layer in layers else name
        names[name] = re.sub(f"^{base_pattern}", base, known)
    if len(set(names.values())) < len(names):
        raise UserError("it has several base networks, where one is expected")
    return names


def has_group_norm(state):
    """Whether these are the tensors of torchvision's second RetinaNet."""
    return "head.classification_head.conv.0.1.weight" in state


def delta_scale(layer):
    """DELTA_SCALE for each row of a layer that predicts deltas, to multiply or divide it by."""
    scale = torch.tensor(DELTA_SCALE, dtype=torch.float64).repeat(len(layer) // 4)
    return scale.view(-1, *[1] * (layer.ndim - 1))


def ssd_names(state, family):
    """Our names of an SSD's layers -> theirs, matched by their order in the network."""
    base, extras, box_heads, class_heads = (
        numbered(state, pattern) for pattern in SSD_PARTS[family][:-1]
    )
    # torchvision counts the last convolutions of the VGG among the extra ones.
    base = sorted(base, key=lambda name: "extra" in name)
    names = dict(zip([*VGG_LAYERS, "base.fc.0", "base.fc.3"], base))
    for i, name in enumerate(extras):
        names[f"extras.{i // 2}.{2 * (i % 2)}"] = name
    for i, (box_head, class_head) in enumerate(zip(box_heads, class_heads)):
        names |= {f"box_heads.{i}": box_head, f"class_heads.{i}": class_head}
    return names


def ssd_state(state, family):
    """An SSD's state dict -> ours, and the fields of a recipe that it decides.

    The first layer is changed to take our pixels, and the background's column to be the first.
    """
    names = ssd_names(state, family)
    ours = dict(scale=state[SSD_PARTS[family][-1]].float())
    for our_name, their_name in names.items():
        for kind in ("weight", "bias"):
            ours[f"{our_name}.{kind}"] = state[f"{their_name}.{kind}"].float().clone()
    # Their pixels were not divided by a standard deviation.
    deviation = torch.tensor(STD).double().view(1, 3, 1, 1)
    first = state[f"{names['base.conv1.0']}.weight"]
    ours["base.conv1.0.weight"] = (first.double() * deviation).float()
    if family == "mmdetection":
        # Its background is the last column, ours is the first.
        for name in [name for name in ours if name.startswith("class_heads")]:
            shapes = len(ours[name.replace("class", "box")]) // 4
            columns = ours[name].unflatten(0, (shapes, -1))
            ours[name] = columns.roll(1, dims=1).flatten(0, 1)
    model = "ssd512" if any("box_heads.6" in name for name in names) else "ssd300"
    return ours, dict(model=model, prior_ratios=())


def numbered(state, pattern):
    """The layers whose names match a pattern, in the order of the numbers in them."""
    layers = []
    for name in state:
        layer = name.removesuffix(".weight")
        if layer != name and re.fullmatch(pattern, layer):
            layers.append(layer)
    return sorted(layers, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
