"""What is asked of train, and what often goes wrong."""

import torch
from torch import nn

from lesson.diagnose import Mistake, Probe


class Network(nn.Module):
    """Two heads without a base: one number each for a box and a class."""

    def __init__(self):
        super().__init__()
        self.box_head, self.class_head = nn.Linear(2, 1), nn.Linear(2, 1)
        for value, parameter in enumerate(self.parameters(), start=1):
            nn.init.constant_(parameter, value / 4)

    def forward(self, images):
        return self.box_head(images), self.class_head(images)


class SGD:
    """Plain gradient descent, which counts its steps in its groups, as these are compared."""

    def __init__(self, modules, lr):
        self.param_groups = [
            dict(params=list(module.parameters()), lr=lr, steps=0) for module in modules
        ]

    def zero_grad(self, set_to_none=True):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self):
        for group in self.param_groups:
            group["steps"] += 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.data -= group["lr"] * parameter.grad


def squared_error(box_deltas, class_logits, targets):
    """box_loss, class_loss; the second is the smaller one."""
    return (box_deltas - targets).square().mean(), (class_logits - targets).square().mean() / 4


def probe(name, learning_rates, max_grad_norm):
    model = Network()
    optimizer = SGD([model.box_head, model.class_head], lr=0.5)
    batches = []
    for number in range(1, 1 + len(learning_rates)):
        images = torch.tensor([[1.0, 0], [0, number], [1, 1]])
        batches.append((images, torch.tensor([[1.0], [3], [-2]]) * number))
    arguments = model, squared_error, optimizer, batches, learning_rates, max_grad_norm
    return Probe(name, "train", arguments)


LARGE = 1e6  # a norm that no gradient reaches

PROBES = (
    probe("one batch", [0.5], LARGE),
    probe("one batch with a learning rate of its own", [0.125], LARGE),
    probe("two batches", [0.125, 0.25], LARGE),
    probe("one batch, its gradients clipped", [0.125], 0.5),
    probe("three batches, their gradients clipped", [0.125, 0.25, 0.5], 0.5),
)

ZERO_GRAD = "        optimizer.zero_grad()\n"
RATE = '        for group in optimizer.param_groups:\n            group["lr"] = lr\n'
BACKWARD = "        loss.backward()\n"
CLIP = "        clip_grad_norm_(model.parameters(), max_grad_norm)\n"
STEP = "        optimizer.step()\n"

MISTAKES = (
    Mistake(
        "The gradients of earlier batches are still there, and add up: zero_grad() is missing.",
        ((ZERO_GRAD, ""),),
    ),
    Mistake(
        "No weight changes, because step() finds no gradients: zero_grad() must come before "
        "backward(), not between it and step().",
        ((ZERO_GRAD, ""), (BACKWARD, BACKWARD + ZERO_GRAD)),
    ),
    Mistake(
        "No weight changes, because step() is missing.",
        ((STEP, ""),),
    ),
    Mistake(
        "The gradients are not clipped when step() uses them: clip_grad_norm_ belongs between "
        "backward() and step().",
        ((CLIP, ""),),
    ),
    Mistake(
        "Every gradient is clipped by itself, which changes their direction; clip the norm of all "
        "of them together, clip_grad_norm_(model.parameters(), ...).",
        (
            (
                CLIP,
                "        for parameter in model.parameters():\n"
                "            clip_grad_norm_(parameter, max_grad_norm)\n",
            ),
        ),
    ),
    Mistake(
        "Every number of a gradient is clipped by itself, by clip_grad_value_; clip the norm.",
        (
            (CLIP, "        nn.utils.clip_grad_value_(model.parameters(), max_grad_norm)\n"),
            ("from torch.nn.utils import", "from torch import nn\nfrom torch.nn.utils import"),
        ),
    ),
    Mistake(
        "Only the gradients of the class loss are clipped: backward() of both losses must come "
        "before it.",
        (
            (BACKWARD, "        class_loss.backward()\n"),
            (CLIP, CLIP + "        box_loss.backward()\n"),
        ),
    ),
    Mistake(
        "The learning rate is not set: write it into every group of optimizer.param_groups.",
        ((RATE, ""),),
    ),
    Mistake(
        "The learning rate is set after the step, so that it counts one batch later.",
        ((RATE, ""), (STEP, STEP + RATE)),
    ),
    Mistake(
        "Only the first group gets the learning rate; optimizer.param_groups has several.",
        (("in optimizer.param_groups:", "in optimizer.param_groups[:1]:"),),
    ),
    Mistake(
        "All batches have the first learning rate; each has its own.",
        (('group["lr"] = lr', 'group["lr"] = learning_rates[0]'),),
    ),
    Mistake(
        "Only the box loss is learned: the loss is the sum of both.",
        ((BACKWARD, "        box_loss.backward()\n"),),
    ),
    Mistake(
        "Only the class loss is learned: the loss is the sum of both.",
        ((BACKWARD, "        class_loss.backward()\n"),),
    ),
    Mistake(
        "The loss is the sum of box loss and class loss, not their mean.",
        (("loss = box_loss + class_loss", "loss = (box_loss + class_loss) / 2"),),
    ),
    Mistake(
        "The losses are tensors, each with the memory of its whole iteration; item() makes a "
        "number.",
        (("loss.item()", "loss"),),
    ),
)
