"""A file of every family goes through detect.py, and so does what tools.convert makes of it."""

import json
import re
from pathlib import Path

import pytest
import torch
from torchvision.models import detection, resnet50
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from data.text import UserError
from published.load import open_checkpoint
from tests.conftest import write_image
from tests.figures import figures, fill
from tests.scripts import run_script
from utils import checkpoint

# The layers of lufficc's SSDs as ssd.pytorch and MMDetection name them.
SSD_PYTORCH_NAMES = {
    r"vgg\.": "backbone.vgg.",
    r"extras\.": "backbone.extras.",
    r"loc\.": "box_head.predictor.reg_headers.",
    r"conf\.": "box_head.predictor.cls_headers.",
    r"L2Norm\.": "backbone.l2_norm.",
}
MMDETECTION_NAMES = {
    r"backbone\.vgg\.": "backbone.features.",
    r"backbone\.extras\.(\d+)": lambda name: extra_layer(int(name[1])),
    r"backbone\.l2_norm": "neck.l2_norm",
    r"box_head\.predictor\.reg_headers\.(\d+)": r"bbox_head.reg_convs.\1.0",
    r"box_head\.predictor\.cls_headers\.(\d+)": r"bbox_head.cls_convs.\1.0",
}


def extra_layer(number):
    return f"neck.extra_layers.{number // 2}.{number % 2}.conv"


def shapes_of(name):
    """The shape of every tensor of a published network, by its name."""
    return json.loads(str(figures(name)["keys"]))


def renamed(shapes, names):
    """The same network in another program's names."""
    result = {}
    for name, shape in shapes.items():
        for pattern, replacement in names.items():
            name = re.sub(f"^{pattern}", replacement, name)
        result[name] = shape
    return result


def with_resnet50(shapes, prefix):
    """The same network on a ResNet-50, whose feature maps have four times the channels."""
    base = re.compile(re.escape(prefix) + r"(conv1|bn1|layer\d|fc)\.")
    result = {name: shape for name, shape in shapes.items() if not base.match(name)}
    for name, shape in result.items():
        if re.search(r"(lateral\S*|pyramid6|fpn_convs\.3\.conv)\.weight", name):
            result[name] = [shape[0], 4 * shape[1], *shape[2:]]
    state = resnet50().state_dict()
    return result | {f"{prefix}{name}": value.shape for name, value in state.items()}


def by_rule(shapes):
    """A state dict whose numbers follow from its names."""
    return {name: fill(name, shape) for name, shape in shapes.items()}


def odtk(shapes):
    return dict(state_dict=by_rule(shapes), ratios=[1.0, 2.0, 0.5])


def mmdetection(shapes):
    return dict(state_dict=by_rule(shapes), meta=dict(epoch=12, config="model = dict()"))


def by_rule_as(model):
    return by_rule({name: value.shape for name, value in model.state_dict().items()})


def torchvision(name):
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=5)
    return by_rule_as(model)


def torchvision_18():
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        returned_layers=[2, 3, 4],
        extra_blocks=detection.retinanet.LastLevelP6P7(256, 256),
    )
    return by_rule_as(detection.RetinaNet(backbone, num_classes=5))


FILES = {
    "pytorch-retinanet 18": lambda: by_rule(shapes_of("yhenon_resnet18")),
    "pytorch-retinanet 50": lambda: by_rule(shapes_of("yhenon_resnet50")),
    "odtk 18": lambda: odtk(shapes_of("odtk_rn18")),
    "odtk 50": lambda: odtk(
        with_resnet50(shapes_of("odtk_rn18"), "backbones.ResNet18FPN.features.")
    ),
    "odtk 19.04 18": lambda: dict(state_dict=by_rule(shapes_of("odtk_rn18"))),
    "mmdetection 18": lambda: mmdetection(shapes_of("mmdet_retinanet_r18")),
    "mmdetection 50": lambda: mmdetection(
        with_resnet50(shapes_of("mmdet_retinanet_r18"), "backbone.")
    ),
    "torchvision v1 18": torchvision_18,
    "torchvision v1 50": lambda: torchvision("retinanet_resnet50_fpn"),
    "torchvision v2 50": lambda: torchvision("retinanet_resnet50_fpn_v2"),
    "torchvision ssd 300": lambda: torchvision("ssd300_vgg16"),
    "mmdetection ssd 300": lambda: mmdetection(shapes_of("mmdet_ssd300")),
    "mmdetection ssd 512": lambda: mmdetection(
        renamed(shapes_of("lufficc_ssd512"), MMDETECTION_NAMES)
    ),
    "ssd.pytorch 300": lambda: by_rule(shapes_of("ssd300_voc")),
    "lufficc 300": lambda: dict(model=by_rule(renamed(shapes_of("ssd300_voc"), SSD_PYTORCH_NAMES))),
    "lufficc 512": lambda: dict(model=by_rule(shapes_of("lufficc_ssd512"))),
}


def detections_of(checkpoint, folder):
    """What detect.py finds in folder's photo."""
    found = folder / f"{checkpoint.stem}.json"
    run_script(
        "detect.py", checkpoint, folder / "photo.png", "--resize", "64", "--json", found,
        "--score-threshold", "0.05", "--max-detections", "10", "--output", folder / checkpoint.stem,
    )  # fmt: skip
    return json.loads(found.read_text())


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_every_family_is_opened_converted_and_opened_again(name, tmp_path):
    write_image(tmp_path / "photo.png", height=60, width=80)
    torch.save(FILES[name](), tmp_path / "theirs.pth")
    printed = run_script(
        "tools/convert.py", tmp_path / "theirs.pth", "--output", tmp_path / "ours.pth"
    )
    family, _, size = name.rpartition(" ")
    assert f"family       {family}\n" in printed
    detector = f"ssd{size}" if size in ("300", "512") else f"retinanet, depth {size}"
    assert f"detector     {detector}" in printed
    theirs = detections_of(tmp_path / "theirs.pth", tmp_path)
    ours = detections_of(tmp_path / "ours.pth", tmp_path)
    assert len(theirs) == 10 and theirs == ours


@pytest.mark.parametrize("name", ("pytorch-retinanet 18", "mmdetection ssd 300"))
def test_a_published_file_with_broken_tensors_is_one_line(name, monkeypatch):
    """Each tensor that decides what detector it is may be missing, or have any shape."""
    monkeypatch.setattr("tests.test_load.fill", lambda name, shape: torch.zeros(tuple(shape)))
    content = FILES[name]()
    whole = content.get("state_dict", content)
    decisive = [
        key for key in whole if re.search("output|P3_1|reg_convs.0|cls_convs.0|l2_norm", key)
    ]
    for key in decisive:
        for value in (None, torch.zeros(()), torch.zeros(0)):
            with pytest.raises(UserError) as refused:
                converted, _ = open_checkpoint(Path("x.pth"), whole | {key: value})
                checkpoint.build_model(converted, "x.pth")
            assert "\n" not in str(refused.value)
