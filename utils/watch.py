"""Watching a run from elsewhere: visdom and TensorBoard."""

from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from data.text import UserError
from utils.draw import embedded, encode_picture
from utils.files import latest_name, new_name

PICTURE_WIDTH = 900  # pixels of visdom's window with a picture
BORDER = 20  # pixels that such a window is higher than its picture


class Visdom:
    """Curves and pictures on a visdom server.

    A server that is not there is an error; one that dies later is one warning. Curves of an
    earlier run of this name are replaced, unless that is the run that is resumed.
    """

    def __init__(self, address, name, resumed=False):
        import visdom

        parts = urlsplit(address if "//" in address else f"http://{address}")
        host, port = f"http://{parts.hostname}", parts.port or 8097
        self.address = f"{host}:{port}"
        self.alive, self.known, self.resumed = True, set(), resumed
        try:
            self.server = visdom.Visdom(
                server=host, port=port, env=name, raise_exceptions=True, use_incoming_socket=False
            )
            # Its check_connection() believes only in environments that exist, and main always does.
            reached = self.server.win_exists("", env="main") is not None
        except (ConnectionError, OSError):
            reached = False
        if not reached:
            option = f" -port {parts.port}" if parts.port else ""
            raise UserError(
                f"no visdom server at {self.address}: start one with "
                f"python -m visdom.server{option}"
            )

    def points(self, window, iteration, **values):
        """One more point of each named curve of a window."""
        xlabel = "epoch" if "epochs" in window else "iteration"
        opts = dict(title=window, xlabel=xlabel, showlegend=True)
        for name, value in values.items():
            # A window cannot be appended to before it exists; a resumed run finds it there.
            known = window in self.known or self.resumed and self.call("win_exists", window)
            self.known.add(window)
            self.call(
                "line",
                np.array([value]),
                np.array([iteration]),
                win=window,
                name=name,
                update="append" if known else None,
                opts=opts,
            )

    def picture(self, window, image, iteration):
        """[H, W, 3] RGB uint8 in a window, instead of the picture before."""
        height, width = image.shape[:2]
        opts = dict(title=f"{window} at iteration {iteration}", width=PICTURE_WIDTH)
        opts["height"] = round(height / width * PICTURE_WIDTH) + BORDER
        # visdom cuts an image where its window is narrower, as on a small screen; HTML shrinks it.
        source = embedded(encode_picture(image, ".jpg"), ".jpg")
        html = f'<img src="{source}" style="width: 100%">'
        self.call("text", html, win=window, opts=opts)

    def call(self, method, *arguments, **options):
        if not self.alive:
            return None
        try:
            return getattr(self.server, method)(*arguments, **options)
        except (ConnectionError, OSError) as error:
            self.alive = False
            reason = type(error).__name__
            print(
                f"warning: the visdom server at {self.address} is gone ({reason}); training goes on"
            )
            return None


class TensorBoard:
    """The same for TensorBoard's files.

    Every run has a folder of its name, with a number behind it where another run's is there; a
    resumed run goes on in the last of them.
    """

    def __init__(self, folder, name, resumed=False):
        from torch.utils.tensorboard import SummaryWriter

        place = Path(folder, name)
        try:
            self.writer = SummaryWriter(str(latest_name(place) if resumed else new_name(place)))
        except OSError as error:
            raise UserError(f"--logdir {folder}: cannot be written ({error.strerror})") from None

    def points(self, window, iteration, **values):
        for name, value in values.items():
            self.writer.add_scalar(f"{window}/{name}", value, iteration)
        self.writer.flush()

    def picture(self, window, image, iteration):
        self.writer.add_image(window, image, iteration, dataformats="HWC")


def watchers(recipe, name, resumed=False):
    """Those that the recipe asks for, of a run of this name."""
    visdom = [Visdom(recipe.visdom, name, resumed)] if recipe.visdom else []
    tensorboard = [TensorBoard(recipe.logdir, name, resumed)] if recipe.logdir else []
    return visdom + tensorboard
