"""Works that take turns in one process, on the same numbers; the median of their seconds counts."""

import time
from statistics import median

from tools import measure
from utils.recipes import RECIPES

# A recipe, its peer, and the images of a training step: on a CPU, on a GPU.
CASES = {
    "RetinaNet-50": (
        RECIPES["retinanet_coco"],
        "retinanet_resnet50_fpn",
        dict(cpu=(2, (512, 512)), cuda=(16, (800, 1344))),
    ),
    "SSD300": (
        RECIPES["ssd300_coco"],
        "ssd300_vgg16",
        dict(cpu=(4, (300, 300)), cuda=(64, (300, 300))),
    ),
}
LARGE = (800, 1344)


def compare(flags, title, **works):
    """Race works, of which one may be the floor, one ours, others peers; tell the medians -> a row
    for each."""
    for work in works.values():
        work()  # to warm up
    seconds, end = {name: [] for name in works}, time.perf_counter() + flags.seconds
    while time.perf_counter() < end or len(seconds["ours"]) < 3:
        for name, work in works.items():
            start = measure.clock(flags.device)
            work()
            seconds[name].append(measure.clock(flags.device) - start)
    print(f"\n{title}")
    rows, medians = [], {name: median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        against = "floor" if name.startswith("ours") and "floor" in works else "ours"
        rows.append(
            dict(
                title=title,
                work=name,
                seconds=value,
                against=against,
                times=value / medians[against],
            )
        )
        print(
            f"    {name:16} {1000 * value:10.2f} ms {rows[-1]['times']:6.2f} times {against}",
            flush=True,
        )
    return rows
