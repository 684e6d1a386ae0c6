import pytest
import torch

from data.errors import UserError
from published.load import load_detector
from utils import checkpoint
from utils.build import build_detector
from utils.recipes import RECIPES

RECIPE = RECIPES["shapes"] | dict(channels=32, head_convs=1, head_norm="none")


def save(path):
    model, _ = build_detector(RECIPE, 2)
    checkpoint.save(path, checkpoint.detector_content(model, RECIPE, ["cat", "dog"]))
    return model


def test_a_checkpoint_is_all_a_detector_needs(tmp_path):
    model = save(tmp_path / "a.pth")
    again, recipe, classes, *_ = load_detector(tmp_path / "a.pth")
    assert recipe == RECIPE and classes == ["cat", "dog"]
    images = torch.randint(0, 256, (1, 3, 64, 64))
    torch.testing.assert_close(model.eval()(images), again(images))


def test_a_failed_save_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    save(tmp_path / "a.pth")
    before = (tmp_path / "a.pth").read_bytes()

    def full(content, file):
        file.write(b"some bytes")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left on device"):
        save(tmp_path / "a.pth")
    assert (tmp_path / "a.pth").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", ({}, {"model": {}}, [1, 2]))
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match="a.pth: not a checkpoint of this program"):
        checkpoint.load(tmp_path / "a.pth")
