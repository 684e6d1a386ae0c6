"""Trainings on a computer that fails: python -m tests.simulate --seed 7, or --seeds 0 5000.

A seed chooses a small training and the calls at which something goes wrong: a disk that is full or
broken, a bit that flips in a file, a kill, a power cut, a signal, a NaN, a dead process. The run is
resumed as its messages say. It must then have the results of the run that nothing disturbed, or
have stopped with one line that says why. Nothing that is the user's may have changed.

A run takes place in a fork of this process, which has imported everything.
"""

import argparse
import builtins
import errno
import functools
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stdout, suppress
from pathlib import Path

os.environ |= dict(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")

import numpy as np
import torch
from torch import nn

import retinanet
import train
import utils.build
import utils.evaluation.evaluate
import utils.evaluation.results
import utils.log
from data.dataset import Dataset
from layers.losses import FocalLoss
from layers.resnet import ResNet
from tests.conftest import write_coco
from utils import checkpoint, stop
from utils.files import write
from utils.log import read_log

TRAININGS = (
    "--workers 0 --save-every 2 --eval-every 3",
    "--workers 0 --save-every 1 --eval-every 4 --keep-checkpoints 2 --recipe {coco}",
    "--workers 0 --save-every 3 --eval-every 2 --log-every 4 --ema 0.9 --accumulate 2",
    "--workers 0 --save-every 2 --eval-every 8 --weight-decay 0.1 --recipe {plateau}",
    "--workers 0 --save-every 100 --eval-every 100 --optimizer sgd",
    "--workers 1 --save-every 2 --eval-every 3 --iters 4",
)
COMMON = "--dataset coco --batch 2 --iters 8 --warmup 3 --log-every 1 --device cpu --resize 64"
RECIPES = dict(
    small="from utils.recipes import shapes\nrecipe = shapes | dict(channels=8, head_convs=1, "
    "head_norm='none', prior_scales=(1,), prior_probability=0.3, metric='voc12')",
    coco="from small import recipe\nrecipe |= dict(metric='coco')",
    plateau="from small import recipe\nrecipe |= dict(lr_schedule='plateau', plateau_patience=0)",
)
# The kinds of calls at which something goes wrong, and what does. "kill" happens before the call,
# "cut power" too, and takes what was not synced from the disk.
ERRORS = ("full", "full for long", "broken", "kill", "cut power", "signal", "two signals")
FAULTS = dict(
    open=ERRORS, write=(*ERRORS, "kill half"), fsync=ERRORS, rename=ERRORS, link=ERRORS,
    unlink=("broken", "kill", "cut power", "signal"), mkdir=ERRORS,
    read=("broken", "kill", "signal"),
    sample=("kill", "signal", "two signals", "out of memory"),
    loss=("kill", "cut power", "signal", "two signals", "nan", "out of memory"),
    batch=("kill", "signal", "worker"), evaluate=("kill", "signal", "two signals"),
)  # fmt: skip
KILLED = 137
KILLS = ("kill", "kill half", "cut power")
TIMEOUT = 30  # seconds
LEARNED = ("model", "training", "ema", "optimizer", "plateau", "iteration")
SPEEDS = ("images_per_second", "data_wait")


class TinyResNet(ResNet):
    """A network with the names and strides of a ResNet, and few weights."""

    def __init__(self, depth, width):
        nn.Module.__init__(self)
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 8, 3, 2, 1)
        self.layer3, self.layer4 = nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.channels = [4, 8, 8, 8]


class Computer:
    """Counts the calls of each kind that touch a folder, and lets one of them go wrong.

    kind, number, fault: the call and what happens to it; number None: nothing.
    """

    def __init__(self, folder, kind="", number=None, fault="", dice=None):
        self.folder = f"{folder}/"
        self.kind, self.number, self.fault, self.dice = kind, number, fault, dice
        self.counts = Counter()
        self.errors_left = 0
        self.unsynced = set()

    def call(self, kind, *paths):
        """To be called before each call. It may end the process, or raise an error."""
        if not all(os.path.abspath(path).startswith(self.folder) for path in paths):
            return ""
        self.counts[kind] += 1
        if kind == self.kind and self.counts[kind] == self.number:
            return self.go_wrong()
        if self.errors_left and kind in ("open", "write", "fsync", "rename", "link", "mkdir"):
            self.errors_left -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return ""

    def go_wrong(self):
        if self.fault == "kill":
            os._exit(KILLED)
        if self.fault == "cut power":
            for path in self.unsynced:
                if os.path.exists(path):
                    originals["truncate"](path, self.dice.randrange(os.path.getsize(path) + 1))
            os._exit(KILLED)
        if self.fault == "worker":
            for process in multiprocessing.active_children():
                process.kill()
        if "signal" in self.fault:
            number = self.dice.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
            for _ in self.fault.split():
                os.kill(os.getpid(), number)
        if self.fault == "out of memory":
            raise MemoryError
        if self.fault == "broken":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if "full" in self.fault:
            self.errors_left = 1000 if "long" in self.fault else self.dice.randrange(4)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.fault


class File(io.FileIO):
    """A file whose writes and reads may go wrong."""

    def write(self, data):
        if computer.call("write", self.name) == "kill half":
            super().write(bytes(data)[: len(data) // 2])
            os._exit(KILLED)
        computer.unsynced.add(self.name)
        return super().write(data)

    def readinto(self, buffer):
        computer.call("read", self.name)
        return super().readinto(buffer)


originals = {name: getattr(os, name) for name in ("link", "unlink", "truncate", "mkdir", "replace")}
original_open = builtins.open


def open_file(path, mode="r", *arguments, opener=None, **options):
    name = os.path.abspath(path) if isinstance(path, (str, os.PathLike)) else ""
    if not name.startswith(computer.folder):
        return original_open(path, mode, *arguments, opener=opener, **options)
    computer.call("open" if set(mode) & set("wxa") else "read", name)
    raw = File(name, mode.replace("b", "").replace("t", ""), opener=opener)
    kind = io.BufferedReader if mode in ("r", "rb") else io.BufferedWriter
    buffered = (io.BufferedRandom if "+" in mode else kind)(raw)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding="utf-8")


def break_computer():
    """Let this process call the Computer before what it does."""

    def before(place, name, kind, count=1):
        original = getattr(place, name)

        def call(*arguments, **options):
            fault = computer.call(kind, *arguments[:count])
            result = original(*arguments, **options)
            if kind == "rename":
                if arguments[0] in computer.unsynced:
                    computer.unsynced.add(arguments[1])
            return [part * float("nan") for part in result] if fault == "nan" else result

        setattr(place, name, call)

    def fsync(descriptor, original=os.fsync):
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        computer.call("fsync", name)
        original(descriptor)
        computer.unsynced.discard(name)

    os.fsync = fsync
    builtins.open = io.open = open_file
    for name, kind in (("replace", "rename"), ("rename", "rename"), ("link", "link")):
        before(os, name, kind, 2)
    for name in ("unlink", "mkdir"):
        before(os, name, name)
    before(np, "fromfile", "read")
    before(Dataset, "__getitem__", "sample", 0)
    before(FocalLoss, "forward", "loss", 0)
    before(train, "evaluate", "evaluate", 0)
    before(torch.utils.data.dataloader._MultiProcessingDataLoaderIter, "_next_data", "batch", 0)
    # What takes long and is of no use here.
    utils.build.LOADER_CHECK = 0.2
    retinanet.ResNet = TinyResNet
    utils.log.draw_curves = utils.evaluation.results.draw_quality = draw_nothing
    utils.evaluation.results.prediction_sheet = utils.evaluation.results.mistake_sheet = draw_sheet
    utils.evaluation.evaluate.BOOTSTRAP_ROUNDS = 2


def draw_nothing(path, *_):
    """In place of the functions that draw figures with matplotlib."""
    write(path, b"a figure", replace=True)


def draw_sheet(*_):
    """In place of the functions that draw detections on images."""
    return np.zeros((8, 8, 3), np.uint8)


def run(arguments, folder, *fault):
    """Train in a fork of this process -> its exit code, what it printed, and how often it made the
    calls of each kind."""
    global computer
    printed = folder.parent / f"{folder.name}.txt"
    counts = folder.parent / f"{folder.name}.json"
    counts.unlink(missing_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(output, number)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
        sys.stderr = sys.stdout
        os.setpgid(0, 0)
        os.chdir(folder)
        code = 1
        try:
            computer = Computer(folder, *fault)
            sys.argv = ["train.py", *arguments]
            stop.run_script(train.main)
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with original_open(counts, "w") as file:
                json.dump(computer.counts, file)
            os._exit(code)
    end = time.monotonic() + TIMEOUT
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "timeout", printed.read_text(), {}
        time.sleep(0.005)
    try:
        os.killpg(child, signal.SIGKILL)  # processes that load images
    except OSError:
        pass
    called = json.loads(counts.read_text()) if counts.exists() else {}
    return os.waitstatus_to_exitcode(done[1]), printed.read_text(), called


class Failure(Exception):
    """A run that lost something, or did not say what happened."""


class Simulator:
    """A folder with a dataset for the runs of many seeds."""

    def __init__(self, place):
        self.place = Path(place)
        objects = [[(10, 20, 30, 40, 1)], [(0, 0, 50, 50, 0), (5, 5, 9, 9, 1)], [], []]
        write_coco(self.place / "data", [*objects, [(1, 1, 20, 30, 1)]])
        write_coco(self.place / "data", objects[:2], split="val")
        for name, text in RECIPES.items():
            (self.place / f"{name}.py").write_text(text)
        self.references = {}
        self.warm_up()

    def warm_up(self):
        """Train once in this process, whose forks then need not do what is done only once."""
        global computer
        computer = Computer(self.place / "none")
        break_computer()
        sys.argv = ["train.py", *self.arguments(0)]
        sys.argv[sys.argv.index("--save-folder") + 1] = str(self.place / "warm")
        with redirect_stdout(io.StringIO()), suppress(SystemExit):
            stop.run_script(train.main)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def reference(self, number):
        """The folder of a run that nothing disturbs, and its calls of each kind."""
        if number not in self.references:
            folder = self.place / f"reference-{number}"
            folder.mkdir()
            code, printed, counts = run(self.arguments(number), folder)
            assert code == 0, printed
            self.references[number] = folder / "run", counts
        return self.references[number]

    def arguments(self, number):
        words = f"--recipe {{small}} {COMMON} {TRAININGS[number]} --save-folder . --name run"
        paths = {name: self.place / f"{name}.py" for name in RECIPES}
        return [*words.format(**paths).split(), "--root", str(self.place / "data")]

    def simulate(self, seed):
        """Do the run of a seed -> how it ended, in a word; a Failure if it is one."""
        dice = random.Random(seed)
        number = dice.randrange(len(TRAININGS))
        reference, counts = self.reference(number)
        folder = self.place / f"seed-{seed}"
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
        self.story = []
        before = self.users_files(folder)
        command = self.arguments(number)
        name, is_damaged = "run", False
        for attempt in range(6):
            fault = (
                self.choose_fault(dice, counts)
                if attempt < dice.choice((1, 2, 3))
                else ("", None, "")
            )
            code, printed, _ = run(command, folder, *fault)
            self.story.append(f"{' '.join(map(str, fault[:3]))} -> {code}\n{printed}")
            check_ending(code, printed, fault)
            if self.users_files(folder) != before:
                raise Failure("a file of the user's has changed")
            if code == 0:
                compare(reference, folder / name, is_damaged, "".join(self.story))
                shutil.rmtree(folder)
                return "done"
            if "choose another --name" in printed:
                name += "-again"
            last = folder / name / "last.pth"
            hint = re.search(r"the checkpoint before it: --resume (\S+)", printed)
            command = [*self.arguments(number), "--name", name]
            if hint or last.exists():
                command = ["--resume", hint[1] if hint else str(last)]
            if attempt < 3 and dice.random() < 0.15:
                is_damaged |= self.flip_bit(folder / name, dice)
        if not is_damaged:
            raise Failure("it does not end")
        shutil.rmtree(folder)
        return "refused"

    def choose_fault(self, dice, counts):
        kind = dice.choice([kind for kind in FAULTS if counts.get(kind)])
        number = dice.randint(1, counts[kind])
        return kind, number, dice.choice(FAULTS[kind]), dice

    def users_files(self, folder):
        paths = [folder / "notes.txt", *sorted((self.place / "data").rglob("*.*"))]
        return {path: hashlib.md5(path.read_bytes()).hexdigest() for path in paths}

    def flip_bit(self, folder, dice):
        """Flip a bit in a file of a run -> whether there is one."""
        paths = sorted(path for path in folder.glob("*") if path.stat().st_size)
        if not paths:
            return False
        path = dice.choice(paths)
        data = bytearray(path.read_bytes())
        position = dice.randrange(len(data))
        data[position] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        self.story.append(f"bit {position} of {path} flipped\n")
        return True


def check_ending(code, printed, fault):
    """A Failure where a run did not end as one that was disturbed in this way may end."""
    lines = printed.strip().splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    if code == 0 and not errors or code == KILLED and fault[2] in KILLS:
        return
    is_stopped = code in (129, 130, 143) and "stopped" in lines[-1]
    is_refused = code == 2 and errors == lines[-1:] and len(errors[0]) < 500
    # Before a run can answer signals, and when it is over, they are ordinary kills.
    done = re.findall(r"^iteration (\d+) of (\d+)", printed, re.M)
    is_outside = not done or done[-1][0] == done[-1][1]
    is_killed = code in (-signal.SIGTERM, -signal.SIGHUP) and "signal" in fault[2] and is_outside
    if "Traceback" in printed or not (is_stopped or is_refused or is_killed):
        raise Failure(f"it ended with {code}")


def compare(reference, folder, is_damaged, story):
    """A Failure where a run's results are not those of the one that nothing disturbed."""
    # A second Ctrl-C or a dead loader ends an evaluation, and whether it was the best is not known.
    is_interrupted = "two signals" in story or stop.LOADER_DIED in story
    leftovers = list(folder.glob("*.unfinished"))
    if leftovers:
        raise Failure(f"{leftovers[0].name} is left")
    names = ["last.pth"] if is_interrupted else [path.name for path in reference.glob("*.pth")]
    for name in names:
        if (folder / name).exists() and is_same_file(reference / name, folder / name):
            continue
        expected = load_once(reference / name)
        try:
            found = checkpoint.load(folder / name)
        except stop.UserError as error:
            # A run that was stopped has another one before its last, or none; and it may have said
            # that it could not write one of many.
            is_told = name.startswith("iteration") and f"{name}: cannot be written" in story
            if is_damaged or name == "previous.pth" or is_told:
                continue
            raise Failure(str(error)) from None
        for key, value in expected.items():
            is_same = key == "recipe" or is_equal(value, found.get(key))
            if name != "previous.pth" and not is_same and (key in LEARNED or not is_interrupted):
                raise Failure(f"{name} has another {key}")
    logs = [
        [{n: v for n, v in entry.items() if n not in SPEEDS} for entry in read_log(f / "log.jsonl")]
        for f in (reference, folder)
    ]
    has_lost_log = "log.jsonl: cannot be written" in story or is_damaged or "cut power" in story
    if has_lost_log:
        logs[0] = [entry for entry in logs[0] if entry in logs[1]]
    if is_interrupted:
        return
    if logs[0] != logs[1] and not is_damaged:
        raise Failure(f"its log has {len(logs[1])} entries, or other ones")
    for name in ("metrics.json", "detections.json"):
        # The one says which checkpoint was evaluated.
        contents = [json.loads((f / name).read_text()) for f in (reference, folder)]
        for content in contents if name == "metrics.json" else ():
            del content["checkpoint"]
            if has_lost_log:
                # It follows from the log.
                del content["advice"]
        if contents[0] != contents[1]:
            raise Failure(f"{name} differs")


def is_same_file(first, second):
    return first.read_bytes() == second.read_bytes()


load_once = functools.cache(checkpoint.load)


def is_equal(first, second):
    """Whether two contents of checkpoints are the same, bit for bit."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(is_equal(first[k], second[k]) for k in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(is_equal, first, second))
    if torch.is_tensor(first):
        return torch.equal(first, second)
    return first == second or first != first and second != second


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="a single one, whose story is printed")
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 200), metavar=("FROM", "TO"))
    flags = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(*flags.seeds) if flags.seed is None else [flags.seed]
    endings = Counter()
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as place:
        simulator = Simulator(place)
        for seed in seeds:
            try:
                endings[simulator.simulate(seed)] += 1
            except Failure as failure:
                endings["failed"] += 1
                print(f"seed {seed}: {failure}; python -m tests.simulate --seed {seed}", flush=True)
            if flags.seed is not None:
                print(*simulator.story, sep="\n")
    print(dict(endings))
    return endings["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
