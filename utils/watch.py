"""Watching a run in a browser: visdom and TensorBoard."""

import logging
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from data.text import UserError, file_errors
from utils.draw import embedded, encode_picture
from utils.files import latest_name, new_name

PICTURE_WIDTH = 900  # pixels of a window with a picture
TITLE_HEIGHT = 20  # pixels of its title
# The window of each curve; others have one of their own name.
WINDOWS = dict(
    box_loss="loss",
    class_loss="loss",
    total="loss",
    epoch_loss="loss of epochs",
    lr="learning rate",
    images_per_second="images per second",
    data_wait="waiting for data",
    AP="average precision",
    AP50="average precision",
    mAP="average precision",
)


class Visdom:
    """Curves and pictures on a visdom server.

    It is an error if the server is not there, but only a warning if it dies later. The curves of an
    earlier run of this name are replaced, unless this run resumes it.
    """

    def __init__(self, address, name, resumed=False):
        import visdom

        # It warns that nothing comes back from the browser, which is not needed here.
        logging.getLogger("visdom").setLevel(logging.ERROR)
        parts = urlsplit(address if "//" in address else f"http://{address}")
        host = f"http://{parts.hostname}"
        port = parts.port or 8097
        self.address = f"{host}:{port}"
        self.is_alive = True
        self.known_windows = set()
        self.resumed = resumed
        try:
            self.server = visdom.Visdom(
                server=host, port=port, env=name, raise_exceptions=True, use_incoming_socket=False
            )
            # check_connection() fails where the environment is new, and "main" exists always.
            is_reached = self.server.win_exists("", env="main") is not None
        except (ConnectionError, OSError):
            is_reached = False
        if not is_reached:
            option = f" -port {parts.port}" if parts.port else ""
            raise UserError(
                f"no visdom server at {self.address}: start one with "
                f"python -m visdom.server{option}"
            )

    def points(self, split, iteration, values):
        """Add a point to the curve of each value, name -> number."""
        for name, value in values.items():
            window = WINDOWS.get(name, name)
            # Nothing can be appended to a window that does not exist; a resumed run finds its own.
            exists = window in self.known_windows
            exists = exists or self.resumed and self.call("win_exists", window)
            self.known_windows.add(window)
            self.call(
                "line",
                np.array([value]),
                np.array([iteration]),
                win=window,
                name=name,
                update="append" if exists else None,
                opts=dict(title=window, xlabel="iteration", showlegend=True),
            )

    def picture(self, window, image, iteration):
        """Show a picture [H, W, 3] RGB in a window, in place of the last one."""
        height, width = image.shape[:2]
        opts = dict(title=f"{window} at iteration {iteration}", width=PICTURE_WIDTH)
        opts["height"] = round(height / width * PICTURE_WIDTH) + TITLE_HEIGHT
        # visdom crops an image that is wider than its window, and HTML shrinks it.
        source = embedded(encode_picture(image, ".jpg"), ".jpg")
        html = f'<img src="{source}" style="width: 100%">'
        self.call("text", html, win=window, opts=opts)

    def call(self, method, *arguments, **options):
        """Call a method of visdom's own; after the server has died, do nothing."""
        if not self.is_alive:
            return None
        try:
            return getattr(self.server, method)(*arguments, **options)
        except (ConnectionError, OSError) as error:
            self.is_alive = False
            reason = type(error).__name__
            print(
                f"warning: the visdom server at {self.address} is gone ({reason}); training goes on"
            )
            return None


class TensorBoard:
    """Curves and pictures in files for TensorBoard.

    Each run has a folder of its name, with a number if there is one already. A run that starts
    after an iteration goes on in the last of them, without the points of later ones.
    """

    def __init__(self, folder, name, start=0):
        from torch.utils.tensorboard import SummaryWriter

        path = Path(folder, name)
        with file_errors(f"--logdir {folder}", "written"):
            place = latest_name(path) if start else new_name(path)
            self.writer = SummaryWriter(str(place), purge_step=start + 1 if start else None)

    def points(self, split, iteration, values):
        """Add a point to the curve of each value, name -> number, under the name of its split."""
        for name, value in values.items():
            self.writer.add_scalar(f"{split}/{name}", value, iteration)
        self.writer.flush()

    def picture(self, window, image, iteration):
        """Add a picture [H, W, 3] RGB to those under a heading."""
        self.writer.add_image(f"val/{window}", image, iteration, dataformats="HWC")


def watchers(recipe, name, start=0):
    """The watchers that the recipe asks for, for a run of this name that starts after an
    iteration."""
    visdom = [Visdom(recipe.visdom, name, resumed=start > 0)] if recipe.visdom else []
    tensorboard = [TensorBoard(recipe.logdir, name, start)] if recipe.logdir else []
    return visdom + tensorboard
