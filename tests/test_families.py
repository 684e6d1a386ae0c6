"""Our networks compute what the published programs computed, with their weights in their own
files' layout."""

import re

import numpy as np
import pytest
import torch
from torchvision.models import detection

from data.text import UserError
from layers.boxes import DELTA_SCALE, area, cxcywh_to_xyxy
from layers.losses import FocalLoss
from published.conventions import mmdetection_sizes
from published.families import ODTK_ORDER, convert, family_of
from published.load import convert_checkpoint
from ssd import SIZES
from tests.conftest import write_coco
from tests.figures import assert_relative, figures, pixels, published_state
from tests.scripts import run_script
from utils.build import build_collate, build_detector, build_transform
from utils.checkpoint import recipe_of
from utils.predict import predict, to_original
from utils.recipes import RECIPES

UNSCALED = torch.tensor(DELTA_SCALE)


def converted(content):
    """Our model of a published file's content, and its recipe; load_state_dict accounts for every
    tensor."""
    ours, _ = convert_checkpoint(content)
    recipe = recipe_of(ours)
    model, _ = build_detector(recipe, len(ours["classes"]))
    model.load_state_dict(ours["model"])
    return model.eval(), recipe


def outputs(name, dated=False, **normalisation):
    """What our model computes with a published file's tensors. dated: an odtk file of the first
    release."""
    numbers = figures(name)
    state = published_state(numbers)
    model, recipe = converted(state if dated else dict(state_dict=state, ratios=[1.0, 2.0, 0.5]))
    with torch.no_grad():
        return numbers, model, recipe, *model(pixels(numbers, model, **normalisation))


def assert_priors(model, numbers, expected):
    """Equal to within 1e-4 of the image's larger side."""
    size = tuple(int(side) for side in numbers["shape"][-2:])
    torch.testing.assert_close(
        model.priors(size), torch.as_tensor(expected).float(), rtol=0, atol=1e-4 * max(size)
    )


@pytest.mark.parametrize("name", ("yhenon_resnet18", "yhenon_resnet50"))
def test_pytorch_retinanet(name):
    numbers, model, _, deltas, logits = outputs(name)
    assert_relative(deltas, numbers["deltas"])
    assert_relative(model.scores(logits), numbers["scores"])
    assert_priors(model, numbers, numbers["anchors"])


@pytest.mark.parametrize("name", ("yhenon_resnet18", "yhenon_resnet50"))
def test_pytorch_retinanet_s_detections(name):
    """Every class's NMS at 0.5 over all priors, cut at the stack_targets input; no limit."""
    numbers, model, recipe, _, _ = outputs(name)
    found = predict(model, pixels(numbers, model)[:1], [dict(size=(10, 10))], recipe)[0]
    assert len(found["scores"]) == len(numbers["det_scores"]) > 1000
    # It cuts left and top at 0 and right and bottom at the border, and lets boxes beside the
    # image lie inside out.
    height, width = (int(side) for side in numbers["shape"][-2:])
    theirs = torch.from_numpy(numbers["det_boxes"]).clamp(min=0)
    theirs = torch.minimum(theirs, theirs.new_tensor([width, height, width, height]))
    their_scores, their_labels = (
        torch.from_numpy(numbers[name]) for name in ("det_scores", "det_labels")
    )
    for label in found["labels"].unique():
        mine, of_it = found["labels"] == label, their_labels == label
        torch.testing.assert_close(
            found["scores"][mine],
            their_scores[of_it].sort(descending=True).values,
            rtol=1e-3,
            atol=1e-3,
        )
        # Which of two equal scores comes first depends on the processor: boxes are found by place.
        apart = (found["boxes"][mine][:, None] - theirs[of_it]).abs().amax(dim=2)
        apart += 1e4 * ((found["scores"][mine][:, None] - their_scores[of_it]).abs() > 1e-3)
        closest, partner = apart.min(dim=1)
        assert closest.max() < 0.2 and len(partner.unique()) == len(partner)


def test_pytorch_retinanet_s_losses():
    """Its own count of positives for each image and the mean of the images; no forced matches;
    clamped probabilities."""
    numbers, model, _, deltas, logits = outputs("yhenon_resnet18")
    priors = model.priors(tuple(int(side) for side in numbers["shape"][-2:]))
    losses = []
    for i, rows in enumerate(torch.from_numpy(numbers["targets"])):
        rows = rows[rows[:, 4] >= 0]
        target = dict(
            boxes=rows[:, :4].float(),
            labels=rows[:, 4].long(),
            ignore=torch.zeros(len(rows), dtype=torch.bool),
        )
        losses.append(
            torch.stack(FocalLoss(force_match=False)(deltas[[i]], logits[[i]], priors, [target]))
        )
    box_loss, class_loss = torch.stack(losses).mean(dim=0)
    assert box_loss.item() == pytest.approx(float(numbers["loss_box"][0]), rel=1e-4)
    assert class_loss.item() == pytest.approx(float(numbers["loss_cls"][0]), rel=1e-3)


def test_odtk():
    numbers, model, _, deltas, logits = outputs("odtk_rn18")

    def ours(level, kind):
        """[B, 9 * n, H, W] in its order of priors -> [B, H * W * 9, n] in ours."""
        value = torch.from_numpy(numbers[f"{kind}{level}"])
        batch, _, rows, columns = value.shape
        return (
            value.view(batch, 9, -1, rows, columns)[:, ODTK_ORDER]
            .permute(0, 3, 4, 1, 2)
            .flatten(1, 3)
        )

    assert_relative(
        deltas * UNSCALED, torch.cat([ours(level, "deltas") for level in range(5)], dim=1)
    )
    assert_relative(
        model.scores(logits), torch.cat([ours(level, "scores") for level in range(5)], dim=1)
    )
    for i, level in enumerate(model.levels):
        # Its last pixel is still inside the box, ours lie between the pixels.
        cell = torch.tensor(level.base_priors) - torch.tensor([0, 0, 1, 1])
        torch.testing.assert_close(
            cell, torch.from_numpy(numbers[f"cell_anchors{i}"])[ODTK_ORDER], rtol=1e-4, atol=1e-3
        )


def test_odtk_s_first_release_rounded_its_priors():
    _, model, _, _, _ = outputs("odtk_rn18", dated=True)
    cell = torch.tensor(model.levels[0].base_priors)
    assert cell[3].tolist() == [-12, -12, 20, 20]
    torch.testing.assert_close(
        (cell[:, 2:] - cell[:, :2])[[0, 3, 6]], torch.tensor([[44.0, 24], [32, 32], [24, 48]])
    )


@pytest.mark.parametrize(
    "changes", (dict(ratios=[1, 4, 0.25]), dict(scales=[2, 3, 5]), dict(angles=[0.5]))
)
def test_odtk_s_other_priors_are_refused(changes):
    state = published_state(figures("odtk_rn18"))
    content = dict(state_dict=state, ratios=[1.0, 2.0, 0.5])
    content |= dict(scales=[4 * 2 ** (i / 3) for i in range(3)])
    converted(content)
    with pytest.raises(UserError, match=f"was trained with {next(iter(changes))} "):
        converted(content | changes)


def test_mmdetection_retinanet():
    numbers, model, _, deltas, logits = outputs("mmdet_retinanet_r18")
    assert_relative(deltas * UNSCALED, numbers["deltas"])
    assert_relative(logits, numbers["logits"])
    assert_priors(model, numbers, numbers["priors"])


def test_mmdetection_ssd_with_the_background_last():
    numbers, model, _, deltas, logits = outputs("mmdet_ssd300", std=(1.0, 1.0, 1.0))
    every = int(numbers["every"])
    assert_relative(deltas[:, ::every], numbers["deltas"])
    assert_relative(logits[:, ::every].roll(-1, dims=-1), numbers["logits"])
    assert_priors(model, numbers, numbers["priors"])
    assert model.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])


@pytest.mark.long
def test_lufficc_ssd512():
    numbers, model, _, deltas, logits = outputs("lufficc_ssd512", std=(1.0, 1.0, 1.0))
    every = int(numbers["every"])
    assert_relative(deltas[:, ::every], numbers["deltas"])
    assert_relative(logits[:, ::every], numbers["logits"])
    assert_priors(model, numbers, cxcywh_to_xyxy(torch.from_numpy(numbers["priors_cxcywh"]) * 512))


def torchvision(name, classes, **options):
    """torchvision's own detector with random weights, strong enough that hardly two scores are
    equal."""
    torch.manual_seed(0)
    theirs = getattr(detection, name)(
        weights=None, weights_backbone=None, num_classes=classes, **options
    ).eval()
    heads = [
        [one for one in part.modules() if isinstance(one, torch.nn.Conv2d)]
        for part in (theirs.head.classification_head, theirs.head.regression_head)
    ]
    for layer in sum(heads, []):
        torch.nn.init.kaiming_normal_(layer.weight)
    with torch.no_grad():
        raw = theirs.head(
            list(theirs.backbone(theirs.transform([torch.rand(3, 120, 160)])[0].tensors).values())
        )
        for layers, values, strength in zip(
            heads, (raw["cls_logits"], raw["bbox_regression"]), (1.5, 0.4)
        ):
            for layer in layers[-1:] if "retinanet" in name else layers:
                layer.weight *= strength / values.std()
    return theirs


def assert_same_detections(theirs, image, least):
    """Our detector and torchvision's, from the bytes of one image [H, W, 3] to boxes in its
    pixels."""
    model, recipe = converted(theirs.state_dict())
    recipe |= dict(
        resize=getattr(theirs.transform, "min_size", (800,))[0], max_size=theirs.transform.max_size
    )
    nothing = dict(
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, int),
        ignore=np.zeros(0, bool),
        index=0,
    )
    images, targets = build_collate(recipe)([build_transform(recipe)(image, nothing, None)])
    pixels = torch.from_numpy(image).permute(2, 0, 1) / 255
    with torch.no_grad():
        expected = theirs([pixels])[0]
        maps = list(theirs.backbone(theirs.transform([pixels])[0].tensors).values())
        raw, deltas_logits = theirs.head(maps), model(images)
    assert_relative(deltas_logits[1], raw["cls_logits"])
    # SSD's deltas are in units of the same scale.
    assert_relative(
        deltas_logits[0] * (1 if recipe.model == "ssd300" else UNSCALED), raw["bbox_regression"]
    )
    found = to_original(
        predict(model, images, targets, recipe)[0], targets[0]["size"], image.shape[:2]
    )
    # torchvision also keeps boxes outside the image, of which nothing is left.
    has_area = area(expected["boxes"]) > 0
    expected = {name: value[has_area] for name, value in expected.items()}
    count = len(expected["scores"])
    found = {name: value[:count] for name, value in found.items()}
    assert len(found["scores"]) == len(expected["scores"]) >= least
    torch.testing.assert_close(found["scores"], expected["scores"], rtol=1e-4, atol=1e-5)
    # Where two scores are as good as equal, either may come first: each detection is to be found
    # among the others.
    labels = expected["labels"] - int(recipe.model == "ssd300")
    apart = (found["boxes"][:, None] - expected["boxes"]).abs().amax(dim=2) + 1e4 * (
        found["labels"][:, None] != labels
    )
    closest, partner = (
        apart + 1e4 * ((found["scores"][:, None] - expected["scores"]).abs() > 1e-4)
    ).min(dim=1)
    assert closest.max() < 1e-4 * max(image.shape) and len(partner.unique()) == len(labels)


@pytest.mark.parametrize(
    "height, width",
    (
        (100, 225),
        *(pytest.param(*size, marks=pytest.mark.long) for size in ((128, 160), (151, 97))),
    ),
)
@pytest.mark.parametrize("name", ("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2"))
def test_torchvision_retinanet(name, height, width):
    """Sizes that P6 and P7 do not divide, images that are made larger and smaller."""
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    assert_same_detections(torchvision(name, 5, min_size=120, max_size=200), image, least=20)


def test_torchvision_ssd():
    image = np.random.default_rng(1).integers(0, 256, (200, 330, 3), np.uint8)
    assert_same_detections(torchvision("ssd300_vgg16", 5), image, least=20)


def test_torchvision_s_first_layout_of_names_is_known_as_well():
    state = detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=5
    ).state_dict()
    older = {
        re.sub(
            r"(_blocks\.\d)\.0\.",
            r"\1.",
            re.sub(
                r"(head\.conv\.)(\d)\.0\.", lambda found: f"{found[1]}{2 * int(found[2])}.", name
            ),
        ): value
        for name, value in state.items()
    }
    assert (
        "backbone.fpn.inner_blocks.0.weight" in older
        and "head.classification_head.conv.6.bias" in older
    )
    first, second = convert_checkpoint(state)[0], convert_checkpoint(older)[0]
    assert first["recipe"] == second["recipe"] and first["model"].keys() == second["model"].keys()
    assert all(torch.equal(value, second["model"][name]) for name, value in first["model"].items())


def test_half_precision_becomes_single():
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in published_state(figures("odtk_rn18")).items()
    }
    assert all(
        value.dtype in (torch.float32, torch.long)
        for value in convert_checkpoint(dict(state_dict=state))[0]["model"].values()
    )


def test_torchvision_s_weights_of_coco_had_no_epsilon_in_their_batch_norm():
    state = detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=5
    ).state_dict()
    assert {norm.eps for norm in converted(state)[0].base.norms()} == {1e-5}
    frozen = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    assert {norm.eps for norm in converted(frozen)[0].base.norms()} == {1e-30}


def test_an_unknown_file_says_which_keys_it_did_not_understand():
    assert family_of({"encoder.weight": 1}) is None
    with pytest.raises(
        UserError, match="no known detector has such tensors: encoder.weight, encoder.bias"
    ):
        convert({"encoder.weight": torch.zeros(1), "encoder.bias": torch.zeros(1)})


@pytest.mark.parametrize("name", ("odtk_rn18", pytest.param("ssd300_voc", marks=pytest.mark.long)))
def test_a_published_detector_can_be_fine_tuned_to_other_classes(name, tmp_path):
    write_coco(
        tmp_path / "data",
        [[(10, 20, 30, 40, 1)], [(0, 0, 50, 50, 0)]],
        names=("one", "two", "three"),
        ids=(1, 2, 3),
    )
    write_coco(
        tmp_path / "data",
        [[(10, 20, 30, 40, 1)]],
        split="val",
        names=("one", "two", "three"),
        ids=(1, 2, 3),
    )
    state = published_state(figures(name))
    torch.save(dict(state_dict=state) if "odtk" in name else state, tmp_path / "published.pth")
    printed = run_script(
        "train.py",
        "--model",
        "ssd300" if "ssd" in name else "retinanet",
        "--dataset",
        "coco",
        "--root",
        tmp_path / "data",
        "--weights",
        tmp_path / "published.pth",
        "--resize",
        "64",
        "--batch",
        "1",
        "--iters",
        "2",
        "--workers",
        "0",
        "--save-folder",
        tmp_path,
        "--name",
        "run",
    )
    assert "loaded " in printed and (tmp_path / "run/best.pth").exists()


@pytest.mark.parametrize("name, shapes", (("retinanet_resnet50_fpn", 9), ("ssd300_vgg16", 4)))
def test_torchvision_s_91_logits_become_coco_s_80_classes(name, shapes):
    state = getattr(detection, name)(
        weights=None, weights_backbone=None, num_classes=91
    ).state_dict()
    head = next(
        key
        for key in state
        if key.endswith(("cls_logits.bias", "classification_head.module_list.0.bias"))
    )
    state[head] = torch.arange(91.0).repeat(shapes)
    ours, _ = convert_checkpoint(state)
    assert (
        len(ours["classes"]) == 80
        and ours["classes"][0] == "person"
        and ours["classes"][79] == "toothbrush"
    )
    bias = ours["model"]["class_heads.0.bias" if "ssd" in name else "class_head.last.bias"].view(
        shapes, -1
    )
    numbers = ([0] if "ssd" in name else []) + [1, 2, 3]
    assert bias[0, : len(numbers)].tolist() == numbers and bias[-1, -1] == 90


def test_a_resnet_of_style_caffe_is_refused():
    state = published_state(figures("mmdet_retinanet_r18"))
    with pytest.raises(UserError, match="style caffe"):
        convert_checkpoint(
            dict(state_dict=state, meta=dict(config="backbone=dict(type='ResNet', style='caffe')"))
        )


def retina_head(**changes):
    values = dict(octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0])
    values |= dict(strides=[8, 16, 32, 64, 128], target_stds=[1.0, 1.0, 1.0, 1.0]) | changes
    text = ", ".join(f"{name}={value}" for name, value in values.items())
    return dict(config=f"strides=(1, 2, 2, 2), bbox_head=dict(type='RetinaHead', {text})")


@pytest.mark.parametrize(
    "changes",
    (
        dict(octave_base_scale=2),
        dict(scales_per_octave=2),
        dict(ratios=[0.2, 1.0, 5.0]),
        dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
    ),
)
def test_a_retinanet_of_mmdetection_with_other_priors_or_deltas_is_refused(changes):
    state = published_state(figures("mmdet_retinanet_r18"))
    convert_checkpoint(dict(state_dict=state, meta=retina_head()))
    ((name, value),) = changes.items()
    with pytest.raises(UserError, match=f"its RetinaHead has {name} .*, which must be "):
        convert_checkpoint(dict(state_dict=state, meta=retina_head(**changes)))


def test_torchvision_s_fcos_is_no_retinanet():
    fcos = detection.fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    with pytest.raises(UserError, match="it predicts 1 boxes for each cell"):
        convert_checkpoint(fcos.state_dict())


STRIDES = {300: [8, 16, 32, 64, 100, 300], 512: [8, 16, 32, 64, 128, 256, 512]}


@pytest.mark.parametrize(
    "side, low, first", ((300, 0.15, 21), (300, 0.2, 30), (512, 0.1, 20), (512, 0.15, 35))
)
def test_an_ssd_of_mmdetection_has_the_sizes_of_its_configuration(side, low, first):
    """Whatever the number of classes: those of SSD's releases for COCO and VOC."""
    config = (
        f"anchor_generator=dict(type='SSDAnchorGenerator', input_size={side}, "
        f"basesize_ratio_range=({low}, 0.9), strides={STRIDES[side]})"
    )
    expected = SIZES[side] if low in (0.2, 0.15) and first != 21 else None
    expected = expected or RECIPES[f"ssd{side}_coco"].prior_sizes
    assert mmdetection_sizes(config) == tuple(map(int, expected))


def test_sizes_that_a_configuration_lists_are_taken_and_no_sizes_are_none():
    config = "anchor_generator=dict(min_sizes=[10, 20.5], max_sizes=[20.5, 40], input_size=300)"
    assert mmdetection_sizes(config) == (10, 20.5, 40)
    assert mmdetection_sizes("model = dict(type='RetinaNet', strides=[8])") == ()


def test_an_ssd_whose_sizes_are_not_known_says_what_was_taken():
    state = published_state(figures("ssd300_voc"))
    content, _ = convert_checkpoint(state)
    assert "the file does not tell its priors' sizes" in content["notes"][-1]
    content, _ = convert_checkpoint(state, prior_sizes=(1, 2, 3, 4, 5, 6, 7))
    assert "priors" not in str(content["notes"])
    assert content["recipe"]["prior_sizes"] == (1, 2, 3, 4, 5, 6, 7)


def test_twenty_classes_without_names_are_taken_for_voc_s_and_said():
    state = published_state(figures("ssd300_voc"))
    content, _ = convert_checkpoint(state, prior_sizes=SIZES[300])
    note = "the file does not name its 20 classes, so they are taken for those of VOC"
    assert content["notes"][0].startswith(note) and content["recipe"]["metric"] == "voc07"
    names = [f"part {number}" for number in range(20)]
    content, _ = convert_checkpoint(state, classes=names, prior_sizes=SIZES[300])
    assert not content["notes"] and content["classes"] == names
    assert (content["recipe"]["dataset"], content["recipe"]["metric"]) == ("coco", "coco")


def test_ssd_pytorch_s_layout_of_201_columns_is_coco_s():
    """Its configuration for COCO has so many, and COCO's priors; 80 of the classes are in use."""
    state = published_state(figures("ssd300_voc"))
    for name in [name for name in state if name.startswith("conf.")]:
        shapes = len(state[name]) // 21
        state[name] = torch.zeros(shapes * 201, *state[name].shape[1:])
    content, _ = convert_checkpoint(state)
    assert content["recipe"]["prior_sizes"] == (21, 45, 99, 153, 207, 261, 315)
    assert content["classes"][:2] == ["person", "bicycle"] and len(content["classes"]) == 200
    assert content["classes"][79:81] == ["toothbrush", "class 80"]


def test_names_in_a_file_of_mmdetection_are_its_classes():
    state = published_state(figures("mmdet_retinanet_r18"))
    names = ("a", "b", "c", "d", "e", "f", "g")
    assert convert_checkpoint(dict(state_dict=state, meta=dict(dataset_meta=dict(CLASSES=names))))[
        0
    ]["classes"] == list(names)
    assert convert_checkpoint(dict(state_dict=state, meta=dict(CLASSES=names)))[0][
        "classes"
    ] == list(names)
    assert convert_checkpoint(dict(state_dict=state))[0]["classes"][0] == "class 0"


@pytest.mark.parametrize("count", (20, 91))
def test_named_classes_are_not_taken_for_voc_s_or_coco_s_by_their_number(count):
    state = published_state(figures("mmdet_retinanet_r18"))
    for kind in ("weight", "bias"):
        layer = state[f"bbox_head.retina_cls.{kind}"]
        state[f"bbox_head.retina_cls.{kind}"] = torch.zeros(9 * count, *layer.shape[1:])
    names = [f"thing {number}" for number in range(count)]
    in_file = dict(state_dict=state, meta=dict(dataset_meta=dict(classes=names)))
    for content, classes in ((in_file, None), (dict(state_dict=state), names)):
        ours, _ = convert_checkpoint(content, classes)
        assert ours["classes"] == names and ours["recipe"]["metric"] == "coco"


def test_a_file_of_two_base_networks_is_one_line():
    names = ("backbones.A.features.conv1.weight", "backbones.B.features.conv1.weight")
    with pytest.raises(UserError, match="several base networks, where one is expected"):
        convert(dict.fromkeys((*names, "cls_head.8.weight"), torch.zeros(1)))
