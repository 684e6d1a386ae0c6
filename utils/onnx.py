"""Detectors as ONNX files, which are written here, and loaded in place of a checkpoint."""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from data.text import UserError
from layers.boxes import clip, decode
from layers.priors import grid_priors, level_counts
from utils.build import SSD_SIDES, build_levels, padding_colour
from utils.checkpoint import LoadedDetector, facts_of, recipe_of
from utils.files import write

# Names of tensors in the file.
INPUT = "images"
OUTPUTS = ["boxes", "scores"]
SELECTED = "selected"
METADATA = ("recipe", "classes", "iteration", "show_threshold")  # what a detector is loaded from
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")  # onnxruntime's, the fastest first
OPSET = 18  # the version of ONNX's operators, which onnxruntime supports since 1.14


class BoxesAndScores(nn.Module):
    """A model, the decoding of its boxes and its score function.

    Pixels [B, 3, H, W] -> boxes [B, A, 4] and scores [B, A, C].
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        box_deltas, class_logits = self.model(images)
        image_size = images.shape[-2:]
        # model.priors() would keep those of one size, but here the size is a symbol.
        priors = torch.cat([grid_priors(image_size, level) for level in self.model.levels])
        return decode(box_deltas, priors), self.model.scores(class_logits)


def export(loaded, path, with_nms=False, batches=()):
    """Write a LoadedDetector as an ONNX file, whose convolutions are int8 if batches are given.

    The file takes uint8 pixels, or float32 where the detector's own program resizes to floats, and
    any number of images. RetinaNet's images may have any sides that are multiples of 32.
    """
    onnx = import_optional("onnx")
    import_optional("onnxscript")
    recipe = loaded.recipe
    model = BoxesAndScores(loaded.model).eval()
    program = torch.onnx.export(
        model,
        (example_images(recipe),),
        input_names=[INPUT],
        output_names=OUTPUTS,
        dynamic_shapes=dynamic_shapes(recipe),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    file = quantized(program.model_proto, batches) if batches else program.model_proto
    if with_nms:
        add_nms(file, recipe)
    for name, value in metadata(loaded).items():
        file.metadata_props.add(key=name, value=value)
    onnx.checker.check_model(file, full_check=True)
    write(path, file.SerializeToString())


def example_images(recipe, batch=2):
    """Random pixels [B, 3, H, W], always the same, of a size and type that the detector takes."""
    side = SSD_SIDES.get(recipe.model)
    height, width = (side, side) if side else (256, 320)
    is_float = recipe.exact_colour or recipe.resize_method == "float"
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=rng)
    return pixels.float() if is_float else pixels


def dynamic_shapes(recipe):
    """The dimensions that may differ from the example's: B, and for RetinaNet H and W."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    if recipe.model in SSD_SIDES:
        return ({0: batch},)
    rows, columns = (torch.export.Dim(name, min=1, max=4096) for name in ("rows", "columns"))
    return ({0: batch, 2: 32 * rows, 3: 32 * columns},)


def metadata(loaded):
    """All that a program needs to know about a detector beside its weights: name -> JSON."""
    recipe = loaded.recipe
    side = SSD_SIDES.get(recipe.model)
    resize = dict(
        size=[side, side] if side else None,  # (width, height), if all images have the same
        short_side=recipe.resize,
        max_size=recipe.max_size,
        divisor=1 if side else recipe.size_divisor,
        padding=list(padding_colour(recipe)),
    )
    values = dict(
        classes=loaded.classes,
        resize=resize,
        score_threshold=recipe.score_threshold,
        show_threshold=loaded.show_threshold or 0.5,
        recipe=asdict(recipe | dict(precision="float32")),
        iteration=loaded.iteration,
    )
    return {name: json.dumps(value) for name, value in values.items()}


def add_nms(file, recipe):
    """Append ONNX's NonMaxSuppression, whose output is selected [D, 3]: image, class, prior.

    It differs from ours: all priors take part, not only the best pre_nms_topk, and max_detections
    is the limit of each class, not of the image.
    """
    onnx = import_optional("onnx")
    graph = file.graph
    constants = dict(
        max_per_class=np.array([recipe.max_detections], np.int64),
        nms_iou=np.array([recipe.nms_iou], np.float32),
        score_threshold=np.array([recipe.score_threshold], np.float32),
    )
    for name, value in constants.items():
        graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    node = onnx.helper.make_node
    graph.node.append(node("Transpose", ["scores"], ["by_class"], perm=[0, 2, 1]))
    graph.node.append(node("NonMaxSuppression", ["boxes", "by_class", *constants], [SELECTED]))
    integers = onnx.TensorProto.INT64
    selected = onnx.helper.make_tensor_value_info(SELECTED, integers, ["detections", 3])
    graph.output.append(selected)


def quantized(file, batches):
    """The file with int8 convolutions, scaled to the values that they have on batches of images.

    The last of them stay in float32, as all that follows does: they take little time, and a box is
    no more exact than they are.
    """
    tools = import_optional("onnxruntime.quantization").quantization
    # Preprocessing would fold norms into convolutions, which the exporter has done; this says so.
    tools.quant_utils.add_pre_process_metadata(file)
    inputs = ({INPUT: np.ascontiguousarray(images.numpy())} for images in batches)
    with TemporaryDirectory() as folder:
        source, result = (Path(folder) / name for name in ("float.onnx", "int8.onnx"))
        source.write_bytes(file.SerializeToString())
        tools.quantize_static(
            source,
            result,
            SimpleNamespace(get_next=lambda: next(inputs, None)),
            op_types_to_quantize=["Conv", "Relu", "MaxPool"],
            nodes_to_exclude=last_convolutions(file),
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            # x86 processors without VNNI add pairs of products in 16 bits, where 8 bits of values
            # times 8 of weights overflow. With 7 of weights the file is right on all processors,
            # and a scale for each channel makes up for the lost bit.
            reduce_range=True,
            per_channel=True,
        )
        return import_optional("onnx").load(result)


def last_convolutions(file):
    """The names of the convolutions that the outputs are computed from without any other."""
    names = []
    tensors = set(OUTPUTS)
    for node in reversed(file.graph.node):
        if not tensors.isdisjoint(node.output):
            if node.op_type == "Conv":
                names.append(node.name)
            else:
                tensors.update(node.input)
    return names


@torch.no_grad()
def largest_differences(loaded, path, batches, score_threshold=0.0):
    """How far a file's outputs differ from those of its model on images: name -> number.

    What both give a lower score than score_threshold is not counted, nor what lies beyond the
    image, which is never shown: an untrained prior may have a box of thousands of pixels there.
    """
    model, other = BoxesAndScores(loaded.model).eval(), load_onnx(path).model
    rows = []
    for images in batches:
        expected, results = model(images), other(images)
        counted = torch.maximum(expected[1], results[1]).amax(dim=-1) >= score_threshold  # [B, A]
        expected, results = (
            (clip(boxes, images.shape[-2:]), scores) for boxes, scores in (expected, results)
        )
        pairs = zip(results, expected)
        rows.append([((a - b).abs().amax(dim=-1) * counted).max() for a, b in pairs])
    return dict(zip(OUTPUTS, torch.tensor(rows).amax(dim=0).tolist()))


class OnnxModel(nn.Module):
    """An ONNX file in place of a model, which gives boxes and scores instead of deltas and logits.

    So that all else can stay as it is, it has no priors, and scores() changes nothing.
    """

    def __init__(self, session, recipe, num_classes):
        super().__init__()
        self.session, self.num_classes = session, num_classes
        self.levels = build_levels(recipe)

    def forward(self, images):
        """Pixels [B, 3, H, W] -> boxes [B, A, 4], scores [B, A, C]."""
        pixels = np.ascontiguousarray(images.cpu().numpy())
        try:
            results = self.session.run(OUTPUTS, {INPUT: pixels})
        except unreadable_errors() as error:
            raise UserError(f"the ONNX file cannot be run ({str(error)[:200]!r})") from None
        count = sum(level_counts(tuple(images.shape[-2:]), self.levels))
        shapes = [(len(images), count, size) for size in (4, self.num_classes)]
        if [result.shape for result in results] != shapes:
            raise UserError(
                f"the ONNX file gives {[result.shape for result in results]} for {pixels.shape}, "
                f"where its recipe's detector gives {shapes}"
            )
        return tuple(torch.from_numpy(result).to(images.device) for result in results)

    def priors(self, image_size):
        """None, which tells layers.detections that its boxes are decoded already."""
        return

    def scores(self, scores):
        """The same scores: they are probabilities already."""
        return scores


def load_onnx(path):
    """Load a file that export() has written -> LoadedDetector."""
    onnxruntime = import_optional("onnxruntime")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    available = onnxruntime.get_available_providers()
    providers = [name for name in PROVIDERS if name in available]
    options = onnxruntime.SessionOptions()
    # Threads that spin while they wait for the next image would take the cores from all else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        texts = session.get_modelmeta().custom_metadata_map
        content = {name: json.loads(texts[name]) for name in METADATA}
    except (KeyError, ValueError, RecursionError):
        raise UserError(f"{path}: not written by export.py, as its recipe is missing") from None
    except unreadable_errors() as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"{path}: not an ONNX file that can be run ({reason})") from None
    classes = content["classes"]
    is_list = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not (is_list and classes and isinstance(content["recipe"], dict)):
        raise UserError(f"{path}: its recipe or its classes are not those of a detector")
    recipe = recipe_of(content, path)
    model = OnnxModel(session, recipe, len(classes))
    return LoadedDetector(model, recipe, classes, *facts_of(content, path))


def unreadable_errors():
    """The errors of onnxruntime about a file that it cannot run; they have no common base class."""
    state = vars(import_optional("onnxruntime").capi.onnxruntime_pybind11_state)
    classes = (value for value in state.values() if isinstance(value, type))
    return tuple(kind for kind in classes if issubclass(kind, Exception))


def import_optional(name):
    """Import a package that only ONNX files need -> the module."""
    try:
        return __import__(name)
    except ImportError:
        raise UserError(
            f"ONNX files need the package {name}: pip install onnx onnxscript onnxruntime"
        ) from None
