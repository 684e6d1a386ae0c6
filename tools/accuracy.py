"""torchvision's detector trained on the same images as ours: what does it learn of them?

    python train.py --root data/bccd --weights none --iters 500
    python -m tools.accuracy --root data/bccd --iters 500 --lr 0.005

Takes train.py's flags, and trains torchvision's RetinaNet (or SSD300, with --model ssd300) from
random weights: on the same batches, augmented and sized as ours, with the optimizer and the
schedule of torchvision's own references, and evaluated by the same metrics on the same images.
"""

import time

import torch
from torchvision.models.detection import RetinaNet, ssd300_vgg16
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from tqdm import tqdm

from data.batch import TrainBatches
from data.dataset import Dataset
from data.reading import read_records
from data.text import UserError
from utils import options, parallel
from utils.build import build_loader, build_transform, eval_dataset
from utils.evaluation.evaluate import collect_detections
from utils.evaluation.metrics import compute_metrics
from utils.resolve import asked_recipe, resolve_recipe
from utils.steps import learning_rate
from utils.stop import run_script

# torchvision's references/detection: lr per image of a batch, decay of the weights, and the epochs
# after which lr drops to a tenth, as shares of all.
REFERENCES = dict(
    retinanet=dict(lr_per_image=0.01 / 16, weight_decay=1e-4, drops=(16 / 26, 22 / 26)),
    ssd300=dict(lr_per_image=0.002 / 32, weight_decay=5e-4, drops=(80 / 120, 110 / 120)),
)


def reference_recipe(recipe, lr=None):
    """The recipe with lr, decay and schedule of torchvision's references, or with the lr given."""
    if recipe.model not in REFERENCES:
        raise UserError(f"--model {recipe.model}: torchvision has no such detector")
    reference = REFERENCES[recipe.model]
    return recipe | dict(
        lr=lr or reference["lr_per_image"] * recipe.batch,
        weight_decay=reference["weight_decay"],
        schedule="milestones",
        milestones=tuple(round(drop * recipe.iterations) for drop in reference["drops"]),
        milestone_epochs=(),
        gamma=0.1,
    )


def build_torchvision(recipe, num_classes, frozen=False):
    """torchvision's detector with random weights.

    frozen: what train.py freezes of pretrained weights is frozen here as well, so that a step costs
    as much as one of a fine-tuning; of SSD300, that is nothing.
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
    """Its label of our label 0: SSD's own 0 is the background."""
    return 1 if recipe.model == "ssd300" else 0


def as_list(model, images):
    """A batch of bytes as the list of images that it takes, which it is told not to resize."""
    height, width = images.shape[-2:]
    model.transform.min_size, model.transform.max_size = (min(height, width),), max(height, width)
    return list(images / 255)


def train_peer(recipe, model, dataset, device):
    """Train it by the recipe's batches, iterations, lr and warm-up."""
    first = first_label(recipe)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decay = recipe.weight_decay
    optimizer = torch.optim.SGD(parameters, recipe.lr, momentum=0.9, weight_decay=decay)
    batches = TrainBatches(dataset, recipe.batch, seed=recipe.seed)
    loader = iter(build_loader(dataset, batches, recipe, device))
    model.train()
    bar = tqdm(range(1, recipe.iterations + 1), desc="training")
    for iteration in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(iteration, recipe)
        images, targets = parallel.to_device(*next(loader), device)
        objects = []
        for target in targets:
            real = ~target["ignore"]
            objects.append(dict(boxes=target["boxes"][real], labels=target["labels"][real] + first))
        optimizer.zero_grad()
        loss = sum(model(as_list(model, images), objects).values())
        bar.set_postfix_str(f"loss {loss.item():.3g}")
        if not torch.isfinite(loss):
            raise UserError(f"its loss is {loss.item()} at iteration {iteration}: a smaller --lr?")
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def evaluate_peer(recipe, model, dataset, device):
    """Its metrics on a dataset: name -> value."""

    def predict_batch(images, targets):
        first = first_label(recipe)
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
    recipe, _ = resolve_recipe(flags, asked, classes, len(train_records), device, learned={})
    recipe = reference_recipe(recipe, flags.lr)
    augmented = build_transform(recipe, augment=recipe.augment)
    train_dataset = Dataset(classes, train_records, augmented, recipe.seed)
    torch.manual_seed(recipe.seed)
    model = build_torchvision(recipe, len(classes)).to(device)
    started = time.time()
    train_peer(recipe, model, train_dataset, device)
    minutes = (time.time() - started) / 60
    print(f"{recipe.iterations} iterations, lr {recipe.lr}: {minutes:.1f} minutes")
    for split in flags.split:
        metrics = evaluate_peer(recipe, model, eval_dataset(recipe, split, classes), device)
        print(split, *(f"{name} {value:.3f}" for name, value in metrics.items()))


def parse_flags():
    parser = options.train_parser(__doc__)
    parser.add_argument(
        "--split", nargs="+", default=["val"], help="that are evaluated at the end: val"
    )
    return parser.parse()


if __name__ == "__main__":
    run_script(main)
