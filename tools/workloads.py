"""The work that tools.bench measures: ours, torchvision's, and the floor, on the same numbers."""

from contextlib import contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from pycocotools.cocoeval import COCOeval
from torch.nn.utils import clip_grad_norm_
from torchvision import tv_tensors
from torchvision.transforms import v2

from data.dataset import Dataset, eval_batches
from data.records import Entry, Object, pack
from layers.boxes import DELTA_SCALE
from layers.detections import detections
from layers.losses import FocalLoss
from layers.priors import level_counts, pyramid_priors
from layers.resnet import freeze_batch_norm
from tools.accuracy import as_list, build_torchvision
from utils import build, checkpoint, onnx, parallel
from utils.evaluation.metrics import coco_detections, compute_metrics, ground_truth
from utils.predict import forward, predict
from utils.recipes import retinanet_adam, retinanet_coco, ssd300_voc
from utils.stop import read_batches

CLASSES = [str(label) for label in range(80)]
NUM_CLASSES = len(CLASSES)
PHOTO_SIZE = (480, 640)
# RetinaNet's priors where its loss and its post-processing are measured alone.
LARGE_SIZE = (800, 1344)
LEVELS = build.build_levels(retinanet_coco)
LEVEL_COUNTS = level_counts(LARGE_SIZE, LEVELS)
NUM_PRIORS = sum(LEVEL_COUNTS)


def random_boxes(count, size):
    """Boxes [N, 4] on an image of (height, width), their sides 5 to 30 % of the image's."""
    limit = torch.tensor([size[1], size[0]])
    corner = torch.rand(count, 2) * 0.7 * limit
    return torch.cat([corner, corner + limit * (0.05 + 0.25 * torch.rand(count, 2))], dim=1)


def random_batch(images, size, device, objects=8):
    """Images [B, 3, H, W] as bytes, and their targets, as the loader's arrive on the device."""
    pixels = torch.randint(0, 256, (images, 3, *size), dtype=torch.uint8, device=device)
    targets = []
    for _ in range(images):
        boxes = random_boxes(objects, size).to(device)
        labels = torch.randint(0, NUM_CLASSES, (objects,), device=device)
        ignore = torch.zeros(objects, dtype=torch.bool, device=device)
        targets.append(dict(boxes=boxes, labels=labels, ignore=ignore, size=size))
    return pixels.contiguous(memory_format=torch.channels_last), targets


def random_records(paths, classes):
    """Records of photos with seven objects each."""
    random = np.random.default_rng(0)
    entries = []
    for i, path in enumerate(paths):
        boxes = random_boxes(7, PHOTO_SIZE).tolist()
        objects = [Object(*box, classes[random.integers(len(classes))]) for box in boxes]
        entries.append(Entry(path, PHOTO_SIZE, i, objects))
    return pack(entries, classes)


@contextmanager
def photo_files(count):
    """Records of JPEG files that have colours and grain, as photos have."""
    random = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        paths = [f"{folder}/{i}.jpg" for i in range(count)]
        for path in paths:
            image = random.integers(0, 256, (24, 32, 3), np.uint8)
            image = cv2.resize(image, PHOTO_SIZE[::-1], interpolation=cv2.INTER_CUBIC)
            image = image + random.normal(0, 6, image.shape)
            cv2.imencode(".jpg", image.clip(0, 255).astype(np.uint8))[1].tofile(path)
        yield random_records(paths, ["any"])


def reading(records):
    """From files to RetinaNet's batches of two -> floor (decode and resize), ours."""
    paths = [records.path(i) for i in range(len(records))]
    recipe = retinanet_adam | dict(workers=0)
    dataset = Dataset(["any"], records, build.build_transform(recipe, augment=True))
    # All photos have one size, so these are batches of two.
    batches = eval_batches(records.sizes, 2)
    loader = build.build_loader(dataset, batches, recipe, torch.device("cpu"))
    return dict(
        floor=lambda: [cv2.resize(cv2.imread(path), (811, 608)) for path in paths],
        ours=lambda: list(loader),
    )


def augmenting(records):
    """SSD300's augmentation of decoded images, drawn anew in every turn -> ours, torchvision's."""
    samples = [Dataset(["any"], records, None).read(i) for i in range(len(records))]
    transform = build.build_transform(ssd300_voc, augment=True)
    random = np.random.default_rng(0)
    transforms = v2.Compose(
        [
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill=[123, 117, 104]),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(),
            v2.Resize((300, 300)),
            v2.SanitizeBoundingBoxes(),
        ]
    )
    tensors = []
    for image, target in samples:
        image = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))
        boxes = tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=PHOTO_SIZE)
        tensors.append((image, dict(boxes=boxes, labels=torch.from_numpy(target["labels"]))))
    return dict(
        ours=lambda: [transform(*sample, random) for sample in samples],
        torchvision=lambda: [transforms(*sample) for sample in tensors],
    )


def loading(recipe, records, device, count):
    """A function that loads so many training batches to the device -> the last one."""
    dataset = Dataset(["any"], records, build.build_transform(recipe, augment=True))
    _, loader = build.build_train_loader(dataset, recipe, device)
    batches = read_batches(loader, device)

    def load():
        for _ in range(count):
            images, targets = next(batches)
        return images, targets

    return load


def training_steps(recipe, images, targets, compiled=False):
    """Whole training steps, and as the floor the bare network, forward and backward."""
    bare, step = training_step(recipe, images, targets)
    _, in_float32 = training_step(recipe | dict(precision="float32"), images, targets)
    functions = dict(floor=bare, ours=step, ours_in_float32=in_float32)
    if compiled:
        _, functions["ours_compiled"] = training_step(recipe | dict(compile=True), images, targets)
    return functions | dict(torchvision=torchvision_step(recipe, images, targets))


def training_step(recipe, images, targets):
    """The bare network, forward and backward, and a whole training step."""
    device = images.device
    layout = parallel.training_format(device)
    images = images.contiguous(memory_format=layout)
    model, criterion = build.build_detector(recipe, NUM_CLASSES)
    # As with pretrained weights.
    freeze_batch_norm(model.base)
    for stage in model.base.stages()[: recipe.frozen_stages]:
        stage.requires_grad_(False)
    model.to(device, memory_format=layout).train()
    if recipe.compile:
        model.compile(dynamic=False)
    optimizer = build.build_optimizer(recipe, model)

    def bare():
        optimizer.zero_grad()
        sum(part.sum() for part in forward(model, images, recipe.precision)).backward()

    def step():
        optimizer.zero_grad()
        box_deltas, class_logits = forward(model, images, recipe.precision)
        priors = model.priors(images.shape[-2:])
        box_loss, class_loss = criterion(box_deltas, class_logits, priors, targets)
        (box_loss + class_loss).backward()
        clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()

    return bare, step


def torchvision_step(recipe, images, targets):
    """A training step of torchvision's detector, which takes a list of float images."""
    model = build_torchvision(recipe, NUM_CLASSES, frozen=True).to(images.device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images = as_list(model, images)

    def step():
        optimizer.zero_grad()
        sum(model(images, targets).values()).backward()
        optimizer.step()

    return step


def losses(device):
    """RetinaNet's matching and losses, forward and backward -> ours, torchvision's."""
    priors = pyramid_priors(LARGE_SIZE, LEVELS, device)
    _, targets = random_batch(2, LARGE_SIZE, device, objects=20)
    deltas = torch.randn(2, NUM_PRIORS, 4, device=device).requires_grad_()
    # Scores are about 0.01, as before training.
    logits = (torch.randn(2, NUM_PRIORS, NUM_CLASSES, device=device) - 4.6).requires_grad_()
    peer = build_torchvision(retinanet_coco, NUM_CLASSES)
    outputs = dict(cls_logits=logits, bbox_regression=deltas)

    def ours():
        loss = sum(FocalLoss()(deltas, logits, priors, targets))
        return torch.autograd.grad(loss, [deltas, logits])

    def torchvision():
        loss = sum(peer.compute_loss(targets, outputs, [priors] * 2).values())
        return torch.autograd.grad(loss, [deltas, logits])

    return dict(ours=ours, torchvision=torchvision)


def post_processing(device):
    """From predictions to detections; one score in ten is over 0.05 -> ours, torchvision's."""
    priors = pyramid_priors(LARGE_SIZE, LEVELS, device)
    deltas = 0.3 * torch.randn(1, NUM_PRIORS, 4, device=device)
    # The logit of 0.05 is -2.94, and a tenth of these numbers lie 1.28 or more above their mean.
    logits = torch.randn(1, NUM_PRIORS, NUM_CLASSES, device=device) - 2.94 - 1.28
    peer = build_torchvision(retinanet_coco, NUM_CLASSES)
    unscaled = deltas * torch.tensor(DELTA_SCALE, device=device)
    outputs = dict(
        cls_logits=logits.split(LEVEL_COUNTS, 1), bbox_regression=unscaled.split(LEVEL_COUNTS, 1)
    )
    rules = dict(level_counts=LEVEL_COUNTS, max_detections=300)

    def ours():
        return detections(deltas[0], logits[0], priors, LARGE_SIZE, torch.sigmoid, **rules)

    def torchvision():
        return peer.postprocess_detections(outputs, [priors.split(LEVEL_COUNTS)], [LARGE_SIZE])[0]

    return dict(ours=ours, torchvision=torchvision)


def inference(recipe, images, targets, compiled=False):
    """Images, from bytes on the device to detections; the floor is the bare network."""
    model, _ = build.build_detector(recipe, NUM_CLASSES)
    model.to(images.device, memory_format=torch.channels_last).eval()
    peer = build_torchvision(recipe, NUM_CLASSES, frozen=True).to(images.device).eval()
    functions = dict(
        floor=partial(forward, model, images, recipe.precision),
        ours=partial(predict, model, images, targets, recipe),
        torchvision=partial(peer, as_list(peer, images)),
    )
    if images.device.type == "cpu":
        with TemporaryDirectory() as folder:
            path = Path(folder, "detector.onnx")
            onnx.export(checkpoint.LoadedDetector(model, recipe, CLASSES, None, None), path)
            exported = onnx.load_onnx(path).model
        functions["ours_by_onnxruntime"] = partial(predict, exported, images, targets, recipe)
    if compiled:
        compiled_model = torch.compile(model, dynamic=False)
        functions["ours_compiled"] = partial(predict, compiled_model, images, targets, recipe)
    return functions


def evaluation(images, found):
    """COCO's metrics of so many images with so many detections each -> pycocotools alone, ours."""
    records = random_records([f"{i}.jpg" for i in range(images)], CLASSES)
    predicted = {}
    for i in range(images):
        boxes = random_boxes(found, PHOTO_SIZE).numpy()
        scores = torch.rand(found).numpy()
        labels = torch.randint(0, NUM_CLASSES, (found,)).numpy()
        predicted[i] = dict(boxes=boxes, scores=scores, labels=labels)
    with redirect_stdout(StringIO()):
        truth = ground_truth(CLASSES, records)

    def pycocotools():
        with redirect_stdout(StringIO()):
            evaluation = COCOeval(truth, coco_detections(predicted, truth), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation.stats

    def ours():
        return compute_metrics("coco", CLASSES, records, predicted)

    return dict(floor=pycocotools, ours=ours)
