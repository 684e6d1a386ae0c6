"""Published detectors as checkpoints of ours, with their classes and their programs' defaults."""

from dataclasses import asdict

import torch

from data.formats import voc
from data.formats.coco import names_by_id
from data.text import UserError, counted
from published.conventions import (
    has_coco_classes,
    mmdetection_sizes,
    refuse_other_odtk_priors,
    refuse_other_priors,
)
from published.families import convert, family_of
from utils import checkpoint
from utils.recipes import RECIPES

UNLIMITED = 1_000_000  # detections, or scores that go through NMS
SSD_DEFAULTS = dict(
    score_threshold=0.01,
    nms_iou=0.45,
    pre_nms_topk=200,
    topk_per="class",
    max_detections=UNLIMITED,
)
# What converting raises if tensors are missing, or are not of a detector's shapes.
NOT_SUCH_TENSORS = (
    KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError, ZeroDivisionError,
)  # fmt: skip
# What their programs do by default, as far as ours does otherwise.
DEFAULTS = {
    "pytorch-retinanet": dict(
        resize=608, max_size=1024, pre_nms_topk=UNLIMITED, max_detections=UNLIMITED, batch=1
    ),
    "torchvision v1": dict(max_detections=300, batch=1),
    "torchvision v2": dict(max_detections=300, batch=1),
    "torchvision ssd": SSD_DEFAULTS | dict(pre_nms_topk=400, max_detections=200),
    "mmdetection ssd": SSD_DEFAULTS
    | dict(score_threshold=0.02, pre_nms_topk=1000, topk_per="level", max_detections=200),
    "ssd.pytorch": SSD_DEFAULTS,
    "lufficc": SSD_DEFAULTS | dict(pre_nms_topk=UNLIMITED, max_detections=100),
}


def load_detector(path):
    """The LoadedDetector of a checkpoint, ours or a published one, or of export.py's ONNX file."""
    if path.suffix == ".onnx":
        # Imported here, for nothing else needs it: this file is read for every run's weights.
        from utils.onnx import load_onnx

        loaded = load_onnx(path)
    else:
        content, _ = open_checkpoint(path)
        notes = content.get("notes")
        for note in notes if isinstance(notes, list) else ():
            print(f"{path}: {note}")
        loaded = checkpoint.build_model(content, path)
    # Only training cuts batches into parts. As many images as were in a part fit at a time.
    batch = max(loaded.recipe.batch // loaded.recipe.accumulate, 1)
    return loaded._replace(recipe=loaded.recipe | dict(batch=batch, accumulate=1))


def open_checkpoint(path, content=None, classes=None, prior_sizes=()):
    """Any program's checkpoint -> the content of one of ours, and its family, which may be "ours".

    content: what was read from the file, if it was read already. classes and prior_sizes: used
    instead of what the file tells; prior_sizes are for another program's SSD only.
    """
    content = checkpoint.read(path) if content is None else content
    try:
        if checkpoint.is_ours(content):
            return renamed(content, classes) if classes else content, "ours"
        return convert_checkpoint(content, classes, prior_sizes)
    except UserError as mistake:
        raise UserError(f"{path}: {mistake}") from None


def renamed(content, classes):
    """The content of a checkpoint of ours with other names of its classes."""
    check_count(classes, len(content["classes"]))
    # The recipe may list the classes that were learned, by their old names.
    return content | dict(classes=list(classes), recipe=content["recipe"] | dict(classes=()))


def check_count(classes, count):
    """An error unless there are as many names as classes, all different."""
    if len(classes) != count:
        named = counted(len(classes), "class")
        raise UserError(f"--classes names {named}, but the detector has {count}")
    if len(set(classes)) < count:
        raise UserError(f"--classes {' '.join(classes)}: a name is there twice")


def convert_checkpoint(content, classes=None, prior_sizes=()):
    """The content of a published checkpoint -> that of one of ours, and its family."""
    nested = (content.get(key) for key in ("state_dict", "model"))
    state = next((value for value in nested if isinstance(value, dict)), content)
    state = {str(name).removeprefix("module."): value for name, value in state.items()}
    state = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    meta = content.get("meta") if isinstance(content.get("meta"), dict) else {}
    config = f"{meta.get('config')}{meta.get('cfg')}"
    if "style='caffe'" in config:
        raise UserError(
            "its ResNet is of style caffe, which has other strides and pixels: use the file of "
            "style pytorch"
        )
    refuse_other_priors(config)
    prior_sizes = prior_sizes or mmdetection_sizes(config)
    try:
        refuse_other_odtk_priors(content)
        ours, changes, family = convert(state, "ratios" not in content, prior_sizes)
        ours, names, notes = with_names(ours, family, meta, classes)
    except NOT_SUCH_TENSORS as problem:
        reason = "its tensors have other shapes"
        if isinstance(problem, KeyError):
            reason = f"{str(problem)[:100]} is missing"
        raise UserError(
            f"its names are {family_of(state)}'s, but it is neither a RetinaNet nor an SSD that is "
            f"known here: {reason}"
        ) from None
    # It was published with float32; in bfloat16 its detections would be others.
    recipe = RECIPES["retinanet_coco"] | DEFAULTS.get(family, {}) | changes
    recipe |= dict(jitter=(), precision="float32")
    if set(names) == set(voc.CLASSES):
        recipe |= dict(dataset="voc", metric="voc07")
    if changes.get("prior_sizes") and not prior_sizes and family != "torchvision ssd":
        sizes = ", ".join(f"{size:g}" for size in changes["prior_sizes"])
        notes.append(
            f"the file does not tell its priors' sizes; {family}'s defaults are taken, {sizes}; "
            "python -m tools.convert --prior-sizes sets others"
        )
    return dict(model=ours, recipe=asdict(recipe), classes=names, notes=notes), family


def with_names(state, family, meta, classes=None):
    """A state dict without the logits of unused classes, the names of the others, and notes.

    If the file does not tell the names, 80 classes are taken for COCO's, and 20 for VOC's.
    torchvision has a logit for each of COCO's 91 category numbers, of which 80 are in use.
    """
    heads = class_tensors(state)
    background = int("class_heads.0.bias" in heads)
    name, shapes = next(iter(heads.items()))
    count = len(state[name]) // shapes - background
    if classes:
        check_count(classes, count)
    dataset_meta = meta.get("dataset_meta") if isinstance(meta.get("dataset_meta"), dict) else {}
    stored = [dataset_meta.get(key) for key in ("classes", "CLASSES")]
    for names in (classes, meta.get("CLASSES"), *stored):
        names = [names] if isinstance(names, str) else names
        if isinstance(names, (list, tuple)) and len(names) == count:
            return state, [str(name) for name in names], []
    listed = names_by_id()
    coco = [name for name in listed if name not in ("N/A", "__background__")]
    if count + background == len(listed):
        kept = [0] * background + [listed.index(name) for name in coco]
        for name, shapes in heads.items():
            state[name] = state[name].unflatten(0, (shapes, -1))[:, kept].flatten(0, 1)
        return state, coco, []
    numbered = [f"class {number}" for number in range(count)]
    if count == len(voc.CLASSES):
        dataset, known = "VOC", list(voc.CLASSES)
    elif has_coco_classes(family, count):
        dataset, known = "COCO", coco
    else:
        return state, numbered, []
    note = (
        f"the file does not name its {count} classes, so they are taken for those of {dataset}; "
        "python -m tools.convert --classes names others"
    )
    return state, known + numbered[len(known) :], [note]


def class_tensors(state):
    """The names of the tensors that predict classes, each with its number of prior shapes."""
    names = [name for name in state if name.startswith("class_head")]
    if names[0].startswith("class_head."):
        names = ["class_head.last.weight", "class_head.last.bias"]
    return {name: len(state[name.replace("class", "box")]) // 4 for name in names}
