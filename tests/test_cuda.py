"""What a GPU computes is what the CPU computes, and nothing makes the program wait for it.

Left out where there is no GPU.
"""

import copy
import os
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from layers import resnet
from layers.detections import detections
from layers.fast import fast_focal_loss
from layers.losses import focal_loss
from layers.matching import assign
from layers.priors import level_counts
from layers.resnet import freeze_batch_norm
from tests.conftest import make_target
from tests.scripts import run_script
from train import Autocast, build
from utils import parallel
from utils.build import build_detector, build_optimizer
from utils.log import read_log
from utils.recipes import RECIPES
from utils.stop import read_batches

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
GPU = torch.device("cuda", 0)
DETECTORS = (("shapes", (128, 160)), ("retinanet_coco", (128, 160)), ("ssd300_coco", (300, 300)))
OBJECTS = [(10, 20, 60, 90, 1), (12, 22, 61, 88, 0), (5, 5, 30, 25, 1)]


@pytest.fixture(autouse=True)
def exact_float32(monkeypatch):
    """Convolutions without TF32, which has 10 bits of a number, as bfloat16 has 7."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def make_batch(size):
    images = torch.randint(0, 256, (4, 3, *size), dtype=torch.uint8)
    # Nowhere two overlaps that are equal but for rounding.
    corners = 90 * torch.rand(30, 2, generator=torch.Generator().manual_seed(1))
    crowd = [(x, y, x + 37.3, y + 29.1, 0, x > 60) for x, y in corners.tolist()]
    return images, [make_target(*objects) for objects in (OBJECTS, [], OBJECTS[:1], crowd)]


def make_step(name, size, device, precision="float32"):
    """A function that makes a training step -> both losses and the norm of the gradient."""
    torch.manual_seed(0)
    recipe = RECIPES[name] | dict(weights="none")
    model, criterion = build_detector(recipe, 2)
    model.to(device, memory_format=parallel.training_format(device)).train()
    optimizer = build_optimizer(recipe, model)
    dtype = parallel.precision_of(precision, device)
    network = Autocast(model, dtype)
    scaler = GradScaler(device.type, enabled=dtype == torch.float16)
    images, targets = next(read_batches([make_batch(size)], device))

    def step():
        optimizer.zero_grad()
        box_loss, class_loss = criterion(*network(images), model.priors(size), targets)
        scaler.scale(box_loss + class_loss).backward()
        scaler.unscale_(optimizer)
        grad_norm = clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        scaler.step(optimizer)
        scaler.update()
        return torch.stack([box_loss, class_loss, grad_norm]).detach()

    return step


@pytest.mark.parametrize("name, size", DETECTORS)
def test_a_step_has_the_losses_and_the_gradient_of_the_cpu(name, size):
    on_cpu, on_gpu = (make_step(name, size, device)() for device in (torch.device("cpu"), GPU))
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("precision", parallel.PRECISIONS)
@pytest.mark.parametrize("name, size", DETECTORS)
def test_no_operation_of_a_step_waits_for_the_gpu(name, size, precision):
    step = make_step(name, size, GPU, precision)
    step()  # Priors are made at the first.
    torch.cuda.set_sync_debug_mode("error")
    try:
        values = step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert values[:2].isfinite().all()


@pytest.mark.parametrize("precision", ("bf16", "fp16"))
def test_a_detector_learns_in_half_precision(precision):
    step = make_step("shapes", (128, 160), GPU, precision)
    first, *_, last = [step() for _ in range(60)]
    assert last[:2].sum() < first[:2].sum() / 2


def test_objects_are_matched_as_on_the_cpu():
    _, targets = make_batch((128, 160))
    model, _ = build_detector(RECIPES["shapes"], 2)
    priors = model.priors((128, 160))
    expected = assign(targets, priors, 0.5, 0.4)
    on_gpu = [{name: value.to(GPU) for name, value in target.items()} for target in targets]
    for value, result in zip(expected, assign(on_gpu, priors.to(GPU), 0.5, 0.4)):
        torch.testing.assert_close(result.cpu(), value)


def test_the_fast_focal_loss_is_the_plain_one():
    logits = torch.randn(2, 500, 7, device=GPU, requires_grad=True)
    labels = torch.randint(-2, 7, (2, 500), device=GPU)
    results = []
    for loss in (focal_loss, fast_focal_loss):
        value = loss(logits, labels, 0.25, 2.0)
        results.append((value, *torch.autograd.grad(value, [logits])))
    for plain, fast in zip(*results):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name, size", DETECTORS)
def test_detections_are_those_of_the_cpu(name, size):
    model, _ = build_detector(RECIPES[name], 2)
    priors = model.priors(size)
    columns = 3 if "ssd" in name else 2
    inputs = 0.3 * torch.randn(len(priors), 4), torch.randn(len(priors), columns), priors
    levels = None if "ssd" in name else level_counts(size, model.levels)
    expected = detections(*inputs, size, model.scores, levels)
    result = detections(*(value.to(GPU) for value in inputs), size, model.scores, levels)
    for part, value in expected.items():
        torch.testing.assert_close(result[part].cpu(), value, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name, size", DETECTORS)
def test_data_parallel_has_the_losses_and_gradients_of_a_plain_network(name, size):
    torch.manual_seed(0)
    model, criterion = build_detector(RECIPES[name] | dict(weights="imagenet"), 2)
    # Of this batch norm, each replica would have statistics of its own.
    network = Autocast(model.to(GPU).train(), torch.float32)
    for norm in model.base.norms():
        norm.eval()
    images, targets = next(read_batches([make_batch(size)], GPU))
    results = []
    for wrapped in (network, nn.DataParallel(network, device_ids=[0, 0])):
        model.zero_grad()
        losses = criterion(*wrapped(images), model.priors(size), targets)
        sum(losses).backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append([*losses, *gradients])
    for plain, parted in zip(*results):
        error = (parted - plain).norm() / plain.norm().clamp(min=1e-6)
        assert error < 1e-5


def test_what_is_compiled_is_not_copied_to_other_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(nn, "DataParallel", lambda network: "replicas")
    dataset = SimpleNamespace(classes=["a"])
    for is_compiled in (False, True):
        recipe = RECIPES["shapes"] | dict(compile=is_compiled)
        network = build(recipe, dataset, torch.device("cuda"))[1]
        assert (network == "replicas") != is_compiled


def test_a_process_of_nccl_has_the_gradients_of_a_plain_network(monkeypatch):
    port = dict(MASTER_ADDR="localhost", MASTER_PORT="29511", RANK="0", WORLD_SIZE="1")
    for variable, value in port.items():
        monkeypatch.setitem(os.environ, variable, value)
    model, criterion = build_detector(RECIPES["shapes"], 2)
    model.to(GPU).eval()
    images, targets = next(read_batches([make_batch((128, 160))], GPU))
    assert parallel.start() == GPU
    try:
        assert dist.get_backend() == "nccl"
        results = []
        plain = Autocast(copy.deepcopy(model), torch.float32)
        for network in (plain, DistributedDataParallel(Autocast(model, torch.float32), [GPU])):
            losses = criterion(*network(images), model.priors((128, 160)), targets)
            sum(losses).backward()
            results.append([*losses, *(p.grad for p in network.parameters())])
    finally:
        dist.destroy_process_group()
    for first, second in zip(*results):
        torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ("bf16", "fp16"))
def test_a_training_is_resumed(tmp_path, precision):
    arguments = ["--warmup", "3", "--precision", precision, "--log-every", "1", "--eval-every", "9"]
    arguments += ["--save-folder", tmp_path, "--name", "run", "--device", "cuda"]
    run_script("train.py", *arguments, "--iters", "9")
    run_script("train.py", "--resume", tmp_path / "run/last.pth", "--iters", "12")
    log = read_log(tmp_path / "run/log.jsonl")
    losses = [entry["class_loss"] for entry in log if "lr" in entry]
    assert len(losses) == 12 and losses[-1] < losses[0]


def test_fused_convolutions_are_as_exact_as_the_plain_ones(monkeypatch):
    torch.manual_seed(0)
    model, criterion = build_detector(RECIPES["retinanet_coco"] | dict(weights="imagenet"), 2)
    freeze_batch_norm(model.base)
    model.to(GPU, memory_format=torch.channels_last).train()
    images, targets = next(read_batches([make_batch((128, 160))], GPU))
    fused = Mock(side_effect=resnet.fast_conv_relu)
    monkeypatch.setattr(resnet, "fast_conv_relu", fused)
    gradients = {}
    types = dict(exact=torch.float32, fused=torch.bfloat16, plain=torch.bfloat16)
    for name, dtype in types.items():
        if name == "plain":
            monkeypatch.setattr(resnet, "can_fuse", lambda x: False)
        model.zero_grad()
        outputs = Autocast(model, dtype)(images)
        sum(criterion(*outputs, model.priors((128, 160)), targets)).backward()
        parameters = [p for p in model.parameters() if p.grad is not None]
        gradients[name] = torch.cat([p.grad.flatten() for p in parameters])
    errors = {n: (gradients[n] - gradients["exact"]).norm() for n in ("fused", "plain")}
    # Of 16 bottlenecks, of the stem, and of two heads of four at five levels.
    assert fused.call_count == 16 * 3 + 1 + 2 * 4 * 5
    assert errors["fused"] < 1.2 * errors["plain"] < 0.2 * gradients["exact"].norm()
