"""torchvision's detectors are trained and evaluated with the labels and boxes that they expect."""

from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from torchvision.models import WeightsEnum, resnet50
from torchvision.models.detection import retinanet_resnet50_fpn

from data.dataset import Dataset
from tests.conftest import read_split, write_coco
from tests.scripts import run_script
from tools import accuracy
from utils.build import build_transform
from utils.recipes import RECIPES

CPU = torch.device("cpu")
OBJECTS = [[(10, 20, 30, 40, 1)], [], [(0, 0, 50, 50, 0), (60, 5, 30, 40, 1)]]


class Oracle(torch.nn.Module):
    """In the place of torchvision's detector: it is shown the targets, and detects just these."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.transform, self.answers, self.seen = SimpleNamespace(), [], []

    def forward(self, images, objects=None):
        if objects is not None:
            self.seen += objects
            return dict(loss=self.weight.square())
        return [self.answers.pop(0) for _ in images]


@pytest.fixture
def dataset(tmp_path):
    write_coco(tmp_path, OBJECTS)
    classes, records = read_split("coco", tmp_path)
    return Dataset(classes, records, build_transform(RECIPES["shapes"]))


@pytest.mark.parametrize("model, first", (("retinanet", 0), ("ssd300", 1)))
def test_detections_of_all_objects_have_a_precision_of_one(dataset, model, first):
    recipe = RECIPES["shapes"] | dict(model=model, batch=1, workers=0)
    dataset.transform, oracle = build_transform(recipe), Oracle()
    for index in range(len(dataset)):
        _, target = dataset[0, index, (0, 0)]
        boxes, labels = torch.from_numpy(target["boxes"]), torch.from_numpy(target["labels"])
        answer = dict(boxes=boxes, labels=labels + first, scores=torch.ones(len(boxes)))
        oracle.answers.append(answer)
    metrics = accuracy.evaluate_torchvision(recipe, oracle, dataset, CPU)
    assert metrics["AP"] == pytest.approx(1) and not oracle.answers


@pytest.mark.parametrize("model, labels", (("retinanet", {0, 1}), ("ssd300", {1, 2})))
def test_it_is_trained_on_the_objects_with_its_own_labels(dataset, model, labels):
    recipe = RECIPES["shapes"] | dict(model=model, batch=3, iterations=4, workers=0, lr=0.1)
    oracle = Oracle()
    accuracy.train_torchvision(recipe, oracle, dataset, CPU)
    assert len(oracle.seen) == 12
    assert set(torch.cat([target["labels"] for target in oracle.seen]).tolist()) == labels


@pytest.mark.parametrize("model", ("retinanet", "ssd300"))
def test_its_images_are_not_resized_again(model):
    recipe = RECIPES["shapes"] | dict(model=model)
    detector = accuracy.build_torchvision(recipe, 2)
    size = (300, 300) if model == "ssd300" else (70, 130)
    images = torch.zeros((1, 3, *size), dtype=torch.uint8)
    assert detector.transform(accuracy.as_list(detector, images))[0].image_sizes == [size]


def test_a_frozen_base_is_as_torchvision_makes_it_of_pretrained_weights():
    """Its norm and its first two stages are frozen, as in torchvision's own builder."""
    ours = accuracy.build_torchvision(RECIPES["retinanet_coco"], 2, frozen=True)
    with mock.patch.object(WeightsEnum, "get_state_dict", lambda *_, **__: resnet50().state_dict()):
        theirs = retinanet_resnet50_fpn(num_classes=2, trainable_backbone_layers=3)
    assert repr(ours) == repr(theirs)
    trained = [
        {name for name, p in m.named_parameters() if p.requires_grad} for m in (ours, theirs)
    ]
    assert trained[0] == trained[1]


@pytest.mark.long
def test_a_short_training_ends_with_metrics(tmp_path):
    write_coco(tmp_path, OBJECTS)
    write_coco(tmp_path, OBJECTS, split="val")
    flags = "--recipe shapes --dataset coco --batch 2 --workers 0 --iters 2 --lr 0.001".split()
    printed = run_script("tools/accuracy.py", *flags, "--root", tmp_path)
    assert "2 iterations, lr 0.001" in printed and "val AP 0." in printed


def test_another_detector_is_an_error(tmp_path):
    with pytest.raises(accuracy.UserError, match="torchvision has no such detector"):
        accuracy.reference_recipe(RECIPES["ssd512_voc"])


def test_it_learns_as_in_torchvisions_references():
    retinanet = accuracy.reference_recipe(RECIPES["shapes"] | dict(batch=16, iterations=260))
    assert (retinanet.lr, retinanet.weight_decay) == (0.01, 1e-4)
    assert retinanet.milestones == (160, 220) and retinanet.lr_schedule == "milestones"
    ssd = accuracy.reference_recipe(RECIPES["ssd300_voc"] | dict(batch=8, iterations=120))
    assert (ssd.lr, ssd.weight_decay, ssd.milestones) == (0.0005, 5e-4, (80, 110))
    assert accuracy.reference_recipe(RECIPES["shapes"], 0.02).lr == 0.02
