"""Which object, if any, should each prior predict?

The first part decides for the priors: the largest IoU of each column, and two thresholds. The
second decides for the objects, as small ones might be left without any prior, and the network would
learn that they are background. If each object simply took the prior that it overlaps most, two
objects could want the same, and the later one would win. Here the largest IoU of all is served
first, and what is taken is crossed out with -1, which is less than any IoU, so that the next round
looks for the largest of the rest. It comes after the thresholds, because it must overrule them.
"""

import torch

BACKGROUND, IGNORED = -1, -2


def match(overlap, positive_iou, negative_iou):
    num_objects, num_priors = overlap.shape
    matches = torch.full((num_priors,), BACKGROUND)
    if num_objects:
        best_overlap, best_object = overlap.max(dim=0)
        matches[best_overlap >= negative_iou] = IGNORED
        matches = best_object.where(best_overlap >= positive_iou, matches)
    return keep_one_prior(overlap.clone(), matches)


def keep_one_prior(overlap, matches):
    for _ in range(min(overlap.shape)):
        row, prior = divmod(int(overlap.argmax()), overlap.shape[1])
        matches[prior] = row
        overlap[row] = overlap[:, prior] = -1
    return matches
