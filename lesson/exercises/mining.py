"""Which of thousands of background priors may teach SSD?

python -m lesson exercises mining
"""


def mine_hard_negatives(class_loss, labels, negatives_per_positive):
    """The background priors with the largest loss: [B, A], [B, A] -> mask [B, A] of bool.

    labels are 0 and more for an object, -1 for background, -2 for a prior to ignore, which is never
    kept. Every image keeps negatives_per_positive times as many as it has positive priors, those
    with an object; an image with none keeps as many as if it had one.

    Hint: the rank of every number in a row is row.argsort(descending=True).argsort().
    """
    raise NotImplementedError
