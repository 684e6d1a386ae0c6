"""Writing files so that a full disk or a forbidden folder is one clear line, and no file of the user's is lost."""
from pathlib import Path

from data.errors import UserError


def write(path, content, replace=False):
    """Text or bytes into a new file, its folder made if need be. replace: only for files of the program's own."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb" if replace else "xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except FileExistsError:
        raise UserError(already(path)) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def already(path):
    return f"{path} exists already, and is not overwritten: choose another name"


def must_be_new(*paths):
    """Say so before any work is done, where a file that would be written exists. None: nothing is to be written."""
    for path in paths:
        if path is not None and Path(path).exists():
            raise UserError(already(path))


def new_name(path):
    """The path itself, or with the first number that makes it new: detections, detections-2, ..."""
    candidate, number = Path(path), 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate
