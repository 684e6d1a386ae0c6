"""Files of a stranger's with wrong contents: python -m tests.hostile --count 1500 --seed 0.

Every field of each kind of file that a script reads gets, in its turn, a value of a wrong type,
shape, range or size; files are cut, and bits of them flipped. A script must use such a file, or
refuse it with one line and exit code 2: without writing elsewhere, executing anything, or taking
more than 5 s of the processor or 1 GB of memory.

A script runs in a fork of this process, which has imported everything.
"""

import argparse
import copy
import functools
import io
import json
import operator
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper
from torchvision.models import detection

import detect
import eval
import export
import retinanet
import train
from tests import simulate  # sets the environment, so it comes before torch
from tests.conftest import write_coco, write_image
from tests.figures import figures
from utils import stop
from utils.build import build_detector
from utils.recipes import RECIPES
from utils.saver import LOCK

MAX_SECONDS, MAX_BYTES = 5, 1 << 30
SMALL = dict(channels=8, head_convs=1, head_norm="none", prior_scales=(1,), resize=64, max_size=96)
SMALL |= dict(workers=0, batch=2, iterations=2, warmup=0, weights="none", dataset="coco")
LARGE_SIDES = {64, 128, 256, 512, 1024, 2048}  # of published tensors, which become 8
TENSORS = ("model", "state_dict", "optimizer")  # the fields that hold them
WRITES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
EXECUTES = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect"}


class Runs:
    """What is pickled as a command of the system's."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def wrong_values(dice):
    """A value that hardly any field may have."""
    return dice.choice([
        None, True, -1, 0, 1, 3, 2**31, 2**63, 10**30, 0.5, -0.5, 1e-300, 1e300, float("nan"),
        float("inf"), -float("inf"), "", "x", "../../x", "/etc/passwd", "\0", "x" * 100_000, b"x",
        "__import__('os').system('touch executed')", "\n" * 9, "\ud800", [], {}, (), [None] * 5,
        [0] * 100_000, [1] * 5, [-1.0] * 5, [float("nan")] * 5, [float("inf")] * 5, [1e300] * 6,
        [1e-300] * 5, [[1.0]] * 5, [[(0, 0, 1e9, 1e9)]] * 5, ["a"] * 5, [True] * 3, nested(20),
        nested(90), {"a": {"b": 1}}, {1: 2}, torch.zeros(3), torch.zeros(()), torch.tensor(7),
    ])  # fmt: skip


def wrong_tensors(value, dice):
    """A tensor like this one, but for its shape, its type or its numbers."""
    return dice.choice([
        lambda: value[:0], lambda: value[:1], lambda: value.flatten(), lambda: value[None],
        lambda: value.transpose(0, -1), lambda: torch.cat([value, value]), value.long, value.half,
        value.double, value.bool, lambda: value.to(torch.complex64), lambda: value * float("nan"),
        lambda: value * float("inf"), lambda: value.double() * 1e30, lambda: torch.zeros(()),
        lambda: value.tolist(), value.to_sparse, lambda: torch.zeros(0, 2**40),
    ])()  # fmt: skip


def paths_of(value, path=()):
    """The paths to all fields in nested dictionaries and lists."""
    items = {dict: lambda: value.items(), list: lambda: enumerate(value)}.get(type(value))
    for key, item in items() if items else ():
        yield (*path, key)
        yield from paths_of(item, (*path, key))


def spoil(content, dice):
    """Content in which one field is wrong, missing, or under another name."""
    content = copy.deepcopy(content)
    paths = list(paths_of(content))
    if dice.random() < 0.6:
        # Tensors are many and alike.
        paths = [path for path in paths if path[0] not in TENSORS] or paths
    *parents, key = dice.choice(paths)
    place = functools.reduce(operator.getitem, parents, content)
    what = dice.random()
    if what < 0.1:
        del place[key]
    elif what < 0.15 and isinstance(place, dict):
        place[dice.choice(["", "x", "a.b", "base.x.y", 7, "\0"])] = place.pop(key)
    elif torch.is_tensor(place[key]) and what < 0.7:
        try:
            place[key] = wrong_tensors(place[key], dice)
        except (RuntimeError, IndexError):
            place[key] = torch.zeros(2)
    else:
        place[key] = Runs() if what > 0.97 else wrong_values(dice)
    return content


def damage(data, dice):
    """The bytes of a file, cut, with bits flipped, or with a piece of it elsewhere."""
    data = bytearray(data)
    what = dice.randrange(4)
    if what == 0:
        return data[: dice.randrange(len(data))]
    if what == 1:
        start, length = dice.randrange(len(data)), dice.choice((1, 8, 1000))
        return data[:start] + dice.randbytes(length) + data[start:]
    for _ in range(dice.choice((1, 3, 30))):
        # The pickles and the directory, not only the numbers of tensors.
        near = dice.choice((len(data), min(len(data), 4000)))
        data[dice.choice((1, -1)) * dice.randrange(1, near)] ^= 1 << dice.randrange(8)
    return data


def shrunk(shapes):
    """Name -> shape of a published file's tensors -> a state dict with few numbers."""
    return {
        name: torch.zeros([8 if side in LARGE_SIDES else side for side in shape])
        for name, shape in shapes.items()
    }


def published():
    """Contents in the layouts of the published families, by family."""
    names = ("yhenon_resnet18", "odtk_rn18", "mmdet_retinanet_r18", "mmdet_ssd300", "ssd300_voc",
             "lufficc_ssd512")  # fmt: skip
    shapes = {name: json.loads(str(figures(name)["keys"])) for name in names}
    for name in ("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "ssd300_vgg16"):
        with torch.device("meta"):
            model = getattr(detection, name)(weights=None, weights_backbone=None)
        shapes[name] = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    meta = dict(CLASSES=["a", "b"], config="min_sizes=[21, 45]\ninput_size=300", epoch=3)
    return {
        name: dict(state_dict=shrunk(part), meta=meta | dict(dataset_meta=dict(CLASSES=["a"])))
        for name, part in shapes.items()
    }


def onnx_file(content, priors):
    """An ONNX file that finds the same boxes in all images, with a detector's metadata."""
    shapes = dict(boxes=[1, priors, 4], scores=[1, priors, 2])
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    pixels = helper.make_tensor_value_info("images", TensorProto.UINT8, ["b", 3, "h", "w"])
    values = [
        helper.make_tensor(n, TensorProto.FLOAT, s, np.arange(np.prod(s), dtype=np.float32))
        for n, s in shapes.items()
    ]
    nodes = [helper.make_node("Identity", [f"{name}_"], [name]) for name in shapes]
    for value in values:
        value.name += "_"
    graph = helper.make_graph(nodes, "g", [pixels], outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for name, value in content.items():
        model.metadata_props.add(key=str(name), value=json.dumps(value, default=repr))
    return model.SerializeToString()


class Stranger:
    """Makes the files, in a folder with a dataset, and runs scripts with them."""

    def __init__(self, place):
        self.place = Path(place)
        objects = [[(10, 20, 30, 40, 1)], [(0, 0, 50, 50, 0)], []]
        write_coco(self.place / "data", objects)
        write_coco(self.place / "data", objects[:1], split="val")
        write_image(self.place / "photo.jpg")
        retinanet.ResNet = simulate.TinyResNet
        # To write an ONNX file takes long; what is of interest is what it would be written of.
        export.export = lambda *_: None
        export.largest_differences = lambda *_: dict(boxes=0, scores=0)
        recipe = RECIPES["shapes"] | SMALL | dict(root=str(self.place / "data"))
        (self.place / "small.py").write_text(
            f"from utils.recipes import shapes\nrecipe = shapes | {SMALL!r}"
        )
        self.published = published()
        arguments = ["--recipe", self.place / "small.py", "--root", self.place / "data"]
        arguments += ["--save-folder", self.place / "first", "--device", "cpu"]
        self.warm_up(train, arguments)
        (run,) = (self.place / "first").iterdir()
        self.content = torch.load(run / "last.pth", weights_only=True)
        self.content["iteration"] = 1
        self.facts = {name: self.content[name] for name in ("recipe", "classes", "iteration")}
        self.facts["show_threshold"] = 0.5
        self.facts = json.loads(json.dumps(self.facts))
        self.recipe = recipe
        self.priors = len(build_detector(recipe, 2)[0].priors((64, 96)))
        self.warm_up(eval, [run / "best.pth", "--output", self.place / "first/eval"])

    def warm_up(self, script, arguments):
        with redirect_stdout(io.StringIO()) as printed:
            code = self.run(script, arguments, self.place)
        assert code == 0, printed.getvalue()

    def make(self, folder, dice):
        """Write a file of a stranger's -> the script that is to read it, and its arguments."""
        kind = dice.choice(("ours", "ours", "resume", "resume", "weights", "published", "onnx",
                            "recipe", "csv", "yaml", "deep"))  # fmt: skip
        path = folder / ("last.pth" if kind == "resume" else "best.pth")
        data = ["--root", self.place / "data", "--dataset", "coco"]
        new_run = ["--save-folder", folder, "--name", "run", "--device", "cpu", "--iters", "1"]
        small = ["--recipe", self.place / "small.py"]
        if kind in ("recipe", "csv", "yaml"):
            return (kind, train, [*getattr(self, f"make_{kind}")(folder, dice), *new_run])
        if kind == "onnx":
            path = folder / "a.onnx"
            facts = self.facts if dice.random() < 0.2 else spoil(self.facts, dice)
            path.write_bytes(onnx_file(facts, self.priors))
        elif kind == "deep":
            value = nested(dice.choice((50, 99, 101, 300)))
            self.save(path, dict(self.content, model=dict(a=value)), dice)
        else:
            content = self.content
            if kind == "published":
                content = self.published[dice.choice(sorted(self.published))]
            self.save(path, content if dice.random() < 0.2 else spoil(content, dice), dice)
        if path.stat().st_size and (dice.random() < 0.2):
            path.write_bytes(damage(path.read_bytes(), dice))
        if kind == "resume":
            (folder / LOCK).touch()
            return kind, train, ["--resume", path, "--device", "cpu"]
        if kind == "weights":
            return kind, train, [*small, *data, *new_run, "--weights", path]
        script = dice.choice((eval, detect) if kind == "onnx" else (eval, detect, export))
        return (f"{kind} {script.__name__}", script, {
            eval: [path, "--output", folder / "out", *data, "--device", "cpu"],
            detect: [path, self.place / "photo.jpg", "--output", folder / "out", "--device", "cpu"],
            export: [path, folder / "out.onnx"],
        }[script])  # fmt: skip

    def save(self, path, content, dice):
        try:
            torch.save(content, path, _use_new_zipfile_serialization=dice.random() < 0.7)
        except (RecursionError, RuntimeError, UnicodeEncodeError, NotImplementedError):
            path.write_bytes(b"what torch cannot save")

    def make_recipe(self, folder, dice):
        # It is the user's own, and may say where to write.
        name = dice.choice(sorted(set(vars(self.recipe)) - {"logdir", "visdom"}))
        value = wrong_values(dice)
        text = repr(value) if not torch.is_tensor(value) else "__import__('torch').zeros(3)"
        text = f"from math import inf, nan\nfrom small import recipe\nrecipe |= dict({name}={text})"
        (folder / "mine.py").write_text(text, encoding="utf-8", errors="surrogatepass")
        shutil.copy(self.place / "small.py", folder)
        return ["--recipe", folder / "mine.py", "--root", self.place / "data"]

    def make_csv(self, folder, dice):
        rows = [f"{self.place}/photo.jpg,{x},5,{x + 20},40,cat" for x in (1, 9, 30)]
        names = ["cat,0", "dog,1"]
        for lines in dice.choice(([], [rows], [names], [rows, names])):
            words = dice.choice(lines).split(",")
            words[dice.randrange(len(words))] = str(wrong_values(dice))
            lines[dice.randrange(len(lines))] = ",".join(words)
        for name, lines in (("a.csv", rows), ("classes.csv", names)):
            text = "\n".join(lines).encode(errors="surrogatepass")
            (folder / name).write_bytes(damage(text, dice) if dice.random() < 0.2 else text)
        small = ["--recipe", self.place / "small.py"]
        files = ["--csv-train", folder / "a.csv", "--csv-classes", folder / "classes.csv"]
        return [*small, *files, "--val-share", "0"]

    def make_yaml(self, folder, dice):
        for split in ("train", "val"):
            write_image(folder / f"data/images/{split}/a.jpg", seed=len(split))
            (folder / f"data/labels/{split}").mkdir(parents=True)
            (folder / f"data/labels/{split}/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        content = dict(path=".", train="images/train", val="images/val", nc=2, names=["a", "b"])
        text = json.dumps(spoil(content, dice), default=repr).encode()
        bombs = [b"a: &a [x, x]\nb: &b [*a, *a]\n", b"names: !!python/object/apply:os.system "
                 b"[touch executed]\n", b"[" * 5000, b"{" * 5000, b"&a [*a]"]  # fmt: skip
        if dice.random() < 0.3:
            text = dice.choice([damage(text, dice), *bombs])
        (folder / "data/data.yaml").write_bytes(text)
        return ["--recipe", self.place / "small.py", "--dataset", "yolo", "--root", folder / "data"]

    def run(self, script, arguments, folder):
        sys.argv = [f"{script.__name__}.py", *map(str, arguments)]
        os.chdir(folder)
        sys.path.insert(0, str(self.place))
        try:
            stop.run_script(script.main)
        except SystemExit as end:
            return end.code or 0
        finally:
            sys.path.remove(str(self.place))

    def examine(self, seed):
        """Run a script with the file of a seed -> its kind and how it ended; what is wrong."""
        dice = random.Random(seed)
        folder = self.place / f"{seed}"
        folder.mkdir()
        kind, script, arguments = self.make(folder, dice)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        printed = self.place / "printed"
        statm = Path("/proc/self/statm").read_text().split()
        size, memory_now = (int(pages) * resource.getpagesize() for pages in statm[:2])
        child = os.fork()
        if not child:
            self.run_watched(script, arguments, folder, printed, size)
        start = time.monotonic()
        _, status, usage = os.wait4(child, 0)
        code = os.waitstatus_to_exitcode(status)
        text = printed.read_text(errors="replace")
        seconds = usage.ru_utime + usage.ru_stime
        memory = usage.ru_maxrss * 1024 - memory_now
        errors = text[text.find("error: ") :] if "error: " in text else ""
        problems = [line for line in text.splitlines() if line.startswith("ATTACK")]
        if code not in (0, 2) or "Traceback" in text:
            problems.append(f"exit code {code}")
        if code == 2 and (errors.count("\n") != 1 or len(errors) > 1500):
            problems.append(f"{errors.count(chr(10))} lines, {len(errors)} letters")
        if seconds > MAX_SECONDS or time.monotonic() - start > 20 * MAX_SECONDS:
            problems.append(f"{seconds:.1f} s")
        if memory > MAX_BYTES:
            problems.append(f"{memory >> 20} MB")
        if kind != "resume" and any(not p.exists() or p.read_bytes() != before[p] for p in before):
            problems.append("a file has changed")
        self.last = (kind, arguments, text[-3000:], seconds, memory >> 20)
        if not problems:
            shutil.rmtree(folder)
        return kind, code, problems

    def run_watched(self, script, arguments, folder, printed, size):
        """In a fork: run a script, with limits, and a line about all that it must not do."""
        output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(output, number)
        sys.stdout = io.TextIOWrapper(
            io.FileIO(1, "w", closefd=False), encoding="utf-8", write_through=True
        )
        sys.stderr = sys.stdout
        resource.setrlimit(resource.RLIMIT_AS, (size + 3 * MAX_BYTES, size + 3 * MAX_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (4 * MAX_SECONDS, 4 * MAX_SECONDS))
        # The last is where processes that load images hand over their tensors.
        loaders = f"{tempfile.gettempdir()}/pymp-"
        allowed = (str(folder), "/dev/", loaders)

        def hook(event, values):
            is_write = event == "open" and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if is_write or event in WRITES:
                if isinstance(values[0], int) or os.path.abspath(os.fsdecode(values[0])).startswith(
                    allowed
                ):
                    return
            elif event not in EXECUTES or str(values[-1]).startswith(allowed):
                return
            print("ATTACK", event, str(values)[:200], flush=True)

        sys.addaudithook(hook)
        code = 1
        try:
            code = self.run(script, arguments, folder)
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(code or 0)


def examine_all(seeds):
    """Examine the files of seeds -> how many there were of each kind and ending, and the seeds of
    which something is wrong."""
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    endings, wrong = Counter(), []
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as place:
        stranger = Stranger(place)
        for seed in seeds:
            kind, code, problems = stranger.examine(seed)
            endings[kind.split()[0], "used" if code == 0 else "refused"] += 1
            if problems:
                wrong.append(seed)
                print(f"seed {seed}: {kind}: {'; '.join(problems)}", flush=True)
            if len(seeds) == 1:
                print(*stranger.last, sep="\n")
        os.chdir("/")
    return endings, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    flags = parser.parse_args()
    start = time.monotonic()
    endings, wrong = examine_all(range(flags.seed, flags.seed + flags.count))
    for (kind, ending), count in sorted(endings.items()):
        print(f"{kind:10} {ending:8} {count}")
    print(f"{sum(endings.values())} files in {time.monotonic() - start:.0f} s, {len(wrong)} wrong")
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
