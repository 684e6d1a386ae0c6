"""A checkpoint of any program as a Python function from images to detections."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.images import from_pillow, read_image
from data.text import UserError
from published.load import load_detector
from published.weights import checkpoint_path
from utils import draw, parallel
from utils.build import build_collate, build_transform, with_sides
from utils.predict import plain_results, predict, to_original
from utils.recipe import checked

# The target of an image without annotations.
NO_OBJECTS = dict(
    boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, int), ignore=np.zeros(0, bool), index=0
)


class Detector:
    """detector(image) -> dict of boxes [D, 4], scores [D], labels [D] and names, best first.

    An image is a path, a Pillow image, an array [H, W, 3] or a tensor [3, H, W], both RGB of uint8;
    a list of images gives a list of dicts. Boxes are xyxy in the image's own pixels; a file or
    Pillow image with an EXIF rotation is rotated first. names is a list, the others are NumPy
    arrays.

    path: a checkpoint of any program, or an ONNX file; or the URL of one.
    score_threshold: by default, the score with the best F1 on the validation images. A call may
        have another: detector(image, score_threshold=0.2).
    shown_classes: names of classes; by default, all.
    max_detections: in an image; by default, the recipe's.
    changes: other fields of the recipe, such as dict(resize=600).
    """

    def __init__(
        self,
        path,
        device=None,
        precision=None,
        score_threshold=None,
        shown_classes=None,
        max_detections=None,
        changes=None,
    ):
        self.path = checkpoint_path(path) if isinstance(path, str) else Path(path)
        loaded = load_detector(self.path)
        self.device = parallel.start(device)
        self.model = loaded.model.to(self.device)
        self.classes = loaded.classes
        self.score_threshold = score_threshold
        if score_threshold is None:
            self.score_threshold = loaded.show_threshold or 0.5
        check_threshold(self.score_threshold)
        given = dict(precision=precision, max_detections=max_detections)
        changes = (changes or {}) | {n: value for n, value in given.items() if value is not None}
        self.recipe = checked(loaded.recipe | with_sides(loaded.recipe, changes))
        self.shown_classes = None
        if shown_classes:
            self.shown_classes = mask_of(shown_classes, self.classes).to(self.device)
        self.transform = build_transform(self.recipe)
        self.collate = build_collate(self.recipe)

    def __repr__(self):
        return (
            f"Detector({str(self.path)!r}: {self.recipe.model}, {len(self.classes)} classes, "
            f"{self.device}, scores from {self.score_threshold:.2f})"
        )

    def __call__(self, images, score_threshold=None):
        if score_threshold is None:
            score_threshold = self.score_threshold
        check_threshold(score_threshold)
        if isinstance(images, (list, tuple)):
            return self.detect_batch([as_array(image) for image in images], score_threshold)
        return self.detect_batch([as_array(images)], score_threshold)[0]

    def detect_batch(self, arrays, score_threshold):
        """The detections on each of several images [H, W, 3].

        Images that the network sees in the same size go through it together. Padding others to a
        larger size would change what is found.
        """
        lowest = min(self.recipe.score_threshold, score_threshold)
        recipe = self.recipe | dict(score_threshold=lowest)
        batches = [self.collate([self.transform(array, NO_OBJECTS, None)]) for array in arrays]
        groups = defaultdict(list)
        for number, (images, _) in enumerate(batches):
            groups[images.shape].append(number)
        detections = [None] * len(arrays)
        for numbers in groups.values():
            images = torch.cat([batches[number][0] for number in numbers]).to(self.device)
            targets = [target for number in numbers for target in batches[number][1]]
            results = predict(self.model, images, targets, recipe, self.shown_classes)
            for number, result, target in zip(numbers, results, targets):
                result = to_original(result, target["size"], arrays[number].shape[:2])
                detections[number] = self.shown(result, score_threshold)
        return detections

    def shown(self, result, score_threshold):
        """The detections of an image that are to be shown, as arrays and names."""
        kept = result["scores"] >= score_threshold
        arrays = {name: value[kept].numpy() for name, value in result.items()}
        return arrays | dict(names=[self.classes[label] for label in arrays["labels"]])

    @staticmethod
    def to_json(detections):
        """The detections of an image as a list of dicts: class, score and box, rounded."""
        return plain_results([({}, detections)])

    def draw(self, image, detections, truth=()):
        """A copy of the image, [H, W, 3] RGB, with detections drawn, and boxes truth in white."""
        boxes, labels, scores = (detections[name] for name in ("boxes", "labels", "scores"))
        return draw.draw(as_array(image), boxes, labels, self.classes, scores, truth)


def mask_of(names, classes):
    """Which of the classes are named -> [C]."""
    names = [names] if isinstance(names, str) else names
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise UserError(f"no class {', '.join(unknown)}: it knows {', '.join(classes)}")
    return torch.tensor([name in names for name in classes])


def check_threshold(value):
    if not 0 <= value <= 1:
        raise UserError(f"score threshold {value}: must be from 0 to 1")


def as_array(image):
    """An image of any kind that a Detector takes as an array [H, W, 3] of RGB uint8."""
    if isinstance(image, str) and "://" in image:
        raise UserError(f"{image}: images are read from files; download it first")
    if isinstance(image, (str, Path)):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return from_pillow(image)
    array = np.asarray(image.cpu() if torch.is_tensor(image) else image)
    kind = f"{list(array.shape)} of {array.dtype}"
    if torch.is_tensor(image) and array.ndim == 3:
        array = np.ascontiguousarray(array.transpose(1, 2, 0))
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UserError(
            f"an image is an array [H, W, 3] or a tensor [3, H, W], RGB of uint8, not {kind}"
        )
    return array
