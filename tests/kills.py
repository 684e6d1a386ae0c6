"""Trainings that are killed at random moments: python -m tests.kills --count 100.

Ten runs of tiny networks, in one process or in two as torchrun starts them, are killed
(SIGKILL) after a random time, some of them again after they were resumed, and then trained to the
end. Weights, state, log and results must be those of the same training without a kill, bit for bit.

Runs take place in forks of this process, which has imported everything, and one under torchrun.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

import ssd
import train
from layers.vgg import VGG
from tests import simulate  # sets the environment, so it comes before torch
from tests.conftest import ROOT
from utils import stop

RETINANET = "--recipe {small}"
SSD = "--recipe {ssd}"
# How many processes, or what starts two; and the run.
TRAININGS = (
    (1, f"{RETINANET} --workers 0 --keep-checkpoints 2"),
    (1, f"{RETINANET} --workers 2"),
    (1, f"{RETINANET} --workers 0 --accumulate 2"),
    (1, f"{RETINANET} --workers 2 --ema 0.9 --optimizer sgd"),
    (1, "--recipe {plateau} --workers 0 --weight-decay 0.1"),
    (1, f"{SSD} --workers 0"),
    (1, f"{SSD} --workers 2 --keep-checkpoints 1"),
    (1, f"{SSD} --workers 0 --accumulate 2 --ema 0.9"),
    ("torchrun", f"{RETINANET} --workers 0"),
    (2, f"{SSD} --workers 0 --ema 0.9"),
)
COMMON = "--dataset coco --batch 2 --iters 8 --warmup 3 --log-every 1 --save-every 1 --eval-every 3"
TIMEOUT = 120  # seconds


class TinyVGG(VGG):
    """A network with the stages and strides of the VGG, and few weights."""

    channels = (512, 8)  # SSD has a scale for each of the 512

    def __init__(self, norm):
        nn.Module.__init__(self)
        sides = dict(conv1=(3, 4), conv2=(4, 4), conv3=(4, 8), conv4=(8, 512), conv5=(512, 8))
        for name, (in_channels, out_channels) in (sides | dict(fc=(8, 8))).items():
            setattr(self, name, nn.Sequential(nn.Conv2d(in_channels, out_channels, 1)))
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.pool5 = nn.MaxPool2d(3, stride=1, padding=1)


def start(arguments, folder, processes):
    """Start a run in forks of this process -> their ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sys.stdout.flush()
    if processes == "torchrun":
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
        command += ["--master-port", str(port), ROOT / "train.py", *arguments]
        with open(f"{folder}.txt", "a") as output:
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        return [process.pid]
    ids = []
    for rank in range(processes):
        child = os.fork()
        if child:
            ids.append(child)
            continue
        os.setpgid(0, 0)
        output = os.open(f"{folder}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(output, number)
        os.chdir(folder)
        if processes > 1:
            os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes),
                               MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))  # fmt: skip
        simulate.computer = simulate.Computer("/nowhere")
        sys.argv = ["train.py", *arguments]
        code = 1
        try:
            stop.run_script(train.main)
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return ids


def children_of(parent):
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in text.split()]


def finish(ids, seconds=TIMEOUT):
    """Wait for processes, and kill them after so many seconds -> whether they ended by themselves,
    which must be without an error."""
    end, left = time.monotonic() + seconds, list(ids)
    codes = []
    while left and time.monotonic() < end and not any(codes):
        done, status = os.waitpid(left[0], os.WNOHANG)
        if done:
            codes.append(os.waitstatus_to_exitcode(status))
            left.pop(0)
        time.sleep(0.002)
    # With the processes that load images, and under torchrun with those that train.
    for child in [child for parent in ids for child in (parent, *children_of(parent))]:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    for child in left:
        os.waitpid(child, 0)
    assert not any(codes), codes
    return not left


def check(simulator, number, count, dice):
    """Kill a run so many times, and compare -> how many runs were compared."""
    processes, words = TRAININGS[number]
    paths = {name: simulator.place / f"{name}.py" for name in (*simulate.RECIPES, "ssd")}
    arguments = f"{words} {COMMON} --device cpu --resize 64 --save-folder . --name run"
    arguments = [*arguments.format(**paths).split(), "--root", str(simulator.place / "data")]
    reference = simulator.place / f"whole-{number}"
    reference.mkdir()
    begin = time.monotonic()
    assert finish(start(arguments, reference, processes)), Path(f"{reference}.txt").read_text()
    seconds = time.monotonic() - begin
    kills = runs = 0
    while kills < count:
        folder = simulator.place / f"killed-{number}-{runs}"
        folder.mkdir()
        story = []
        while True:
            last = folder / "run/last.pth"
            command = ["--resume", str(last)] if last.exists() else arguments
            is_left = len(story) >= dice.choice((1, 1, 2, 3)) or kills == count
            moment = TIMEOUT if is_left else dice.uniform(0, seconds)
            story.append(moment)
            if finish(start(command, folder, processes), moment):
                break
            assert not is_left, "it does not end"
            kills += 1
        simulate.compare(reference / "run", folder / "run", False, "")
        shutil.rmtree(folder)
        runs += 1
    return runs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="how many kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trainings", type=int, nargs="+", default=range(len(TRAININGS)))
    flags = parser.parse_args()
    torch.set_num_threads(1)
    dice = random.Random(flags.seed)
    endings = Counter()
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as place:
        simulator = simulate.Simulator(place)
        text = "from utils.recipes import ssd300_shapes\nrecipe = ssd300_shapes | dict("
        (Path(place) / "ssd.py").write_text(f"{text}metric='voc12', vgg_norm='none')")
        ssd.VGG = TinyVGG
        ssd.EXTRAS = {300: tuple((8, options) for _, options in ssd.EXTRAS[300])}
        for number in flags.trainings:
            count = -(-flags.count // len(TRAININGS))
            try:
                runs = check(simulator, number, count, dice)
                endings["kills"] += count
                endings["runs that ended as without"] += runs
            except (AssertionError, simulate.Failure) as failure:
                endings["failed"] += 1
                print(f"training {number}: {failure}")
            print(number, TRAININGS[number], dict(endings), flush=True)
    return endings["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
