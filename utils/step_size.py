"""How far a step of the optimizer moves the weights: what a learning rate really means."""

import torch

FIRST = 100  # iterations in which a learning rate that is too high shows, before weights grow


class StepSize:
    """The largest relative step since the last line of the log, in the first iterations; later on
    that of the line's own iteration, for it takes some time."""

    def __init__(self, optimizer, log_every):
        self.optimizer, self.log_every = optimizer, log_every
        self.steps = []

    def since_last_line(self, iteration):
        """The largest one, a tensor, at a line of the log; None between. Every iteration asks."""
        is_line = iteration % self.log_every == 0
        if iteration <= FIRST or is_line:
            self.steps.append(relative_step(self.optimizer))
        if not is_line:
            return None
        steps, self.steps = self.steps, []
        return torch.stack(steps).max()


def relative_step(optimizer):
    """The length of the last step beside that of the weights: |step| / |weights|, a tensor.

    A hundredth and less is usual; where a step is a tenth of the weights, the learning rate is too
    high. Biases and normalisation, which begin at 0 and 1, do not count.
    """
    steps, weights = [], []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.ndim > 1 and parameter.grad is not None:
                steps.append(last_step(parameter, optimizer.state[parameter], group).norm())
                weights.append(parameter.detach().norm())
    if not steps:
        return torch.zeros(())
    step = torch.stack(steps).norm() / torch.stack(weights).norm()
    # With gradients that are not finite, no step was made.
    return step.where(step.isfinite(), 0)


def last_step(parameter, state, group):
    """What a parameter was just changed by, but for the sign and weight decay."""
    if "exp_avg" in state:
        mean_decay, square_decay = group["betas"]
        mean = state["exp_avg"] / (1 - mean_decay ** state["step"])
        square = state["exp_avg_sq"] / (1 - square_decay ** state["step"])
        return group["lr"] * mean / (square.sqrt() + group["eps"])
    momentum = state.get("momentum_buffer")
    return group["lr"] * (parameter.grad if momentum is None else momentum)
