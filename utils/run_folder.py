"""The folder of a run: a new one for every training, and never two trainings in one."""

import os
from pathlib import Path

from data.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has none, and no lock then
    fcntl = None


# What a run that ended before its first checkpoint leaves behind.
OWN_FILES = {"recipe.json", "log.jsonl", "curves.png", ".lock"}


def new_folder(parent, name, default):
    """Make the folder of a new run.

    name is the user's, or None: then it is the default, with the first number that is free.
    """
    folder, number = parent / (name or default), 2
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if name and folder.is_dir() and is_unbegun(folder):
                return folder
            if name:
                raise UserError(name_taken(folder, name)) from None
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be made ({error.strerror}); choose another --save-folder"
            ) from None
        folder, number = parent / f"{default}-{number}", number + 1


def is_unbegun(folder):
    """Whether a folder is empty, or a run's that ended before its first checkpoint."""
    names = {path.name for path in folder.iterdir()}
    return all(name in OWN_FILES or name.endswith(".unfinished") for name in names)


def name_taken(folder, name):
    if any(folder.glob("*.pth")):
        return f"{folder} holds a run: go on with --resume --name {name}, or choose another --name"
    return f"{folder} holds other files, and a run begins in a new folder: choose another --name"


def claim(folder):
    """Keep other trainings out of a folder as long as this process lives -> the open lock."""
    try:
        lock = open(folder / ".lock", "w")
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another training is running in {folder}") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    return lock


def checkpoint_to_resume(parent, name, path):
    """The checkpoint that was named; without a name the last one of the run, or of the
    latest run."""
    if path:
        path = Path(path)
        return path / "last.pth" if path.is_dir() else path
    found = sorted(parent.glob(f"{name or '*'}/last.pth"), key=os.path.getmtime)
    if not found:
        raise UserError(f"nothing to resume: no {parent / (name or '*') / 'last.pth'}")
    return found[-1]
