"""Train a detector.

    python train.py                                  # RetinaNet-18 on drawn shapes: minutes on any machine
    python train.py --dataset coco --depth 50        # the classic
    python train.py --dataset voc --root my/folder   # your own images
    torchrun --nproc-per-node 8 train.py --dataset coco
"""
import torch

from data.batch import TrainBatches
from data.summary import describe
from published.weights import load_weights, open_source
from utils import checkpoint, options, parallel
from utils.build import build_dataset, build_detector, build_loader, build_optimizer, build_transform
from utils.evaluation import evaluate, prediction_sheet, save_results, table
from utils.run import Run, checkpoint_to_resume, new_folder
from utils.schedule import in_iterations


def train(recipe, folder, device, dataset, judged, source=None, resume=None):
    """Train on dataset from source's weights, judge on judged, keep everything in folder -> exit code."""
    torch.manual_seed(recipe.seed)

    # What learns, what corrects it, and how.
    model, criterion = build_detector(recipe, len(dataset.classes))
    print(*describe(dataset, judged, recipe, model.levels, build_transform(recipe)), sep="\n")
    if not resume:
        with parallel.one_first():
            print(*load_weights(model, dataset.classes, recipe, source), "", sep="\n")
    model.to(device, memory_format=torch.channels_last).train()
    optimizer = build_optimizer(recipe, model)
    network = parallel.wrap(parallel.Network(model, device, recipe.full_precision, recipe.compile), device)

    # What it learns from, and where it stands.
    batches = TrainBatches(dataset.records.sizes, recipe.batch, recipe.accumulate, recipe.seed)
    run = Run(folder, recipe, model, optimizer, dataset, batches.per_epoch, resume)
    batches.start(run.done, parallel.rank(), parallel.world())
    loader = build_loader(dataset, batches, recipe, device)

    for iteration, parts in run.iterations(loader):
        rate = run.rate(iteration)
        optimizer.zero_grad()
        for images, targets in parts:
            images, targets = parallel.to_device(images, targets, device)
            box_deltas, class_logits = network(images)
            box_loss, class_loss = criterion(box_deltas, class_logits, model.priors(images.shape[-2:]), targets)
            loss = box_loss + class_loss
            (loss / len(parts)).backward()
        gradient = run.clip()
        optimizer.step()

        run.stepped(iteration, parts, box_loss.detach(), class_loss.detach(), gradient, rate)
        if run.due(iteration, recipe.eval_every):
            average, each, found = evaluate(run.shown, judged, recipe, device)
            run.judged(iteration, average, lambda found=found: prediction_sheet(judged, found))
        if run.due(iteration, recipe.save_every) or run.stop or run.satisfied:
            run.save(iteration)

    if run.result is not None and not run.stop and parallel.rank() == 0:
        print(table(average, each, judged.records))
        save_results(folder, judged, found, replace=True)
    return run.finish()


def main():
    flags = options.parse(options.train_parser(__doc__))
    device, content, source = parallel.start(flags.device), None, None
    if flags.resume is None:
        recipe = options.resolve(flags, options.named_recipe(flags))
    else:
        path = checkpoint_to_resume(flags.save_folder, flags.name, flags.resume)
        content, folder = checkpoint.load(path), path.parent
        recipe = options.resolve(flags, checkpoint.recipe_of(content))
    with parallel.one_first():
        dataset = build_dataset(recipe, "train", content and content["classes"])
        judged = build_dataset(recipe, "val", dataset.classes)
        if not content:
            recipe, source = open_source(recipe)
    if not content:
        folder = parallel.same(lambda: new_folder(flags.save_folder, flags.name, f"{recipe.model}_{recipe.dataset}"))
    recipe = in_iterations(recipe, len(dataset))
    print(options.describe(recipe))
    return train(recipe, folder, device, dataset, judged, source, content)


if __name__ == "__main__":
    options.script(main)
