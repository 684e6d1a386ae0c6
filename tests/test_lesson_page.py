"""The page to touch computes what layers/ computes, and shows what the microscope shows."""

import copy
import json
import re
import shutil
import subprocess

import pytest
import torch
import torch.nn.functional as F

from layers import boxes as boxes_module
from layers.detections import detections
from layers.losses import focal_loss, mine_hard_negatives
from layers.matching import BACKGROUND, IGNORED, match
from lesson import example, microscope
from lesson.draw_page import MAX_BYTES, PAGE, PARTS, draw_page, quote_steps, renew_page
from lesson.runs import initial_model
from tests.conftest import draw_shapes
from utils.build import build_detector
from utils.recipes import RECIPES

NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_node = pytest.mark.skipif(not NODE, reason="node is not installed")


def livelier(model):
    """The same model with predictions that differ as much as those of a trained one."""
    is_ssd = hasattr(model, "box_heads")
    layers = [model.box_head.last, model.class_head.last] if not is_ssd else []
    layers += [*model.box_heads, *model.class_heads] if is_ssd else []
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(40 if is_ssd else 8)
    return model


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The path of a page, its views, and the models that are shown."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        root = draw_shapes(folder / "shapes", train=1, val=example.IMAGE + 1)
        patch.setattr(example, "DATA", root)
        views = {name: example.look(name) for name in example.NAMES}
        start = {name: initial_model(name) for name in views}
        models = {name: livelier(copy.deepcopy(model)) for name, model in start.items()}
        moments = {name: {0: start[name], 9: models[name]} for name in views}
        path = draw_page(moments, folder / "page.html")
    return path, views, models


@pytest.fixture(scope="module")
def predictions(written):
    """The box deltas and class logits of each detector on its image."""
    _, views, models = written
    with torch.no_grad():
        return {name: models[name](view.images) for name, view in views.items()}


def run_js(script, *inputs):
    """What a script returns that uses the page's functions; `inputs` are its arguments."""
    sources = [(PARTS / name).read_text() for name in ("layers.js", "detector.js")]
    body = f"const run = (...inputs) => {{ {script} }};"
    call = "const inputs = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    call += "console.log(JSON.stringify(run(...inputs)));"
    result = subprocess.run(
        [NODE, "-e", "\n".join([*sources, body, call])],
        input=json.dumps(inputs), capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def numbers_in(path):
    text = path.read_text()
    found = re.search(r'<script type="application/json" id="page">(.*?)</script>', text, re.S)
    return json.loads(found[1])


def assert_same_text(ours, theirs):
    """The words are equal, and the numbers up to one in their last digit."""
    pattern = r"-?\d+\.\d+"
    assert re.sub(pattern, "#", ours) == re.sub(pattern, "#", theirs)
    for a, b in zip(re.findall(pattern, ours), re.findall(pattern, theirs)):
        assert abs(float(a) - float(b)) < 1.01 * 10 ** -len(a.split(".")[1]), (ours, theirs)


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 100
    return torch.cat([corners, corners + 5 + torch.rand(count, 2, generator=generator) * 60], dim=1)


@pytest.mark.long
def test_the_page_is_one_small_file_that_asks_for_no_other(written):
    text = written[0].read_text()
    assert len(text.encode()) < MAX_BYTES
    assert not re.findall(r"\w://|url\(|@import|\bsrc=|\bhref=|fetch\(", text)
    assert not re.search(r"/\* [\w.]+ \*/", text), "a part is missing"


def test_the_page_shows_the_code_of_today(tmp_path):
    """If it does not: python -c "from lesson.draw_page import renew_page; renew_page()"."""
    again = renew_page(shutil.copy(PAGE, tmp_path / "page.html"))
    assert again.read_bytes() == PAGE.read_bytes()


def test_a_step_of_the_iteration_is_a_statement_of_train():
    steps = quote_steps()
    assert list(steps) == ["lr", "zero_grad", "forward", "loss", "backward", "clip", "step"]
    assert steps["clip"].startswith("grad_norm = clip_grad_norm_(")
    assert "network(images)" in steps["forward"] and steps["step"] == "scaler.step(optimizer)"


BOXES, OTHERS = random_boxes(40, seed=0), random_boxes(40, seed=1)
LOGITS = 3 * torch.randn(40, 4, generator=torch.Generator().manual_seed(2))
LABELS = torch.arange(40) % 6 - 2
# What a function of the page is called with, and what it has to return, in layers' own words.
FUNCTIONS = {
    "iou": (
        "return inputs[0].map((box, i) => iou(box, inputs[1][i]));",
        boxes_module.paired_iou(BOXES, OTHERS),
    ),
    "giou": (
        "return inputs[0].map((box, i) => giou(box, inputs[1][i]));",
        boxes_module.giou(BOXES, OTHERS),
    ),
    "encode": (
        "return inputs[0].map((box, i) => encode(box, inputs[1][i]));",
        boxes_module.encode(BOXES, OTHERS),
    ),
    "decode": (
        "return inputs[2].map((deltas, i) => decode(deltas.map((x) => 9 * x), inputs[1][i]));",
        boxes_module.decode(9 * LOGITS, OTHERS),
    ),
    "softmax": ("return inputs[2].map(softmax);", LOGITS.softmax(dim=1)),
    "crossEntropy": (
        "return inputs[2].map((logits, i) => crossEntropy(logits, i % 4));",
        F.cross_entropy(LOGITS, torch.arange(40) % 4, reduction="none"),
    ),
    "smoothL1": (
        "return inputs[2].map((logits) => smoothL1(logits[0], logits[1], 1));",
        F.smooth_l1_loss(LOGITS[:, 0], LOGITS[:, 1], reduction="none"),
    ),
    "focalLoss": (
        "return inputs[2].map((logits, i) => focalLoss(logits, inputs[3][i], 0.3, 1.5));",
        torch.stack([focal_loss(LOGITS[[i]], LABELS[[i]], 0.3, 1.5) for i in range(40)]),
    ),
    "mineHardNegatives": (
        "return mineHardNegatives(inputs[2].map((x) => x[0] ** 2), inputs[3], 0.3).map(Number);",
        mine_hard_negatives(LOGITS[None, :, 0] ** 2, LABELS[None], 0.3)[0].float(),
    ),
}


@needs_node
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_the_page_returns_what_that_of_layers_returns(name):
    script, wanted = FUNCTIONS[name]
    inputs = [tensor.tolist() for tensor in (BOXES, OTHERS, LOGITS, LABELS)]
    result = torch.tensor(run_js(script, *inputs), dtype=torch.float32)
    torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-5)


def matches_of_page_and_layers(objects, priors):
    """The matches of all priors as lists: those that the page computes, and those of match()."""
    script = """
        const overlaps = inputs[0].map((box) => inputs[1].map((prior) => iou(box, prior)));
        return match(overlaps, inputs[1].length, 0.6, 0.05);
    """
    nothing = torch.zeros(1, len(objects)).bool()
    matches = match(objects[None], nothing, priors, 0.6, 0.05)[0].tolist()
    return run_js(script, objects.tolist(), priors.tolist()), matches


@needs_node
@pytest.mark.parametrize("count", (1, 7))
def test_objects_that_want_one_prior_share_the_next_ones_as_in_layers(count):
    objects, priors = random_boxes(1, seed=3).repeat(count, 1), random_boxes(1000, seed=4)
    shown, wanted = matches_of_page_and_layers(objects, priors)
    assert shown == wanted
    assert {0, IGNORED, BACKGROUND} <= set(wanted)


@needs_node
def test_objects_without_a_free_prior_take_none_as_in_layers():
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([0, 0, 60, 60]) + 30 * torch.rand(12, 4, generator=generator)
    shown, wanted = matches_of_page_and_layers(boxes[:7], boxes[7:])  # All overlap each other.
    assert shown == wanted and len(set(wanted)) == 5


@needs_node
@pytest.mark.parametrize("per", ("class", "level"))
@pytest.mark.parametrize("nms_iou", (0.1, 0.6))
def test_detections_are_those_of_layers(per, nms_iou):
    priors, levels = random_boxes(300, seed=5), [200, 100]
    generator = torch.Generator().manual_seed(6)
    deltas, logits = (torch.randn(300, n, generator=generator) for n in (4, 3))
    settings = dict(score_threshold=0.4, nms_iou=nms_iou, pre_nms_topk=60, max_detections=50)
    wanted = detections(
        deltas, logits, priors, None, torch.sigmoid, levels if per == "level" else None, **settings
    )
    script = """
        const [deltas, logits, priors, levels, settings] = inputs;
        const scores = logits.map((row) => row.map(sigmoid));
        return detections(deltas, scores, priors, levels, settings);
    """
    inputs = [tensor.tolist() for tensor in (deltas, logits, priors)]
    found = run_js(script, *inputs, levels, settings | dict(topk_per=per))
    assert [row["label"] for row in found] == wanted["labels"].tolist()
    boxes = torch.tensor([row["box"] for row in found])
    torch.testing.assert_close(boxes, wanted["boxes"], rtol=1e-4, atol=1e-2)


@pytest.mark.long
@needs_node
@pytest.mark.parametrize("name", example.NAMES)
def test_the_page_says_of_a_prior_what_the_microscope_says(written, name, monkeypatch):
    path, views, models = written
    view = views[name]
    prediction = example.predictions(view, models[name])
    monkeypatch.setattr(microscope, "predictions", lambda view, model: prediction)
    best = prediction.scores.amax(dim=1).topk(20).indices.tolist()
    rows = [view.best_prior(i) for i in range(7)] + best + list(range(0, len(view.priors), 97))
    script = """
        const detector = new Detector(inputs[0], inputs[1]);
        return inputs[2].map((row) => detector.describePrior(row));
    """
    shown = run_js(script, name, numbers_in(path), rows)
    kept = set()
    for row, ours in zip(rows, shown):
        lines = microscope.numbers_of_prior(view, models[name], row)
        theirs = {what: text for what, text, _ in lines}
        assert list(ours) == list(theirs)
        for what, text in theirs.items():
            assert_same_text(ours[what], text)
        kept.add(theirs["after NMS"])
    assert kept == {"kept", "not shown"}, "these models must test both"


CHANGES = dict(
    recipe={},
    loss=dict(focal_gamma=0.5, focal_alpha=0.7, negatives_per_positive=1),
    matching=dict(positive_iou=0.6, negative_iou=0.3),
)


@pytest.mark.long
@needs_node
@pytest.mark.parametrize("name", example.NAMES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_slider_changes_the_losses_as_the_recipe_would(written, predictions, name, change):
    path, views, _ = written
    view = views[name]
    changes = CHANGES[change]
    recipe = view.recipe | changes
    if name == "ssd":  # its page has one threshold for both
        recipe |= dict(negative_iou=recipe.positive_iou)
    _, criterion = build_detector(recipe, len(view.classes))
    losses = criterion(*predictions[name], view.priors, view.targets)
    script = """
        const detector = new Detector(inputs[0], inputs[1]);
        Object.assign(detector.settings, inputs[2]);
        detector.compute();
        return [detector.totals.box, detector.totals.object + detector.totals.background];
    """
    shown = torch.tensor(run_js(script, name, numbers_in(path), changes))
    torch.testing.assert_close(shown, torch.stack(losses), rtol=1e-3, atol=1e-4)


@pytest.mark.long
@needs_node
def test_the_gradients_of_the_iteration_are_those_of_cross_entropy(written):
    row = written[1]["ssd"].best_prior(example.EXAMPLE)
    script = """
        const detector = new Detector("ssd", inputs[0]);
        const { logits, logitGradients } = detector.stepOf(inputs[1]);
        const wanted = softmax(logits);
        wanted[detector.labels[inputs[1]] + 1] -= 1;
        return [logitGradients, wanted.map((x) => x / detector.totals.positives)];
    """
    shown, wanted = torch.tensor(run_js(script, numbers_in(written[0]), row))
    torch.testing.assert_close(shown, wanted, rtol=0.01, atol=1e-6)


@pytest.mark.long
@needs_node
def test_predictions_and_their_changes_give_the_losses_after_the_step(written):
    script = """
        const detector = new Detector("retinanet", inputs[0]);
        const rows = detector.priors.map((_, row) => detector.stepOf(row));
        detector.deltas = rows.map((row) => row.deltas.map((x, i) => x + row.deltaChanges[i]));
        detector.logits = rows.map((row) => row.logits.map((x, i) => x + row.logitChanges[i]));
        detector.compute();
        return [detector.totals.box, detector.totals.object + detector.totals.background];
    """
    page = numbers_in(written[0])
    step = page["detectors"]["retinanet"]["step"]
    assert run_js(script, page) == pytest.approx(step["losses_after"], rel=2e-3)
    assert sum(step["losses_after"]) < sum(step["losses"])
    assert step["lr"] == pytest.approx(RECIPES["shapes"].lr / RECIPES["shapes"].warmup)


@pytest.mark.long
@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_a_click_and_a_slider_change_the_numbers_in_a_browser(written, tmp_path):
    path, views, models = written
    touched = tmp_path / "touched.html"
    script = """
        const touch = () => {
          const canvas = find("#retinanet canvas");
          const box = canvas.getBoundingClientRect(), part = canvas.clientWidth / 160;
          canvas.dispatchEvent(new MouseEvent("click", { bubbles: true,
            clientX: box.left + 86 * part, clientY: box.top + 44 * part }));
          const gamma = find("#retinanet [name=focal_gamma]");
          gamma.value = 0;
          gamma.dispatchEvent(new Event("input"));
          find(".steps button:last-child").click();
          const numbers = [...document.querySelectorAll("#retinanet tbody tr")]
            .map((row) => [...row.children].map((cell) => cell.textContent));
          const totals = find("#retinanet .totals").textContent;
          document.body.append(make("pre", { id: "result" },
            JSON.stringify([state.rows.retinanet, numbers, totals])));
        };
        const wait = () => (state.rows.retinanet === undefined ? setTimeout(wait, 20) : touch());
        wait();
    """
    touched.write_text(f"{path.read_text()}<script>{script}</script>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=9000"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", touched.as_uri()]
    dom = subprocess.run([CHROMIUM, *flags], capture_output=True, text=True, timeout=120).stdout
    row, numbers, totals = json.loads(re.search(r'<pre id="result">(.*?)</pre>', dom, re.S)[1])
    view = views["retinanet"]
    view = view._replace(recipe=view.recipe | dict(focal_gamma=0.0))
    theirs = list(microscope.numbers_of_prior(view, models["retinanet"], row))
    assert view.labels[row] >= 0 and "ellipse" in str(theirs)
    assert len(numbers) == len(theirs)
    for ours, line in zip(numbers, theirs):
        for text, wanted in zip(ours, line):
            assert_same_text(text, wanted)
    assert totals.startswith("after 9 iterations: class loss ")
