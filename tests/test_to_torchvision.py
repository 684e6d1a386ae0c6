import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from data.text import UserError
from layers.boxes import area
from layers.priors import grid_size
from published.conventions import CONVENTIONS
from published.families import retinanet_state, ssd_state
from published.to_torchvision import torchvision_code, torchvision_state
from tests.scripts import run_script
from utils import checkpoint
from utils.build import build_detector
from utils.checkpoint import LoadedDetector
from utils.predict import predict
from utils.recipes import RECIPES

# Without suppression (an IoU of equal boxes may be rounded to over 1), nothing is left to chance.
EVAL = dict(
    weights="none", precision="float32", score_threshold=0.0, max_detections=50, nms_iou=1.1
)
SHORT = dict(resize=128, max_size=160)
RECIPE = {
    "demo": RECIPES["shapes"] | EVAL,
    "paper": RECIPES["retinanet_coco"] | EVAL | SHORT | dict(depth=18),
    "strong": RECIPES["retinanet_strong"] | EVAL | SHORT | dict(finest_stride=4, depth=50),
    "short heads": RECIPES["retinanet_coco"] | EVAL | SHORT | dict(depth=18, head_convs=2),
    "narrow": RECIPES["retinanet_coco"] | EVAL | SHORT | dict(depth=18, base_width=16, channels=32),
    "p5": RECIPES["retinanet_coco"] | EVAL | SHORT | dict(depth=18) | CONVENTIONS["torchvision v1"],
    "ssd": RECIPES["ssd300_voc"] | EVAL,
    "ssd, coco's sizes": RECIPES["ssd300_coco"] | EVAL,
}


def random_detector(recipe, num_classes=3):
    """A LoadedDetector of random weights whose scores and boxes differ from place to place."""
    torch.manual_seed(1)
    model, _ = build_detector(recipe, num_classes)
    for name, value in model.named_parameters():
        if "head" in name and name.endswith("weight") and value.ndim == 4:
            torch.nn.init.normal_(value, std=0.03)
    for layer in model.class_layers()[0]:
        layer.weight.data *= 0.1  # so that no scores are 1 and equal
    classes = [f"class {number}" for number in range(num_classes)]
    return LoadedDetector(model.eval(), recipe, classes, 1, 0.4)


# A second SSD takes as long as all the RetinaNets.
SLOW = pytest.param("ssd, coco's sizes", marks=pytest.mark.long)


@pytest.fixture(scope="module", params=[*list(RECIPE)[:-1], SLOW])
def detector(request):
    return random_detector(RECIPE[request.param])


@torch.no_grad()
def test_torchvision_finds_the_same(detector):
    code = torchvision_code(detector)
    scope = {}
    exec(code, scope)
    model, recipe = scope["model"].eval(), detector.recipe
    model.load_state_dict(torchvision_state(detector, code))
    is_ssd = recipe.model == "ssd300"
    size = (300, 300) if is_ssd else (128, 160)
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    theirs = model(list(images.float() / 255))
    ours = predict(detector.model, images, [dict(size=size)] * 2, recipe)
    for our, their in zip(ours, theirs):
        assert len(our["scores"]) == 50
        # torchvision also keeps boxes outside the image, of which nothing is left.
        has_area = area(their["boxes"]) > 0
        their = {name: value[has_area] for name, value in their.items()}
        our = {name: value[: len(their["scores"])] for name, value in our.items()}
        assert len(our["scores"]) > 25
        torch.testing.assert_close(our["scores"], their["scores"], atol=1e-5, rtol=1e-4)
        # Nearly equal scores may stand in another order, and the last ones be cut off.
        same_label = our["labels"][:25, None] == their["labels"] - int(is_ssd)
        apart = (our["boxes"][:25, None] - their["boxes"]).abs().amax(dim=-1)
        assert apart.masked_fill(~same_label, 1e6).amin(dim=1).max() < 0.01


@pytest.mark.parametrize("name", ("paper", "p5"))  # constant strides, and fitted ones
def test_torchvision_lays_our_priors_where_strides_do_not_divide_the_image(name):
    detector = random_detector(RECIPE[name])
    scope = {}
    exec(torchvision_code(detector), scope)
    size = (320, 416)
    maps = [torch.zeros(1, 1, *grid_size(size, level)) for level in detector.model.levels]
    images = ImageList(torch.zeros(1, 3, *size), [size])
    theirs = scope["model"].anchor_generator(images, maps)[0]
    torch.testing.assert_close(theirs, detector.model.priors(size))


def test_its_tensors_come_back_bit_for_bit(detector):
    recipe = detector.recipe
    if recipe.model == "retinanet" and (recipe.prior_ratios or recipe.finest_stride == 4):
        pytest.skip("torchvision's own RetinaNet has nine priors in a cell and begins at stride 8")
    state = torchvision_state(detector, torchvision_code(detector))
    back = ssd_state if recipe.model == "ssd300" else retinanet_state
    ours, changes, *_ = back(state, "torchvision")
    if recipe.model == "retinanet":
        assert changes["base_width"] == recipe.base_width
        assert changes["head_convs"] == recipe.head_convs
    expected = detector.model.state_dict()
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert torch.equal(ours[name], value), name


@torch.no_grad()
def test_batch_norm_in_a_vgg_becomes_part_of_its_convolutions():
    detector = random_detector(RECIPE["ssd"] | dict(vgg_norm="batch"))
    for norm in detector.model.base.norms():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    code = torchvision_code(detector)
    scope = {}
    exec(code, scope)
    theirs = scope["model"].eval()
    theirs.load_state_dict(torchvision_state(detector, code))
    pixels = torch.rand(1, 3, 300, 300) * 255
    _, fc7 = detector.model.base((pixels - detector.model.mean) / detector.model.std)
    maps = theirs.backbone(pixels - detector.model.mean)
    assert (maps["1"] - fc7).abs().max() < 1e-5 * fc7.max()


@pytest.mark.parametrize(
    "recipe, reason",
    (
        (RECIPES["ssd512_voc"], "no SSD512"),
        (RECIPES["retinanet_coco"] | CONVENTIONS["mmdetection"], "ReLU before"),
        (RECIPES["ssd300_voc"] | CONVENTIONS["lufficc"], "move priors"),
        (RECIPES["ssd300_voc"] | dict(base_width=16), "its VGG has 64 channels"),
        (RECIPES["retinanet_coco"] | dict(head_convs=5), "four convolutions"),
        (RECIPES["retinanet_coco"] | dict(channels=512, head_convs=1), "as many channels, 512"),
    ),
)
def test_what_torchvision_has_not_is_one_line(recipe, reason):
    with pytest.raises(UserError, match=f"cannot run this detector: .*{reason}"):
        torchvision_code(random_detector(recipe | dict(weights="none", depth=18), 2))


def test_the_tool_writes_the_file_and_prints_lines_that_load_it(tmp_path):
    detector = random_detector(RECIPE["demo"])
    content = checkpoint.detector_content(detector.model, detector.recipe, detector.classes)
    checkpoint.save(tmp_path / "best.pth", content)
    arguments = (tmp_path / "best.pth", "--to", "torchvision", "--output", tmp_path / "theirs.pth")
    printed = run_script("tools/convert.py", *arguments)
    code = printed[printed.index("from functools") : printed.index("saved ")]
    scope = {}
    exec(code, scope)
    assert not scope["model"].training
