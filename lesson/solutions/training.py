"""What happens in an iteration of a run?

The order says it all. backward() adds its gradients to what is there, so zero_grad() must have come
since the last step. Clipping needs the gradients of all losses, and must come before the step that
uses them: after backward(), before step(). It measures the norm of all gradients together, so that
their direction does not change. The learning rate is read by step(), from every group. item() turns
the loss into a number; with the tensor itself, a list of all losses would keep the memory of all
iterations.
"""

from torch.nn.utils import clip_grad_norm_


def train(model, criterion, optimizer, batches, learning_rates, max_grad_norm):
    losses = []
    for (images, targets), lr in zip(batches, learning_rates):
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        box_deltas, class_logits = model(images)
        box_loss, class_loss = criterion(box_deltas, class_logits, targets)
        loss = box_loss + class_loss
        loss.backward()
        clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses
