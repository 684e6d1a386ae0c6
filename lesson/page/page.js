"use strict";
// The page: what is selected, and what the reader touches.

const page = JSON.parse(document.getElementById("page").textContent);
const { colours } = page;
const MODES = ["matching", "loss", "detections"];
// A detector's sliders: setting -> smallest, largest, step, and what it does in words.
const SLIDERS = {
  positive_iou: [0.2, 0.9, 0.05, "IoU from which a prior is positive"],
  negative_iou: [0.1, 0.9, 0.05, "IoU below which a prior is background"],
  negatives_per_positive: [1, 30, 1, "background priors kept for each positive one"],
  focal_gamma: [0, 5, 0.1, "how much less easy priors count"],
  focal_alpha: [0.05, 0.95, 0.05, "weight of the objects"],
  score_threshold: [0.01, 0.95, 0.01, "score over which a box is detected"],
  nms_iou: [0.05, 1, 0.05, "IoU over which a box repeats a better one"],
};
const SETTINGS_OF = {
  ssd: ["positive_iou", "negatives_per_positive", "score_threshold", "nms_iou"],
  retinanet: [
    "positive_iou", "negative_iou", "focal_gamma", "focal_alpha", "score_threshold", "nms_iou",
  ],
};

const photo = new Image();
const detectors = Object.fromEntries(
  Object.keys(page.detectors).map((key) => [key, new Detector(key, page)]),
);
const state = { mode: "matching", step: 0, rows: {} };
const cards = {}; // detector -> its article

const find = (selector, root = document) => root.querySelector(selector);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// ---- What is selected

// Select a prior of a detector, and the one in its place of the other.
function select(key, row) {
  state.rows[key] = row;
  for (const [name, detector] of Object.entries(detectors)) {
    if (name !== key) state.rows[name] = detector.partner(detectors[key], row);
  }
  markObject(null);
  showAll();
}

function selectObject(object) {
  for (const [name, detector] of Object.entries(detectors)) {
    state.rows[name] = detector.bestPrior(object);
  }
  markObject(object);
  showAll();
}

function markObject(object) {
  for (const input of document.querySelectorAll("#objects input")) {
    input.checked = input.value === String(object);
  }
}

// ---- Choices above the detectors

function addChoice(fieldset, value, text, isChecked, choose, colour = null) {
  const input = make("input", { type: "radio", name: fieldset.id, value, checked: isChecked });
  input.addEventListener("change", () => choose(value));
  const words = make("span", {}, text);
  if (colour) words.prepend(swatch(colour));
  fieldset.append(make("label", { className: "choice" }, input, words));
}

function swatch(colour) {
  const element = make("i", { className: "swatch" });
  element.style.background = colour;
  return element;
}

function addChoices() {
  detectors.ssd.object_labels.forEach((label, object) => {
    addChoice(find("#objects"), object, `${object} ${page.classes[label]}`, object === page.example,
      selectObject, colours.classes[label]);
  });
  const last = detectors.ssd.moments.length - 1;
  for (let i = 0; i <= last; i++) {
    const text = i === 0 ? "before training" : "trained";
    addChoice(find("#moments"), i, text, i === last, (index) => {
      Object.values(detectors).forEach((detector) => detector.useMoment(index));
      showAll();
    });
  }
  for (const mode of MODES) {
    addChoice(find("#modes"), mode, mode, mode === state.mode, (chosen) => {
      state.mode = chosen;
      showAll();
    });
  }
  find("#reset").addEventListener("click", () => {
    for (const detector of Object.values(detectors)) {
      detector.settings = { ...detector.recipe };
      detector.compute();
    }
    showSliders();
    showAll();
  });
}

// ---- A detector's card

function addDetector(key) {
  const detector = detectors[key];
  const card = find("#detector").content.cloneNode(true).firstElementChild;
  card.id = key;
  find("h2", card).textContent = detector.name;
  find(".sliders", card).setAttribute("aria-label", `Settings of ${detector.name}`);
  find(".picker", card).setAttribute("aria-label", `A prior of ${detector.name}`);
  find("caption", card).textContent = `The prior in ${detector.name}`;
  find(".picker input", card).max = detector.priors.length - 1;
  for (const setting of SETTINGS_OF[key]) find(".sliders", card).append(slider(key, setting));
  detector.levels.forEach(({ stride }, level) => {
    find(".level", card).append(make("option", { value: level }, `${level}: stride ${stride}`));
  });
  addCanvas(key, find("canvas", card));
  addPicker(key, card);
  find("tbody", card).addEventListener("click", (event) => {
    if (event.target.matches("button")) showCode(event.target.textContent);
  });
  cards[key] = card;
  find("#detectors").append(card);
}

function slider(key, setting) {
  const [min, max, step, words] = SLIDERS[setting];
  const input = make("input", { type: "range", min, max, step, name: setting });
  input.addEventListener("input", () => {
    detectors[key].change(setting, Number(input.value));
    showSliders();
    show(key);
  });
  return make("label", {}, make("code", {}, setting), make("output"), make("small", {}, words), input);
}

function addCanvas(key, canvas) {
  const detector = detectors[key];
  canvas.setAttribute("aria-label", `The example image in ${detector.name}. Arrow keys move to the `
    + "next cell, page up and page down to the next level, comma and full stop to the next shape.");
  canvas.addEventListener("click", (event) => {
    const [height, width] = detector.size;
    const x = event.offsetX * width / canvas.clientWidth;
    const y = event.offsetY * height / canvas.clientHeight;
    select(key, priorUnder(key, x, y));
  });
  canvas.addEventListener("keydown", (event) => {
    const place = detector.place(state.rows[key]);
    const moves = {
      ArrowLeft: { column: place.column - 1 }, ArrowRight: { column: place.column + 1 },
      ArrowUp: { row: place.row - 1 }, ArrowDown: { row: place.row + 1 },
      ",": { shape: place.shape - 1 }, ".": { shape: place.shape + 1 },
    };
    const levels = { PageUp: place.level + 1, PageDown: place.level - 1 };
    if (event.key in moves) select(key, detector.rowAt({ ...place, ...moves[event.key] }));
    else if (event.key in levels) select(key, onLevel(key, levels[event.key]));
    else return;
    event.preventDefault();
  });
}

// The prior at a pixel; of detections, that of the smallest one there.
function priorUnder(key, x, y) {
  const detector = detectors[key];
  if (state.mode === "detections") {
    const here = detector.detections.filter(({ box, score }) =>
      score >= 0.3 && box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3]);
    here.sort((a, b) => area(a.box) - area(b.box));
    if (here.length) return here[0].prior;
  }
  return detector.rowUnder(x, y, state.rows[key]);
}

// The prior of another level around the centre of the selected one.
function onLevel(key, level) {
  const detector = detectors[key];
  const wanted = clamp(level, 0, detector.levels.length - 1);
  const [x, y] = xyxyToCxcywh(detector.priors[state.rows[key]]);
  const { stride } = detector.levels[wanted];
  const { shape } = detector.place(state.rows[key]);
  const cell = { row: Math.floor(y / stride), column: Math.floor(x / stride) };
  return detector.rowAt({ level: wanted, ...cell, shape });
}

function addPicker(key, card) {
  const detector = detectors[key];
  find(".picker input", card).addEventListener("change", ({ target }) => {
    select(key, clamp(Math.round(Number(target.value)) || 0, 0, detector.priors.length - 1));
  });
  find(".level", card).addEventListener("change", ({ target }) => {
    select(key, onLevel(key, Number(target.value)));
  });
  find(".shape", card).addEventListener("change", ({ target }) => {
    const place = detector.place(state.rows[key]);
    select(key, detector.rowAt({ ...place, shape: Number(target.value) }));
  });
}

// ---- Showing

function showAll() {
  Object.keys(detectors).forEach(show);
  showIteration();
}

function show(key) {
  const detector = detectors[key], card = cards[key], row = state.rows[key];
  const { totals } = detector;
  const weights = detector.iteration ? `after ${detector.iteration} iterations` : "before training";
  find(".totals", card).textContent = `${weights}: class loss `
    + `${fixed(totals.object + totals.background, 3)}, box loss ${fixed(totals.box, 3)}, `
    + `${totals.positives} positive priors, ${detector.detections.length} detections`;
  drawView(find("canvas", card), photo, detector, row, state.mode, colours);
  showLegend(find(".legend", card), legendOf(detector, row, state.mode, colours));
  const curve = detector.isSsd ? miningCurve : focalCurve;
  find(".curve", card).innerHTML = curve(detector, row, colours);
  find(".shares", card).innerHTML = sharesOf(detector, colours);
  find(".said", card).textContent = sentenceOf(detector, row);
  showPicker(detector, card, row);
  showNumbers(detector, card, row);
}

function sentenceOf(detector, row) {
  const [x, y, width, height] = xyxyToCxcywh(detector.priors[row]).map(Math.round);
  const label = detector.labels[row];
  const { overlap } = detector.bestOverlap(row);
  const role = label >= 0
    ? `It is to find object ${detector.matches[row]}, the ${page.classes[label]}, `
      + `which it overlaps with an IoU of ${fixed(overlap, 2)}.`
    : label === IGNORED
      ? `It is ignored: its best IoU, ${fixed(overlap, 2)}, is neither high nor low.`
      : `It is background: its best IoU is ${fixed(overlap, 2)}.`;
  const counts = detector.counts[row] ? "" : " Its class loss does not count.";
  const kept = detector.isKept(row) ? " Its box is detected." : " Its box is not detected.";
  return `Prior ${row} is ${width} x ${height} pixels large, around (${x}, ${y}). `
    + role + counts + kept;
}

function showLegend(legend, entries) {
  legend.replaceChildren(...entries.map(([colour, words, isDashed]) => {
    const sample = swatch(colour);
    sample.classList.toggle("dashed", Boolean(isDashed));
    return make("span", {}, sample, words);
  }));
}

function showPicker(detector, card, row) {
  const { level, shape } = detector.place(row);
  find(".picker input", card).value = row;
  find(".level", card).value = level;
  const shapes = detector.levels[level].base_priors.map((prior, i) => {
    const [, , width, height] = xyxyToCxcywh(prior).map(Math.round);
    return make("option", { value: i, selected: i === shape }, `${width} x ${height} pixels`);
  });
  find(".shape", card).replaceChildren(...shapes);
}

function showNumbers(detector, card, row) {
  const lines = detector.describePrior(row);
  const rows = detector.places.filter(([what]) => what in lines).map(([what, place]) => {
    const isQuoted = place in page.code;
    const button = isQuoted ? make("button", { type: "button" }, place) : place;
    return make("tr", {},
      make("th", { scope: "row" }, what), make("td", {}, lines[what]), make("td", {}, button));
  });
  find("tbody", card).replaceChildren(...rows);
}

function showSliders() {
  for (const [key, card] of Object.entries(cards)) {
    for (const input of card.querySelectorAll(".sliders input")) {
      const value = detectors[key].settings[input.name];
      input.value = value;
      find("output", input.parentElement).textContent = value;
    }
  }
}

function showCode(place) {
  find("#code-title").textContent = place;
  find("#code pre code").textContent = page.code[place];
  find("#code").showModal();
}

// ---- One iteration

const STEP_NAMES = Object.keys(page.train);

function addIteration() {
  STEP_NAMES.forEach((name, i) => {
    const button = make("button", { type: "button" }, `${i + 1} ${name}`);
    button.addEventListener("click", () => goToStep(i));
    find(".steps").append(button);
  });
  find("#previous").addEventListener("click", () => goToStep(state.step - 1));
  find("#next").addEventListener("click", () => goToStep(state.step + 1));
}

function goToStep(index) {
  state.step = clamp(index, 0, STEP_NAMES.length - 1);
  showIteration();
}

function showIteration() {
  const name = STEP_NAMES[state.step];
  document.querySelectorAll(".steps button").forEach((button, i) => {
    if (i === state.step) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  });
  find("#previous").disabled = state.step === 0;
  find("#next").disabled = state.step === STEP_NAMES.length - 1;
  find("#iteration .line code").textContent = page.train[name];
  find("#iteration .said").textContent = STEP_WORDS[name];
  find("#iteration .pair").replaceChildren(...Object.keys(detectors).map(traceOf));
}

const STEP_WORDS = {
  lr: "The learning rate of this iteration. It climbs during the warm-up, as the first gradients of "
    + "random weights are wild, and falls to zero until the end.",
  zero_grad: "The gradients of the iteration before are forgotten; otherwise backward() would add "
    + "the new ones to them.",
  forward: "The image goes through the network. Of all that comes out, these numbers belong to the "
    + "selected prior: four deltas, and a logit of each class.",
  loss: "The priors are matched to objects, and predictions are compared with what they should have "
    + "been. The sums over all priors are divided by the number of positive ones.",
  backward: "The derivative of the loss by each number that the prior predicted. A negative one says: "
    + "this should be larger. From here it goes on to all weights.",
  clip: "If all gradients together are longer than the limit, all are multiplied by the same factor.",
  step: "The weights change a little, against their gradients, and the same image gives new "
    + "predictions. All priors share the weights, so even a prior without a gradient changes.",
};

function traceOf(key) {
  const detector = detectors[key], { step } = detector, row = state.rows[key];
  const numbers = detector.stepOf(row);
  const columns = ["x", "y", "width", "height", ...detector.logitNames()];
  const values = [...numbers.deltas, ...numbers.logits];
  const changes = [...numbers.deltaChanges, ...numbers.logitChanges];
  const gradients = [...numbers.deltaGradients, ...numbers.logitGradients];
  const factor = Math.min(1, step.max_grad_norm / step.grad_norm);
  const lines = [
    ["predicted", 2, values.map((x) => fixed(x, 3))],
    ["should be", 3, wantedOf(detector, row, numbers.logitGradients)],
    ["gradient", 4, gradients.map((x) => shortOf(x))],
    ["clipped", 5, gradients.map((x) => shortOf(x * factor))],
    ["change", 6, changes.map((x) => shortOf(x, true))],
    ["predicted now", 6, values.map((x, i) => fixed(x + changes[i], 3))],
  ];
  const head = make("tr", {}, make("th", { scope: "col" }, ""),
    ...columns.map((name) => make("th", { scope: "col" }, name)));
  const body = lines.map(([name, since, texts]) => make("tr",
    { className: since > state.step ? "hidden" : since === state.step ? "now" : "" },
    make("th", { scope: "row" }, name), ...texts.map((text) => make("td", {}, text))));
  const table = make("table", { className: "trace" },
    make("caption", {}, `${detector.name}, prior ${row}`),
    make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", {}, make("div", { className: "scroll", tabIndex: 0 }, table),
    make("p", {}, factOf(detector, factor)));
}

// The deltas that a prior should have predicted, and in which direction its logits should go, with
// the recipe's settings.
function wantedOf(detector, row, logitGradients) {
  const object = detector.recipeMatches[row];
  const deltas = object < 0 ? ["", "", "", ""]
    : encode(detector.objects[object], detector.priors[row]).map((x) => fixed(x, 3));
  const logits = logitGradients.map((x) => ({ [-1]: "high", 0: "", 1: "low" })[Math.sign(x)]);
  return [...deltas, ...logits];
}

const shortOf = (x, withSign = false) =>
  (withSign && x > 0 ? "+" : "") + (x === 0 ? "0" : Number(x.toPrecision(2)).toString());

// What a step of the iteration says about a detector as a whole.
function factOf(detector, factor) {
  const { step } = detector;
  const losses = ([box, classes]) =>
    `box loss ${fixed(box, 3)} + class loss ${fixed(classes, 3)} = ${fixed(box + classes, 3)}`;
  const clipped = factor < 1 ? `all gradients are multiplied by ${shortOf(factor)}`
    : "nothing is changed";
  const after = step.optimizer === "sgd" ? ""
    : ` ${step.optimizer === "adamw" ? "AdamW" : "Adam"} divides each gradient by its usual size, so `
      + "in its first step each weight moves by about the learning rate.";
  return {
    lr: `${step.iteration} of ${step.warmup} iterations of warm-up: ${shortOf(step.lr)}; the highest `
      + `will be ${step.peak_lr}.`,
    zero_grad: `${step.num_weights.toLocaleString("en")} weights have no gradient now.`,
    forward: `${detector.priors.length.toLocaleString("en")} priors are predicted at once.`,
    loss: `${losses(step.losses)}.`,
    backward: `The gradients of all weights together are ${fixed(step.grad_norm, 2)} long.`,
    clip: `${fixed(step.grad_norm, 2)} against ${step.max_grad_norm}: ${clipped}.`,
    step: `Now ${losses(step.losses_after)}.${after}`,
  }[STEP_NAMES[state.step]];
}

// ---- Start

addChoices();
Object.keys(detectors).forEach(addDetector);
addIteration();
showSliders();
photo.addEventListener("load", () => {
  selectObject(page.example);
  window.addEventListener("resize", showAll);
});
photo.src = page.image;
