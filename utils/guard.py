"""No step with a gradient that is not finite: it would spoil every weight."""
import math

import torch

from data.errors import UserError


class Guard:
    """Clips gradients to a norm; from the first that is not finite on, the optimizer skips its steps.

    The device decides that by itself. The host only asks when it has to wait for the device anyway, and then stops.
    """

    def __init__(self, model, optimizer, longest, name):
        self.parameters, self.optimizer, self.longest, self.name = list(model.parameters()), optimizer, longest, name
        self.recent = []  # of each iteration since the host last asked: its number, values, and the images' numbers
        self.spoiled = torch.zeros((), device=self.parameters[0].device)

    def clip(self):
        """Cut the gradients -> their norm before."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.longest)
        self.spoiled = self.optimizer.found_inf = torch.maximum(self.spoiled, (~norm.isfinite()).float())
        return norm

    def note(self, iteration, indices, values):
        """Keep an iteration in mind: its images' numbers, and values to tell of it."""
        self.recent.append((iteration, indices, values))

    def insist(self):
        """Say which images led to it, if there was one."""
        recent, self.recent = self.recent, []
        if not self.spoiled:
            return
        iteration, indices, values = next(one for one in recent if not math.isfinite(sum(map(float, one[2].values()))))
        told = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        raise UserError(f"the loss is not finite at iteration {iteration}: {told}, images "
                        f"{', '.join(map(self.name, indices))}; a lower --lr or a longer --warmup may help")
