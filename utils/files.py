"""Writing files: a full disk is one clear line, and no file of the user's is overwritten."""

from itertools import count, takewhile
from pathlib import Path

from data.folder import OWN_MARK
from data.text import UserError


def write(path, content, replace=False):
    """Text or bytes into a new file, its folder made if need be.

    replace: for files of the program's own only.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb" if replace else "xb") as file:
            file.write(data)
    except FileExistsError:
        raise UserError(exists_message(path)) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def exists_message(path):
    return f"{path} exists already, and is not overwritten: choose another name"


def mark_as_own(folder):
    """Make a new folder with the mark by which datasets leave it out; one that exists stays."""
    if not Path(folder).exists():
        write(Path(folder, OWN_MARK), "")


def must_be_new(*paths):
    """An error, before any work is done, where a file that would be written exists; None
    is none."""
    for path in paths:
        if path is not None and Path(path).exists():
            raise UserError(exists_message(path))


def numbered_paths(path):
    """The path itself, and then with numbers: detections, detections-2, detections-3, ..."""
    path = Path(path)
    yield path
    for number in count(2):
        yield path.with_name(f"{path.name}-{number}")


def new_name(path):
    """The first numbered path that does not exist yet."""
    return next(candidate for candidate in numbered_paths(path) if not candidate.exists())


def latest_name(path):
    """The last numbered path that exists; the path itself where none does."""
    existing = [*takewhile(Path.exists, numbered_paths(path))]
    return existing[-1] if existing else Path(path)
