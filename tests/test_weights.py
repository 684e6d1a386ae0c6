"""Fine-tuning: what is taken over from a model of other classes."""

import pytest
import torch

from published.weights import find_weights, load_matching
from retinanet import RetinaNet, prior_levels
from ssd import SSD
from tests.test_detector import save_random_detector
from utils.recipes import RECIPES

EIGHTY = [f"class {i}" for i in range(80)]


def tiny(classes, **options):
    return RetinaNet(len(classes), **(dict(depth=18, channels=32, head_convs=1) | options))


def rows(model, classes, name):
    """The weights of one class: [S, channels, 3, 3]."""
    weight = model.class_head.last.weight
    return weight.view(-1, len(classes), *weight.shape[1:])[:, classes.index(name)]


def test_a_checkpoint_of_ours_tells_the_size_of_its_images(tmp_path):
    save_random_detector(tmp_path / "best.pth", resize=96)
    recipe = RECIPES["retinanet_custom"] | dict(weights=str(tmp_path / "best.pth"))
    assert find_weights(recipe).resize == 96


@pytest.mark.parametrize("only_base", (False, True))
def test_the_file_of_a_detector_decides_the_width_of_its_base(tmp_path, only_base):
    save_random_detector(tmp_path / "best.pth", base_width=16)
    path = str(tmp_path / "best.pth")
    recipe = RECIPES["retinanet_custom"] | dict(weights=path, only_base=only_base)
    assert find_weights(recipe).changes["base_width"] == 16


def test_the_same_classes_take_everything():
    source, target = tiny(EIGHTY), tiny(EIGHTY)
    lines = list(load_matching(target, EIGHTY, source.state_dict(), EIGHTY))
    assert len(lines) == 1 and lines[0] == f"loaded       {len(source.state_dict())} tensors"
    assert all(
        torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items()
    )


def test_eighty_classes_to_three_new_ones_start_the_class_head_anew():
    classes = ["a", "b", "c"]
    source, target = tiny(EIGHTY), tiny(classes)
    before = target.class_head.last.weight.clone()
    lines = list(load_matching(target, classes, source.state_dict(), EIGHTY))
    assert torch.equal(target.class_head.last.weight, before)
    assert torch.equal(target.box_head.last.weight, source.box_head.last.weight)
    assert target.class_head.last.bias.sigmoid().mean().item() < 0.011
    assert "kept: none; new: a, b, c" in lines[1]


def test_rows_of_classes_with_the_same_name_keep_their_values_exactly():
    classes = ["class 41", "something new", "class 7"]
    source, target = tiny(EIGHTY), tiny(classes)
    lines = list(load_matching(target, classes, source.state_dict(), EIGHTY))
    for name in ("class 41", "class 7"):
        assert torch.equal(rows(target, classes, name), rows(source, EIGHTY, name))
    assert "kept: class 41, class 7; new: something new" in lines[1]


def test_ssd_keeps_its_background_too():
    source, target = SSD(80), SSD(2)
    with torch.no_grad():
        source.class_heads[0].bias.copy_(torch.arange(4 * 81))
    list(load_matching(target, ["class 5", "new"], source.state_dict(), EIGHTY))
    assert target.class_heads[0].bias.view(4, 3)[:, 0].tolist() == [0, 81, 162, 243]
    assert target.class_heads[0].bias.view(4, 3)[:, 1].tolist() == [6, 87, 168, 249]


def test_a_background_without_any_class_it_was_compared_with_starts_anew():
    source, target = SSD(80), SSD(2)
    with torch.no_grad():
        source.class_heads[0].bias.fill_(9)
    list(load_matching(target, ["new", "newer"], source.state_dict(), EIGHTY))
    assert not target.class_heads[0].bias.any()


def test_other_priors_leave_the_heads_and_say_so():
    source, target = tiny(EIGHTY), tiny(EIGHTY, levels=prior_levels(ratios=(1.0,)))
    lines = "\n".join(load_matching(target, EIGHTY, source.state_dict(), EIGHTY))
    assert "as before" in lines and "class_head.last.weight" in lines
