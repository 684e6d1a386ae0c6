"""Step 6: the pyramid. This is RetinaNet, from drawn images to average precision.

python -m lesson.steps.step6_pyramid
"""

import sys
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from data.shapes import CLASSES, draw_image

SIZE = 96  # of the images, in pixels
STRIDES = (4, 8, 16)  # pixels from cell to cell on each level
SIDES = (3.0, 3.8, 4.8)  # of the priors of a cell, in strides
POSITIVE_IOU, NEGATIVE_IOU = 0.5, 0.4
BACKGROUND, IGNORED = -1, -2
ALPHA, GAMMA, PRIOR_PROBABILITY = 0.25, 2.0, 0.01
MAX_DETECTIONS, NMS_IOU = 100, 0.5
WIDTH, BATCH, LR = 48, 16, 4e-3
PICTURE = __file__.replace(".py", ".jpg")
COLOURS = ((60, 180, 255), (200, 200, 40), (220, 80, 220))  # of the classes; blue, green, red


def draw(count, seed, max_objects=8):
    """Images [count, 3, SIZE, SIZE] of uint8, and of each a dict of boxes [N, 4], labels [N]."""
    images, targets = [], []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        image, objects = draw_image(rng, ((SIZE, SIZE),), max_objects)
        images.append(torch.from_numpy(image).permute(2, 0, 1))
        boxes = torch.tensor([box for box, _ in objects], dtype=torch.float32).reshape(-1, 4)
        labels = torch.tensor([label for _, label in objects], dtype=torch.long)
        targets.append(dict(boxes=boxes, labels=labels))
    return torch.stack(images), targets


def iou(boxes, others):
    """Intersection over union of every pair, 0 apart to 1 identical: [N, 4], [M, 4] -> [N, M]."""
    top_left = torch.maximum(boxes[:, None, :2], others[:, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], others[:, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    area, other_area = ((b[:, 2:] - b[:, :2]).prod(dim=-1) for b in (boxes, others))
    return shared / (area[:, None] + other_area - shared)


def make_priors():
    """The priors, all of them squares, ordered by level, row, column, shape: [A, 4]."""
    levels = []
    for stride in STRIDES:
        centre = torch.arange(SIZE // stride) * stride + stride / 2
        y, x, side = torch.meshgrid(centre, centre, torch.tensor(SIDES) * stride, indexing="ij")
        priors = torch.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], dim=-1)
        levels.append(priors.flatten(0, 2))
    return torch.cat(levels)


def match(boxes, priors, positive_iou, negative_iou):
    """The object of every prior: [N, 4], [A, 4] -> [A], a row of boxes, BACKGROUND or IGNORED."""
    if len(boxes) == 0:
        return torch.full((len(priors),), BACKGROUND)
    overlap = iou(boxes, priors)
    best_overlap, matches = overlap.max(dim=0)
    matches = matches.where(best_overlap >= positive_iou, IGNORED)
    matches = matches.where(best_overlap >= negative_iou, BACKGROUND)
    # However poor the overlaps, every object keeps a prior; the largest overlap of all goes first.
    for _ in range(min(overlap.shape)):
        row, prior = divmod(int(overlap.argmax()), len(priors))
        matches[prior] = row
        overlap[row] = overlap[:, prior] = -1
    return matches


def encode(boxes, priors):
    """The deltas of each box from its prior: [..., 4], [..., 4] -> [..., 4]."""
    size, prior_size = boxes[..., 2:] - boxes[..., :2], priors[..., 2:] - priors[..., :2]
    shift = (boxes[..., :2] + size / 2 - priors[..., :2] - prior_size / 2) / prior_size
    return torch.cat([shift / 0.1, (size / prior_size).log() / 0.2], dim=-1)


def decode(deltas, priors):
    """The boxes that deltas describe; undoes encode: [..., A, 4], [A, 4] -> [..., A, 4]."""
    prior_size = priors[..., 2:] - priors[..., :2]
    centre = priors[..., :2] + prior_size / 2 + deltas[..., :2] * 0.1 * prior_size
    size = (deltas[..., 2:] * 0.2).clamp(max=np.log(1000 / 16)).exp() * prior_size
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def conv(in_channels, channels, stride=1):
    """A 3x3 convolution with norm and ReLU."""
    layer = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.GroupNorm(8, channels), nn.ReLU())


class RetinaNet(nn.Module):
    def __init__(self):
        super().__init__()
        fine = nn.Sequential(conv(3, 24, 2), conv(24, WIDTH, 2), conv(WIDTH, WIDTH))
        middle = nn.Sequential(conv(WIDTH, WIDTH, 2), conv(WIDTH, WIDTH))
        coarse = nn.Sequential(conv(WIDTH, WIDTH, 2), conv(WIDTH, WIDTH))
        self.base = nn.ModuleList([fine, middle, coarse])
        self.lateral = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 1) for _ in STRIDES)
        self.smooth = nn.ModuleList(conv(WIDTH, WIDTH) for _ in STRIDES)
        shapes, classes = len(SIDES), len(CLASSES)
        self.box_head = nn.Sequential(conv(WIDTH, WIDTH), nn.Conv2d(WIDTH, shapes * 4, 1))
        self.class_head = nn.Sequential(conv(WIDTH, WIDTH), nn.Conv2d(WIDTH, shapes * classes, 1))
        bias = -np.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY)
        nn.init.constant_(self.class_head[-1].bias, bias)

    def forward(self, images):
        """[B, 3, SIZE, SIZE] -> box_deltas [B, A, 4], class_logits [B, A, C]."""
        maps = [images / 128 - 1]
        for stage in self.base:
            maps.append(stage(maps[-1]))
        maps = [conv(c) for conv, c in zip(self.lateral, maps[1:])]
        for i in reversed(range(len(maps) - 1)):
            maps[i] = maps[i] + F.interpolate(maps[i + 1], scale_factor=2)
        maps = [conv(m) for conv, m in zip(self.smooth, maps)]
        box_deltas = [per_prior(self.box_head(m), 4) for m in maps]
        class_logits = [per_prior(self.class_head(m), len(CLASSES)) for m in maps]
        return torch.cat(box_deltas, dim=1), torch.cat(class_logits, dim=1)


def per_prior(prediction, num_values):
    """[B, S * num_values, H, W] -> [B, H * W * S, num_values], ordered by row, column, shape."""
    return prediction.permute(0, 2, 3, 1).reshape(len(prediction), -1, num_values)


def focal_loss(logits, labels, alpha, gamma):
    """The sum over all logits: logits [B, A, C], labels [B, A] -> a number."""
    is_present = labels[..., None] == torch.arange(logits.shape[-1])
    # Where the class is present, 1 - p takes the place of p, and the sigmoid of -x is 1 - p.
    x = torch.where(is_present, -logits, logits)
    cost = x.sigmoid() ** gamma * F.softplus(x)
    alpha_t = torch.where(is_present, alpha, 1 - alpha)
    return (alpha_t * cost * (labels != IGNORED)[..., None]).sum()


def compute_loss(box_deltas, class_logits, priors, targets):
    """What the predictions cost: [B, A, 4], [B, A, C], [A, 4], B targets -> a number."""
    labels = torch.full(class_logits.shape[:2], BACKGROUND)
    boxes = priors.repeat(len(targets), 1, 1)
    for i, target in enumerate(targets):
        labels[i] = matches = match(target["boxes"], priors, POSITIVE_IOU, NEGATIVE_IOU)
        labels[i, matches >= 0] = target["labels"][matches[matches >= 0]]
        boxes[i, matches >= 0] = target["boxes"][matches[matches >= 0]]
    positive = labels >= 0
    num_positives = positive.sum().clamp(min=1)
    box_loss = F.smooth_l1_loss(box_deltas, encode(boxes, priors), reduction="none")
    box_loss = (box_loss.mean(dim=-1) * positive).sum() / num_positives
    class_loss = focal_loss(class_logits, labels, ALPHA, GAMMA) / num_positives
    return box_loss + class_loss


def batched_nms(boxes, scores, labels, iou_threshold):
    """The rows of the boxes that repeat no better one of their class, best first."""
    overlap = iou(boxes, boxes) * (labels[:, None] == labels)
    keep, rest = [], scores.argsort(descending=True, stable=True)
    while len(rest):
        best, rest = rest[0], rest[1:]
        keep.append(best)
        rest = rest[overlap[best, rest] <= iou_threshold]
    return torch.stack(keep)


@torch.no_grad()
def detect(model, images, priors):
    """The detections of each image, best first: dicts of boxes [D, 4], scores [D], labels [D]."""
    detections = []
    for box_deltas, class_logits in zip(*model(images)):
        scores, best = class_logits.sigmoid().flatten().topk(MAX_DETECTIONS)
        row, labels = best // len(CLASSES), best % len(CLASSES)
        boxes = decode(box_deltas, priors)[row]
        keep = batched_nms(boxes, scores, labels, NMS_IOU)
        detections.append(dict(boxes=boxes[keep], scores=scores[keep], labels=labels[keep]))
    return detections


def compute_ap50(detections, targets):
    """The mean over the classes of the average precision at an IoU of a half, as VOC has it."""
    precisions = []
    for label in range(len(CLASSES)):
        scores, hits, num_objects = [], [], 0
        for found, target in zip(detections, targets):
            of_class = found["labels"] == label
            true_boxes = target["boxes"][target["labels"] == label]
            # With a box of zeros, which nothing overlaps, there is always one to compare with.
            others = F.pad(true_boxes, (0, 0, 0, 1))
            overlap, best = iou(found["boxes"][of_class], others).max(dim=1)
            best = best.where(overlap > 0.5, -1).tolist()
            # Only the first detection of an object is a hit.
            hits += [row >= 0 and row not in best[:i] for i, row in enumerate(best)]
            scores += found["scores"][of_class].tolist()
            num_objects += len(true_boxes)
        hits = np.array(hits)[np.argsort(-np.array(scores), kind="stable")]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        # At every recall, the best precision at this recall or a higher one counts.
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        precisions.append((precision * hits).sum() / num_objects)
    return float(np.mean(precisions))


def draw_picture(path, images, targets, detections):
    """Draw eight images with what is there, white, and what was found, coloured by class."""
    tiles = []
    for image, target, found in zip(images[:8], targets, detections):
        tile = cv2.resize(np.ascontiguousarray(image.permute(1, 2, 0)), None, fx=2, fy=2)
        shown = [(box, (255, 255, 255)) for box in target["boxes"]]
        rows = zip(found["boxes"], found["scores"], found["labels"])
        shown += [(box, COLOURS[label]) for box, score, label in rows if score > 0.4]
        for box, colour in shown:
            left, top, right, bottom = (2 * box).int().tolist()
            cv2.rectangle(tile, (left, top), (right, bottom), colour, thickness=2)
        tiles.append(tile)
    cv2.imwrite(str(path), np.vstack([np.hstack(tiles[:4]), np.hstack(tiles[4:])]))


def main(iterations=400, seed=0, picture=PICTURE):
    """Train, print the loss as it falls, and draw the picture -> AP50 on the validation images."""
    torch.manual_seed(seed)
    start = time.time()
    images, targets = draw(1000, seed=0)
    val_images, val_targets = draw(200, seed=1)
    priors = make_priors()
    model = RetinaNet()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, iterations + 1)
    for iteration in range(1, iterations + 1):
        batch = torch.randint(len(images), (BATCH,))
        loss = compute_loss(*model(images[batch]), priors, [targets[i] for i in batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if iteration % 50 == 0:
            print(f"{iteration:4}  loss {loss.item():.3f}  {time.time() - start:.0f} s")
    detections = detect(model, val_images, priors)
    draw_picture(picture, val_images, val_targets, detections)
    ap50 = compute_ap50(detections, val_targets)
    print(f"AP50 {ap50:.3f} after {time.time() - start:.0f} s")
    return ap50


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
