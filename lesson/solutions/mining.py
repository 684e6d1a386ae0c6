"""Which of thousands of background priors may teach SSD?

A prior is kept if its rank by loss within its image is less than the number that the image may
keep. What is not background gets the loss -1, less than any real one, and so the last ranks.
argsort says which prior comes first, second, third; applied once more, it says at which place every
prior comes, and this is the rank. An image without objects keeps as many as if it had one, since
otherwise empty scenes would teach nothing.
"""


def mine_hard_negatives(class_loss, labels, negatives_per_positive):
    negative = labels == -1
    hardness = class_loss.masked_fill(~negative, -1)
    rank = hardness.argsort(dim=1, descending=True).argsort(dim=1)
    num_positives = (labels >= 0).sum(dim=1, keepdim=True)
    num_kept = negatives_per_positive * num_positives.clamp(min=1)
    return negative & (rank < num_kept)
