"""Detectors that are ONNX files, in the place of a model of ours."""

import json

import numpy as np
import torch
from torch import nn

from data.errors import UserError
from utils.build import build_levels
from utils.checkpoint import LoadedDetector, recipe_of

INPUT, OUTPUTS, SELECTED = "images", ["boxes", "scores"], "selected"
KEPT = ("recipe", "classes", "iteration", "show_threshold")  # metadata that a detector needs
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")  # of onnxruntime, the fastest first


class OnnxModel(nn.Module):
    """An ONNX file in the place of a model: its boxes are decoded and its scores are made."""

    def __init__(self, session, recipe):
        super().__init__()
        self.session, self.levels = session, build_levels(recipe)

    def forward(self, images):
        """Pixels [B, 3, H, W] -> boxes [B, A, 4], scores [B, A, C]."""
        pixels = np.ascontiguousarray(images.cpu().numpy())
        results = self.session.run(OUTPUTS, {INPUT: pixels})
        return tuple(torch.from_numpy(result).to(images.device) for result in results)

    def priors(self, image_size):
        """None: its boxes need no priors."""
        return

    def scores(self, scores):
        """The same: they are probabilities already."""
        return scores


def load_onnx(path):
    """The LoadedDetector of a file that export() wrote."""
    onnxruntime = import_optional("onnxruntime")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    available = onnxruntime.get_available_providers()
    providers = [name for name in PROVIDERS if name in available]
    options = onnxruntime.SessionOptions()
    # Threads that wait for the next image in a loop would slow down everything in between.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        texts = session.get_modelmeta().custom_metadata_map
        content = {name: json.loads(texts[name]) for name in KEPT}
    except (KeyError, ValueError):
        raise UserError(f"{path}: not written by export.py, for its recipe is missing") from None
    except unreadable_errors() as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"{path}: not an ONNX file that can be run ({reason})") from None
    recipe, classes = recipe_of(content, path), content["classes"]
    model = OnnxModel(session, recipe)
    return LoadedDetector(model, recipe, classes, content["iteration"], content["show_threshold"])


def unreadable_errors():
    """What onnxruntime raises on a file that it cannot run: classes without a common one."""
    state = import_optional("onnxruntime").capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NotImplemented",
             "NoSuchFile", "NoModel", "RuntimeException", "EPFail", "EngineError")  # fmt: skip
    return tuple(getattr(state, name) for name in names)


def import_optional(name):
    """A package that only ONNX files need, or an error that says how to get it."""
    try:
        return __import__(name)
    except ImportError:
        raise UserError(
            f"ONNX files need the package {name}: pip install onnx onnxscript onnxruntime"
        ) from None
