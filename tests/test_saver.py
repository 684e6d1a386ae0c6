"""A full disk ends no training, loses no old checkpoint, and is told at the end."""

import errno
from types import SimpleNamespace

import pytest
import torch

from data.errors import UserError
from utils import checkpoint
from utils.finish import finish
from utils.recipes import RECIPES
from utils.saver import Saver


@pytest.fixture
def saver(tmp_path):
    return Saver(tmp_path, RECIPES["shapes"] | dict(save_every=1))


def content(iteration):
    return dict(model=dict(a=torch.zeros(9)), recipe={}, classes=[], iteration=iteration)


@pytest.fixture
def full(monkeypatch):
    """A disk that is full as long as its list has something in it."""
    reasons, write = [], torch.save

    def save(value, file):
        if reasons:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(value, file)

    monkeypatch.setattr(torch, "save", save)
    return reasons


def test_the_checkpoint_before_the_last_is_kept(saver, tmp_path):
    for iteration in (1, 2, 3):
        saver.save_last(content(iteration), iteration)
    iterations = [checkpoint.load(tmp_path / f"{n}.pth")["iteration"] for n in ("last", "previous")]
    assert iterations == [3, 2]


def test_a_full_disk_keeps_the_last_checkpoint_and_is_said_once(saver, full, tmp_path, capsys):
    saver.save_last(content(1), 1)
    full.append("full")
    for iteration in (2, 3):
        saver.save_last(content(iteration), iteration)
    assert checkpoint.load(tmp_path / "last.pth")["iteration"] == saver.last_iteration() == 1
    assert capsys.readouterr().out.count("No space left on device") == 1
    assert saver.failure and not list(tmp_path.glob("*.unfinished"))


def test_it_is_tried_again_as_soon_as_there_is_room(saver, full, tmp_path, monkeypatch):
    full.append("full")
    saver.save_last(content(1), 1)
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_bavail=1, f_frsize=100))
    assert not saver.should_try_again()
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_bavail=1000, f_frsize=100))
    assert saver.should_try_again()
    full.clear()
    saver.save_last(content(5), 5)
    assert not saver.failure and not saver.should_try_again() and saver.last_iteration() == 5


def test_a_run_that_could_not_save_ends_with_an_error_that_says_what_is_lost(saver, full, tmp_path):
    saver.save_last(content(4), 4)
    full.append("full")
    saver.save_last(content(9), 9)
    with pytest.raises(UserError, match=r"No space left.* trained after iteration 4 is lost"):
        finish(SimpleNamespace(saver=saver, folder=tmp_path))


def test_a_folder_that_was_deleted_is_made_again(saver, tmp_path):
    saver.save_last(content(1), 1)
    for path in tmp_path.iterdir():
        path.unlink()
    tmp_path.rmdir()
    saver.save_last(content(2), 2)
    assert saver.last_iteration() == 2


def test_what_torch_says_of_a_full_disk_is_said_in_words(tmp_path, monkeypatch):
    def save(value, file):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OSError, match="No space left on device") as full:
        checkpoint.save(tmp_path / "last.pth", content(1))
    assert full.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())
