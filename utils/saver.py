"""The folder of a run, and the checkpoints in it."""

import copy
import errno
import json
import os
import re
import shlex
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from data.folder import OWN_MARK
from data.text import UserError, file_errors
from utils import checkpoint, parallel
from utils.files import no_link, write

try:
    import fcntl
except ImportError:  # Windows has none, and so no lock
    fcntl = None

SAVE_FOLDER = Path("weights")  # where runs are, unless another folder is named
LOCK = ".lock"  # is in every folder of a run, and nowhere else
# What a run that ended before its first checkpoint leaves behind.
OWN_FILES = {"recipe.json", "log.jsonl", "curves.png", LOCK, OWN_MARK}


def new_folder(parent, name, default):
    """Make the folder of a new run.

    name is the user's. Without it, the folder is default, or default-2, default-3, ... if that
    exists.
    """
    if name and Path(name).name != name:
        raise UserError(f"--name {name}: must be a name alone; a folder is for --save-folder")
    folder, number = parent / (name or default), 2
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if name and folder.is_dir() and is_unbegun(folder):
                return folder
            if name:
                raise UserError(name_taken(folder)) from None
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be made ({error.strerror}); choose another --save-folder"
            ) from None
        folder, number = parent / f"{default}-{number}", number + 1


def is_unbegun(folder):
    """Whether a folder is empty, or of a run that ended before its first checkpoint."""
    names = {path.name for path in folder.iterdir()}
    return all(name in OWN_FILES or name.endswith(".unfinished") for name in names)


def name_taken(folder):
    if (folder / "last.pth").exists():
        again = f"--resume {shlex.quote(str(folder))}"
        return f"{folder} holds a run: go on with {again}, or choose another --name"
    return f"{folder} holds other files, and a run begins in a new folder: choose another --name"


def checkpoint_to_resume(parent, name, path):
    """The checkpoint to resume: path if it is given, else last.pth of the run called name, else of
    the latest run."""
    if path:
        path = Path(path)
        return path / "last.pth" if path.is_dir() else path
    # The user's name is no pattern.
    found = [parent / name / "last.pth"] if name else [*parent.glob("*/last.pth")]
    found = sorted(filter(Path.exists, found), key=os.path.getmtime)
    if not found:
        raise UserError(f"nothing to resume: no {parent / (name or '*') / 'last.pth'}")
    return found[-1]


def folder_to_resume(path, parent, name, default):
    """The folder in which a run goes on: that of its last checkpoint. It is a new one if another
    was asked for, if the checkpoint was copied elsewhere, where the other files may be the user's,
    or if it is an earlier one, beside which there are files of later iterations. previous.pth takes
    the place of a last.pth that cannot be read."""
    before = path.parent.resolve()
    # --save-folder has a default, which says nothing about a checkpoint elsewhere.
    is_default = parent == SAVE_FOLDER and name in (None, before.name)
    is_asked_for = is_default or (parent / (name or before.name)).resolve() == before
    is_latest = path.name == "last.pth"
    is_substitute = path.name == "previous.pth" and not is_readable(before / "last.pth")
    if is_asked_for and (is_latest or is_substitute) and (before / LOCK).is_file():
        if is_substitute:
            # The first save will make what last.pth then is the new previous.pth.
            os.replace(path, before / "last.pth")
        return path.parent
    folder = new_folder(parent, name, default)
    print(f"{path.parent} stays as it is, and the run goes on in {folder}")
    return folder


def is_readable(path):
    """Whether a file is a checkpoint from which training can go on."""
    try:
        checkpoint.load_training(path)
    except UserError:
        return False
    return True


def has_best_of(folder, content, val_records):
    """Whether the best result in the content of a last.pth, and the best.pth in a folder, are of
    these records."""
    if val_records is None:
        return False
    try:
        best = checkpoint.load(folder / "best.pth")
    except UserError:
        return False
    # A run that was killed may have a newer best.pth than last.pth, of other data.
    data = {best.get("data_fingerprint"), content.get("data_fingerprint")}
    return data == {val_records.fingerprint()}


class Saver:
    """Writes last.pth, best.pth and periodic checkpoints, and keeps the former last.pth as
    previous.pth.

    A disk that is full leaves last.pth and best.pth whole; previous.pth is deleted to make room.
    The first checkpoint that cannot be written is a warning, as there may be room again by the
    next; the second in a row ends the run. A best.pth that cannot be written is kept in memory, and
    tried again before the next last.pth. Of several processes only the first writes.
    """

    def __init__(self, folder, recipe, classes, iteration=0, val_dataset=None):
        self.folder, self.recipe, self.classes = folder, recipe, classes
        # That of last.pth; a new folder has none, wherever its run began.
        self.iteration = iteration if (folder / "last.pth").exists() else 0
        self.data_fingerprint = val_dataset.records.fingerprint() if val_dataset else None
        self.best_evaluation = None
        self.unwritten_best = None
        self.failure = None  # why the latest one could not be written
        if parallel.rank() == 0:
            self.lock = claim(folder)
            write(folder / OWN_MARK, "", replace=True)
            # Of a run that was killed while it wrote.
            for unfinished in folder.glob("*.pth.unfinished"):
                with suppress(OSError):
                    unfinished.unlink()
            content = asdict(recipe) | dict(classes=classes)
            write(folder / "recipe.json", json.dumps(content, indent=1), replace=True)

    def save_last(self, model, iteration, state):
        """Write last.pth, a model and the state of its training; and a periodic checkpoint, if the
        recipe keeps any."""
        if parallel.rank() > 0:
            return
        last, previous = self.folder / "last.pth", self.folder / "previous.pth"
        has_failed_before = self.failure is not None
        # A best.pth that could not be written comes first: last.pth is never ahead of it.
        self.failure = self.write_best(self.unwritten_best)
        if not has_failed_before and not self.failure:
            with suppress(OSError):
                previous.unlink(missing_ok=True)
                os.link(last, previous)
        content = self.content(model, iteration) | state
        keep = self.recipe.keep_checkpoints
        if keep and iteration % self.recipe.save_every == 0:
            # Before last.pth, so that a run which is killed between the two writes it again.
            self.write(f"iteration_{iteration:07d}.pth", content)
            # A file with anything after the number is the user's own copy.
            files = self.folder.glob("iteration_*.pth")
            periodic = [file for file in files if re.fullmatch("iteration_[0-9]+", file.stem)]
            for old in sorted(periodic, key=lambda file: int(file.stem.split("_")[1]))[:-keep]:
                with suppress(OSError):
                    old.unlink()
        self.failure = self.failure or self.write("last.pth", content)
        if has_failed_before:
            self.raise_if_lost()
        if not self.failure:
            self.iteration = iteration

    def save_best(self, model, iteration, evaluation):
        """Write best.pth, a model and what its evaluation says of it."""
        self.best_evaluation = evaluation
        if parallel.rank() == 0:
            self.write_best(self.content(model, iteration) | evaluation.facts())

    def content(self, model, iteration):
        """What both checkpoints hold: a model, and the data that its results are of."""
        content = checkpoint.detector_content(model, self.recipe, self.classes, iteration)
        return content | dict(data_fingerprint=self.data_fingerprint)

    def write_best(self, content):
        """Write best.pth, if there is one to be written -> None, or why it could not be."""
        failure = self.write("best.pth", content) if content else None
        # The run goes on with the same tensors, so they are copied.
        self.unwritten_best = copy.deepcopy(content) if failure else None
        return failure

    def write(self, name, content):
        """Write a checkpoint -> None, or why it could not be written, which is printed."""
        path = self.folder / name
        try:
            try:
                checkpoint.save(path, content)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                # The checkpoint before the last is the first to go when there is no room.
                (self.folder / "previous.pth").unlink(missing_ok=True)
                checkpoint.save(path, content)
        except OSError as error:
            reason = error.strerror or str(error)
            print(f"warning: {path}: cannot be written ({reason}); training goes on")
            return reason
        return None

    def raise_if_lost(self):
        """An error where the latest checkpoint could not be written."""
        if self.failure:
            raise UserError(
                f"{self.folder}: the last checkpoint could not be written ({self.failure}); "
                f"what was trained after iteration {self.iteration} is lost"
            )


def claim(folder):
    """Keep other runs out of a folder as long as the returned lock is open."""
    with file_errors(folder, "written"):
        lock = open(folder / LOCK, "w", opener=no_link)
    try:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another run is running in {folder}") from None
    except OSError:
        # Some network file systems have no locks; do without, as on Windows.
        pass
    return lock
