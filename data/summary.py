"""What a training says of its data before it begins: counts, sizes, and what the priors reach."""
import numpy as np

REACHED = 0.5  # IoU of an object with some prior: what matching asks for
SIZES = ((0, 16), (16, 32), (32, 96), (96, 9999))  # pixels, as the network sees them


def describe(dataset, judged, recipe, levels, transform):
    """What a training says about its data before it begins: lines about both splits, seen with the priors' levels."""
    yield "\ntrain"
    yield from summary(dataset, levels, transform)
    yield f"\nval\n{len(judged)} images, {(~judged.records.ignore).sum()} objects"
    yield from judged.records.notes
    passes = recipe.iterations * recipe.batch / len(dataset)
    yield f"\n{recipe.iterations} iterations of {recipe.batch} images are {passes:.0f} passes over the training images"
    if passes > 200:
        yield f"advice: so many are rarely worth their time; --recipe {recipe.model}_own is made for few images"


def summary(dataset, levels, transform):
    """Lines about one split: its classes, images and object sizes, what the priors reach, what the reader noticed."""
    records, classes = dataset.records, dataset.classes
    real = ~records.ignore
    counts = np.bincount(records.labels[real], minlength=len(classes))
    per_image = np.diff(records.offsets)
    yield (f"{len(records)} images, {counts.sum()} objects of {len(classes)} classes, {(~real).sum()} to ignore; "
           f"{(per_image == 0).sum()} images without any, at most {per_image.max(initial=0)} in one")
    yield "  ".join(f"{name} {count}" for name, count in zip(classes, counts))
    if real.any():
        yield from reach_lines(resized(records, transform)[real], levels)
    ids = records.category_ids
    if ids and (min(ids) != 1 or max(ids) != len(ids)):
        yield f"the dataset's own class numbers, {min(ids)} to {max(ids)}, have gaps; they are kept in what eval writes"
    yield from records.notes


def reach_lines(boxes, levels):
    """What share of the boxes, all of them and by size, some prior reaches; and advice, where it is low."""
    best = best_overlap(boxes, levels)
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    low, middle, high = np.percentile(sides, (5, 50, 95))
    parts = []
    for smallest, largest in SIZES:
        mine = (sides >= smallest) & (sides < largest)
        if mine.any():
            parts.append(f"{smallest} to {largest} px: {(best[mine] >= REACHED).mean():.0%} of {mine.sum()}")
    yield f"objects are {low:.0f} to {high:.0f} px large as the network sees them, half of them over {middle:.0f}"
    yield f"priors reach {(best >= REACHED).mean():.1%} of them (best IoU >= {REACHED}): " + ", ".join(parts)
    if (best >= REACHED).mean() < 0.9:
        missed = boxes[best < REACHED]
        width, height = np.median(missed[:, 2:] - missed[:, :2], axis=0)
        yield (f"advice: what is missed is typically {width:.0f} x {height:.0f} px; a larger --resize, or in a recipe "
               "of your own smaller prior_sizes or other prior_ratios, would reach it")


def resized(records, transform):
    """All boxes [K, 4] as the network sees them."""
    sizes = np.array([transform.fit(*size) for size in records.sizes.tolist()]).reshape(-1, 2)
    scale = np.repeat(sizes / records.sizes, np.diff(records.offsets), axis=0)[:, [1, 0, 1, 0]]
    return records.boxes * scale


def best_overlap(boxes, levels):
    """The best IoU that each box [N, 4] has with any prior of the levels -> [N].

    Of the priors of one shape, it is always one of those whose centre is nearest.
    """
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    best = np.zeros(len(boxes))
    for level in levels:
        for prior in np.array(level.cell):
            prior_centre, prior_size = (prior[:2] + prior[2:]) / 2, prior[2:] - prior[:2]
            nearest = np.round((centre - prior_centre) / level.stride) * level.stride + prior_centre
            shared = np.minimum(centre + size / 2, nearest + prior_size / 2)
            shared = (shared - np.maximum(centre - size / 2, nearest - prior_size / 2)).clip(min=0).prod(axis=1)
            best = np.maximum(best, shared / (size.prod(axis=1) + prior_size.prod() - shared))
    return best
