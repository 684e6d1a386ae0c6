import datetime
import pickle
import sys
from collections import deque
from types import ModuleType

import numpy as np
import pytest
import torch

from data.errors import UserError
from tests.conftest import Malicious
from utils.checkpoint import read
from utils.tensors import Placeholder, read_tensors


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
    found = read_tensors(tmp_path / "zoo.pth")
    assert (
        found["state_dict"]["a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
        and found["state_dict"]["half"].dtype == torch.float16
    )
    assert isinstance(found["message_hub"]["log"], Placeholder) and found["meta"]["epoch"] == 12


@pytest.mark.parametrize("zipped", (True, False))
def test_of_a_whole_module_the_tensors_are_read_and_nothing_is_built(tmp_path, zipped):
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    torch.save(module, tmp_path / "whole.pt", _use_new_zipfile_serialization=zipped)
    state = read(tmp_path / "whole.pt")
    assert state.keys() == module.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("hidden", (False, True))
def test_code_in_a_file_is_refused_by_name_and_never_run(tmp_path, capsys, mmengine, hidden):
    torch.save(
        dict(state_dict={}, log=History(1) if hidden else None, model=Malicious()),
        tmp_path / "evil.pth",
    )
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Malicious()))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(UserError, match=f"{name}: it holds _*builtins?_*.print"):
            read(tmp_path / name)
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
