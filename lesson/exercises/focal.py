"""How can all background priors teach, and none drown the objects?

python -m lesson exercises focal
"""


def focal_loss(logits, labels, alpha, gamma):
    """The sum over all logits (RetinaNet, Eq. 5): logits [B, A, C], labels [B, A] -> a number.

    With p the sigmoid of a logit, a class that is present costs the first, one that is absent the
    second of these:

        alpha * (1 - p)^gamma * -ln(p)            (1 - alpha) * p^gamma * -ln(1 - p)

    A label is a class from 0 on, or -1, background: all classes are absent. Label -2 costs nothing.

    Hint: -ln(1 - sigmoid(x)) is torch.nn.functional.softplus(x), finite however large x is.
    """
    raise NotImplementedError
