"""Train a detector.

python train.py                                  # RetinaNet-18 on drawn shapes, in minutes
python train.py --dataset coco --depth 50        # the classic
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
from data.text import UserError
from layers.losses import count_batch_positives
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
from utils.fit_priors import fitted_recipe
from utils.log import Log
from utils.saver import Saver, checkpoint_to_resume, new_folder
from utils.steps import FiniteCheck, Plateau, learning_rate
from utils.stop import Stop, read_batches, run_script


def main():
    flags = options.train_parser(__doc__).parse()
    # Under torchrun, this process meets the others here.
    device = parallel.start(flags.device)
    begin = new_run if flags.resume is None else resumed_run
    recipe, folder, datasets, start = begin(flags, device)
    print(*describe_datasets(recipe, *datasets), sep="\n")
    iteration, stop, evaluation = train(recipe, folder, device, *datasets, **start)
    if stop:
        return stop.exit_code(iteration, folder / "last.pth")
    if iteration < recipe.iterations:
        reason = f"{recipe.patience} evaluations without a better result"
        print(f"stopped after iteration {iteration}: {reason}")
    report_training(recipe, folder, device, *datasets, evaluation)
    return 0


def new_run(flags, device):
    """A new training -> its recipe, its folder, its datasets, and what it starts from."""
    # The flags say where the data and the weights are; how to train depends on what is there.
    asked = resolve.asked_recipe(flags)
    with parallel.rank0_first():
        weights = find_weights(asked)
        classes, train_records, val_records = read_records(asked)
    recipe, reason = resolve.resolve_recipe(
        flags, asked, classes, len(train_records), device, weights.changes
    )
    datasets = make_datasets(recipe, classes, train_records, val_records)
    if recipe.fit_priors:
        recipe, proposal = fitted_recipe(recipe, datasets[0])
        print(proposal)
    print(reason, resolve.describe_recipe(recipe), sep="\n")
    folder = parallel.broadcast_from_rank0(
        lambda: new_folder(flags.save_folder, flags.name, f"{recipe.model}_{recipe.dataset}")
    )
    return recipe, folder, datasets, dict(weights=weights)


def resumed_run(flags, device):
    """A training where its checkpoint left it -> the same."""
    path = checkpoint_to_resume(flags.save_folder, flags.name, flags.resume)
    content = checkpoint.load(path)
    stored = resolve.resumed_recipe(flags, checkpoint.recipe_of(content, path))
    with parallel.rank0_first():
        classes, train_records, val_records = read_records(stored, content["classes"])
    recipe = resolve.in_iterations(stored, len(train_records))
    print(resolve.describe_recipe(recipe))
    if content.get("iteration", 0) >= recipe.iterations:
        print(f"all {recipe.iterations} iterations are done; a larger --iters goes on")
    datasets = make_datasets(recipe, classes, train_records, val_records)
    return recipe, path.parent, datasets, dict(resumed=content)


class Autocast(nn.Module):
    """The model in half precision, unless half_type is None; its predictions are float32.

    autocast stands in here, not around the call: nn.DataParallel calls its replicas in threads, and
    a new thread is told that autocast is on, but takes float16 where bfloat16 was asked for.
    """

    def __init__(self, model, half_type):
        super().__init__()
        self.model, self.half_type = model, half_type

    def forward(self, images):
        is_half = self.half_type is not None
        with torch.autocast(images.device.type, self.half_type, enabled=is_half):
            box_deltas, class_logits = self.model(images)
        return box_deltas.float(), class_logits.float()


def build(recipe, classes, device, weights=None):
    """The model, its network on all devices, what measures its error, and what corrects it:
    model, network, criterion, optimizer, scaler."""
    torch.manual_seed(recipe.seed)
    model, criterion = build_detector(recipe, len(classes))
    if weights:
        with parallel.rank0_first():
            print(*load_weights(model, classes, recipe, weights), "", sep="\n")
    # A batch of a few images estimates statistics badly, so a pretrained ResNet keeps its own; and
    # what the first stages see in pixels serves every dataset. Random ones must be free to change.
    if recipe.weights != "none":
        if recipe.frozen_norm and recipe.model == "retinanet":
            freeze_batch_norm(model.base)
        for stage in model.base.stages()[: recipe.frozen_stages]:
            stage.requires_grad_(False)
    model.to(device, memory_format=parallel.training_format(device)).train()
    optimizer = build_optimizer(recipe, model)

    half_type = parallel.half_type_of(recipe.precision, device)
    # float16 turns small gradients into 0, so the loss is scaled up as far as none becomes infinite
    # (Micikevicius et al., 2018, arXiv:1710.03740, Sec. 3.2). Elsewhere the scaler does nothing.
    scaler = GradScaler(device.type, enabled=half_type == torch.float16)
    network = Autocast(model, half_type)
    if recipe.compile:
        # Evaluation calls the model itself, which stays as it is.
        network.compile(dynamic=False)
    if parallel.world_size() > 1:
        device_ids = [device] if device.type == "cuda" else None
        network = DistributedDataParallel(network, device_ids=device_ids)
    elif device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1:
        # No GPU was named, so all of them share the batch.
        network = nn.DataParallel(network)
    return model, network, criterion, optimizer, scaler


def state_to_resume(parts, best, stale):
    """All that a training needs to go on, beside its model, as tensors and plain values."""
    state = {name: part.state_dict() for name, part in parts.items()}
    return state | dict(random=torch.get_rng_state(), best=best, stale=stale)


def resume_from(content, model, parts):
    """Put everything back where a checkpoint left it -> iteration, best result, and how many
    evaluations ago that was."""
    if "optimizer" not in content:
        raise UserError("this checkpoint holds no optimizer to go on with: resume from last.pth")
    try:
        model.load_state_dict(content["model"])
        for name, part in parts.items():
            state = content[name]
            if name == "optimizer":
                state = checkpoint.optimizer_state(part, state)
            # A scaler that had nothing to scale has no state.
            if state:
                part.load_state_dict(state)
        torch.set_rng_state(content["random"])
        return content["iteration"], content["best"], content["stale"]
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--resume with another detector or optimizer than the checkpoint's: {reason}"
        ) from None


def train(recipe, folder, device, train_dataset, val_dataset, weights=None, resumed=None):
    """Train on train_dataset, validate on val_dataset, keep everything in folder.

    It starts from weights, or goes on from resumed, the content of a checkpoint. Returns the last
    iteration, whether it was stopped, and the best evaluation, or None where none was better.
    """
    classes = train_dataset.classes
    model, network, criterion, optimizer, scaler = build(recipe, classes, device, weights)
    sampler, loader = build_train_loader(train_dataset, recipe, device)
    plateau = Plateau(recipe, sampler.per_epoch)
    parts = dict(optimizer=optimizer, scaler=scaler, plateau=plateau)
    kept_model = model
    if recipe.ema:
        average = build_average(model, recipe.ema)
        parts |= dict(ema=average, training=model)
        kept_model = average.module

    # Where it stands: at the start, or where the checkpoint left it.
    iteration, best, stale = 0, -1.0, 0
    if resumed:
        iteration, best, stale = resume_from(resumed, model, parts)
    sampler.done = iteration
    best_evaluation = None
    patience = recipe.patience or math.inf
    finite = FiniteCheck(train_dataset.records.path, device, scaler.is_enabled())
    saver = Saver(folder, recipe, classes, iteration)
    with Stop() as stop, Log(folder, recipe, sampler.per_epoch, iteration) as log:
        batches = log.watch(read_batches(loader, device))
        while iteration < recipe.iterations and stale < patience and not stop:
            with stop.interruptible():
                micro_batches = [next(batches) for _ in range(recipe.accumulate)]
            iteration += 1
            lr = learning_rate(iteration, recipe) * plateau.factor
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad()

            # A batch goes through the network at once, or in several parts to save memory.
            losses = torch.zeros(2, device=device)
            num_positives = count_batch_positives(criterion, model, micro_batches)
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
            # Where found_inf is 1, the fused optimizer makes no step. The device decides it alone:
            # the program would wait for the device in every iteration if it had to know.
            optimizer.found_inf = finite.found_inf(grad_norm)
            optimizer.step()
            scaler.update()
            if recipe.ema:
                average.update_parameters(model)

            box_loss, class_loss = parallel.mean(losses)
            plateau.update(iteration, box_loss + class_loss)
            numbers = dict(box_loss=box_loss, class_loss=class_loss, grad_norm=grad_norm, lr=lr)
            finite.remember(iteration, micro_batches, numbers)
            is_last = iteration == recipe.iterations
            should_evaluate = val_dataset and (is_last or iteration % recipe.eval_every == 0)
            # A number that the program asks for makes it wait: only where it waits anyway.
            if device.type == "cpu" or should_evaluate or iteration % recipe.log_every == 0:
                finite.raise_if_nonfinite()
            stop.agree()
            with stop.interruptible():
                log.step(iteration, numbers, optimizer)
                if should_evaluate:
                    evaluation = evaluate(kept_model, val_dataset, recipe, device)
                    log.evaluation(iteration, evaluation, val_dataset)
            if should_evaluate:
                stale += 1
                if evaluation.result > best:
                    best, best_evaluation, stale = evaluation.result, evaluation, 0
                    saver.save_best(kept_model, iteration, evaluation.facts())
            if iteration % recipe.save_every == 0:
                finite.raise_if_nonfinite()
                saver.save_last(kept_model, iteration, state_to_resume(parts, best, stale))

    # However the loop ended, what was trained since the last checkpoint is kept.
    with stop.ignoring_signals():
        if iteration > saver.iteration:
            finite.raise_if_nonfinite()
            saver.save_last(kept_model, iteration, state_to_resume(parts, best, stale))
    saver.raise_if_lost()
    return iteration, stop, best_evaluation


if __name__ == "__main__":
    run_script(main)
