import copy
import datetime
import math
import pickle
import sys
from collections import deque
from types import ModuleType

import numpy as np
import pytest
import torch

from data.text import UserError
from published.load import load_detector
from tests.conftest import Malicious
from tests.test_detector import save_random_detector
from utils import checkpoint
from utils.build import build_detector
from utils.checkpoint import read
from utils.pickles import Placeholder
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


class History:
    """Such as MMDetection's files hold: an object of a package that is not installed here."""

    def __init__(self, values):
        self.values = values

    def __setstate__(self, state):
        raise AssertionError("built")

    def mean(self):
        """A method is pickled as what getattr finds."""


@pytest.fixture
def mmengine(monkeypatch):
    """A package of that name, as long as the test runs."""
    module = ModuleType("mmengine.logging.history_buffer")
    monkeypatch.setattr(History, "__module__", module.__name__)
    module.History = History
    for name in ("mmengine", "mmengine.logging", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("zipped", (True, False))
def test_of_an_mmdetection_file_only_the_tensors_are_read(tmp_path, mmengine, zipped):
    content = dict(
        state_dict={"a.weight": torch.arange(6.0).view(2, 3), "half": torch.ones(2).half()},
        message_hub=dict(
            log=History(np.arange(3)), how=History(1).mean, last=deque([1]), kinds={1, 2}
        ),
        meta=dict(seed=np.float64(3), time=datetime.datetime.now(), epoch=12),
    )
    torch.save(content, tmp_path / "zoo.pth", _use_new_zipfile_serialization=zipped)
    content = read(tmp_path / "zoo.pth")
    assert (
        content["state_dict"]["a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
        and content["state_dict"]["half"].dtype == torch.float16
    )
    assert isinstance(content["message_hub"]["log"], Placeholder) and content["meta"]["epoch"] == 12


def test_of_a_whole_module_the_tensors_are_read_and_nothing_is_built(tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    torch.save(module, tmp_path / "whole.pt")
    state = read(tmp_path / "whole.pt")
    assert state.keys() == module.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_a_whole_module_from_before_torch_1_6_is_refused_with_what_to_do(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="old.pt: it is a whole module .* save model.state_dict()"):
        read(tmp_path / "old.pt")


@pytest.mark.parametrize("hidden", (False, True))
def test_code_in_a_file_is_refused_by_name_and_never_run(tmp_path, capsys, mmengine, hidden):
    torch.save(
        dict(state_dict={}, log=History(1) if hidden else None, model=Malicious()),
        tmp_path / "evil.pth",
    )
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(UserError, match="evil.pth: it holds builtins.print"):
        read(tmp_path / "evil.pth")
    with pytest.raises(UserError, match="plain.pth: .*torch.save did not write it"):
        read(tmp_path / "plain.pth")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("zipped", (True, False))
def test_half_a_download_is_refused(tmp_path, zipped):
    torch.save(dict(a=torch.zeros(1000)), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    data = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(UserError, match="a.pth: not a whole checkpoint"):
        read(tmp_path / "a.pth")


def test_a_page_saved_instead_of_a_file_is_refused(tmp_path):
    (tmp_path / "a.pth").write_text("<!DOCTYPE html><html>Quota exceeded</html>")
    with pytest.raises(UserError, match="a.pth: not a whole checkpoint"):
        read(tmp_path / "a.pth")


OPTIMIZERS = {
    "SGD": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True),
    "AdamW": lambda model: torch.optim.AdamW(model.parameters(), lr=0.1, fused=True),
}


def step(model, optimizer):
    model(torch.rand(2, 4, 8, 8)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def make_optimizer(name, memory_format=torch.contiguous_format):
    """A layer after one step, and the optimizer that made it."""
    torch.manual_seed(0)
    model = torch.nn.Conv2d(4, 5, 3).to(memory_format=memory_format)
    optimizer = OPTIMIZERS[name](model)
    step(model, optimizer)
    return model, optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_with_weights_in_another_order(name):
    """As when a run that began on a GPU, in channels last, is resumed on a CPU."""
    model, optimizer = make_optimizer(name, torch.channels_last)
    saved = copy.deepcopy(optimizer.state_dict())
    again = torch.nn.Conv2d(4, 5, 3)
    again.load_state_dict(model.state_dict())
    other = OPTIMIZERS[name](again)
    checkpoint.load_optimizer(other, saved)
    for resumed in ((model, optimizer), (again, other)):
        torch.manual_seed(1)
        step(*resumed)
    torch.testing.assert_close(again.weight, model.weight)


@pytest.mark.parametrize("name, key", (("SGD", "momentum_buffer"), ("AdamW", "exp_avg")))
@pytest.mark.parametrize("change", (lambda value: value[:1], torch.sum))
def test_an_optimizer_s_state_of_another_shape_is_refused(name, key, change):
    """A fused step would write beyond such a tensor: the process crashes."""
    _, optimizer = make_optimizer(name)
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][0][key] = change(saved["state"][0][key])
    with pytest.raises(ValueError, match=f"its optimizer has {key} of"):
        checkpoint.load_optimizer(optimizer, saved)


def test_an_optimizer_s_state_without_one_of_its_tensors_is_refused():
    _, optimizer = make_optimizer("AdamW")
    saved = copy.deepcopy(optimizer.state_dict())
    del saved["state"][1]["exp_avg"]
    with pytest.raises(ValueError, match="its optimizer lacks exp_avg"):
        checkpoint.load_optimizer(optimizer, saved)


def test_an_optimizer_of_other_parameters_is_refused():
    _, optimizer = make_optimizer("SGD")
    saved = torch.optim.SGD(torch.nn.Linear(2, 2, bias=False).parameters(), lr=1).state_dict()
    with pytest.raises(ValueError, match="its optimizer has other parameters"):
        checkpoint.load_optimizer(optimizer, saved)


@pytest.mark.parametrize(
    "name, value",
    (
        ("iteration", 2.5),
        ("iteration", "7"),
        ("iteration", -9),
        ("best", math.nan),
        ("best", [1.0]),
        ("stale", None),
        ("random", 3),
        ("plateau", []),
        ("largest_step", "x"),
    ),
)
def test_a_training_s_state_of_another_kind_is_one_line(name, value, tmp_path):
    model, _ = build_detector(RECIPE, 1)
    content = checkpoint.detector_content(model, RECIPE, ["a"], iteration=7)
    content |= dict(optimizer={}, plateau={}, best=0.5, stale=0, random=torch.get_rng_state())
    content |= dict(largest_step=0.0)
    torch.save(content, tmp_path / "last.pth")
    assert checkpoint.load_training(tmp_path / "last.pth")["iteration"] == 7
    torch.save(content | {name: value}, tmp_path / "last.pth")
    with pytest.raises(UserError, match=f"last.pth: {name} .* is not what a run saves"):
        checkpoint.load_training(tmp_path / "last.pth")


def test_as_many_images_are_evaluated_at_a_time_as_were_in_a_part_of_a_training_s_batch(tmp_path):
    save_random_detector(tmp_path / "a.pth", batch=64, accumulate=8)
    recipe = load_detector(tmp_path / "a.pth").recipe
    assert (recipe.batch, recipe.accumulate) == (8, 1)
