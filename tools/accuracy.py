"""Train torchvision's detector on the same images as ours, to compare what both learn from them.

    SIZE="--base-width 64 --resize 256 --max-size 342"
    python train.py --root data/bccd --weights none $SIZE --iters 500
    python -m tools.accuracy --root data/bccd $SIZE --iters 500 --lr 0.005

Takes the flags of train.py, and trains torchvision's RetinaNet (or SSD300, with --model ssd300)
from random weights. Its batches are ours, with our augmentation and sizes; its optimizer and its
schedule are those of torchvision's own reference scripts; and it is evaluated on the same images by
the same metrics.
"""

import time

import torch
from torchvision.models.detection import RetinaNet, ssd300_vgg16
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from tqdm import tqdm

from data.dataset import Dataset, TrainBatches
from data.reading import read_records
from data.text import UserError
from published.weights import Weights
from utils import options, parallel
from utils.build import build_loader, build_transform, eval_dataset
from utils.evaluation.evaluate import collect_detections
from utils.evaluation.metrics import compute_metrics
from utils.resolve import asked_recipe, resolve_recipe
from utils.steps import learning_rate
from utils.stop import read_batches, run_script

# From torchvision's references/detection: the learning rate per image of a batch, the weight decay,
# and after which shares of all epochs the learning rate drops to a tenth.
REFERENCES = dict(
    retinanet=dict(lr_per_image=0.01 / 16, weight_decay=1e-4, drops=(16 / 26, 22 / 26)),
    ssd300=dict(lr_per_image=0.002 / 32, weight_decay=5e-4, drops=(80 / 120, 110 / 120)),
)


def reference_recipe(recipe, lr=None):
    """The recipe with the weight decay, the schedule and, unless lr is given, the learning rate of
    torchvision's references."""
    if recipe.model not in REFERENCES:
        raise UserError(f"--model {recipe.model}: torchvision has no such detector")
    reference = REFERENCES[recipe.model]
    return recipe | dict(
        lr=lr or reference["lr_per_image"] * recipe.batch,
        weight_decay=reference["weight_decay"],
        lr_schedule="milestones",
        milestones=tuple(round(drop * recipe.iterations) for drop in reference["drops"]),
        milestone_epochs=(),
        gamma=0.1,
    )


def build_torchvision(recipe, num_classes, frozen=False):
    """torchvision's RetinaNet or SSD300 with random weights.

    frozen: freeze what train.py freezes of pretrained weights, so that a step costs as much as it
    does in fine-tuning. For SSD300, that is nothing.
    """
    if recipe.model == "ssd300":
        return ssd300_vgg16(num_classes=1 + num_classes, weights=None, weights_backbone=None)
    base = resnet_fpn_backbone(
        backbone_name=f"resnet{recipe.depth}",
        weights=None,
        norm_layer=FrozenBatchNorm2d if frozen else torch.nn.BatchNorm2d,
        trainable_layers=5 - recipe.frozen_stages if frozen else 5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    return RetinaNet(base, num_classes)


def first_label(recipe):
    """What torchvision's detector calls our label 0; in its SSD, label 0 is the background."""
    return 1 if recipe.model == "ssd300" else 0


def as_list(model, images):
    """The images of a batch, [B, 3, H, W] bytes, as torchvision's detector takes them: a list of
    tensors from 0 to 1. The detector is told not to resize them."""
    height, width = images.shape[-2:]
    model.transform.min_size = (min(height, width),)
    model.transform.max_size = max(height, width)
    return list(images / 255)


def train_torchvision(recipe, model, dataset, device):
    """Train torchvision's detector with the batches, the learning rates and for as many iterations
    as the recipe says."""
    first = first_label(recipe)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decay = recipe.weight_decay
    optimizer = torch.optim.SGD(parameters, recipe.lr, momentum=0.9, weight_decay=decay)
    batches = TrainBatches(dataset, recipe.batch)
    loader = build_loader(dataset, batches, recipe, device)
    batches = read_batches(loader, device, torch.preserve_format)
    model.train()
    bar = tqdm(range(1, recipe.iterations + 1), desc="training")
    for iteration in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(iteration, recipe)
        images, targets = next(batches)
        objects = []
        for target in targets:
            # torchvision knows no objects to ignore.
            is_object = ~target["ignore"]
            boxes = target["boxes"][is_object]
            labels = target["labels"][is_object] + first
            objects.append(dict(boxes=boxes, labels=labels))
        optimizer.zero_grad()
        loss = sum(model(as_list(model, images), objects).values())
        bar.set_postfix_str(f"loss {loss.item():.3g}")
        if not torch.isfinite(loss):
            raise UserError(
                f"torchvision's loss is {loss.item()} at iteration {iteration}: try a smaller --lr"
            )
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def evaluate_torchvision(recipe, model, dataset, device):
    """The metrics of torchvision's detector on a dataset: name -> value."""
    first = first_label(recipe)

    def predict_batch(images, targets):
        results = model(as_list(model, images))
        return [dict(result, labels=result["labels"] - first) for result in results]

    model.eval()
    detections = collect_detections(predict_batch, dataset, recipe, device)
    metrics, _, _ = compute_metrics(recipe.metric, dataset.classes, dataset.records, detections)
    return metrics


def main():
    flags = parse_flags()
    device = parallel.start(flags.device)
    asked = asked_recipe(flags)
    classes, train_records, _ = read_records(asked)
    recipe, _ = resolve_recipe(flags, asked, classes, len(train_records), device, Weights({}))
    recipe = reference_recipe(recipe, flags.lr)
    augmented = build_transform(recipe, augment=recipe.augment)
    train_dataset = Dataset(classes, train_records, augmented, recipe.seed)
    torch.manual_seed(recipe.seed)
    model = build_torchvision(recipe, len(classes)).to(device)
    started = time.time()
    train_torchvision(recipe, model, train_dataset, device)
    minutes = (time.time() - started) / 60
    print(f"{recipe.iterations} iterations, lr {recipe.lr}: {minutes:.1f} minutes")
    for split in flags.split:
        metrics = evaluate_torchvision(recipe, model, eval_dataset(recipe, split, classes), device)
        print(split, *(f"{name} {value:.3f}" for name, value in metrics.items()))


def parse_flags():
    parser = options.train_parser(__doc__)
    parser.add_argument(
        "--split", nargs="+", default=["val"], help="the splits to evaluate at the end: val"
    )
    return parser.parse()


if __name__ == "__main__":
    run_script(main)
