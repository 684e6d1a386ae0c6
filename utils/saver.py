"""Writing checkpoints into a run's folder, also when the disk is full for a while."""

import errno
import os
from contextlib import suppress

from data.errors import UserError
from utils import checkpoint


class Saver:
    """last.pth, best.pth and periodic checkpoints; the last.pth before is kept as previous.pth.

    A disk that is full ends no training: the old files stay whole, and it is tried again later.
    """

    def __init__(self, folder, recipe):
        self.folder, self.recipe = folder, recipe
        self.failure = None  # why the last checkpoint could not be written
        self.needed_bytes = 0

    def save_last(self, content, iteration):
        """Write last.pth, and keep as many periodic checkpoints as the recipe says."""
        last, previous = self.folder / "last.pth", self.folder / "previous.pth"
        if not self.failure:
            with suppress(OSError):
                previous.unlink(missing_ok=True)
                os.link(last, previous)
        keep = self.recipe.keep_checkpoints
        if self.write("last.pth", content) and keep and iteration % self.recipe.save_every == 0:
            self.write(f"iteration_{iteration:07d}.pth", content)
            for old in sorted(self.folder.glob("iteration_*.pth"))[:-keep]:
                old.unlink()

    def write(self, name, content):
        """Write a checkpoint -> whether it could be written."""
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
            if not self.failure:
                print(f"warning: {path}: cannot be written ({reason}); training goes on")
            self.failure = reason
            self.needed_bytes = 3 * sum(value.nbytes for value in content["model"].values())
            return False
        self.failure = None
        return True

    def should_try_again(self):
        """Whether a checkpoint is missing and would fit on the disk: weights and two
        copies more."""
        if not self.failure:
            return False
        try:
            status = os.statvfs(self.folder)
        except (OSError, AttributeError):
            return True
        return status.f_bavail * status.f_frsize > self.needed_bytes

    def last_iteration(self):
        """The iteration of the last checkpoint that is whole."""
        try:
            return checkpoint.load(self.folder / "last.pth")["iteration"]
        except UserError:
            return 0
