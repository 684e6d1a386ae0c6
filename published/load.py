"""Published detectors as checkpoints of ours, with their classes and with what they were judged by."""
from dataclasses import asdict

import torch
from torchvision.models import get_model_weights

from data.errors import UserError
from data.formats import voc
from published.families import convert
from utils import checkpoint
from utils.build import build_detector
from utils.recipes import RECIPES

ALL = 1_000_000  # as many as there are
SSD = dict(min_score=0.01, max_iou=0.45, candidates=200, candidates_of="class", limit=ALL)
# What their programs do by default, where it is not what we do.
JUDGED = {
    "pytorch-retinanet": dict(resize=608, max_size=1024, candidates=ALL, limit=ALL, batch=1),
    "torchvision v1": dict(limit=300, batch=1), "torchvision v2": dict(limit=300, batch=1),
    "torchvision ssd": SSD | dict(candidates=400, limit=200),
    "mmdetection ssd": SSD | dict(min_score=0.02, candidates=1000, candidates_of="level", limit=200),
    "ssd.pytorch": SSD, "lufficc": SSD | dict(candidates=ALL, limit=100),
}


def opened(path, content=None):
    """Anybody's file, or what was read from it, as a checkpoint of ours -> content, family ("ours" if it was one)."""
    content = content or checkpoint.read(path)
    if checkpoint.is_ours(content):
        return content, "ours"
    try:
        return as_ours(content)
    except UserError as mistake:
        raise UserError(f"{path}: {mistake}") from None


def as_ours(content):
    """A published detector's content -> ours, family."""
    state = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), content)
    state = {name.removeprefix("module."): value for name, value in state.items()}
    state, changes, whose = convert(state, dated="ratios" not in content)
    meta = content.get("meta") or {}
    if "style='caffe'" in f"{meta.get('config')}{meta.get('cfg')}":
        raise UserError("its ResNet is of style caffe, with other strides and pixels: take the file of style pytorch")
    state, classes = with_names(state, meta)
    recipe = RECIPES["retinanet_coco"] | JUDGED.get(whose, {}) | changes | dict(jitter=())
    if len(classes) == len(voc.CLASSES):
        recipe |= dict(dataset="voc", metric="voc07")
    return dict(model=state, recipe=asdict(recipe), classes=classes), whose


def with_names(state, meta):
    """The state without the logits of classes that do not exist, and the names of those that do.

    Where the file does not tell them, COCO's and VOC's are known by their number. torchvision has a logit for each of
    COCO's 91 category numbers, of which 80 are in use.
    """
    heads = predicting(state)
    background = int("class_heads.0.bias" in heads)
    count = [len(state[name]) // shapes for name, shapes in heads.items()][0] - background
    listed = get_model_weights("retinanet_resnet50_fpn").COCO_V1.meta["categories"]
    coco = [name for name in listed if name not in ("N/A", "__background__")]
    if count + background == len(listed):
        kept = [0] * background + [listed.index(name) for name in coco]
        cut = {name: state[name].unflatten(0, (shapes, -1))[:, kept].flatten(0, 1) for name, shapes in heads.items()}
        return state | cut, coco
    told = (meta.get("CLASSES"), *(meta.get("dataset_meta") or {}).values())
    told = next((list(one) for one in told if isinstance(one, (list, tuple)) and len(one) == count), None)
    known = {len(coco): coco, len(voc.CLASSES): list(voc.CLASSES)}
    return state, told or known.get(count) or [f"class {number}" for number in range(count)]


def predicting(state):
    """The tensors that predict classes, each with the number of prior shapes."""
    names = [name for name in state if name.startswith("class_head")]
    if names[0].startswith("class_head."):
        last = max(int(name.split(".")[1]) for name in names)
        names = [f"class_head.{last}.weight", f"class_head.{last}.bias"]
    return {name: len(state[name.replace("class", "box")]) // 4 for name in names}


def load_detector(path):
    """The model of a checkpoint, ours or a published one, ready to predict -> model, recipe, classes."""
    content, _ = opened(path)
    recipe = checkpoint.recipe_of(content)
    model, _ = build_detector(recipe, len(content["classes"]))
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise UserError(f"{path}: other tensors than its detector's: {' '.join(str(error).split())[:300]}") from None
    return model.to(memory_format=torch.channels_last).eval(), recipe, content["classes"]
