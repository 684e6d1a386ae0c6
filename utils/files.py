"""Writing files: a full disk is one clear line, and no file of the user's is overwritten."""

import csv
import io
import os
from collections import Counter
from contextlib import suppress
from itertools import count, takewhile
from pathlib import Path

from data.folder import OWN_MARK
from data.text import UserError, file_errors


def write(path, content, replace=False):
    """Text or bytes into a new file, its folder made if need be.

    replace: for files of the program's own only.
    """
    path = Path(path)
    if isinstance(content, str):
        # Names of files may be in another encoding, whose bytes are kept.
        content = content.encode(errors="surrogateescape")
    save = replace_file if replace else write_new
    with file_errors(path, "written"):
        try:
            save(path, lambda file: file.write(content))
        except FileExistsError as error:
            raise UserError(exists_message(error.filename)) from None


def replace_file(path, save):
    """Let save(file) write a file under a temporary name, and rename it: path never holds half of
    one, and a link in its place is replaced, not followed. Raises OSError."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    write_new(unfinished, save)
    try:
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def write_new(path, save):
    """Let save(file) write a file that does not exist yet, and sync it to the disk. If that fails
    or is interrupted, no file is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "xb")
    try:
        with file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        # It is closed by now, for Windows deletes no file that is open.
        with suppress(OSError):
            path.unlink()
        raise


def no_link(path, flags):
    """For open(): the descriptor of a file of ours, which must not be a link to another."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def csv_text(rows):
    """Rows as the text of a csv file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def exists_message(path):
    return f"{path} exists already, and is not overwritten: choose another name"


def mark_as_own(folder):
    """Make a new folder with the mark by which datasets leave it out; one that exists stays."""
    if not Path(folder).exists():
        write(Path(folder, OWN_MARK), "")


def must_be_new(*paths):
    """An error, before any work is done, where a file that would be written exists, or cannot be
    made in its folder, or is also to be another one, or a folder of another one. None stands for
    no file."""
    paths = [Path(path) for path in paths if path is not None]
    places = Counter(path.resolve() for path in paths)
    folders = {folder for path in places for folder in path.parents}
    for path, number in places.items():
        if number > 1 or path in folders:
            raise UserError(f"{path}: two outputs would have this name")
    for path in paths:
        # Where the user may not look, Path.exists raises an error and os.path.exists is False.
        if os.path.exists(path):
            raise UserError(exists_message(path))
        folder = path.absolute().parent
        while not os.path.exists(folder) and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            raise UserError(f"{path}: {folder} is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"{path}: {folder} is a folder that you may not write into")


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
