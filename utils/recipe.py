"""Recipe: everything that decides how a run ends."""

from dataclasses import dataclass, fields, replace

from utils.conventions import Conventions


@dataclass(frozen=True)
class Recipe:
    """Plain values only: a checkpoint carries its recipe with it."""

    # The detector.
    model: str = "retinanet"  # retinanet, ssd300 or ssd512
    depth: int = 50  # of RetinaNet's ResNet
    finest_stride: int = 8  # of RetinaNet's levels, in pixels; or 4, for small objects
    channels: int = 256  # of RetinaNet's pyramid and heads
    head_convs: int = 4  # of RetinaNet's heads, before the one that predicts
    head_norm: str = "none"  # or group: GroupNorm after each of them
    vgg_norm: str = "none"  # or batch: batch norm in SSD's VGG, for random weights
    prior_sizes: tuple = ()  # pixels, of each level; the paper's where empty, as with the next two
    prior_scales: tuple = ()  # RetinaNet's, times the size
    prior_ratios: tuple = ()  # width / height; SSD has a tuple of them for each level
    base_priors: tuple = ()  # of each level, xyxy; they take the place of sizes, scales and ratios
    fit_priors: bool = False  # sizes and ratios by the data's objects, before training
    prior_probability: float = 0.01  # of an object, for RetinaNet's priors before training
    frozen_norm: bool = True  # the ResNet's batch norm as loaded; with random weights never
    conventions: Conventions = Conventions()  # of a published detector that it started from
    weights: str = "imagenet"  # what it starts from: imagenet, imagenet_v2, coco, none, or a file
    # What it sees.
    dataset: str = "coco"
    root: str = ""  # the dataset's folder; data/<dataset> where empty
    images: str = ""  # a folder of images, with annotations a file, instead of root
    annotations: str = ""
    val_images: str = ""
    val_annotations: str = ""
    class_list: str = ""  # a csv of class,id, where the dataset is a csv
    classes: tuple = ()  # names, to keep only these; all where empty
    val_share: float = 0.2  # of the images, held out where there is no val; 0: validate on none
    skip_bad: bool = False  # leave out what cannot be read, instead of refusing to train
    resize: int = 800  # pixels of RetinaNet's short side
    jitter: tuple = ()  # smallest and largest short side while training; resize where empty
    scale_jitter: tuple = ()  # while training, the picture's smallest and largest enlargement
    max_size: int = 1333  # pixels of the long side, at most
    augment: bool = True  # mirrored, and for SSD expanded, cropped, distorted; else only resized
    # How it learns.
    batch: int = 16  # images per iteration, of all devices together
    iterations: int = 90_000  # steps of the optimizer
    epochs: int = 0  # instead of iterations, where not 0
    optimizer: str = "sgd"  # sgd, adam or adamw
    lr: float = 0.01  # the learning rate after warm-up
    momentum: float = 0.9
    weight_decay: float = 1e-4  # of weights; biases and norms do not decay, unlike the papers
    schedule: str = "milestones"  # or cosine: down to 0; or plateau: times gamma when loss stalls
    milestones: tuple = (60_000, 80_000)  # iterations at which lr is multiplied by gamma
    milestone_epochs: tuple = ()  # instead of milestones, where epochs are given
    plateau_patience: int = 3  # epochs without a lower loss before plateau multiplies
    gamma: float = 0.1
    warmup: int = 1000  # iterations
    max_grad_norm: float = 10.0  # gradients are clipped to this norm
    accumulate: int = 1  # micro-batches that a batch goes through the network in
    frozen_stages: int = 0  # of the base, from the pixels up; of random weights none
    ema: float = 0.0  # decay of an average of the weights, which is evaluated and kept; 0: none
    # Matching and losses.
    positive_iou: float = 0.5  # from this on, a prior is matched to an object
    negative_iou: float = 0.4  # below this, it is background; between the two, ignored
    force_match: bool = True  # every object keeps its best prior, however poor
    box_loss: str = "smooth_l1"  # RetinaNet's; or giou
    box_weight: float = 1.0  # of the box loss, beside the class loss
    focal_alpha: float = 0.25  # weight of the objects' class loss; 1 - alpha is the background's
    focal_gamma: float = 2.0  # how strongly easy priors are turned down; 0: not at all
    negatives_per_positive: int = 3  # SSD's hard negatives
    # Detections.
    metric: str = "coco"  # coco, voc07 (eleven points) or voc12 (area)
    score_threshold: float = 0.05
    nms_iou: float = 0.5  # of two detections of one class
    pre_nms_topk: int = 1000  # scores that go through NMS,
    topk_per: str = "level"  # of each level; or of each class, as in SSD
    max_detections: int = 100  # per image
    # The run.
    eval_every: int = 5000  # iterations, as the next two
    save_every: int = 1000
    log_every: int = 20
    patience: int = 0  # evaluations without a better result, then it stops; 0: never
    keep_checkpoints: int = 0  # periodic ones, beside the last and the best
    visdom: str = ""  # a server's host:port
    logdir: str = ""  # TensorBoard's folder
    workers: int = 4  # processes that load images
    seed: int = 0
    precision: str = "auto"  # the hardware's half precision; or bf16, fp16, float32
    compile: bool = False  # network and loss, for few sizes of images, to which batches are padded

    def __or__(self, changes):
        """The same recipe with some fields changed: recipe | dict(batch=8)."""
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise TypeError(f"a recipe has no {name!r}; it has {', '.join(known)}")
        return replace(self, **changes)
