"""How do the maps of a network become a row of numbers for every prior?

python -m lesson exercises heads
"""


def per_prior(prediction, num_values):
    """What a head predicts from one map, a row for each prior.

    [B, S * num_values, H, W] -> [B, H * W * S, num_values]. The channels hold the numbers of the
    first shape, then those of the second, and so on. The order of the rows is that of the priors:
    row by row, in a row column by column, in a cell shape by shape.

    Hint: permute, then reshape.
    """
    raise NotImplementedError


def predict(feature_maps, box_head, class_head, num_classes):
    """Apply both heads to all maps -> box_deltas [B, A, 4], class_logits [B, A, num_classes].

    feature_maps is a list of maps [B, channels, H, W], the finest first, as the priors are. A head
    is a function of a map that returns [B, S * 4, H, W] or [B, S * num_classes, H, W].
    """
    raise NotImplementedError


def initial_bias(probability):
    """The bias of the class head with which every score is this probability at first: a number.

    The weights are so small that they do not matter; the score is the sigmoid of the logit.
    """
    raise NotImplementedError
