"""Right and wrong answers to the exercises of the lesson that look nothing like its solutions."""

IMPORTS = """
import math
import numpy as np
import torch
import torchvision
from torch.nn import functional as F
"""

RIGHT_ANSWERS = {
    "iou": (
        """
def iou(boxes, others):
    return torchvision.ops.box_iou(boxes, others)
""",
        """
def iou(boxes, others):
    rows = [[pair(box, other) for other in others.tolist()] for box in boxes.tolist()]
    return torch.tensor(rows).reshape(len(boxes), len(others))

def pair(a, b):
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)
""",
        """
def iou(boxes, others):
    n, m = len(boxes), len(others)
    a = boxes.unsqueeze(1).expand(n, m, 4)
    b = others.unsqueeze(0).expand(n, m, 4)
    shared = torch.relu(torch.min(a[:, :, 2:], b[:, :, 2:]) - torch.max(a[:, :, :2], b[:, :, :2]))
    shared = shared[:, :, 0] * shared[:, :, 1]
    area = lambda x: (x[:, :, 2] - x[:, :, 0]) * (x[:, :, 3] - x[:, :, 1])
    return shared / (area(a) + area(b) - shared + 1e-7)
""",
    ),
    "deltas": (
        """
def sides(boxes):
    left, top, right, bottom = boxes.unbind(-1)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top

def encode(boxes, priors):
    x, y, w, h = sides(boxes)
    x_a, y_a, w_a, h_a = sides(priors)
    return torch.stack(
        [10 * (x - x_a) / w_a, 10 * (y - y_a) / h_a, 5 * (w / w_a).log(), 5 * (h / h_a).log()], -1
    )

def decode(deltas, priors):
    x_a, y_a, w_a, h_a = sides(priors)
    x, y = x_a + deltas[..., 0] / 10 * w_a, y_a + deltas[..., 1] / 10 * h_a
    w = w_a * torch.exp(torch.clamp(deltas[..., 2] / 5, max=math.log(62.5)))
    h = h_a * torch.exp(torch.clamp(deltas[..., 3] / 5, max=math.log(62.5)))
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)
""",
        """
SCALE = torch.tensor([0.1, 0.1, 0.2, 0.2])

def encode(boxes, priors):
    size, prior_size = boxes[..., 2:] - boxes[..., :2], priors[..., 2:] - priors[..., :2]
    shift = (boxes[..., :2] + boxes[..., 2:] - priors[..., :2] - priors[..., 2:]) / 2
    return torch.cat([shift / prior_size, size.log() - prior_size.log()], dim=-1) / SCALE

def decode(deltas, priors):
    deltas = deltas * SCALE
    size = priors[..., 2:] - priors[..., :2]
    centre = priors[..., :2] + size * (0.5 + deltas[..., :2])
    # The limit on the factor itself, which may have been infinite for a moment.
    half = size * deltas[..., 2:].exp().clamp(max=62.5) / 2
    return torch.cat([centre - half, centre + half], dim=-1)
""",
    ),
    "priors": (
        """
def cell_priors(stride, shapes):
    c = stride / 2
    return torch.tensor([[c - w / 2, c - h / 2, c + w / 2, c + h / 2] for w, h in shapes])

def lay_priors(base_priors, grid, steps):
    priors = []
    for row in range(grid[0]):
        for column in range(grid[1]):
            for left, top, right, bottom in base_priors.tolist():
                x, y = column * steps[1], row * steps[0]
                priors.append([left + x, top + y, right + x, bottom + y])
    return torch.tensor(priors)
""",
        """
def cell_priors(stride, shapes):
    size = torch.tensor(shapes).float()
    corner = (stride - size) / 2
    return torch.cat([corner, corner + size], 1)

def lay_priors(base_priors, grid, steps):
    cell = torch.arange(grid[0] * grid[1])
    shift = torch.stack([cell % grid[1] * steps[1], cell // grid[1] * steps[0]], 1).repeat(1, 2)
    return (shift.unsqueeze(1) + base_priors.unsqueeze(0)).reshape(-1, 4)
""",
    ),
    "heads": (
        """
def per_prior(prediction, numbers):
    batch, channels, height, width = prediction.shape
    rows = prediction.view(batch, channels // numbers, numbers, height, width)
    return rows.permute(0, 3, 4, 1, 2).contiguous().view(batch, -1, numbers)

def predict(feature_maps, box_head, class_head, num_classes):
    pairs = [(per_prior(box_head(x), 4), per_prior(class_head(x), num_classes))
             for x in feature_maps]
    return tuple(torch.cat(parts, 1) for parts in zip(*pairs))

def initial_bias(probability):
    return -math.log((1 - probability) / probability)
""",
        """
def per_prior(prediction, numbers):
    return prediction.flatten(2).mT.unflatten(2, (-1, numbers)).flatten(1, 2)

def predict(feature_maps, box_head, class_head, num_classes):
    boxes, logits = [], []
    for level in feature_maps:
        boxes += [per_prior(box_head(level), 4)]
        logits += [per_prior(class_head(level), num_classes)]
    return torch.cat(boxes, dim=1), torch.cat(logits, dim=1)

def initial_bias(probability):
    return float(torch.logit(torch.tensor(probability)))
""",
    ),
    "match": (
        """
def match(overlap, positive_iou, negative_iou):
    columns = overlap.T.tolist()
    matches = []
    for column in columns:
        best = max(column, default=0)
        if best >= positive_iou:
            matches.append(column.index(best))
        else:
            matches.append(-2 if best >= negative_iou else -1)
    pairs = [(-value, row, i) for i, c in enumerate(columns) for row, value in enumerate(c)]
    rows, priors = set(), set()
    for _, row, i in sorted(pairs):
        if row not in rows and i not in priors:
            matches[i] = row
            rows.add(row)
            priors.add(i)
    return torch.tensor(matches)
""",
        """
def match(overlap, positive_iou, negative_iou):
    # With a row of zeros, the background, there always is a largest.
    best, row = torch.cat([torch.zeros(1, overlap.shape[1]), overlap]).max(dim=0)
    row = torch.where(best < negative_iou, -1, torch.where(best < positive_iou, -2, row - 1))
    left = overlap.detach().numpy().copy()
    for _ in range(len(left)):
        i, j = np.unravel_index(np.argmax(left), left.shape)
        left[i, :] = left[:, j] = -np.inf
        row[j] = int(i)
    return row
""",
    ),
    "mining": (
        """
def mine_hard_negatives(class_loss, labels, negatives_per_positive):
    mask = torch.zeros_like(labels, dtype=torch.bool)
    for image in range(len(labels)):
        negative = (labels[image] == -1).nonzero()[:, 0]
        count = negatives_per_positive * max(int((labels[image] >= 0).sum()), 1)
        order = class_loss[image, negative].argsort(descending=True)
        mask[image, negative[order[:count]]] = True
    return mask
""",
        """
def mine_hard_negatives(class_loss, labels, negatives_per_positive):
    negative = labels == -1
    loss = torch.where(negative, class_loss, torch.full_like(class_loss, -torch.inf))
    rank = (loss[:, :, None] < loss[:, None, :]).sum(-1)
    count = negatives_per_positive * torch.clamp((labels >= 0).sum(1), min=1)
    return (rank < count[:, None]) & negative
""",
        """
def mine_hard_negatives(class_loss, labels, negatives_per_positive):
    loss = np.where(labels == -1, class_loss, -1)
    order = np.argsort(-loss, axis=1)
    count = negatives_per_positive * np.maximum((labels >= 0).numpy().sum(1, keepdims=True), 1)
    mask = np.zeros(loss.shape, bool)
    np.put_along_axis(mask, order, np.arange(loss.shape[1]) < count, 1)
    return torch.from_numpy(mask & (labels == -1).numpy())
""",
    ),
    "focal": (
        """
def focal_loss(logits, labels, alpha, gamma):
    counts = labels != -2
    logits, labels = logits[counts], labels[counts]
    present = F.one_hot(labels + 1, logits.shape[-1] + 1)[:, 1:].float()
    return torchvision.ops.sigmoid_focal_loss(logits, present, alpha, gamma, reduction="sum")
""",
        """
def focal_loss(logits, labels, alpha, gamma):
    total = 0 * logits.sum()
    for image, of_image in zip(logits, labels):
        for row, label in zip(image, of_image.tolist()):
            for name, x in enumerate(row):
                if label != -2 and name == label:
                    total = total - alpha * torch.sigmoid(-x) ** gamma * F.logsigmoid(x)
                elif label != -2:
                    total = total - (1 - alpha) * torch.sigmoid(x) ** gamma * F.logsigmoid(-x)
    return total
""",
        """
def focal_loss(logits, labels, alpha, gamma):
    target = torch.zeros_like(logits)
    place = (labels >= 0).nonzero(as_tuple=True)
    target[(*place, labels[place])] = 1
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    p_t = p * target + (1 - p) * (1 - target)
    alpha_t = alpha * target + (1 - alpha) * (1 - target)
    loss = alpha_t * (1 - p_t) ** gamma * entropy
    return loss[labels != -2].sum()
""",
    ),
    "nms": (
        """
def batched_nms(boxes, scores, labels, iou_threshold):
    return torchvision.ops.batched_nms(boxes, scores, labels, iou_threshold)
""",
        """
def batched_nms(boxes, scores, labels, iou_threshold):
    # Class by class, and of equal scores the last box first.
    kept = torch.zeros(len(boxes), dtype=torch.bool)
    for label in labels.unique():
        rest = (labels == label).nonzero()[:, 0]
        while len(rest):
            best = rest[scores[rest].flip(0).argmax().neg() - 1]
            kept[best] = True
            overlap = torchvision.ops.box_iou(boxes[best][None], boxes[rest])[0]
            rest = rest[(overlap <= iou_threshold) & (rest != best)]
    kept = kept.nonzero()[:, 0]
    return kept[scores[kept].argsort(descending=True)]
""",
        """
def batched_nms(boxes, scores, labels, iou_threshold):
    kept = []
    overlap = torchvision.ops.box_iou(boxes, boxes)
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(labels[i] != labels[j] or overlap[i, j] <= iou_threshold for j in kept):
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long)
""",
    ),
    "average_precision": (
        """
def average_precision(hits, num_objects):
    if not num_objects:
        return float("nan")
    curve, found = [], 0
    for k, hit in enumerate(hits.tolist(), start=1):
        found += hit
        curve.append((found, found / k))
    best = lambda found: max(p for r, p in curve if r >= found)
    return sum(best(i) for i in range(1, found + 1)) / num_objects
""",
        """
def average_precision(hits, num_objects):
    if num_objects == 0:
        return np.nan
    recall = np.concatenate([[0.0], np.cumsum(hits) / num_objects, [1.0]])
    precision = np.concatenate([[0.0], np.cumsum(hits) / (np.arange(len(hits)) + 1), [0.0]])
    for i in range(len(precision) - 1, 0, -1):
        precision[i - 1] = max(precision[i - 1], precision[i])
    change = np.where(recall[1:] != recall[:-1])[0]
    return np.sum((recall[change + 1] - recall[change]) * precision[change + 1])
""",
    ),
    "collate": (
        """
def collate(samples, divisor, colour):
    up = lambda side: math.ceil(side / divisor) * divisor
    height = up(max(image.shape[0] for image, target in samples))
    width = up(max(image.shape[1] for image, target in samples))
    images = torch.tensor(colour, dtype=torch.uint8)[None, :, None, None]
    images = images.repeat(len(samples), 1, height, width)
    for i, (image, _) in enumerate(samples):
        images[i, :, : image.shape[0], : image.shape[1]] = torch.tensor(image).permute(2, 0, 1)
    return images, [{k: torch.tensor(v) for k, v in target.items()} for _, target in samples]
""",
        """
def collate(samples, divisor, colour):
    height, width = (max(image.shape[i] for image, _ in samples) for i in (0, 1))
    height, width = height + -height % divisor, width + -width % divisor
    images, targets = [], []
    for image, target in samples:
        layers = []
        for channel in range(3):
            space = ((0, height - image.shape[0]), (0, width - image.shape[1]))
            layers.append(np.pad(image[..., channel], space, constant_values=colour[channel]))
        images.append(torch.from_numpy(np.stack(layers)))
        targets.append({name: torch.as_tensor(value) for name, value in target.items()})
    return torch.stack(images), targets
""",
    ),
    "crop": (
        """
def has_overlap(part, boxes, min_iou):
    part = torch.from_numpy(part)[None]
    overlap = torchvision.ops.box_iou(part, torch.from_numpy(boxes))
    return len(boxes) == 0 or overlap.max().item() >= min_iou

def keep_objects(part, boxes, labels):
    left, top, right, bottom = part
    kept = [i for i, (x1, y1, x2, y2) in enumerate(boxes)
            if left < (x1 + x2) / 2 < right and top < (y1 + y2) / 2 < bottom]
    boxes = boxes[kept].copy()
    boxes[:, 0::2] = np.clip(boxes[:, 0::2] - left, 0, right - left)
    boxes[:, 1::2] = np.clip(boxes[:, 1::2] - top, 0, bottom - top)
    return boxes, labels[kept]
""",
        """
def has_overlap(part, boxes, min_iou):
    for box in boxes:
        w = max(0, min(part[2], box[2]) - max(part[0], box[0]))
        h = max(0, min(part[3], box[3]) - max(part[1], box[1]))
        whole = (part[2] - part[0]) * (part[3] - part[1]) + (box[2] - box[0]) * (box[3] - box[1])
        if w * h >= min_iou * (whole - w * h):
            return True
    return not len(boxes)

def keep_objects(part, boxes, labels):
    corner, size = np.tile(part[:2], 2), part[2:] - part[:2]
    moved = boxes - corner
    centre = moved.reshape(-1, 2, 2).mean(1)
    inside = (np.abs(centre - size / 2) < size / 2).all(1)
    return np.minimum(np.maximum(moved[inside], 0), np.tile(size, 2)), labels[inside]
""",
    ),
    "training": (
        """
def train(model, criterion, optimizer, batches, learning_rates, max_grad_norm):
    losses = []
    for i in range(len(batches)):
        box_loss, class_loss = criterion(*model(batches[i][0]), batches[i][1])
        box_loss.backward()
        class_loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rates[i]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(box_loss.detach()) + float(class_loss.detach()))
    return losses
""",
        """
def train(model, criterion, optimizer, batches, learning_rates, max_grad_norm):
    losses = []
    for (images, targets), lr in zip(batches, learning_rates):
        loss = sum(criterion(*model(images), targets))
        model.zero_grad()
        loss.backward()
        gradients = [p.grad for p in model.parameters()]
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        for gradient in gradients:
            gradient *= min(1, max_grad_norm / norm)
        [group.update(lr=lr) for group in optimizer.param_groups]
        optimizer.step()
        losses += [loss.item()]
    return losses
""",
    ),
}

# The exercise, the number of its right answer, what of that becomes what, and words that name it.
WRONG_ANSWERS = (
    ("iou", 1, "width * height / (areas - width * height)", "width * height / areas", "twice"),
    ("iou", 2, "torch.relu(", "(", "must become 0"),
    (
        "deltas",
        0,
        "10 * (x - x_a) / w_a, 10 * (y - y_a) / h_a, 5 * (w / w_a).log(), 5 * (h / h_a)",
        "(x - x_a) / w_a, (y - y_a) / h_a, (w / w_a).log(), (h / h_a)",
        "not divided by 0.1 and 0.2",
    ),
    ("deltas", 1, ".clamp(max=62.5)", "", "no limit"),
    ("deltas", 1, ".exp().clamp(max=62.5) / 2", ".exp().clamp(max=62.5)", "half a width"),
    ("priors", 0, "column * steps[1], row", "(column + 0.5) * steps[1], (row + 0.5)", "twice"),
    ("priors", 0, "c = stride / 2", "c = 0", "corner of the cell"),
    ("heads", 0, "permute(0, 3, 4, 1, 2)", "permute(0, 1, 3, 4, 2)", "All cells of one shape"),
    (
        "heads",
        1,
        ".mT.unflatten(2, (-1, numbers)).flatten(1, 2)",
        ".reshape(len(prediction), -1, numbers)",
        "reshape alone mixes",
    ),
    ("match", 0, "row not in rows and i not in priors", "row not in rows", "crossed out"),
    ("match", 0, "-2 if best >= negative_iou else -1", "-1", "must be IGNORED"),
    ("match", 1, "left[i, :] = left[:, j] = -np.inf", "left[i, :] = -np.inf", "crossed out"),
    (
        "mining",
        0,
        "max(int((labels[image] >= 0).sum()), 1)",
        "int((labels[image] >= 0).sum())",
        "without objects keeps nothing",
    ),
    ("mining", 0, "descending=True", "descending=False", "smallest loss"),
    (
        "focal",
        2,
        "alpha * target + (1 - alpha) * (1 - target)",
        "(1 - alpha) * target + alpha * (1 - target)",
        "exchanged",
    ),
    ("focal", 2, "logits.sigmoid()", "logits.detach().sigmoid()", "detached"),
    ("focal", 2, "loss[labels != -2].sum()", "loss.mean()", "not the mean"),
    ("focal", 2, "[labels != -2]", "", "counted as background"),
    (
        "focal",
        2,
        "p = logits.sigmoid()",
        "p = logits.sigmoid().clamp(1e-4, 1 - 1e-4)\n"
        "    entropy = -(p * target + (1 - p) * (1 - target)).log()",
        "clamped",
    ),
    ("nms", 0, "ops.batched_nms(boxes, scores, labels, ", "ops.nms(boxes, scores, ", "per class"),
    ("nms", 2, "key=lambda i: -scores[i]", "key=lambda i: i", "order of the input"),
    ("nms", 2, "overlap[i, j] <=", "overlap[i, j] <", ">, not >="),
    (
        "average_precision",
        1,
        "precision[i - 1] = max(precision[i - 1], precision[i])",
        "pass",
        "The best precision at this or a larger recall",
    ),
    ("collate", 0, "math.ceil(side / divisor) * divisor", "side", "not rounded up"),
    (
        "collate",
        1,
        "(0, height - image.shape[0]), (0, width - image.shape[1])",
        "(height - image.shape[0], 0), (width - image.shape[1], 0)",
        "bottom right",
    ),
    ("crop", 0, "overlap.max()", "overlap.min()", "one is enough"),
    ("crop", 0, "labels[kept]", "labels", "same mask"),
    ("training", 0, "        optimizer.zero_grad()\n", "", "add up"),
    (
        "training",
        1,
        "        model.zero_grad()\n        loss.backward()\n",
        "        loss.backward()\n        [p.grad.zero_() for p in model.parameters()]\n",
        "zero_grad()",
    ),
    ("training", 1, "min(1, max_grad_norm / norm)", "1", "not clipped"),
)
