"""What happens in an iteration of a run?

python -m lesson exercises training
"""


def train(model, criterion, optimizer, batches, learning_rates, max_grad_norm):
    """Train for an iteration with each of the batches -> the list of their losses, as numbers.

    A batch is (images, targets). model(images) returns box_deltas and class_logits, and
    criterion(box_deltas, class_logits, targets) returns box_loss and class_loss; their sum is
    the loss. Each batch has a learning rate for all param_groups of the optimizer. Its gradients,
    and no others, are clipped to the norm max_grad_norm, all of them together, before the step.

    Hint: torch.nn.utils.clip_grad_norm_.
    """
    raise NotImplementedError
