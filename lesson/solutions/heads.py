"""How do the maps of a network become a row of numbers for every prior?

A convolution keeps its numbers as channels, and in memory a whole map of the first channel comes
before the second. permute makes the channels the last dimension, so that the numbers of a cell are
neighbours; only then may reshape cut them into rows, because reshape never changes the order of the
numbers. In a cell, the first numbers belong to the first shape, so shapes come out in their order,
too. The levels follow each other, finest first, as the priors do. The bias is the inverse of the
sigmoid: 1 / (1 + e^-b) = p has the solution b = ln(p / (1 - p)).
"""

import math

import torch


def per_prior(prediction, num_values):
    return prediction.permute(0, 2, 3, 1).reshape(len(prediction), -1, num_values)


def predict(feature_maps, box_head, class_head, num_classes):
    box_deltas = [per_prior(box_head(x), 4) for x in feature_maps]
    class_logits = [per_prior(class_head(x), num_classes) for x in feature_maps]
    return torch.cat(box_deltas, dim=1), torch.cat(class_logits, dim=1)


def initial_bias(probability):
    return math.log(probability / (1 - probability))
