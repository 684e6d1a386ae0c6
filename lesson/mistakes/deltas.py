"""What is asked of encode and decode, and what often goes wrong."""

import torch

from lesson.diagnose import Mistake, Probe

PRIOR = torch.tensor([[10.0, 20, 30, 60]])
SEVERAL = torch.tensor([[0.0, 0, 16, 32], [40, 8, 72, 24], [5, 5, 15, 25]])
OTHERS = torch.tensor([[2.0, 1, 20, 21], [30, 4, 90, 20], [5, 5, 15, 25]])

PROBES = (
    Probe("a box that is its prior", "encode", (PRIOR, PRIOR)),
    Probe("a box beside its prior", "encode", (PRIOR + torch.tensor([4.0, 8, 4, 8]), PRIOR)),
    Probe("a larger box", "encode", (torch.tensor([[0.0, 0, 40, 80]]), PRIOR)),
    Probe("three boxes", "encode", (OTHERS, SEVERAL)),
    Probe("a batch of two images", "encode", (torch.stack([OTHERS, SEVERAL]), SEVERAL)),
    Probe("deltas of 0", "decode", (torch.zeros(1, 4), PRIOR)),
    Probe("a shift", "decode", (torch.tensor([[2.0, -1, 0, 0]]), PRIOR)),
    Probe("another size", "decode", (torch.tensor([[0.0, 0, 2, -3]]), PRIOR)),
    Probe("a very small size", "decode", (torch.tensor([[0.0, 0, -40, -30]]), PRIOR)),
    Probe("a size without bounds", "decode", (torch.tensor([[0.0, 0, 1e9, 30]]), PRIOR)),
    Probe("a batch of two images", "decode", (torch.stack([OTHERS, SEVERAL]) / 20, SEVERAL)),
)

# Both functions have these lines.
SIZES = "prior_centre, prior_size = xyxy_to_cxcywh(priors).split(2, dim=-1)"
CORNERS = "prior_centre, prior_size = priors[..., :2], priors[..., 2:] - priors[..., :2]"

MISTAKES = (
    Mistake(
        "The deltas are not divided by 0.1 and 0.2.",
        (("shift / 0.1, stretch / 0.2", "shift, stretch"),),
    ),
    Mistake(
        "The deltas are multiplied by 0.1 and 0.2, not divided by them; that is for decode.",
        (("shift / 0.1, stretch / 0.2", "shift * 0.1, stretch * 0.2"),),
    ),
    Mistake(
        "All four deltas are divided by 0.1; for the sizes it is 0.2.",
        (("stretch / 0.2", "stretch / 0.1"),),
    ),
    Mistake(
        "A shift counts in units of the prior's size, not of the box's own.",
        (("(centre - prior_centre) / prior_size", "(centre - prior_centre) / size"),),
    ),
    Mistake(
        "A shift counts in units of the prior's size, not in pixels.",
        (("(centre - prior_centre) / prior_size", "centre - prior_centre"),),
    ),
    Mistake(
        "The shift goes from the prior's centre to the box's, not the other way.",
        (("(centre - prior_centre)", "(prior_centre - centre)"),),
    ),
    Mistake(
        "The shift is that of the left top corners; it must be that of the centres.",
        (("centre, size = xyxy_to_cxcywh(boxes).split(2, dim=-1)", ""), (SIZES, CORNERS))
        + (
            (
                "    shift = (c",
                "    centre, size = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]\n"
                "    shift = (c",
            ),
        ),
    ),
    Mistake(
        "The logarithm is missing: the last two deltas are ln(w / w_a) and ln(h / h_a).",
        (("torch.log(size / prior_size)", "size / prior_size"),),
    ),
    Mistake(
        "In the logarithm, the box's size is divided by the prior's, not the prior's by the box's.",
        (("torch.log(size / prior_size)", "torch.log(prior_size / size)"),),
    ),
    Mistake(
        "The logarithm is the natural one, torch.log, to which exp() is the inverse.",
        (("torch.log(size", "torch.log2(size"),),
    ),
    Mistake(
        "encode has divided the deltas by 0.1 and 0.2, so decode must multiply by them first.",
        (("(shift * 0.1)", "shift"), ("(stretch * 0.2)", "stretch")),
    ),
    Mistake(
        "decode divides by 0.1 and 0.2, as encode does; it must multiply by them.",
        (("(shift * 0.1)", "(shift / 0.1)"), ("(stretch * 0.2)", "(stretch / 0.2)")),
    ),
    Mistake(
        "All four deltas are multiplied by 0.1; for the sizes it is 0.2.",
        (("(stretch * 0.2)", "(stretch * 0.1)"),),
    ),
    Mistake(
        "A shift counts in units of the prior's size: multiply by it.",
        (("(shift * 0.1) * prior_size", "(shift * 0.1)"),),
    ),
    Mistake(
        "The size has no limit, and exp() becomes infinite: clamp the logarithm at ln(62.5).",
        ((".clamp(max=math.log(LARGEST))", ""),),
    ),
    Mistake(
        "What is limited to ln(62.5) is the logarithm, the delta times 0.2, not the delta itself.",
        (
            ("(stretch * 0.2).clamp(max=math.log(LARGEST))", "(STRETCH * 0.2)"),
            ("STRETCH", "stretch.clamp(max=math.log(LARGEST))"),
        ),
    ),
    Mistake(
        "exp() is limited to 62.5, but the logarithm must be at most ln(62.5).",
        (("max=math.log(LARGEST)", "max=LARGEST"),),
    ),
    Mistake(
        "The logarithm is also limited below; a box may be as small as it likes.",
        (("clamp(max=math.log(LARGEST))", "clamp(-math.log(LARGEST), math.log(LARGEST))"),),
    ),
    Mistake(
        "exp() is missing: the delta is the logarithm of how many times as large the box is.",
        ((".clamp(max=math.log(LARGEST)).exp()", ".clamp(max=math.log(LARGEST))"),),
    ),
    Mistake(
        "A corner is half a width and half a height away from the centre, not a whole one.",
        (("torch.cat([centre, size]", "torch.cat([centre, 2 * size]"),),
    ),
    Mistake(
        "The result has centre and size; it must have the corners.",
        (
            (
                "cxcywh_to_xyxy(torch.cat([centre, size], dim=-1))",
                "torch.cat([centre, size], dim=-1)",
            ),
        ),
    ),
)
