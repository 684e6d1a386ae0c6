"""Published checkpoints: whose a file is, and its tensors under our names, in our order and scale.

Six families are known by their keys: pytorch-retinanet, NVIDIA's retinanet-examples (odtk), torchvision, MMDetection,
ssd.pytorch and lufficc's SSD. What differs in the numbers themselves is folded in, so that our networks compute what
the published ones do: the order of prior shapes, the scale of deltas, where the background's column stands, pixels that
were not divided by a deviation.
"""
import re
from dataclasses import replace

import torch

from data.errors import UserError
from layers.boxes import DELTA_SCALE
from ssd import SIZES, STD
from utils.build import SIDES
from utils.conventions import CONVENTIONS
from utils.recipes import RECIPES

# Blocks of the third stage, and whether they are bottlenecks.
DEPTHS = {(2, False): 18, (6, False): 34, (6, True): 50, (23, True): 101, (36, True): 152}
# odtk's prior shapes, scale by scale with the ratios 1, 2, 1/2, in our order: ratio by ratio, 1/2, 1, 2.
ODTK_ORDER = [scale * 3 + ratio for ratio in (2, 0, 1) for scale in range(3)]
# A tensor that only this family has.
MARKS = {
    "fpn.P3_1.weight": "pytorch-retinanet", "cls_head.8.weight": "odtk", "vgg.0.weight": "ssd.pytorch",
    "backbone.vgg.0.weight": "lufficc", "backbone.body.conv1.weight": "torchvision",
    "backbone.scale_weight": "torchvision", "bbox_head.retina_cls.weight": "mmdetection",
    "bbox_head.cls_convs.0.0.weight": "mmdetection"}
# RetinaNet's parts: how their names begin in a family, and in ours. The number in a name (first group of the pattern)
# becomes ours by taking away the third, and multiplying with the fourth value of a rule.
HEADS = (("class_head", "classificationModel", "head.classification_head", "bbox_head.cls_convs"),
         ("box_head", "regressionModel", "head.regression_head", "bbox_head.reg_convs"))
RETINANET = {
    "pytorch-retinanet": [
        (r"fpn\.P(\d)_1\.", "pyramid.lateral.{}.", 3, 1), (r"fpn\.P([345])_2\.", "pyramid.smooth.{}.", 3, 1),
        (r"fpn\.P(\d)(?:_2)?\.", "pyramid.p{}.", 0, 1),
        *((rf"{theirs}\.conv(\d)\.", f"{ours}.{{}}.", 1, 2) for ours, theirs, *_ in HEADS),
        *((rf"{theirs}\.output()\.", f"{ours}.8.", 0, 1) for ours, theirs, *_ in HEADS),
        (r"()(?=conv1|bn1|layer|fc)", "base.", 0, 1)],
    "odtk": [
        (r"backbones\.\w+\.features()\.", "base.", 0, 1),
        (r"backbones\.\w+\.lateral(\d)\.", "pyramid.lateral.{}.", 3, 1),
        (r"backbones\.\w+\.smooth(\d)\.", "pyramid.smooth.{}.", 3, 1),
        (r"backbones\.\w+\.pyramid(\d)\.", "pyramid.p{}.", 0, 1), (r"cls_head()\.", "class_head.", 0, 1)],
    "torchvision": [
        (r"backbone\.body()\.", "base.", 0, 1), (r"backbone\.fpn\.extra_blocks()\.", "pyramid.", 0, 1),
        (r"backbone\.fpn\.inner_blocks\.(\d)(?:\.0)?\.", "pyramid.lateral.{}.", 0, 1),
        (r"backbone\.fpn\.layer_blocks\.(\d)(?:\.0)?\.", "pyramid.smooth.{}.", 0, 1),
        *((rf"{theirs}\.conv\.(\d)\.0\.", f"{ours}.{{}}.", 0, 2) for ours, _, theirs, _ in HEADS),
        *((rf"{theirs}\.conv\.(\d)\.(?=[wb])", f"{ours}.{{}}.", 0, 1) for ours, _, theirs, _ in HEADS),
        *((rf"{theirs}\.(?:cls_logits|bbox_reg)()\.", f"{ours}.8.", 0, 1) for ours, _, theirs, _ in HEADS)],
    "mmdetection": [
        (r"backbone()\.", "base.", 0, 1), (r"neck\.lateral_convs\.(\d)\.conv\.", "pyramid.lateral.{}.", 0, 1),
        (r"neck\.fpn_convs\.([012])\.conv\.", "pyramid.smooth.{}.", 0, 1),
        (r"neck\.fpn_convs\.(\d)\.conv\.", "pyramid.p{}.", -3, 1),
        *((rf"{theirs}\.(\d)\.conv\.", f"{ours}.{{}}.", 0, 2) for ours, _, _, theirs in HEADS),
        (r"bbox_head\.retina_cls()\.", "class_head.8.", 0, 1), (r"bbox_head\.retina_reg()\.", "box_head.8.", 0, 1)]}
# torchvision's second release has a norm after each convolution of its heads.
GROUP = [
    *((rf"{theirs}\.conv\.(\d)\.0\.", f"{ours}.{{}}.", 0, 3) for ours, _, theirs, _ in HEADS),
    *((rf"{theirs}\.conv\.(\d)\.1\.", f"{ours}.{{}}.", -1 / 3, 3) for ours, _, theirs, _ in HEADS),
    *((rf"{theirs}\.(?:cls_logits|bbox_reg)()\.", f"{ours}.12.", 0, 1) for ours, _, theirs, _ in HEADS)]
# SSD's parts: VGG's convolutions, the extra ones, the heads of boxes and of classes, the scale of conv4_3.
SSD = {
    "ssd.pytorch": (r"vgg\.\d+", r"extras\.\d+", r"loc\.\d+", r"conf\.\d+", "L2Norm.weight"),
    "lufficc": (r"backbone\.vgg\.\d+", r"backbone\.extras\.\d+", r"box_head\.predictor\.reg_headers\.\d+",
                r"box_head\.predictor\.cls_headers\.\d+", "backbone.l2_norm.weight"),
    "mmdetection": (r"backbone\.features\.\d+", r"neck\.extra_layers\.\d+\.\d+\.conv", r"bbox_head\.reg_convs\.\d+\.0",
                    r"bbox_head\.cls_convs\.\d+\.0", "neck.l2_norm.weight"),
    "torchvision": (r"backbone\.(features\.\d+|extra\.0\.[\d.]+)", r"backbone\.extra\.[1-9]\.\d+",
                    r"head\.regression_head\.module_list\.\d+", r"head\.classification_head\.module_list\.\d+",
                    "backbone.scale_weight")}
VGG = [f"base.conv{stage}.{2 * i}" for stage, convs in enumerate((2, 2, 3, 3, 3), start=1) for i in range(convs)]


def family(names):
    """Whose checkpoint has such names; None if it is nobody's we know."""
    return next((whose for mark, whose in MARKS.items() if mark in names), None)


def convert(state, dated=True):
    """A published state dict -> ours, what it changes in a recipe, and its family.

    dated: whether an odtk file is one of its first release, whose priors were rounded.
    """
    whose = family(state)
    if whose is None:
        unknown = ", ".join(list(state)[:5])
        raise UserError(f"no known detector has such tensors: {unknown}{' ...' if len(state) > 5 else ''}")
    single_shot = SSD.get(whose, ("",) * 5)[-1] in state
    try:
        ours, changes = ssd_state(state, whose) if single_shot else retinanet_state(state, whose)
    except KeyError as missing:
        raise UserError(f"its names are {whose}'s, but it is neither a RetinaNet nor an SSD that is known here: "
                        f"{missing} is missing") from None
    if whose == "torchvision":
        whose += " ssd" if single_shot else " v2" if changes["head_norm"] == "group" else " v1"
    elif whose == "mmdetection" and single_shot:
        whose += " ssd"
    elif whose == "odtk" and dated:
        whose += " 19.04"
    own = CONVENTIONS[whose]
    if whose == "torchvision v1" and any(name.endswith("num_batches_tracked") for name in state):
        # Only the published weights, whose batch norm was always frozen, go without an epsilon.
        own = replace(own, norm_epsilon=1e-5)
    return ours, changes | dict(conventions=own), whose


def retinanet_state(state, whose):
    """Every tensor renamed; the last layers of the heads in our order and scale."""
    group = "head.classification_head.conv.0.1.weight" in state
    rules, last = (GROUP if group else []) + RETINANET[whose], 12 if group else 8
    ours = {renamed(name, rules): value.float() if value.is_floating_point() else value
            for name, value in state.items()}
    ours = {name: value for name, value in ours.items() if not name.startswith("base.fc.")}
    # Frozen batch norm counts no batches.
    ours = {name.replace("running_mean", "num_batches_tracked"): torch.tensor(0) for name in ours
            if name.endswith("running_mean")} | ours
    for head in ("box_head", "class_head"):
        # Before a norm there is no bias.
        ours |= {f"{head}.{3 * i}.bias": torch.zeros(256) for i in range(4)} if group else {}
        for name in (f"{head}.{last}.weight", f"{head}.{last}.bias") if whose == "odtk" else ():
            ours[name] = ours[name].view(9, -1, *ours[name].shape[1:])[ODTK_ORDER].flatten(0, 1)
    for name in (f"box_head.{last}.weight", f"box_head.{last}.bias") if whose != "pytorch-retinanet" else ():
        # They predict deltas as they are, we in units of DELTA_SCALE.
        scale = torch.tensor(DELTA_SCALE).repeat(len(ours[name]) // 4)
        ours[name] = ours[name] / scale.view(-1, *[1] * (ours[name].ndim - 1))
    blocks = len({name.split(".")[2] for name in ours if name.startswith("base.layer3.")})
    return ours, dict(
        model="retinanet", depth=DEPTHS[blocks, "base.layer3.0.conv3.weight" in ours], channels=256, head_convs=4,
        head_norm="group" if group else "none", prior_sizes=(), prior_scales=(), prior_ratios=())


def renamed(name, rules):
    """Our name of a tensor, by the first rule whose pattern its name begins with; unchanged without one."""
    for pattern, ours, first, step in rules:
        found = re.match(pattern, name)
        if found:
            number = round((int(found[1]) - first) * step) if found[1] else ""
            return ours.format(number) + name[found.end():]
    return name


def ssd_state(state, whose):
    """Convolutions by their order, the heads by their number."""
    *patterns, scale = SSD[whose]
    base, extras, boxes, classes = (numbered(state, pattern) for pattern in patterns)
    base = sorted(base, key=lambda name: "extra" in name)
    names = dict(zip([*VGG, "base.fc.0", "base.fc.2"], base))
    names |= {f"extras.{i // 2}.{2 * (i % 2)}": name for i, name in enumerate(extras)}
    names |= {f"box_heads.{i}": name for i, name in enumerate(boxes)}
    names |= {f"class_heads.{i}": name for i, name in enumerate(classes)}
    ours = {f"{our}.{kind}": state[f"{their}.{kind}"].float().clone()
            for our, their in names.items() for kind in ("weight", "bias")} | dict(scale=state[scale].float())
    ours["base.conv1.0.weight"] *= torch.tensor(STD).view(1, 3, 1, 1)
    for name in [name for name in ours if name.startswith("class_heads")] if whose == "mmdetection" else ():
        # Its background is the last column, ours the first.
        shapes = len(ours[name.replace("class", "box")]) // 4
        ours[name] = ours[name].view(shapes, -1, *ours[name].shape[1:]).roll(1, dims=1).flatten(0, 1)
    model = "ssd512" if len(boxes) == 7 else "ssd300"
    count = len(ours["class_heads.0.bias"]) // (len(ours["box_heads.0.bias"]) // 4) - 1
    sizes = RECIPES[f"{model}_{'voc' if count == 20 and whose != 'torchvision' else 'coco'}"].prior_sizes
    if whose == "mmdetection":
        sizes = tuple(int(size) for size in sizes or SIZES[SIDES[model]])
    return ours, dict(model=model, prior_sizes=sizes, prior_ratios=())


def numbered(state, pattern):
    """The layers whose names fit a pattern, by the numbers in them."""
    layers = {name.removesuffix(".weight") for name in state if re.fullmatch(pattern + r"\.weight", name)}
    return sorted(layers, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
