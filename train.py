"""Train a detector.

python train.py                                  # RetinaNet-18 on drawn shapes, in minutes
python train.py --dataset coco --depth 50        # the classic
python train.py --root my/folder                 # your own images
torchrun --nproc-per-node 8 train.py --dataset coco
"""

import torch

from data.batch import TrainBatches
from data.dataset import Dataset
from data.summary import describe
from layers.losses import count_batch_positives
from published.weights import find_weights, load_weights
from utils import checkpoint, options, parallel
from utils.build import build_detector, build_loader, build_optimizer, build_transform
from utils.datasets import read_records
from utils.finish import finish
from utils.fit_priors import fitted_recipe
from utils.guard import Guard
from utils.options import run_script
from utils.resolve import (
    asked_recipe,
    describe_recipe,
    in_iterations,
    resolve_recipe,
    resumed_recipe,
)
from utils.run import Run
from utils.run_folder import checkpoint_to_resume, new_folder


def train(recipe, folder, device, train_dataset, val_dataset, weights=None, resume=None):
    """Train on train_dataset, validate on val_dataset, keep everything in folder -> exit code."""
    torch.manual_seed(recipe.seed)

    # What learns, what measures its error, and what corrects it.
    model, criterion = build_detector(recipe, len(train_dataset.classes))
    print(*describe(train_dataset, val_dataset, recipe, model.levels), sep="\n")
    if weights:
        with parallel.rank0_first():
            print(*load_weights(model, train_dataset.classes, recipe, weights), "", sep="\n")
    model.to(device, memory_format=parallel.training_format(device)).train()
    optimizer = build_optimizer(recipe, model)
    guard = Guard(model, optimizer, recipe, train_dataset.records.path)
    network = parallel.wrap(
        parallel.Network(model, device, recipe.precision, recipe.compile), device
    )

    # What it learns from, and where it stands.
    batches = TrainBatches(train_dataset, recipe.batch, recipe.accumulate, recipe.seed)
    run = Run(folder, recipe, model, optimizer, guard, batches, val_dataset, device, resume)
    loader = build_loader(train_dataset, batches, recipe, device)

    with run:
        for iteration, micro_batches in run.iterations(loader):
            run.set_lr(iteration)
            optimizer.zero_grad()
            num_positives = count_batch_positives(criterion, model, micro_batches)
            for images, targets in micro_batches:
                box_deltas, class_logits = network(images)
                priors = model.priors(images.shape[-2:])
                box_loss, class_loss = criterion(
                    box_deltas, class_logits, priors, targets, num_positives
                )
                guard.scale(box_loss + class_loss).backward()
                run.add_losses(box_loss, class_loss)
            grad_norm = guard.clip()
            optimizer.step()

            run.after_step(iteration, micro_batches, grad_norm)
            if run.should_evaluate(iteration):
                run.evaluate(iteration)
            if run.should_save(iteration):
                run.save(iteration)

    return finish(run)


def main():
    flags = options.train_parser(__doc__).parse()
    device = parallel.start(flags.device)
    if flags.resume is not None:
        return resume(flags, device)

    # The flags say where the data and the weights are; how to train depends on what is there.
    asked = asked_recipe(flags)
    with parallel.rank0_first():
        weights = find_weights(asked)
        classes, train_records, val_records = read_records(asked)
    recipe, reason = resolve_recipe(
        flags, asked, classes, len(train_records), device, weights.changes
    )
    datasets = make_datasets(recipe, classes, train_records, val_records)
    if recipe.fit_priors:
        recipe, proposal = fitted_recipe(recipe, datasets[0])
        print(proposal)
    print(reason, describe_recipe(recipe), sep="\n")
    folder = parallel.broadcast_from_rank0(
        lambda: new_folder(flags.save_folder, flags.name, f"{recipe.model}_{recipe.dataset}")
    )
    return train(recipe, folder, device, *datasets, weights)


def resume(flags, device):
    """Go on with a run where its checkpoint left it."""
    path = checkpoint_to_resume(flags.save_folder, flags.name, flags.resume)
    content = checkpoint.load(path)
    stored = checkpoint.recipe_of(content, path)
    recipe = resumed_recipe(flags, stored)
    with parallel.rank0_first():
        classes, train_records, val_records = read_records(recipe, content["classes"])
    recipe = in_iterations(recipe, len(train_records))
    print(describe_recipe(recipe))
    if content.get("iteration", 0) >= recipe.iterations:
        print(f"all {recipe.iterations} iterations are done; a larger --iters goes on")
    datasets = make_datasets(recipe, classes, train_records, val_records)
    return train(recipe, path.parent, device, *datasets, resume=content)


def make_datasets(recipe, classes, train_records, val_records):
    """train_dataset, and val_dataset, never augmented, or None where nothing is validated."""
    augmented, plain = build_transform(recipe, augment=recipe.augment), build_transform(recipe)
    train_dataset = Dataset(classes, train_records, augmented, recipe.seed)
    val_dataset = Dataset(classes, val_records, plain, recipe.seed) if val_records else None
    return train_dataset, val_dataset


if __name__ == "__main__":
    run_script(main)
