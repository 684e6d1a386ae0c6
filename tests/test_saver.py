"""A full disk loses no checkpoint that was written before, and is told."""

import copy
import errno
from types import SimpleNamespace

import pytest
import torch

from data.text import UserError
from utils import checkpoint
from utils.recipes import RECIPES
from utils.saver import SAVE_FOLDER, Saver, checkpoint_to_resume, folder_to_resume, new_folder


@pytest.fixture
def saver(tmp_path):
    (tmp_path / "run").mkdir()
    return Saver(tmp_path / "run", RECIPES["shapes"] | dict(save_every=1), ["cat"])


MODEL = torch.nn.Linear(2, 1)


def save(saver, *iterations):
    for iteration in iterations:
        saver.save_last(MODEL, iteration, dict(best=0.5))


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


def test_the_checkpoint_before_the_last_is_kept(saver):
    save(saver, 1, 2, 3)
    folder = saver.folder
    iterations = [checkpoint.load(folder / f"{n}.pth")["iteration"] for n in ("last", "previous")]
    assert iterations == [3, 2] and saver.iteration == 3


def test_a_full_disk_keeps_the_last_checkpoint_and_there_may_be_room_by_the_next(
    saver, full, capsys
):
    save(saver, 1)
    full.append("full")
    save(saver, 2)
    assert checkpoint.load(saver.folder / "last.pth")["iteration"] == saver.iteration == 1
    assert capsys.readouterr().out.count("No space left on device") == 1
    assert saver.failure and not list(saver.folder.glob("*.unfinished"))
    full.clear()
    save(saver, 3)
    saver.raise_if_lost()
    assert checkpoint.load(saver.folder / "last.pth")["iteration"] == saver.iteration == 3


def test_a_second_checkpoint_that_cannot_be_written_ends_the_run_and_says_what_is_lost(saver, full):
    save(saver, 4)
    full.append("full")
    save(saver, 9)
    with pytest.raises(UserError, match=r"No space left.* trained after iteration 4 is lost"):
        save(saver, 14)


EVALUATION = SimpleNamespace(facts=lambda: dict(show_threshold=0.5))


def test_a_best_checkpoint_that_was_not_written_is_written_the_next_time_as_it_was(saver, full):
    save(saver, 1)
    full.append("full")
    model = torch.nn.Linear(2, 1)
    saver.save_best(model, 2, EVALUATION)
    before = copy.deepcopy(model.weight)
    torch.nn.init.zeros_(model.weight)
    save(saver, 3)
    assert checkpoint.load(saver.folder / "last.pth")["iteration"] == 1, "never ahead of the best"
    full.clear()
    save(saver, 4)
    best, last = (checkpoint.load(saver.folder / f"{name}.pth") for name in ("best", "last"))
    assert best["iteration"] == 2 and torch.equal(best["model"]["weight"], before)
    assert last["iteration"] == 4 and not saver.failure


def test_a_best_checkpoint_that_is_never_written_is_an_error(saver, full):
    full.append("full")
    saver.save_best(MODEL, 4, EVALUATION)
    save(saver, 4)
    with pytest.raises(UserError, match=r"trained after iteration 0 is lost"):
        saver.raise_if_lost()


def test_a_run_killed_while_it_writes_last_pth_has_its_periodic_checkpoint(saver, monkeypatch):
    saver.recipe |= dict(keep_checkpoints=1)
    write = Saver.write

    def killed(saver, name, content):
        if name == "last.pth":
            raise KeyboardInterrupt
        return write(saver, name, content)

    monkeypatch.setattr(Saver, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        save(saver, 4)
    assert checkpoint.load(saver.folder / "iteration_0000004.pth")["iteration"] == 4


def test_a_run_whose_last_checkpoint_is_missing_ends_with_an_error(saver, full):
    full.append("full")
    save(saver, 4)
    with pytest.raises(UserError, match=r"trained after iteration 0 is lost"):
        saver.raise_if_lost()


def test_a_folder_that_was_deleted_is_made_again(saver):
    save(saver, 1)
    for path in saver.folder.iterdir():
        path.unlink()
    saver.folder.rmdir()
    save(saver, 2)
    assert saver.iteration == 2


def test_what_torch_says_of_a_full_disk_is_said_in_words(tmp_path, monkeypatch):
    def save(value, file):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OSError, match="No space left on device") as full:
        checkpoint.save(tmp_path / "last.pth", dict(model={}))
    assert full.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())


def test_two_trainings_never_share_a_folder(saver):
    with pytest.raises(UserError, match="another run is running in"):
        Saver(saver.folder, saver.recipe, ["cat"])


def test_a_run_goes_on_in_its_own_folder_unless_another_is_asked_for(saver, tmp_path):
    path = saver.folder / "last.pth"
    for parent, name in ((SAVE_FOLDER, None), (tmp_path, None), (tmp_path, "run")):
        assert folder_to_resume(path, parent, name, "default") == saver.folder
    nested = tmp_path / "a/run"
    nested.mkdir(parents=True)
    Saver(nested, saver.recipe, ["cat"])
    assert folder_to_resume(nested / "last.pth", tmp_path, "a/run", "default") == nested
    assert folder_to_resume(path, tmp_path, "second", "default") == tmp_path / "second"
    other = tmp_path / "other"
    assert folder_to_resume(path, other, None, "default") == other / "default"


def test_from_an_earlier_checkpoint_a_run_goes_on_in_a_new_folder(saver, tmp_path):
    path = saver.folder / "iteration_0000025.pth"
    assert folder_to_resume(path, tmp_path, None, "default") == tmp_path / "default"


@pytest.mark.parametrize("name", ("run[1]", "a/run", "whole"))
def test_a_name_is_no_pattern(tmp_path, name):
    name = str(tmp_path / name) if name == "whole" else name
    path = tmp_path / name / "last.pth"
    path.parent.mkdir(parents=True)
    path.touch()
    assert checkpoint_to_resume(tmp_path, name, "") == path


def test_a_new_run_has_a_name_and_not_a_path(tmp_path):
    with pytest.raises(UserError, match="--name a/b: must be a name alone"):
        new_folder(tmp_path, "a/b", "default")
