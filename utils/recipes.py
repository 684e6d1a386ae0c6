"""Recipes: the settings of whole runs, by name.

A recipe of your own starts from one of these: recipe = shapes | dict(batch=4).
In the comments, "reports" introduces figures that were published with a schedule, and "Here" lists
how ours differs from it.
"""

from utils.recipe import Recipe

# Schedule of Detectron2's 1x, which reports 37.4 AP with the short side jittered (Detectron,
# without: 35.7). Here: torchvision's ImageNet weights (V1) instead of Caffe's, smooth L1 with
# beta 1/9, the mean of four scaled deltas, instead of the sum of L1; divided by the positives of
# the batch, not by their running mean. Not run here.
retinanet_coco = Recipe(jitter=(640, 800), frozen_stages=2)
# Schedule of pytorch-retinanet, which reports 33.5 AP, and 34.6 with NMS of every class. Here: the
# losses are divided by the positives of the whole batch, not of each image. Not run here.
retinanet_adam = Recipe(
    resize=608, max_size=1024, force_match=False,
    batch=2, iterations=0, epochs=100, optimizer="adam", lr=1e-5, weight_decay=0.0,
    lr_schedule="plateau", warmup=0, max_grad_norm=0.1,
)  # fmt: skip
# Schedule of torchvision's second RetinaNet, which reports 41.5 AP. As there: ImageNet weights V2,
# three trainable stages, GroupNorm, GIoU. Here: no synchronised batch norm. Not run here.
retinanet_strong = Recipe(
    weights="imagenet_v2", frozen_norm=False, frozen_stages=2, jitter=(480, 800),
    head_norm="group", box_loss="giou", optimizer="adamw", lr=1e-4, weight_decay=0.05,
    iterations=0, epochs=26, milestone_epochs=(16, 22),
)  # fmt: skip
# No published schedule: 17 passes over VOC07+12's 16,551 images. Not run here.
retinanet_voc = retinanet_coco | dict(
    dataset="voc", resize=600, jitter=(480, 600), max_size=1000, metric="voc07",
    iterations=18_000, milestones=(12_000, 16_000), eval_every=3000,
)  # fmt: skip
# Schedule of MMDetection's Cityscapes configurations, from COCO's weights: 8 epochs of a dataset
# that is repeated 8 times, so 64 passes, with a drop after the 56th. It has no RetinaNet to
# compare with. Here: lr 0.01 for 8 images, as there. Not run here.
retinanet_cityscapes = retinanet_coco | dict(
    dataset="cityscapes", weights="coco", resize=1024, jitter=(800, 1024), max_size=2048,
    batch=8, iterations=0, epochs=64, milestone_epochs=(56,), warmup=500, eval_every=2976,
)  # fmt: skip
# No published schedules: KITTI's wide, low images and WIDER FACE's small faces. Not run here.
retinanet_kitti = retinanet_coco | dict(
    dataset="kitti", resize=384, jitter=(320, 448), max_size=1280,
    batch=8, iterations=0, epochs=24, lr=0.005, milestone_epochs=(16, 22), eval_every=1000,
)  # fmt: skip
retinanet_widerface = retinanet_coco | dict(
    dataset="widerface", resize=800, jitter=(640, 1024), max_size=1333,
    prior_sizes=(8, 24, 64, 160, 400), prior_ratios=(1.0, 1 / 1.3),
    batch=8, iterations=0, epochs=24, lr=0.005, milestone_epochs=(16, 22), eval_every=2000,
)  # fmt: skip
# Your own images: 80 passes over 300 of them. With more or fewer images, utils/resolve.py changes
# the length. What differs from COCO's recipe was measured by fine-tuning RetinaNet-18, trained on
# 2,800 other photos, on BCCD in 160 iterations (docs/trials.md): the recipe for COCO reaches
# AP 0.02 from a detector and 0.07 from its base, this one 0.50 and 0.49, random weights 0.48.
# Frozen norms cost 0.04, frozen stages 0.02, half the learning rate 0.05, a third of it in the base
# alone 0.04, and the file's priors 0.03; heads as heavy as the paper's bring nothing.
retinanet_custom = retinanet_coco | dict(
    resize=640, jitter=(512, 640), max_size=1067,
    channels=64, head_convs=2, head_norm="group", fit_priors=True,
    frozen_norm=False, frozen_stages=0, box_loss="giou", box_weight=2.0,
    batch=8, iterations=3000, optimizer="adamw", lr=2e-3, weight_decay=0.05, lr_schedule="cosine",
    milestones=(2000, 2700), warmup=50, eval_every=500, save_every=500,
)  # fmt: skip
# The same from random weights, which --weights none chooses. On 205 photos of blood cells (BCCD),
# RetinaNet-18 reaches AP 0.57, AP50 0.90 in twenty minutes of one CPU core (float32).
retinanet_scratch = retinanet_custom | dict(weights="none")

# Schedules of the release of SSD's authors, whose paper reports 77.2 and 79.8 mAP on VOC07 test,
# 25.1 and 28.8 AP on COCO (Table 6). Here: He's initialisation instead of Xavier's, crops from 0.3
# of the sides, biases with the lr of weights instead of twice as much, a warm-up; torchvision's VGG
# where vgg16_reducedfc.pth is not at hand. Not run here.
ssd300_voc = Recipe(
    model="ssd300", dataset="voc", metric="voc07", negative_iou=0.5,
    batch=32, iterations=120_000, lr=1e-3, weight_decay=5e-4,
    milestones=(80_000, 100_000), warmup=500,
    score_threshold=0.01, nms_iou=0.45, pre_nms_topk=400, topk_per="class", max_detections=200,
)  # fmt: skip
ssd512_voc = ssd300_voc | dict(model="ssd512")
# COCO's objects are smaller, and so are the priors (Sec. 3.4). The paper's schedule, doubled for
# the expansion as in Sec. 3.6, would be 480,000 iterations; this is the release's.
ssd300_coco = ssd300_voc | dict(
    dataset="coco", metric="coco", prior_sizes=(21, 45, 99, 153, 207, 261, 315),
    iterations=400_000, milestones=(280_000, 360_000),
)  # fmt: skip
ssd512_coco = ssd300_coco | dict(
    model="ssd512", prior_sizes=(20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72)
)
# Your own images. A VGG without batch norm gets it where it is loaded, set so that it computes
# the same at first, for without it the same steps learn hardly anything (docs/trials.md).
ssd300_custom = ssd300_coco | dict(
    vgg_norm="batch", fit_priors=True,
    batch=8, iterations=6000, optimizer="adamw", lr=1e-3, weight_decay=0.05, lr_schedule="cosine",
    milestones=(4000, 5400), warmup=50, eval_every=500, save_every=500,
)  # fmt: skip
ssd512_custom = ssd300_custom | dict(model="ssd512", prior_sizes=ssd512_coco.prior_sizes)
# The same from random weights, which --weights none chooses. On BCCD (val), SSD300 reaches AP 0.57,
# AP50 0.90 in 800 iterations of 8, in a minute of an H200; and, with the narrow base that it has
# without a GPU, AP 0.54, AP50 0.89 in 800 of 4, in ten minutes of one CPU core. Batch norm in the
# layers after VGG, or twice the learning rate, bring nothing more.
ssd300_scratch = ssd300_custom | dict(weights="none")
ssd512_scratch = ssd512_custom | dict(weights="none")

# Drawn shapes, from random weights: AP 0.87, AP50 0.99 in 3.5 minutes on two CPU cores (float32). A
# base of full width and heads of 64 channels come as far in 650 iterations, which take 1.4 times as
# long.
shapes = Recipe(
    dataset="shapes", weights="none", resize=128, max_size=160,
    depth=18, base_width=32, finest_stride=4, channels=32, head_convs=2, head_norm="group",
    prior_sizes=(12, 24, 48, 96, 192, 384), prior_ratios=(1.0,), box_loss="giou", box_weight=4.0,
    batch=8, iterations=1400, optimizer="adamw", lr=2e-3, weight_decay=0.05, lr_schedule="cosine",
    warmup=50, eval_every=700, save_every=280, workers=1,
)  # fmt: skip
# The same for SSD: AP 0.83, AP50 0.99 in a quarter of an hour of one CPU core. Without batch norm,
# a random VGG hardly learns.
ssd300_shapes = shapes | dict(
    model="ssd300", base_width=16, vgg_norm="batch", prior_sizes=(), prior_ratios=(),
    box_loss="smooth_l1", box_weight=1.0, negative_iou=0.5,
    batch=4, iterations=1000, lr=1e-3, eval_every=500,
    score_threshold=0.01, nms_iou=0.45, pre_nms_topk=400, topk_per="class",
)  # fmt: skip
ssd512_shapes = ssd300_shapes | dict(model="ssd512")

# What differs for your own images where there is no GPU. The base has half of the channels, or a
# quarter for SSD: the passes over the images that this leaves time for are worth more
# (docs/results.md). Loaded weights keep their width. SSD takes batches of 4: from as many images,
# it learns far more than in batches of 8 (docs/trials.md).
WITHOUT_GPU = dict(
    retinanet=dict(depth=18, base_width=32, resize=320, jitter=(256, 320), max_size=534),
    ssd300=dict(base_width=16, batch=4),
    ssd512=dict(base_width=16, batch=4),
)

RECIPES = {name: value for name, value in globals().items() if isinstance(value, Recipe)}
