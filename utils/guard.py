"""No step with a gradient that is not finite: it would make every weight useless."""

import math

import torch

from data.errors import UserError


class Guard:
    """Clips gradients to a norm; from the first that is not finite on, the optimizer skips its
    steps.

    The device decides that by itself. The program only asks when it has to wait for the device
    anyway, and then stops.
    """

    def __init__(self, model, optimizer, max_norm, path):
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer, self.max_norm, self.path = optimizer, max_norm, path
        self.recent = []  # of every iteration since it last asked: number, image numbers, values
        self.found_inf = torch.zeros((), device=self.parameters[0].device)

    def clip(self):
        """Clip the gradients -> their norm before."""
        grad_norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        found_inf = (~grad_norm.isfinite()).float()
        self.found_inf = self.optimizer.found_inf = torch.maximum(self.found_inf, found_inf)
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
