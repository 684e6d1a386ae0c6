import builtins
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import export
from data.text import UserError
from layers.priors import grid_priors
from published.conventions import CONVENTIONS
from published.detector import Detector
from published.load import load_detector
from tests.conftest import ROOT, write_coco, write_image
from tests.scripts import run_script
from utils import checkpoint, onnx
from utils.build import build_detector, build_levels
from utils.recipes import RECIPES

SMALL = dict(precision="float32", score_threshold=0.0, resize=64, max_size=96)
RECIPE = {
    "retinanet": RECIPES["shapes"] | SMALL,
    "ssd300": RECIPES["ssd300_voc"]
    | dict(precision="float32", score_threshold=0.0, weights="none"),
}


DETECTORS = ("retinanet", pytest.param("ssd300", marks=pytest.mark.long))


@pytest.fixture(scope="module", params=DETECTORS)
def folder(request, tmp_path_factory):
    """best.pth of random weights whose scores differ, best.onnx with NMS, and three photos."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    recipe = RECIPE[request.param]
    model, _ = build_detector(recipe, 2)
    heads, _ = model.class_layers()
    for head in heads:
        torch.nn.init.normal_(head.weight, std=0.05)
    checkpoint.save(folder / "best.pth", checkpoint.detector_content(model, recipe, ["cat", "dog"]))
    printed = run_script("export.py", folder / "best.pth", folder / "best.onnx", "--nms")
    assert "saved" in printed
    for number in range(3):
        write_image(
            folder / f"photos/{number}.png", height=80 + 40 * number, width=120, seed=number
        )
    return folder


def test_detections_are_those_of_the_checkpoint(folder):
    pair = [
        Detector(folder / name, "cpu", score_threshold=0.0) for name in ("best.pth", "best.onnx")
    ]
    assert pair[0].classes == pair[1].classes
    for photo in sorted(folder.glob("photos/*")):
        ours, theirs = (detector(photo) for detector in pair)
        assert len(ours["scores"]) > 50 and ours["names"] == theirs["names"]
        np.testing.assert_allclose(ours["boxes"], theirs["boxes"], atol=0.01)
        np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-5)


def test_any_number_of_images_goes_in_and_retinanet_takes_any_size(folder):
    model = load_detector(folder / "best.pth").model
    other = load_detector(folder / "best.onnx").model
    sizes = [(300, 300)] if hasattr(model, "extras") else [(64, 96), (256, 32), (32, 320)]
    for height, width in sizes:
        images = torch.randint(0, 256, (3, 3, height, width), dtype=torch.uint8)
        with torch.no_grad():
            expected = onnx.BoxesAndScores(model)(images)
        for ours, theirs in zip(expected, other(images)):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_its_own_non_maximum_suppression_keeps_what_ours_keeps(folder):
    model = load_detector(folder / "best.onnx").model
    recipe = load_detector(folder / "best.pth").recipe
    side = 300 if recipe.model == "ssd300" else 64
    pixels = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8).numpy()
    boxes, scores, selected = model.session.run(None, {"images": pixels})
    assert len(selected) > 20
    from torchvision.ops import nms

    for label in range(2):
        own = torch.from_numpy(scores[0, :, label])
        kept = nms(torch.from_numpy(boxes[0]), own, recipe.nms_iou)[: recipe.max_detections]
        theirs = selected[selected[:, 1] == label][:, 2]
        assert sorted(kept.tolist()) == sorted(theirs.tolist())


@pytest.mark.parametrize("difference", (0.02, math.nan))
def test_a_file_that_computes_other_boxes_is_an_error(folder, tmp_path, monkeypatch, difference):
    output = str(tmp_path / "other.onnx")
    monkeypatch.setattr(sys, "argv", ["export.py", str(folder / "best.pth"), output])
    monkeypatch.setattr(
        export, "largest_differences", lambda *_: dict(boxes=difference, scores=0.0)
    )
    with pytest.raises(UserError, match="other.onnx: its boxes differ"):
        export.main()


@pytest.mark.long
def test_the_file_of_an_ssd_with_boxes_far_beyond_the_image_is_right(tmp_path):
    torch.manual_seed(0)
    recipe = RECIPES["ssd512_shapes"]
    model, _ = build_detector(recipe, 3)
    for head in model.box_heads:
        torch.nn.init.normal_(head.weight, std=0.05)
    path = tmp_path / "best.pth"
    checkpoint.save(path, checkpoint.detector_content(model, recipe, ["a", "b", "c"]))
    run_script("export.py", path, tmp_path / "ssd.onnx")


def test_the_example_of_the_docs_runs_without_torch(folder, tmp_path):
    text = (ROOT / "docs/use.md").read_text()
    code = re.search(r"```python\n(import json\n.*?)```", text, re.DOTALL)[1]
    lines = [line for line in code.splitlines() if line and "import" not in line]
    assert len(lines) <= 15
    for package in ("numpy", "PIL", "onnxruntime"):
        place = Path(__import__(package).__file__).parent
        for found in (
            place,
            *place.parent.glob(f"{'pillow' if package == 'PIL' else package}.libs"),
        ):
            (tmp_path / found.name).symlink_to(found)
    (tmp_path / "detector.onnx").symlink_to(folder / "best.onnx")
    # Of the network's own size, so that Pillow's resizing, which is another, is not compared.
    size = (300, 300) if "ssd300" in folder.name else (96, 64)
    photo = Image.open(folder / "photos/0.png").resize(size)
    photo.save(tmp_path / "photo.jpg", format="PNG")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    code = code.replace("threshold:", "0.0:")
    code += "try:\n    import torch\nexcept ImportError:\n    print('no torch')\n"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.endswith("no torch\n"), done.stdout + done.stderr
    rows = [line.replace("[", " ").replace("]", " ").split() for line in done.stdout.splitlines()]
    best = max(rows[:-1], key=lambda row: float(row[1]))
    expected = Detector(folder / "best.pth", "cpu", score_threshold=0.0)(tmp_path / "photo.jpg")
    assert best[0] == expected["names"][0]
    assert float(best[1]) == pytest.approx(expected["scores"][0], abs=1e-4)
    box = np.array(best[2:], float).clip(0, size * 2)
    np.testing.assert_allclose(box, expected["boxes"][0], atol=0.06)


@pytest.fixture(scope="module")
def int8(folder):
    """The same detector with --int8 and NMS, for images as small as these photos."""
    path = folder / "int8.onnx"
    photos = folder / "photos"
    flags = ("--int8", "--images", photos, "--nms")
    assert f"3 images, of {photos}" in run_script("export.py", folder / "best.pth", path, *flags)
    return path


def weights_of_convolutions(path):
    """The weights of each convolution of an ONNX file, as they are stored: node's name -> array."""
    library = pytest.importorskip("onnx")
    graph = library.load(path).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    # DequantizeLinear stands between a convolution and its weights in int8.
    stored |= {node.output[0]: stored.get(node.input[0]) for node in graph.node if node.input}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    return {
        node.name: library.numpy_helper.to_array(stored[node.input[1]]) for node in convolutions
    }


@pytest.mark.long
def test_an_int8_file_is_small_and_gives_almost_the_same(folder, int8):
    assert int8.stat().st_size < (folder / "best.onnx").stat().st_size / 2
    pair = [Detector(path, "cpu", score_threshold=0.0) for path in (folder / "best.onnx", int8)]
    for photo in sorted(folder.glob("photos/*")):
        floats, ours = (detector(photo) for detector in pair)
        assert abs(floats["scores"][0] - ours["scores"][0]) < 0.02
        assert np.abs(ours["boxes"] - floats["boxes"][0]).max(axis=1).min() < 1  # pixel


@pytest.mark.long
def test_only_the_last_convolutions_of_an_int8_file_are_float(folder, int8):
    kinds = {name: array.dtype for name, array in weights_of_convolutions(int8).items()}
    last = {name for name, kind in kinds.items() if kind == np.float32}
    heads = pytest.importorskip("onnx").load(folder / "best.onnx").graph.node
    weights = {node.name: node.input[1] for node in heads if node.op_type == "Conv"}
    expected = r"model\.(box|class)_(head\.last|heads\.\d+)\.weight"
    assert last == {name for name, weight in weights.items() if re.fullmatch(expected, weight)}
    assert {kind for name, kind in kinds.items() if name not in last} == {np.dtype("int8")}


@pytest.mark.long
def test_weights_have_7_bits_which_no_processor_s_sums_overflow(int8):
    arrays = weights_of_convolutions(int8).values()
    assert max(np.abs(array).max() for array in arrays if array.dtype == np.int8) == 64


@pytest.mark.long
def test_an_int8_file_keeps_metadata_and_suppression(folder, int8):
    floats, ours = (load_detector(path).model.session for path in (folder / "best.onnx", int8))
    texts = floats.get_modelmeta().custom_metadata_map
    assert texts.items() <= ours.get_modelmeta().custom_metadata_map.items()
    side = 300 if "ssd300" in folder.name else 64
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, side, side), dtype=np.uint8)
    assert len(ours.run(["selected"], {"images": pixels})[0]) > 20


def test_int8_without_images_is_one_line(folder, tmp_path):
    content = checkpoint.load(folder / "best.pth")
    content["recipe"] |= dict(dataset="coco", root=str(tmp_path / "moved"))
    checkpoint.save(tmp_path / "best.pth", content)
    command = ("export.py", tmp_path / "best.pth", tmp_path / "new.onnx")
    printed = run_script(*command, "--int8", code=2)
    assert re.search(r"training images, or others by --images: no such folder: .*moved\n$", printed)
    (tmp_path / "empty").mkdir()
    printed = run_script(*command, "--int8", "--images", tmp_path / "empty", code=2)
    assert "no images in" in printed and printed.count("\n") == 1
    assert "not asked for" in run_script(*command, "--images", tmp_path, code=2)
    assert not (tmp_path / "new.onnx").exists()


def test_int8_is_scaled_to_training_images_as_the_detector_sees_them(tmp_path, monkeypatch):
    write_coco(tmp_path, [[(10, 20, 30, 40, 1)], [(0, 0, 50, 50, 0)], []])
    write_coco(tmp_path, [[(10, 20, 30, 40, 1)]], split="val")
    recipe = RECIPE["retinanet"] | dict(dataset="coco", root=str(tmp_path), resize=32, max_size=64)
    loaded = checkpoint.LoadedDetector(None, recipe, ["cat", "dog"], 0, None)
    batches = export.calibration_batches(loaded, None)
    assert [tuple(images.shape) for images in batches] == [(1, 3, 32, 64)] * 3
    monkeypatch.setattr(export, "NUM_CALIBRATION", 2)
    assert len(export.calibration_batches(loaded, tmp_path / "train2017")) == 2


def test_an_onnx_file_is_not_exported_again(folder, tmp_path):
    printed = run_script("export.py", folder / "best.onnx", tmp_path / "again.onnx", code=2)
    assert printed.count("\n") == 1 and "best.onnx is an ONNX file already" in printed
    assert not (tmp_path / "again.onnx").exists()


def test_metadata_tell_what_a_program_needs(folder):
    texts = load_detector(folder / "best.onnx").model.session.get_modelmeta().custom_metadata_map
    known = {name: json.loads(text) for name, text in texts.items()}
    assert known["classes"] == ["cat", "dog"] and known["score_threshold"] == 0.0
    assert known["show_threshold"] == 0.5, "as in detect.py, where the checkpoint stores none"
    assert set(known["resize"]) == {"size", "short_side", "max_size", "divisor", "padding"}


@pytest.mark.parametrize("family", CONVENTIONS)
def test_the_grid_of_priors_is_whole_numbers_for_every_family(family):
    is_ssd = "ssd" in family or family == "lufficc"
    recipe = RECIPES["ssd300_voc" if is_ssd else "retinanet_coco"]
    levels = build_levels(recipe | CONVENTIONS[family])
    size = (300, 300) if is_ssd else (96, 160)
    count = sum(len(grid_priors(size, level)) for level in levels)
    assert count == (8732 if is_ssd else 9 * (12 * 20 + 6 * 10 + 3 * 5 + 2 * 3 + 1 * 2))


@pytest.mark.parametrize("content", (b"", b"no ONNX", b"\x08\x07" + bytes(100)))
def test_a_file_that_is_no_detector_is_one_line(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(UserError, match="a.onnx: not "):
        onnx.load_onnx(tmp_path / "a.onnx")
    with pytest.raises(UserError, match="no such file"):
        onnx.load_onnx(tmp_path / "b.onnx")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="need the package onnxruntime: pip install"):
        onnx.load_onnx(tmp_path / "a.onnx")


def test_a_file_is_not_overwritten_and_has_the_right_name(tmp_path):
    (tmp_path / "a.onnx").write_text("mine")
    assert "not overwritten" in run_script("export.py", "best.pth", tmp_path / "a.onnx", code=2)
    assert "must end with .onnx" in run_script("export.py", "best.pth", tmp_path / "a.pt", code=2)


@pytest.mark.parametrize(
    "name, text",
    (
        ("classes", "7"),
        ("classes", "[1, 2]"),
        ("classes", "[]"),
        ("recipe", "[]"),
        ("iteration", '"many"'),
        ("iteration", "-1"),
        ("show_threshold", "[0.5]"),
        ("show_threshold", "Infinity"),
        ("classes", "[" * 100_000),
    ),
)
def test_metadata_of_another_kind_is_one_line(folder, tmp_path, name, text):
    library = pytest.importorskip("onnx")
    file = library.load(folder / "best.onnx")
    (entry,) = [entry for entry in file.metadata_props if entry.key == name]
    entry.value = text
    library.save(file, tmp_path / "other.onnx")
    with pytest.raises(UserError, match=r"other\.onnx: ") as mistake:
        load_detector(tmp_path / "other.onnx")
    assert len(str(mistake.value)) < 500
