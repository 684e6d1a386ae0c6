"""Train a detector.

python train.py                                  # RetinaNet-18 on drawn shapes, in minutes
python train.py --dataset coco --depth 50        # RetinaNet-50 on COCO
python train.py --root my/folder                 # your own images
torchrun --nproc-per-node 8 train.py --dataset coco
"""

import math

import torch
from torch import nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from data.reading import read_records
from layers.resnet import freeze_batch_norm
from published.weights import find_weights, load_weights
from utils import checkpoint, options, parallel, resolve
from utils.build import (
    build_average,
    build_detector,
    build_optimizer,
    build_train_loader,
    describe_datasets,
    make_datasets,
)
from utils.evaluation.evaluate import evaluate
from utils.evaluation.results import report_training
from utils.log import Log
from utils.saver import Saver, checkpoint_to_resume, folder_to_resume, has_best_of, new_folder
from utils.steps import FiniteCheck, Plateau, learning_rate
from utils.stop import Stop, read_batches, run_script


def main(arguments=None):
    """Train as the arguments say, by default those of the command line. Returns the exit code."""
    flags = options.train_parser(__doc__).parse(arguments)
    # Under torchrun, this process joins the others here.
    device = parallel.start(flags.device)
    prepare = new_run if flags.resume is None else resumed_run
    recipe, folder, datasets, start = prepare(flags, device)
    print(f"everything of this run is in {folder}")
    print(*describe_datasets(recipe, *datasets), sep="\n")
    iteration, stop, evaluation = train(recipe, folder, device, *datasets, **start)
    if stop:
        return stop.exit_code(iteration, folder / "last.pth")
    if iteration < recipe.iterations:
        reason = f"{recipe.patience} evaluations without a better result"
        print(f"stopped after iteration {iteration}: {reason}; --resume --patience 0 continues")
    report_training(recipe, folder, device, *datasets, evaluation)
    return 0


def new_run(flags, device):
    """Prepare a new run. Returns its recipe, its folder, both datasets, and what train() starts
    from: dict(weights=...)."""
    # Some settings depend on what is in the data and the weights, so read those first.
    asked = resolve.asked_recipe(flags)
    with parallel.rank0_first():
        weights = find_weights(asked)
        classes, train_records, val_records = read_records(asked)
    recipe, reason = resolve.resolve_recipe(
        flags, asked, classes, len(train_records), device, weights
    )
    datasets = make_datasets(recipe, classes, train_records, val_records)
    print(reason, *options.without_effect(flags, recipe), sep="\n")
    if recipe.fit_priors:
        recipe, proposal = resolve.fitted_recipe(recipe, datasets[0], bool(weights.classes))
        print(proposal)
    print(resolve.describe_recipe(recipe))
    folder = parallel.broadcast_from_rank0(
        lambda: new_folder(flags.save_folder, flags.name, f"{recipe.model}_{recipe.dataset}")
    )
    return recipe, folder, datasets, dict(weights=weights)


def resumed_run(flags, device):
    """Prepare to resume a run. Returns the same as new_run, but train() starts from the content of
    a checkpoint: dict(resumed=...)."""
    path = checkpoint_to_resume(flags.save_folder, flags.name, flags.resume)
    content = checkpoint.load_training(path)
    stored = checkpoint.recipe_of(content, path)
    asked = resolve.resumed_recipe(flags, stored)
    print(f"{path} is of iteration {content['iteration']}")
    with parallel.rank0_first():
        classes, train_records, val_records = read_records(asked, content["classes"])
    recipe = resolve.in_iterations(asked, len(train_records), flags.warmup)
    print(*options.without_effect(flags, recipe), resolve.describe_recipe(recipe), sep="\n")
    if content["iteration"] >= recipe.iterations:
        done = f"{content['iteration']} of {recipe.iterations}"
        print(f"{done} iterations are done; use a larger --iters to continue")
    datasets = make_datasets(recipe, classes, train_records, val_records)
    default = f"{recipe.model}_{recipe.dataset}"
    folder = parallel.broadcast_from_rank0(
        lambda: folder_to_resume(path, flags.save_folder, flags.name, default)
    )
    is_same_data = parallel.broadcast_from_rank0(lambda: has_best_of(folder, content, val_records))
    is_comparable = is_same_data and not resolve.changes_results(stored, asked)
    if content["best"] >= 0 and not is_comparable:
        if val_records is not None and content["iteration"] < recipe.iterations:
            print("there is no comparable best.pth, so the next evaluation counts as the best")
        content |= dict(best=-1.0, stale=0)
    # A new patience counts from now on.
    if flags.patience not in (None, stored.patience):
        content["stale"] = 0
    return recipe, folder, datasets, dict(resumed=content)


class Autocast(nn.Module):
    """A model that computes in a dtype, such as torch.bfloat16, and returns float32, in which the
    losses are computed.

    autocast is entered here, and not in the loop, because nn.DataParallel runs replicas in threads,
    which inherit whether autocast is on, but not its dtype.
    """

    def __init__(self, model, dtype):
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, images):
        is_mixed = self.dtype != torch.float32
        with torch.autocast(images.device.type, self.dtype, enabled=is_mixed):
            box_deltas, class_logits = self.model(images)
        return box_deltas.float(), class_logits.float()


def build(recipe, train_dataset, device, weights=None):
    """Build what training needs. Returns model, network, criterion, optimizer, scaler.

    model is the plain module. network shares its weights and wraps it for training, in the recipe's
    precision and on all devices. criterion is the loss.
    """
    torch.manual_seed(recipe.seed)
    model, criterion = build_detector(recipe, len(train_dataset.classes))
    if weights is not None:
        with parallel.rank0_first():
            print(*load_weights(model, train_dataset, recipe, weights), "", sep="\n")
    # Pretrained parts may be frozen; random ones must learn.
    if recipe.weights != "none":
        # A batch of a few images estimates the statistics of batch norm badly.
        if recipe.frozen_norm and recipe.model == "retinanet":
            freeze_batch_norm(model.base)
        # The edges and textures that the first stages see occur in every dataset.
        for stage in model.base.stages()[: recipe.frozen_stages]:
            stage.requires_grad_(False)
    model.to(device, memory_format=parallel.training_format(device)).train()
    optimizer = build_optimizer(recipe, model)

    dtype = parallel.precision_of(recipe.precision, device)
    # In float16, small gradients become 0, so the loss is multiplied by a scale (Micikevicius et
    # al., 2018, arXiv:1710.03740, Sec. 3.2). It grows until a gradient overflows; then the step is
    # skipped, and the scale halved. In other types the scaler does nothing.
    scaler = GradScaler(device.type, enabled=dtype == torch.float16)
    network = Autocast(model, dtype)
    if recipe.compile:
        # Only what trains is compiled: the loss by build_detector, and the network here.
        network.compile(dynamic=False)
    if parallel.world_size() > 1:
        # Every backward averages the gradients over the processes. Of a batch in several parts,
        # only the last would have to; no_sync() would save the others.
        device_ids = [device] if device.type == "cuda" else None
        network = DistributedDataParallel(network, device_ids=device_ids)
    elif device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1:
        # No GPU was named, so all of them share the batch.
        if recipe.compile:
            # A replica would call the compiled original, whose weights are on the first GPU.
            print("--compile trains on one GPU alone; under torchrun, on all of them")
        else:
            network = nn.DataParallel(network)
    return model, network, criterion, optimizer, scaler


def state_to_resume(parts, best, stale, log):
    """Everything but the model that a run needs to resume, as tensors and plain values."""
    state = {name: part.state_dict() for name, part in parts.items()}
    return state | dict(
        random=torch.get_rng_state(),
        best=best,
        stale=stale,
        largest_step=float(log.largest_step),
    )


def resume_from(content, model, parts):
    """Load a checkpoint's content into model and parts. Returns its iteration, its best result, how
    many evaluations ago that was, and the largest step since the log's last line."""
    message = "--resume: the checkpoint is of another detector or optimizer"
    with checkpoint.mismatch_is_an_error(message):
        checkpoint.load_optimizer(parts["optimizer"], content["optimizer"])
        # With ema, content["model"] is the average of the weights that were trained.
        model.load_state_dict(content.get("training", content["model"]))
        for name, part in parts.items():
            # A disabled scaler saves an empty state, which an enabled one would refuse.
            if name != "optimizer" and content[name]:
                part.load_state_dict(content[name])
        torch.set_rng_state(content["random"])
        return tuple(content[name] for name in ("iteration", "best", "stale", "largest_step"))


def train(recipe, folder, device, train_dataset, val_dataset, weights=None, resumed=None):
    """Train on train_dataset, validate on val_dataset, keep everything in folder.

    It starts from weights, or from resumed, the content of a checkpoint. Returns the iteration, a
    Stop that is true if the run ended early, and the evaluation of a new best.pth or None.
    """
    model, network, criterion, optimizer, scaler = build(recipe, train_dataset, device, weights)
    sampler, loader = build_train_loader(train_dataset, recipe, device)
    plateau = Plateau(recipe, sampler.per_epoch)
    parts = dict(optimizer=optimizer, scaler=scaler, plateau=plateau)
    # With ema, a moving average of the weights is evaluated and saved. The weights themselves are
    # saved beside it, to resume from.
    kept_model = model
    if recipe.ema:
        average = build_average(model, recipe.ema)
        parts |= dict(ema=average, training=model)
        kept_model = average.module

    # stale counts the evaluations since the best one. Any result is better than -1.
    iteration, best, stale, largest_step = 0, -1.0, 0, 0.0
    if resumed:
        iteration, best, stale, largest_step = resume_from(resumed, model, parts)
    sampler.done = iteration
    patience = recipe.patience or math.inf
    finite = FiniteCheck(train_dataset.records.path, scaler)
    saver = Saver(folder, recipe, train_dataset.classes, iteration, val_dataset)
    with Stop() as stop, Log(folder, recipe, sampler.per_epoch, iteration, largest_step) as log:
        batches = log.timed(read_batches(loader, device))
        while iteration < recipe.iterations and stale < patience and not stop:
            # Ctrl-C ends the loop between iterations, and a second one interrupts this wait.
            with stop.loading():
                micro_batches = [next(batches) for _ in range(recipe.accumulate)]
            if stop:
                break
            iteration += 1
            lr = learning_rate(iteration, recipe) * plateau.factor
            for group in optimizer.param_groups:
                group["lr"] = lr * group["lr_factor"]
            optimizer.zero_grad()
            # A batch may go through the network in parts, to save memory; their gradients add up.
            # Their losses are divided by the number of positive priors in the whole batch.
            num_positives = criterion.count_batch_positives(model, micro_batches)
            losses = torch.zeros(2, device=device)
            for images, targets in micro_batches:
                box_deltas, class_logits = network(images)
                priors = model.priors(images.shape[-2:])
                box_loss, class_loss = criterion(
                    box_deltas, class_logits, priors, targets, num_positives
                )
                scaler.scale(box_loss + class_loss).backward()
                losses += torch.stack([box_loss, class_loss]).detach()

            scaler.unscale_(optimizer)
            grad_norm = clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            scaler.step(optimizer)
            scaler.update()
            if recipe.ema:
                average.update_parameters(model)

            box_loss, class_loss = parallel.mean(losses)
            values = dict(box_loss=box_loss, class_loss=class_loss, grad_norm=grad_norm, lr=lr)
            finite.add(iteration, values, micro_batches)

            plateau.update(iteration, box_loss + class_loss)
            is_due = iteration % recipe.eval_every == 0 or iteration == recipe.iterations
            should_evaluate = is_due and val_dataset is not None
            # Reading a result from a GPU makes the program wait, so check where it waits anyway.
            if device.type == "cpu" or should_evaluate or iteration % recipe.log_every == 0:
                finite.raise_if_nonfinite()
            with stop.interruptible():
                log.step(iteration, values, optimizer)
                if should_evaluate:
                    evaluation = evaluate(kept_model, val_dataset, recipe, device)
                    log.evaluation(iteration, evaluation, val_dataset)
            if should_evaluate:
                stale += 1
                if evaluation.result > best:
                    best, stale = evaluation.result, 0
                    saver.save_best(kept_model, iteration, evaluation)
            if iteration % recipe.save_every == 0:
                finite.raise_if_nonfinite()
                saver.save_last(kept_model, iteration, state_to_resume(parts, best, stale, log))

    # Whether the run is done or was stopped, what was trained since the last checkpoint is kept.
    with stop.ignoring_signals():
        if iteration > saver.iteration:
            finite.raise_if_nonfinite()
            saver.save_last(kept_model, iteration, state_to_resume(parts, best, stale, log))
    saver.raise_if_lost()
    return iteration, stop, saver.best_evaluation


if __name__ == "__main__":
    run_script(main)
