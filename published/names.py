"""How each program names the tensors of a RetinaNet: its prefixes, and ours."""

from data.errors import UserError


def pytorch_retinanet(state):
    """Prefixes of pytorch-retinanet's names -> prefixes of ours."""
    names = {name: f"base.{name}" for name in ("conv1.", "bn1.", "layer", "fc.")}
    for i, level in enumerate((3, 4, 5)):
        names[f"fpn.P{level}_1."] = f"pyramid.lateral.{i}."
        names[f"fpn.P{level}_2."] = f"pyramid.smooth.{i}."
    names |= {"fpn.P6.": "pyramid.p6.", "fpn.P7_2.": "pyramid.p7."}
    for theirs, ours in (("classificationModel", "class_head"), ("regressionModel", "box_head")):
        for i in range(4):
            names[f"{theirs}.conv{i + 1}."] = f"{ours}.{2 * i}."
        names[f"{theirs}.output."] = f"{ours}.8."
    return names


def odtk(state):
    """The same for NVIDIA's retinanet-examples, whose heads are named as ours."""
    backbones = {name.split(".")[1] for name in state if name.startswith("backbones.")}
    if len(backbones) != 1:
        raise UserError(f"it has {len(backbones)} base networks, where one is expected")
    prefix = f"backbones.{backbones.pop()}"
    names = {f"{prefix}.features.": "base.", "cls_head.": "class_head."}
    for i, level in enumerate((3, 4, 5)):
        names[f"{prefix}.lateral{level}."] = f"pyramid.lateral.{i}."
        names[f"{prefix}.smooth{level}."] = f"pyramid.smooth.{i}."
    return names | {f"{prefix}.pyramid{level}.": f"pyramid.p{level}." for level in (6, 7)}


def torchvision(state, head_convs=4):
    """The same for torchvision: its first release, older and newer names, and its second."""
    names = {"backbone.body.": "base.", "backbone.fpn.extra_blocks.": "pyramid."}
    for i in range(4):
        for end in ("", "0."):
            names[f"backbone.fpn.inner_blocks.{i}.{end}"] = f"pyramid.lateral.{i}."
            names[f"backbone.fpn.layer_blocks.{i}.{end}"] = f"pyramid.smooth.{i}."
    for theirs, ours in (("classification", "class_head"), ("regression", "box_head")):
        head = f"head.{theirs}_head"
        # The second release has a norm between each convolution and its ReLU.
        layers = 3 if has_group_norm(state) else 2
        for i in range(head_convs):
            names[f"{head}.conv.{2 * i}."] = f"{ours}.{2 * i}."
            names[f"{head}.conv.{i}.0."] = f"{ours}.{layers * i}."
            names[f"{head}.conv.{i}.1."] = f"{ours}.{layers * i + 1}."
        for last in ("cls_logits.", "bbox_reg."):
            names[f"{head}.{last}"] = f"{ours}.{head_convs * layers}."
    return names


def has_group_norm(state):
    """Whether these are the tensors of torchvision's second RetinaNet."""
    return "head.classification_head.conv.0.1.weight" in state


def mmdetection(state):
    """The same for MMDetection."""
    names = {"backbone.": "base."}
    for i in range(3):
        names[f"neck.lateral_convs.{i}.conv."] = f"pyramid.lateral.{i}."
        names[f"neck.fpn_convs.{i}.conv."] = f"pyramid.smooth.{i}."
    names |= {"neck.fpn_convs.3.conv.": "pyramid.p6.", "neck.fpn_convs.4.conv.": "pyramid.p7."}
    for theirs, ours, last in (("cls", "class_head", "cls"), ("reg", "box_head", "reg")):
        for i in range(4):
            names[f"bbox_head.{theirs}_convs.{i}.conv."] = f"{ours}.{2 * i}."
        names[f"bbox_head.retina_{last}."] = f"{ours}.8."
    return names


RETINANET = {
    "pytorch-retinanet": pytorch_retinanet,
    "odtk": odtk,
    "torchvision": torchvision,
    "mmdetection": mmdetection,
}


def rename(state, prefixes):
    """The state with our names, by the longest prefix that a name has; unchanged without one."""
    longest_first = sorted(prefixes, key=len, reverse=True)
    renamed = {}
    for name, value in state.items():
        prefix = next((prefix for prefix in longest_first if name.startswith(prefix)), "")
        renamed[prefixes.get(prefix, "") + name.removeprefix(prefix)] = value
    return renamed
