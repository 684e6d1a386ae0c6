"""Our detectors as torchvision's: lines of Python that build its model, and its state dict."""

from collections import OrderedDict

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

import ssd
from data.text import UserError
from layers.resnet import DEPTHS
from layers.vgg import VGG
from published.families import delta_scale, retinanet_names, ssd_names
from retinanet import group_norm
from utils.build import SSD_SIDES, build_levels

RETINANET_CODE = """\
from functools import partial

import torch
from torch import nn
from torchvision.models import resnet
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

norm_layer = partial(nn.BatchNorm2d, eps={epsilon})
base = resnet.ResNet(resnet.{block}, {blocks}, norm_layer=norm_layer)
# With 64 channels in the first layer, these lines change nothing.
base.inplanes = {width}
base.conv1 = nn.Conv2d(3, {width}, 7, stride=2, padding=3, bias=False)
base.bn1 = norm_layer({width})
for i, blocks in enumerate({blocks}):
    stage = base._make_layer(resnet.{block}, {width} << i, blocks, stride=2 if i else 1)
    setattr(base, f"layer{{i + 1}}", stage)
coarser = LastLevelP6P7({p6_channels}, {channels})
backbone = BackboneWithFPN(base, {layers}, {base_channels}, {channels}, coarser)
priors = {priors}
strides = {strides}  # pixels from cell to cell; None: the image's side // its cells


class Anchors(AnchorGenerator):
    def grid_anchors(self, grid_sizes, fitted_strides):
        return super().grid_anchors(grid_sizes, strides or fitted_strides)


anchors = Anchors([[0]] * len(priors), [[1]] * len(priors))
anchors.cell_anchors = [torch.tensor(level) for level in priors]
head = RetinaNetHead({channels}, {shapes}, {classes}, norm_layer={norm})
for part in (head.classification_head, head.regression_head):
    part.conv = part.conv[:{head_convs}]
model = RetinaNet(
    backbone, {classes}, {resize}, {mean}, {std}, anchors, head,
    score_thresh={score_threshold}, nms_thresh={nms_iou},
    detections_per_img={max_detections}, topk_candidates={topk},
)
"""
SSD300_CODE = """\
import torch
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator

model = ssd300_vgg16(
    weights_backbone=None, num_classes={columns}, image_mean={mean},
    score_thresh={score_threshold}, nms_thresh={nms_iou},
    detections_per_img={max_detections}, topk_candidates={topk},
)
ratios, sizes = [[2], [2, 3], [2, 3], [2, 3], [2], [2]], {sizes}
model.anchor_generator = DefaultBoxGenerator(
    ratios, scales=[size / 300 for size in sizes], steps={strides}, clip={clip}
)
"""


def torchvision_code(loaded):
    """Lines of Python that build torchvision's model of a LoadedDetector, as `model`.

    Its labels are ours, plus 1 for SSD. It resizes images and decodes boxes in torchvision's way.
    """
    recipe = loaded.recipe
    refuse_what_differs(loaded.model, recipe)
    common = dict(
        mean=in_torchvision_pixels(loaded.model.mean),
        std=in_torchvision_pixels(loaded.model.std),
        score_threshold=recipe.score_threshold,
        nms_iou=recipe.nms_iou,
        max_detections=recipe.max_detections,
        topk=recipe.pre_nms_topk,
    )
    if recipe.model in SSD_SIDES:
        return SSD300_CODE.format(
            columns=1 + len(loaded.classes),
            sizes=list(recipe.prior_sizes or ssd.SIZES[300]),
            strides=list(ssd.STRIDES[300]),
            clip=recipe.prior_clamp == "sizes",
            **common,
        )
    return retinanet_code(loaded, common)


def in_torchvision_pixels(values):
    """Numbers of our pixels, which go to 255, as numbers of torchvision's, which go to 1."""
    return [round(value / 255, 8) for value in values.flatten().tolist()]


def retinanet_code(loaded, common):
    """The lines for a RetinaNet. common: what they have in common with an SSD's."""
    recipe = loaded.recipe
    model = loaded.model
    levels = build_levels(recipe)
    groups = group_norm(recipe.channels).num_groups
    block, blocks = DEPTHS[recipe.depth]
    first = 6 - model.num_base_maps  # of the ResNet's feature maps that the pyramid takes
    base_channels = model.base.channels[-model.num_base_maps :]
    strides = [[level.stride, level.stride] for level in levels]  # y, x
    return RETINANET_CODE.format(
        block=block.__name__,
        blocks=list(blocks),
        width=recipe.base_width,
        epsilon=recipe.norm_epsilon,
        channels=recipe.channels,
        p6_channels=base_channels[-1] if recipe.p6_from == "c5" else recipe.channels,
        base_channels=base_channels,
        layers={f"layer{layer - 1}": str(layer - first) for layer in range(first, 6)},
        priors=[[list(prior) for prior in level.base_priors] for level in levels],
        strides=None if recipe.fitted_stride else strides,
        shapes=len(levels[0].base_priors),
        classes=len(loaded.classes),
        norm=f"partial(nn.GroupNorm, {groups})" if recipe.head_norm == "group" else None,
        head_convs=recipe.head_convs,
        resize=f"{recipe.resize}, {recipe.max_size}",
        **common,
    )


def refuse_what_differs(model, recipe):
    """Raise an error if torchvision has no such detector."""
    reason = ""
    if recipe.model == "ssd512":
        reason = "it has no SSD512"
    elif recipe.model == "ssd300" and (recipe.prior_ratios or recipe.base_priors):
        reason = "its SSD300 has the paper's ratios"
    elif recipe.model == "ssd300" and recipe.base_width != 64:
        reason = "the first layer of its VGG has 64 channels"
    elif recipe.prior_clamp == "centres":
        reason = "it does not move priors at the border, as ssd.pytorch does"
    elif not recipe.p7_relu:
        reason = "it has a ReLU before P7, like the paper"
    elif recipe.model == "retinanet" and recipe.head_convs > 4:
        reason = "its heads have four convolutions"
    elif recipe.p6_from == "c5" and recipe.channels == model.base.channels[-1]:
        reason = f"it makes P6 from P5 where C5 has as many channels, {recipe.channels}"
    if reason:
        raise UserError(f"torchvision cannot run this detector: {reason}")


def torchvision_state(loaded, code):
    """Our tensors under torchvision's names, as the model that the code builds loads them.

    Its RetinaNet predicts deltas in other units, and its SSD takes pixels that are not divided by a
    standard deviation. The tensors of these two layers are float64, so that they can be converted
    back exactly; load_state_dict rounds them. Its VGG has no batch norm, so ours becomes part of
    the convolutions.
    """
    scope = {}
    # The code is the text above with numbers of a recipe that was checked.
    exec(code, scope)
    theirs = scope["model"].state_dict()
    ours = loaded.model.state_dict()
    if loaded.recipe.model in SSD_SIDES:
        base = loaded.model.base
        if base.norms():
            plain = VGG()
            for layer, conv, norm in zip(plain.convolutions(), base.convolutions(), base.norms()):
                layer.load_state_dict(fuse_conv_bn_eval(conv, norm).state_dict())
            ours |= {f"base.{name}": value for name, value in plain.state_dict().items()}
        names = {}
        for our_name, their_name in ssd_names(theirs, "torchvision").items():
            names |= {f"{their_name}.{kind}": f"{our_name}.{kind}" for kind in ("weight", "bias")}
        names["backbone.scale_weight"] = "scale"
    else:
        names = retinanet_names(theirs, "torchvision")
    state = OrderedDict((name, ours[names[name]].clone()) for name in theirs)
    for name in ("weight", "bias"):
        name = f"head.regression_head.bbox_reg.{name}"
        if name in state:
            state[name] = state[name].double() * delta_scale(state[name])
    if loaded.recipe.model in SSD_SIDES:
        first = state["backbone.features.0.weight"]
        deviation = torch.tensor(ssd.STD).double().view(1, 3, 1, 1)
        state["backbone.features.0.weight"] = first.double() / deviation
    return state
