"""From another model's weights to this one's: what fits is taken, and it is said what was not."""

import torch

from data.text import some


@torch.no_grad()
def load_matching(model, classes, state, source_classes=None):
    """Copy all tensors that fit into the model -> lines for the user.

    Where the classes differ, the layers that predict them keep what they were initialised to, but
    for the rows of classes that both know by the same name.
    """
    layers, background = model.class_layers()
    class_parameters = {id(value) for layer in layers for value in layer.parameters()}
    class_names = {
        name for name, value in model.named_parameters() if id(value) in class_parameters
    }
    same_classes = source_classes is None or list(classes) == list(source_classes)
    shared = [name for name in classes if name in (source_classes or ())]
    loaded, rows, left = [], [], []
    for name, value in model.state_dict().items():
        source = state.get(name)
        if source is None:
            left.append(f"{name} (not in the file)")
        elif name in class_names and not same_classes:
            fits = copy_class_rows(value, source, classes, source_classes, shared, background)
            (rows if fits else left).append(name if fits else f"{name} (other priors)")
        elif source.shape == value.shape:
            value.copy_(source)
            loaded.append(name)
        else:
            left.append(f"{name} ({list(source.shape)}, here {list(value.shape)})")
    unused = [name for name in state if name not in model.state_dict()]
    lines = [f"loaded       {len(loaded)} tensors"]
    if rows:
        new = [name for name in classes if name not in shared]
        kept = ", ".join(shared) or "none"
        lines.append(f"class rows   kept: {kept}; new: {', '.join(new) or 'none'}")
    if left:
        lines.append(f"as before    {some(left, count=6)}")
    if unused:
        lines.append(f"left out     {some(unused, count=6)}")
    return lines


def copy_class_rows(value, source, classes, source_classes, shared, background):
    """Copy the columns of shared classes, and those that are no class's -> whether shapes agree."""
    columns, source_columns = background + len(classes), background + len(source_classes)
    shapes, source_shapes = len(value) // columns, len(source) // source_columns
    if shapes != source_shapes or value.shape[1:] != source.shape[1:]:
        return False
    rows, source_rows = value.unflatten(0, (shapes, -1)), source.unflatten(0, (shapes, -1))
    rows[:, :background] = source_rows[:, :background]
    for name in shared:
        row, source_row = classes.index(name), source_classes.index(name)
        rows[:, background + row] = source_rows[:, background + source_row]
    return True
