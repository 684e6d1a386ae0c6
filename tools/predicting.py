"""What tools.bench measures of a detector that is used: the network, and all around it."""

import tempfile
from functools import partial
from pathlib import Path

import torch

from tools.workloads import CLASSES
from utils.build import build_detector
from utils.checkpoint import LoadedDetector
from utils.onnx import export, load_onnx
from utils.predict import forward, predict


def predicting_ours(recipe, device, pixels, targets, compiled=False):
    """The network alone, and all of it from bytes to detections."""
    model, _ = build_detector(recipe, CLASSES)
    model.to(device, memory_format=torch.channels_last).eval()
    if compiled:
        model.compile(dynamic=False)
    network = partial(forward, model, pixels, recipe.precision)
    return network, partial(predict, model, pixels, targets, recipe)


def predicting_onnx(recipe, device, pixels, targets):
    """The same detector as an ONNX file, from bytes to detections by onnxruntime."""
    model, _ = build_detector(recipe, CLASSES)
    classes = [str(number) for number in range(CLASSES)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "detector.onnx")
        export(LoadedDetector(model.eval(), recipe, classes, None, None), path)
        model = load_onnx(path).model
    return partial(predict, model, pixels, targets, recipe)
