"""From another model's weights to this one's: what fits is taken, and it is said what was not."""
import torch


@torch.no_grad()
def adopt(model, classes, state, their_classes=None):
    """Take over all tensors that fit -> lines for the user.

    Where the classes differ, the layers that predict them keep what they were initialised to, but for the rows of
    classes that both know by the same name.
    """
    layers, background = model.class_layers()
    own = model.state_dict()
    predicting = {name for name, value in model.named_parameters()
                  if any(value is one for layer in layers for one in layer.parameters())}
    shared = [name for name in classes if name in (their_classes or ())]
    loaded, rows, left = [], [], []
    for name, value in own.items():
        theirs = state.get(name)
        if theirs is None:
            left.append(f"{name} (not in the file)")
        elif name in predicting and their_classes is not None and list(classes) != list(their_classes):
            fits = copy_rows(value, theirs, classes, their_classes, shared, background)
            (rows if fits else left).append(name if fits else f"{name} (other priors)")
        elif theirs.shape == value.shape:
            value.copy_(theirs)
            loaded.append(name)
        else:
            left.append(f"{name} ({list(theirs.shape)}, here {list(value.shape)})")
    unused = [name for name in state if name not in own]
    yield f"loaded       {len(loaded)} tensors"
    if rows:
        new = [name for name in classes if name not in shared]
        yield f"class rows   kept: {', '.join(shared) or 'none'}; new: {', '.join(new) or 'none'}"
    if left:
        yield f"as before    {', '.join(left[:6])}{f' and {len(left) - 6} more' if len(left) > 6 else ''}"
    if unused:
        yield f"left out     {', '.join(unused[:6])}{f' and {len(unused) - 6} more' if len(unused) > 6 else ''}"


def copy_rows(own, theirs, classes, their_classes, shared, background):
    """The columns of shared classes, and those that are no class's, of every prior shape -> whether shapes agree."""
    mine, yours = background + len(classes), background + len(their_classes)
    if own.shape[0] // mine != theirs.shape[0] // yours or own.shape[1:] != theirs.shape[1:]:
        return False
    to = own.view(-1, mine, *own.shape[1:])
    source = theirs.view(-1, yours, *theirs.shape[1:])
    to[:, :background] = source[:, :background]
    for name in shared:
        to[:, background + classes.index(name)] = source[:, background + their_classes.index(name)]
    return True
