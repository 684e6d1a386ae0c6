"""Published files where ours are expected: eval, detect, and the command that converts them."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import detection, resnet18, vgg16_bn

from data.dataset import collate
from data.reading import read_records
from data.text import UserError
from detect import Detector
from layers.resnet import ResNet
from layers.vgg import VGG
from published import weights as pretrained
from published.conventions import CONVENTIONS, TORCHVISION_IMAGES
from published.load import load_detector, open_checkpoint
from retinanet import RetinaNet
from ssd import SSD
from tests.conftest import write_coco
from tests.figures import assert_relative, figures, published_state
from tools import convert
from utils.build import build_detector
from utils.recipes import RECIPES
from utils.resolve import describe_recipe


@pytest.fixture
def file(tmp_path):
    torch.save(published_state(figures("mmdet_retinanet_r18")), tmp_path / "zoo.pth")
    return tmp_path / "zoo.pth"


def test_a_published_file_is_told_and_saved_convert_checkpoint(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["convert", str(file), "--output", str(tmp_path / "ours.pth")])
    convert.main()
    printed = capsys.readouterr().out
    for words in (
        "family       mmdetection",
        "retinanet, depth 18",
        "7: class 0, ",
        "conventions  p7_relu False, resize_method whole, exact_colour True\n",
        "pre_nms_topk 1000 per level",
    ):
        assert words in printed
    theirs, ours = load_detector(file), load_detector(tmp_path / "ours.pth")
    assert theirs[1:] == ours[1:] and ours[1] | CONVENTIONS["mmdetection"] == ours[1]
    images = torch.rand(1, 3, 64, 64) * 255
    torch.testing.assert_close(theirs[0](images), ours[0](images))
    torch.testing.assert_close(theirs[0].priors((64, 64)), ours[0].priors((64, 64)))


def test_detect_takes_a_published_file(file):
    found = Detector(file, torch.device("cpu"), "float32")(np.zeros((60, 80, 3), np.uint8))
    assert found["boxes"].shape[1] == 4 and (found["boxes"][:, 2] <= 80).all()


def test_a_file_that_is_none_is_refused_by_name(tmp_path):
    torch.save({"encoder.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(
        UserError, match="other.pth: no known detector has such tensors: encoder.weight"
    ):
        open_checkpoint(tmp_path / "other.pth")


def test_a_detector_of_another_kind_is_refused_by_name(tmp_path):
    torch.save(
        detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict(),
        tmp_path / "faster.pth",
    )
    with pytest.raises(
        UserError,
        match="faster.pth: its names are torchvision's, but it is neither a RetinaNet nor an SSD",
    ):
        open_checkpoint(tmp_path / "faster.pth")
    state = published_state(figures("mmdet_retinanet_r18"))
    torch.save({"neck.more.weight": torch.zeros(1)} | state, tmp_path / "more.pth")
    with pytest.raises(
        UserError, match="more.pth: other tensors than its detector's: .*neck.more.weight"
    ):
        load_detector(tmp_path / "more.pth")


def test_a_base_s_file_is_taken_for_the_base(tmp_path):
    source = resnet18(weights=None)
    torch.save(source.state_dict(), tmp_path / "resnet18-f37072fd.pth")
    recipe = RECIPES["retinanet_coco"] | dict(
        depth=18, weights=str(tmp_path / "resnet18-f37072fd.pth")
    )
    assert pretrained.find_weights(recipe) == pretrained.Weights(dict(base_width=64))
    model = RetinaNet(2, 18)
    assert (
        "in the base" in pretrained.load_weights(model, Noise(), recipe, pretrained.Weights({}))[0]
    )
    assert torch.equal(model.base.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    with pytest.raises(
        UserError, match="resnet18-f37072fd.pth: not the weights of this detector's base: "
    ):
        pretrained.load_weights(RetinaNet(2, 34), Noise(), recipe, pretrained.Weights({}))
    with pytest.raises(
        UserError, match="resnet18-f37072fd.pth: not the weights of this detector's base: "
    ):
        pretrained.load_weights(
            SSD(2), Noise(), recipe | dict(model="ssd300"), pretrained.Weights({})
        )


@pytest.mark.parametrize("base, model", ((ResNet(18, 16), "retinanet"), (VGG(width=16), "ssd300")))
def test_the_width_of_a_base_is_read_from_its_file(tmp_path, base, model):
    state = base.state_dict()
    if model == "ssd300":
        state = {f"{i}.weight": layer.weight for i, layer in enumerate(base.convolutions())}
    torch.save(state, tmp_path / "base.pth")
    recipe = RECIPES[f"{model}_coco"] | dict(weights=str(tmp_path / "base.pth"))
    assert pretrained.find_weights(recipe) == pretrained.Weights(dict(base_width=16))


@pytest.mark.parametrize("weight", (3, torch.tensor(3.0), torch.zeros(4096, 784)))
def test_what_is_no_base_is_refused_before_one_is_built(tmp_path, weight):
    torch.save({"conv1.weight": weight}, tmp_path / "a.pth")
    recipe = RECIPES["retinanet_coco"] | dict(weights=str(tmp_path / "a.pth"))
    with pytest.raises(UserError, match="a.pth: not the weights of a detector's base"):
        pretrained.find_weights(recipe)


@pytest.mark.parametrize("prefix", ("", "features."))
def test_vgg_s_file_is_taken_for_the_base_by_order(tmp_path, prefix):
    """ssd.pytorch's has no prefix, torchvision's has; its pixels were not divided by a
    deviation."""
    state = {
        prefix + name.removeprefix("vgg."): value
        for name, value in published_state(figures("ssd300_voc")).items()
        if name.startswith("vgg.")
    }
    torch.save(state, tmp_path / "vgg.pth")
    recipe = RECIPES["ssd300_coco"] | dict(weights=str(tmp_path / "vgg.pth"))
    assert pretrained.find_weights(recipe) == pretrained.Weights(dict(base_width=64))
    model = SSD(2)
    pretrained.load_weights(model, Noise(), recipe, pretrained.Weights({}))
    torch.testing.assert_close(model.base.conv1[0].weight, state[prefix + "0.weight"] * model.std)
    assert torch.equal(model.base.fc[3].weight, state[prefix + "33.weight"])


def test_a_vgg_with_batch_norm_is_loaded_with_it_or_refused(tmp_path):
    theirs = vgg16_bn().eval()
    for layer in theirs.features:
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    torch.save(theirs.features.state_dict(), tmp_path / "vgg.pth")
    recipe = RECIPES["ssd300_custom"] | dict(weights=str(tmp_path / "vgg.pth"))
    model, _ = build_detector(recipe, 2)
    pretrained.load_weights(model, Noise(), recipe, pretrained.Weights({}))
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        ours, _ = model.eval().base((images - model.mean) / model.std)
        # conv4_3 with its norm and ReLU
        assert_relative(ours, theirs.features[:33]((images - model.mean) / model.std))
    plain = recipe | dict(vgg_norm="none")
    with pytest.raises(UserError, match="it has batch norm"):
        pretrained.load_weights(SSD(2), Noise(), plain, pretrained.Weights({}))


class Noise(list):
    """A dataset of two images."""

    classes = ["a", "b"]

    def __init__(self):
        super().__init__(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))

    def __getitem__(self, key):
        empty = dict(boxes=np.zeros((0, 4)), labels=np.zeros(0), ignore=np.zeros(0), index=key[1])
        return super().__getitem__(key[1]), empty


@pytest.mark.parametrize("form", ("detector", "its base", "imagenet"))
def test_batch_norm_that_a_file_lacks_is_added_and_changes_nothing_at_first(form, tmp_path):
    """Nor does it while training: the images that it was fitted to are the whole batch here."""
    plain = SSD(2).eval()
    recipe = asdict(RECIPES["ssd300_coco"])
    content = dict(model=plain.state_dict(), recipe=recipe, classes=["a", "b"])
    if form == "imagenet":
        layers = nn.ModuleDict({"features": nn.ModuleList(plain.base.convolutions())})
        content = layers.state_dict()
        content["features.0.weight"] = content["features.0.weight"] / plain.std
    torch.save(content, tmp_path / "plain.pth")
    recipe = RECIPES["ssd300_custom"] | dict(weights=str(tmp_path / "plain.pth"))
    weights = pretrained.find_weights(recipe | dict(only_base=form == "its base"))
    recipe |= weights.changes
    model, _ = build_detector(recipe, 2)
    lines = pretrained.load_weights(model, Noise(), recipe, weights)
    assert "batch norm   new" in lines[-1] and len(model.base.norms()) == 15
    images = (torch.from_numpy(np.stack([*Noise()])).permute(0, 3, 1, 2) - plain.mean) / plain.std
    with torch.no_grad():
        expected = plain.base(images)
        for is_training in (False, True):
            for theirs, ours in zip(expected, model.train(is_training).base(images)):
                # To new heads, the size of the maps makes no difference.
                size = 1 if form == "detector" else ours.norm() / theirs.norm()
                assert_relative(ours / size, theirs)


@pytest.mark.parametrize("size", (0.2, 1, 10))
def test_a_vgg_that_gets_batch_norm_has_weights_of_the_size_of_new_ones(size):
    """Whatever their size in the file, for the steps of training are relative to it."""
    plain = VGG(width=16)
    for layer in plain.convolutions():
        layer.weight.data *= size
    model = SSD(2, norm="batch", base_width=16)
    model.base.load_state_dict(plain.state_dict(), strict=False)
    recipe = RECIPES["ssd300_custom"] | dict(base_width=16)
    pretrained.fit_norms(model, Noise(), recipe, keeps_maps=False)
    for conv, norm in zip(model.base.convolutions(), model.base.norms()):
        assert conv.weight.std().item() == pytest.approx((2 / conv.weight[0].numel()) ** 0.5, 0.05)
        assert norm.weight.square().mean().item() == pytest.approx(1, rel=1e-3)


def test_only_the_base_of_a_detector_can_be_loaded(tmp_path):
    """Its heads and its priors are then those of the recipe, its pixels the file's."""
    source = RECIPES["shapes"] | dict(pixel_mean=(1.0, 2.0, 3.0), p6_from="p5")
    detector, _ = build_detector(source, 2)
    content = dict(model=detector.state_dict(), recipe=asdict(source), classes=["a", "b"])
    torch.save(content, tmp_path / "detector.pth")
    recipe = RECIPES["retinanet_coco"] | dict(weights=str(tmp_path / "detector.pth"))
    weights = pretrained.find_weights(recipe | dict(only_base=True))
    assert not weights.classes and weights.changes["depth"] == 18
    recipe |= weights.changes
    assert recipe.channels == 256 and not recipe.prior_sizes
    assert recipe.pixel_mean == (1.0, 2.0, 3.0) and recipe.p6_from == "c5"
    model, _ = build_detector(recipe, 2)
    head = model.box_head.convs[0].weight.clone()
    pretrained.load_weights(model, Noise(), recipe, weights)
    assert torch.equal(model.base.conv1.weight, detector.base.conv1.weight)
    assert torch.equal(model.box_head.convs[0].weight, head)


@pytest.mark.parametrize("epsilon, is_frozen", ((1e-30, True), (1e-5, False)))
@pytest.mark.parametrize("only_base", (False, True))
def test_norms_without_an_epsilon_stay_frozen(epsilon, is_frozen, only_base, tmp_path):
    """As torchvision's first RetinaNet has them. They would divide by the variance of a channel
    that is always 0."""
    source = RECIPES["shapes"] | dict(norm_epsilon=epsilon)
    detector, _ = build_detector(source, 2)
    content = dict(model=detector.state_dict(), recipe=asdict(source), classes=["a", "b"])
    torch.save(content, tmp_path / "detector.pth")
    recipe = RECIPES["retinanet_custom"] | dict(weights=str(tmp_path / "detector.pth"))
    weights = pretrained.find_weights(recipe | dict(only_base=only_base))
    assert (recipe | weights.changes).frozen_norm == is_frozen


def test_a_fine_tuned_detector_keeps_priors_and_network_but_sees_our_images(tmp_path):
    source = RECIPES["shapes"] | CONVENTIONS["torchvision v1"]
    content = dict(model={}, recipe=asdict(source), classes=["a", "b"])
    torch.save(content, tmp_path / "detector.pth")
    recipe = RECIPES["retinanet_custom"] | dict(weights=str(tmp_path / "detector.pth"))
    changed = recipe | pretrained.find_weights(recipe).changes
    network = dict(fitted_stride=True, norm_epsilon=1e-30, p6_from="p5")
    assert changed | network == changed
    assert "fitted_stride=True" in describe_recipe(changed)
    for name in TORCHVISION_IMAGES:
        assert getattr(changed, name) == getattr(recipe, name), name


def test_exact_padding_is_the_mean_and_a_border_is_always_padded():
    nothing = dict(
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, int),
        ignore=np.zeros(0, bool),
        index=0,
    )
    sample = (np.full((32, 64, 3), 7, np.uint8), nothing)
    images, _ = collate([sample], (1.25, 2.5, 3.0), 32, min_padding=1, exact_colour=True)
    assert images.shape == (1, 3, 64, 96) and images[0, :, -1, -1].tolist() == [1.25, 2.5, 3.0]
    images, _ = collate([sample], (1.25, 2.5, 3.0), 32)
    assert images.shape == (1, 3, 32, 64) and images.dtype == torch.uint8


@pytest.mark.long
@pytest.mark.parametrize("name", ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"))
def test_an_iteration_from_each_of_imagenet_s_resnets_changes_them(name, tmp_path, monkeypatch):
    """The files are made by rule, as torchvision publishes them, with ImageNet's classes."""
    torch.manual_seed(0)
    network = getattr(models, name)(weights=None)
    iterate_from(network.state_dict(), "retinanet", int(name[6:]), tmp_path, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("model", ("ssd300", "ssd512"))
def test_an_iteration_from_imagenet_s_vgg_changes_it(model, tmp_path, monkeypatch):
    torch.manual_seed(0)
    state = models.vgg16(weights=None).features.state_dict()
    state = {f"features.{name}": value for name, value in state.items()}
    iterate_from(state, model, 50, tmp_path, monkeypatch)


def iterate_from(state, model, depth, folder, monkeypatch):
    """Train an iteration from a file where ImageNet's weights are kept, by the recipe for own
    data."""
    from train import train
    from utils.build import make_datasets

    monkeypatch.setattr(pretrained, "FOLDER", folder / "weights")
    recipe = RECIPES[f"{model}_custom"] | dict(depth=depth, iterations=1, warmup=0, batch=1)
    recipe |= dict(dataset="coco", root=str(folder / "data"), workers=0)
    recipe |= dict(resize=64, jitter=(), max_size=96)
    published = pretrained.get_model_weights(f"resnet{depth}").IMAGENET1K_V1
    if model != "retinanet":
        published = pretrained.get_model_weights("vgg16").IMAGENET1K_FEATURES
    path = folder / "weights" / Path(published.url).name
    path.parent.mkdir()
    torch.save(state, path)
    write_coco(folder / "data", [[(10, 20, 30, 40, 1)], [(0, 0, 50, 50, 0)]])
    (folder / "run").mkdir()
    datasets = make_datasets(recipe, *read_records(recipe | dict(val_share=0.0)))
    weights = pretrained.find_weights(recipe)
    train(recipe, folder / "run", torch.device("cpu"), *datasets, weights=weights)
    learned = torch.load(folder / "run/last.pth", weights_only=True)["model"]
    first = next(value for value in learned.values() if value.ndim == 4)
    loaded = next(value for value in state.values() if value.ndim == 4)
    if model.startswith("ssd"):
        # Only the size of weights before batch norm is changed, see fit_norms.
        loaded = loaded * SSD(2).std
        loaded *= first.norm() / loaded.norm()
    assert 0 < (first - loaded).norm() < 0.1 * loaded.norm()


@pytest.mark.parametrize("program", CONVENTIONS)
def test_every_epsilon_is_one_that_torch_takes_and_as_small_as_the_program_s(program):
    epsilon = (RECIPES["shapes"] | CONVENTIONS[program]).norm_epsilon
    assert epsilon > 0, "torch 2.11 refuses 0, even of frozen batch norm"
    assert epsilon == 1e-5 or torch.tensor(1e-20) + epsilon == torch.tensor(1e-20)
