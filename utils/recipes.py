"""Recipes: everything that decides how a run ends, by name. A recipe of your own starts from one of these with `|`."""
from dataclasses import dataclass, fields, replace

from utils.conventions import Conventions


@dataclass(frozen=True)
class Recipe:
    """Plain values only: a checkpoint carries its recipe with it."""
    # The detector.
    model: str = "retinanet"            # retinanet, ssd300 or ssd512
    depth: int = 50                     # of the ResNet; SSD has no use for it
    channels: int = 256                 # of RetinaNet's pyramid and heads
    head_convs: int = 4                 # of RetinaNet's heads, before the one that predicts
    head_norm: str = "none"             # or group: GroupNorm after each of them
    prior_sizes: tuple = ()             # pixels, of each level; the detector's own where empty, as with the next two
    prior_scales: tuple = ()            # RetinaNet's, times the size
    prior_ratios: tuple = ()            # RetinaNet's: height / width; SSD's: a tuple for each level
    frozen_norm: bool = True            # of the ResNet, as loaded; from random weights it is never frozen
    conventions: Conventions = Conventions()  # its publisher's, where it started from a published detector
    weights: str = "imagenet"           # what it starts from: imagenet, coco, none, or a file
    # What it sees.
    dataset: str = "coco"
    root: str = ""                      # the dataset's folder; data/<dataset> where empty
    images: str = ""                    # a folder, with annotations a file, instead of root; without val_annotations,
    annotations: str = ""               # one image in five is held out
    val_images: str = ""
    val_annotations: str = ""
    class_list: str = ""                # a csv of class,id, where the dataset is a csv
    classes: tuple = ()                 # names, to keep only these; all where empty
    skip_bad: bool = False              # leave out what cannot be read, instead of refusing to train
    resize: int = 800                   # pixels of the short side
    jitter: tuple = ()                  # smallest and largest short side while training; resize where empty
    max_size: int = 1333                # pixels of the long side, at most
    augment: bool = True                # mirrored, and for SSD expanded, cropped, distorted; else resized only
    # How it learns.
    batch: int = 16                     # images per iteration, of all devices together
    iterations: int = 90_000            # one is one step of the optimizer
    epochs: int = 0                     # instead of iterations, where not 0
    optimizer: str = "sgd"              # sgd, adam or adamw
    lr: float = 0.01                    # after warm-up
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "milestones"        # milestones: times gamma at each; cosine: down to 0; plateau: times gamma
    milestones: tuple = (60_000, 80_000)  # iterations
    milestone_epochs: tuple = ()        # instead of milestones, where epochs are given
    plateau: int = 3                    # epochs without a lower loss before a drop
    gamma: float = 0.1
    warmup: int = 1000                  # iterations
    clip: float = 10.0                  # longer gradients are cut to this norm
    accumulate: int = 1                 # parts that a batch goes through the network in
    freeze: int = 0                     # so many stages of the base do not learn; of random weights all do
    ema: float = 0.0                    # decay of an average of the weights, which is judged and kept; 0: none
    box_loss: str = "smooth_l1"         # or giou
    force_match: bool = True            # every object keeps its best prior, however poor
    # What counts as found.
    metric: str = "coco"                # coco, voc07 (eleven points) or voc12 (area)
    min_score: float = 0.05
    max_iou: float = 0.5                # of two detections of one class
    candidates: int = 1000              # that NMS may choose from, of each
    candidates_of: str = "level"        # or class, as SSD does
    limit: int = 100                    # detections per image
    # The run.
    eval_every: int = 5000              # iterations, as the next two
    save_every: int = 1000
    log_every: int = 20
    patience: int = 0                   # evaluations without a better result, then it stops; 0: never
    keep: int = 0                       # so many periodic checkpoints, beside the last and the best
    visdom: str = ""                    # a server's host:port
    logdir: str = ""                    # TensorBoard's folder
    workers: int = 4                    # processes that load images
    seed: int = 0
    full_precision: bool = False        # float32 also where the hardware has bfloat16
    compile: bool = False               # network and loss, for few sizes of images, to which batches are padded

    def __or__(self, changes):
        """The same recipe with some ingredients exchanged: recipe | dict(batch=8)."""
        known = [one.name for one in fields(self)]
        for name in changes:
            if name not in known:
                raise TypeError(f"a recipe has no {name!r}; it has {', '.join(known)}")
        return replace(self, **changes)


# Detectron's 1x schedule with the short side jittered. Published with it: 37.4 AP. Not run here.
retinanet_coco = Recipe(jitter=(640, 800), freeze=2)
# pytorch-retinanet's: published with it, 33.5 AP as its author measured, 34.6 with NMS per class. Not run here.
retinanet_adam = Recipe(resize=608, max_size=1024, batch=2, iterations=0, epochs=100, optimizer="adam", lr=1e-5,
                        weight_decay=0.0, schedule="plateau", warmup=0, clip=0.1, force_match=False)
# torchvision's second: published with it, 41.5 AP, of which GroupNorm and GIoU bring 1 to 2. Not run here.
retinanet_strong = Recipe(
    jitter=(480, 800), head_norm="group", box_loss="giou", optimizer="adamw", lr=1e-4, weight_decay=0.05, iterations=0,
    epochs=26, milestone_epochs=(16, 22), frozen_norm=False)
# VOC07+12's 16,551 images, 17 times. Not run here.
retinanet_voc = retinanet_coco | dict(dataset="voc", resize=600, jitter=(480, 600), max_size=1000, iterations=18_000,
                                      milestones=(12_000, 16_000), eval_every=3000, metric="voc07")
# MMDetection's tutorial, from COCO's weights: 8 epochs, a drop after the 7th. Not run here.
retinanet_cityscapes = retinanet_coco | dict(
    dataset="cityscapes", weights="coco", resize=1024, jitter=(800, 1024), max_size=2048, batch=8, warmup=500,
    iterations=0, epochs=8, milestone_epochs=(7,), eval_every=372)
# KITTI's wide, low images and WIDER FACE's small faces. Not run here.
retinanet_kitti = retinanet_coco | dict(
    dataset="kitti", resize=384, jitter=(320, 448), max_size=1280, batch=8, lr=0.005, iterations=0, epochs=24,
    milestone_epochs=(16, 22), eval_every=1000)
retinanet_widerface = retinanet_coco | dict(
    dataset="widerface", resize=800, jitter=(640, 1024), max_size=1333, prior_sizes=(8, 24, 64, 160, 400),
    prior_ratios=(1.0, 1.3), batch=8, lr=0.005, iterations=0, epochs=24, milestone_epochs=(16, 22), eval_every=2000)
# A few hundred photos of one's own: some 80 passes over 300 of them.
retinanet_own = retinanet_coco | dict(resize=640, jitter=(512, 640), max_size=1067, batch=8, lr=0.005, warmup=300,
                                      iterations=3000, milestones=(2000, 2700), eval_every=500, save_every=500)

# SSD as published: 77.2 and 79.8 mAP on VOC07 test, 25.1 and 28.8 AP on COCO. Not run here.
ssd300_voc = Recipe(
    model="ssd300", dataset="voc", metric="voc07", batch=32, iterations=120_000, lr=1e-3, weight_decay=5e-4,
    milestones=(80_000, 100_000), warmup=500, min_score=0.01, max_iou=0.45,
    candidates=400, candidates_of="class", limit=200)
ssd512_voc = ssd300_voc | dict(model="ssd512")
# COCO's objects are smaller, and so are the priors.
ssd300_coco = ssd300_voc | dict(dataset="coco", iterations=400_000, milestones=(280_000, 360_000), metric="coco",
                                prior_sizes=(21, 45, 99, 153, 207, 261, 315))
ssd512_coco = ssd300_coco | dict(model="ssd512",
                                 prior_sizes=(20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72))
ssd300_own = ssd300_coco | dict(batch=16, lr=5e-4, iterations=6000, milestones=(4000, 5400), warmup=300, eval_every=500,
                                save_every=500)
ssd512_own = ssd300_own | dict(model="ssd512", prior_sizes=ssd512_coco.prior_sizes)

# Drawn shapes, from random weights: 3.1 to 3.8 minutes on two CPU cores with bfloat16, and AP 0.72, AP50 0.95.
shapes = Recipe(
    dataset="shapes", weights="none", depth=18, channels=64, head_convs=2, head_norm="group", box_loss="giou",
    prior_sizes=(12, 24, 48, 96, 192), prior_ratios=(1.0,), resize=128, max_size=160, batch=8, iterations=850,
    optimizer="adamw", lr=4e-3, weight_decay=0.05, schedule="cosine", warmup=50, eval_every=425, save_every=200,
    workers=1)

# The same for SSD300 and SSD512, which are heavier: an hour on two CPU cores, a few minutes on a GPU.
ssd300_shapes = shapes | dict(
    model="ssd300", box_loss="smooth_l1", prior_sizes=(), prior_ratios=(), batch=16, lr=5e-4, min_score=0.01,
    max_iou=0.45, candidates=400, candidates_of="class")
ssd512_shapes = ssd300_shapes | dict(model="ssd512")

RECIPES = {name: value for name, value in globals().items() if isinstance(value, Recipe)}
