"""No step with a gradient that is not finite: it would make every weight useless."""

import math

import torch
from torch.amp import GradScaler

from data.errors import UserError
from utils.parallel import precision_of

# So many steps in a row may float16 leave out. Its scale begins at 2^16 and was halved each time:
# what is not finite at less than 1 is so by itself.
MAX_SKIPPED = 20


class Guard:
    """Clips gradients to a norm; from the first that is not finite on, the optimizer skips its
    steps.

    The device decides that by itself. The program only asks when it has to wait for the device
    anyway, and then stops.

    In float16, small gradients become 0, so losses are scaled up, as far as none becomes infinite
    (Micikevicius et al., 2018, arXiv:1710.03740, Sec. 3.2). A step at which one does is left out,
    and the scale is halved; only many of them in a row end the run.
    """

    def __init__(self, model, optimizer, recipe, path):
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer, self.max_norm, self.path = optimizer, recipe.max_grad_norm, path
        device = self.parameters[0].device
        is_scaled = precision_of(recipe.precision, device) == "float16"
        self.scaler = GradScaler(device.type, enabled=is_scaled)
        self.max_skipped = MAX_SKIPPED if is_scaled else 0
        self.skipped = torch.zeros((), device=device)  # steps in a row
        self.recent = []  # of every iteration since it last asked: number, image numbers, values
        self.found_inf = torch.zeros((), device=device)

    def scale(self, loss):
        """The loss to differentiate: as it is, but in float16."""
        return self.scaler.scale(loss)

    def clip(self):
        """Clip the gradients -> their norm before, without the scale."""
        self.scaler.unscale_(self.optimizer)
        grad_norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        self.scaler.update()
        is_infinite = (~grad_norm.isfinite()).float()
        self.skipped = (self.skipped + 1) * is_infinite
        is_hopeless = (self.skipped > self.max_skipped).float()
        self.found_inf = torch.maximum(self.found_inf, is_hopeless)
        self.optimizer.found_inf = torch.maximum(self.found_inf, is_infinite)
        return grad_norm

    def remember(self, iteration, indices, values):
        """Keep an iteration in mind: its images' numbers, and values to report of it."""
        self.recent.append((iteration, indices, values))

    def raise_if_nonfinite(self):
        """An error that names the images of the first iteration that was not finite, if one was."""
        recent, self.recent = self.recent, []
        if not self.found_inf:
            return
        nonfinite = [
            entry for entry in recent if not math.isfinite(sum(map(float, entry[2].values())))
        ]
        iteration, indices, values = (nonfinite or recent)[0]
        report = ", ".join(f"{name} {float(value):.3g}" for name, value in values.items())
        paths = ", ".join(self.path(index) for index in indices)
        raise UserError(
            f"the loss is not finite at iteration {iteration}: {report}, images {paths}; "
            "a lower --lr or a longer --warmup may help"
        )
