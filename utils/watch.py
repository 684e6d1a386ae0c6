"""Watching a run from elsewhere: visdom and TensorBoard."""
from urllib.parse import urlsplit

import numpy as np

from data.errors import UserError


class Visdom:
    """Curves and pictures on a visdom server. One that is not there is an error; one that dies later, one warning."""

    def __init__(self, address, name):
        import visdom

        place = urlsplit(address if "//" in address else f"http://{address}")
        self.address = f"http://{place.hostname}:{place.port or 8097}"
        self.alive, self.known = True, set()
        try:
            self.server = visdom.Visdom(server=f"http://{place.hostname}", port=place.port or 8097, env=name,
                                        raise_exceptions=True, use_incoming_socket=False)
            # Its check_connection() believes only in environments that exist, and main always does.
            reached = self.server.win_exists("", env="main") is not None
        except (ConnectionError, OSError):
            reached = False
        if not reached:
            port = f" -port {place.port}" if place.port else ""
            raise UserError(f"no visdom server at {self.address}: start one with python -m visdom.server{port}")

    def points(self, window, iteration, **values):
        """One more point of each named curve of a window."""
        opts = dict(title=window, xlabel="epoch" if "epochs" in window else "iteration", showlegend=True)
        for name, value in values.items():
            # A window cannot be appended to before it exists; a resumed run finds it there.
            known = window in self.known or self.tell("win_exists", window)
            self.known.add(window)
            self.tell("line", np.array([value]), np.array([iteration]), win=window, name=name,
                      update="append" if known else None, opts=opts)

    def picture(self, window, image):
        """[H, W, 3] RGB uint8 in a window, instead of the one before."""
        self.tell("image", np.ascontiguousarray(image.transpose(2, 0, 1)), win=window, opts=dict(title=window))

    def tell(self, what, *arguments, **options):
        if not self.alive:
            return None
        try:
            return getattr(self.server, what)(*arguments, **options)
        except (ConnectionError, OSError) as error:
            self.alive = False
            print(f"warning: the visdom server at {self.address} is gone ({type(error).__name__}); training goes on")
            return None


class TensorBoard:
    """The same for TensorBoard's files."""

    def __init__(self, folder):
        from torch.utils.tensorboard import SummaryWriter

        try:
            self.writer = SummaryWriter(folder)
        except OSError as error:
            raise UserError(f"--logdir {folder}: cannot be written ({error.strerror})") from None

    def points(self, window, iteration, **values):
        for name, value in values.items():
            self.writer.add_scalar(f"{window}/{name}", value, iteration)
        self.writer.flush()

    def picture(self, window, image):
        self.writer.add_image(window, image, dataformats="HWC")


def watchers(recipe, name):
    """Those that the recipe asks for."""
    return [*([Visdom(recipe.visdom, name)] if recipe.visdom else []),
            *([TensorBoard(recipe.logdir)] if recipe.logdir else [])]
