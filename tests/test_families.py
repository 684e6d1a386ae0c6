"""Our networks compute what the published programs computed, with their weights in their own files' layout."""
import numpy as np
import pytest
import torch
from torchvision.models import detection

from data.errors import UserError
from layers.boxes import DELTA_SCALE, decode, xyxy_to_cxcywh
from layers.detections import detections
from layers.losses import FocalLoss
from tests.conftest import run_script, write_coco
from tests.published import assert_relative, figures, pixels, published_state
from utils.build import build_detector
from utils.families import ODTK_ORDER, convert, family
from utils.pretrained import names_of
from utils.recipes import Recipe

UNSCALED = torch.tensor(DELTA_SCALE)


def converted(state, classes):
    """Our model with a published state dict in it, every tensor of ours accounted for."""
    ours, changes = convert(state)
    model, _ = build_detector(Recipe(weights="none") | changes, classes)
    missing, unexpected = model.load_state_dict(ours, strict=False)
    assert not unexpected and not [name for name in missing if "num_batches_tracked" not in name]
    return model.eval()


def outputs(name, classes, **normalisation):
    numbers = figures(name)
    model = converted(published_state(numbers), classes)
    with torch.no_grad():
        return numbers, model, *model(pixels(numbers, model, **normalisation))


@pytest.mark.parametrize("name, classes", (("yhenon_resnet18", 7), ("yhenon_resnet50", 5)))
def test_pytorch_retinanet(name, classes):
    numbers, model, deltas, logits = outputs(name, classes)
    assert_relative(deltas, numbers["deltas"])
    assert_relative(model.scores(logits), numbers["scores"])
    priors = model.priors(tuple(int(side) for side in numbers["shape"][-2:]))
    torch.testing.assert_close(priors, torch.from_numpy(numbers["anchors"]).float(), rtol=1e-4, atol=1e-3)


def test_pytorch_retinanet_s_detections():
    """Every class's NMS at 0.5 over all priors, clipped to the input; no limit."""
    numbers, model, deltas, logits = outputs("yhenon_resnet18", 7)
    size = tuple(int(side) for side in numbers["shape"][-2:])
    boxes = decode(deltas[0], model.priors(size))
    # Its clipping moves left and top up to 0 and right and bottom down to the border, and nothing else.
    boxes = torch.cat([boxes[:, :2].clamp(min=0), torch.minimum(boxes[:, 2:], boxes.new_tensor([size[1], size[0]]))], dim=1)
    found = detections(boxes, model.scores(logits[0]), min_score=0.05, candidates=10 ** 7, limit=10 ** 7)
    for label in range(7):
        theirs = numbers["det_labels"] == label
        order = np.argsort(-numbers["det_scores"][theirs], kind="stable")
        mine = found["labels"] == label
        torch.testing.assert_close(found["scores"][mine], torch.from_numpy(numbers["det_scores"][theirs][order]), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(found["boxes"][mine], torch.from_numpy(numbers["det_boxes"][theirs][order]), rtol=1e-3, atol=1e-2)


def test_pytorch_retinanet_s_losses():
    """Its own count of positives for each image and the mean of the images; no forced matches; clamped probabilities."""
    numbers, model, deltas, logits = outputs("yhenon_resnet18", 7)
    priors = model.priors(tuple(int(side) for side in numbers["shape"][-2:]))
    losses = []
    for i, rows in enumerate(torch.from_numpy(numbers["targets"])):
        rows = rows[rows[:, 4] >= 0]
        target = dict(boxes=rows[:, :4].float(), labels=rows[:, 4].long(), ignore=torch.zeros(len(rows), dtype=torch.bool))
        losses.append(torch.stack(FocalLoss(force_match=False)(deltas[[i]], logits[[i]], priors, [target])))
    box_loss, class_loss = torch.stack(losses).mean(dim=0)
    assert box_loss.item() == pytest.approx(float(numbers["loss_box"][0]), rel=1e-4)
    assert class_loss.item() == pytest.approx(float(numbers["loss_cls"][0]), rel=1e-3)


def test_odtk():
    numbers, model, deltas, logits = outputs("odtk_rn18", 6)

    def ours(level, kind):
        """[B, 9 * n, H, W] in its order of priors -> [B, H * W * 9, n] in ours."""
        value = torch.from_numpy(numbers[f"{kind}{level}"])
        batch, _, rows, columns = value.shape
        return value.view(batch, 9, -1, rows, columns)[:, ODTK_ORDER].permute(0, 3, 4, 1, 2).flatten(1, 3)

    assert_relative(deltas * UNSCALED, torch.cat([ours(level, "deltas") for level in range(5)], dim=1))
    assert_relative(model.scores(logits), torch.cat([ours(level, "scores") for level in range(5)], dim=1))


def test_mmdetection_retinanet():
    numbers, model, deltas, logits = outputs("mmdet_retinanet_r18", 7)
    assert_relative(deltas * UNSCALED, numbers["deltas"])
    assert_relative(logits, numbers["logits"])


def test_mmdetection_ssd_with_the_background_last():
    numbers, model, deltas, logits = outputs("mmdet_ssd300", 6, std=(1.0, 1.0, 1.0))
    every = int(numbers["every"])
    assert_relative(deltas[:, ::every], numbers["deltas"])
    assert_relative(logits[:, ::every].roll(-1, dims=-1), numbers["logits"])


def test_lufficc_ssd512():
    numbers, model, deltas, logits = outputs("lufficc_ssd512", 20, std=(1.0, 1.0, 1.0))
    every = int(numbers["every"])
    assert_relative(deltas[:, ::every], numbers["deltas"])
    assert_relative(logits[:, ::every], numbers["logits"])
    priors = (xyxy_to_cxcywh(model.priors((512, 512))) / 512).clamp(0, 1)
    torch.testing.assert_close(priors, torch.from_numpy(numbers["priors_cxcywh"]).float(), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("name, size", (("retinanet_resnet50_fpn", (128, 160)), ("retinanet_resnet50_fpn_v2", (96, 100))))
def test_torchvision_retinanet(name, size):
    theirs = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=5).eval()
    model = converted(theirs.state_dict(), 5)
    images = torch.rand(1, 3, *size)
    with torch.no_grad():
        expected = theirs.head(list(theirs.backbone(images).values()))
        deltas, logits = model(images * model.normalize.std + model.normalize.mean)
    assert_relative(deltas * UNSCALED, expected["bbox_regression"])
    assert_relative(logits, expected["cls_logits"])


def test_torchvision_ssd():
    theirs = detection.ssd300_vgg16(weights=None, weights_backbone=None, num_classes=5).eval()
    model = converted(theirs.state_dict(), 4)
    images = torch.randn(1, 3, 300, 300) * 50
    with torch.no_grad():
        expected = theirs.head(list(theirs.backbone(images).values()))
        deltas, logits = model(images + model.normalize.mean)
    assert_relative(deltas, expected["bbox_regression"])
    assert_relative(logits, expected["cls_logits"])


def test_an_unknown_file_says_which_keys_it_did_not_understand():
    assert family({"encoder.weight": 1}) is None
    with pytest.raises(UserError, match="no known detector has such tensors: encoder.weight, encoder.bias"):
        convert({"encoder.weight": torch.zeros(1), "encoder.bias": torch.zeros(1)})


@pytest.mark.parametrize("name", ("odtk_rn18", "ssd300_voc"))
def test_a_published_detector_can_be_fine_tuned_to_other_classes(name, tmp_path):
    write_coco(tmp_path / "data", [[(10, 20, 30, 40, 1)], [(0, 0, 50, 50, 0)]], names=("one", "two", "three"), ids=(1, 2, 3))
    write_coco(tmp_path / "data", [[(10, 20, 30, 40, 1)]], split="val", names=("one", "two", "three"), ids=(1, 2, 3))
    state = published_state(figures(name))
    torch.save(dict(state_dict=state) if "odtk" in name else state, tmp_path / "published.pth")
    printed = run_script("train.py", "--model", "ssd300" if "ssd" in name else "retinanet", "--dataset", "coco", "--root", tmp_path / "data",
                         "--weights", tmp_path / "published.pth", "--resize", "64", "--batch", "1", "--iters", "2", "--workers", "0",
                         "--save-folder", tmp_path, "--name", "run")
    assert "loaded " in printed and (tmp_path / "run/best.pth").exists()


def test_coco_s_names_are_known_by_their_number():
    ours, changes = convert(detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91).state_dict())
    names = names_of(ours, changes["model"])
    assert len(names) == 91 and names[1] == "person" and names[90] == "toothbrush"
