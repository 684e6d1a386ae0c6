"use strict";
// The functions of layers/ that the page needs, under the names they have there, in JavaScript.
// A box is [left, top, right, bottom] in pixels. What a prior has none of is null.

const BACKGROUND = -1, IGNORED = -2;
const CENTRE_SCALE = 0.1, SIZE_SCALE = 0.2, MAX_SIZE_RATIO = 1000 / 16;

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// ---- layers/boxes.py

// Rounded to float32 wherever PyTorch rounds, so that equally good priors are told apart as there.
const round = Math.fround;

const area = ([left, top, right, bottom]) => round(round(right - left) * round(bottom - top));

const xyxyToCxcywh = ([left, top, right, bottom]) =>
  [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top];

const cxcywhToXyxy = ([x, y, width, height]) =>
  [x - width / 2, y - height / 2, x + width / 2, y + height / 2];

function intersection(box, other) {
  const width = round(Math.min(box[2], other[2]) - Math.max(box[0], other[0]));
  const height = round(Math.min(box[3], other[3]) - Math.max(box[1], other[1]));
  return round(Math.max(width, 0) * Math.max(height, 0));
}

function iou(box, other) {
  const shared = intersection(box, other);
  return round(shared / round(round(area(box) + area(other)) - shared));
}

function giou(box, other) {
  const shared = intersection(box, other);
  const union = area(box) + area(other) - shared;
  const enclosing = area([
    Math.min(box[0], other[0]), Math.min(box[1], other[1]),
    Math.max(box[2], other[2]), Math.max(box[3], other[3]),
  ]);
  return shared / union - (enclosing - union) / enclosing;
}

function encode(box, prior) {
  const [x, y, width, height] = xyxyToCxcywh(box);
  const [priorX, priorY, priorWidth, priorHeight] = xyxyToCxcywh(prior);
  return [
    (x - priorX) / (priorWidth * CENTRE_SCALE), (y - priorY) / (priorHeight * CENTRE_SCALE),
    Math.log(width / priorWidth) / SIZE_SCALE, Math.log(height / priorHeight) / SIZE_SCALE,
  ];
}

function decode(deltas, prior) {
  const [x, y, width, height] = xyxyToCxcywh(prior);
  const stretch = (delta) => Math.exp(Math.min(delta * SIZE_SCALE, Math.log(MAX_SIZE_RATIO)));
  return cxcywhToXyxy([
    x + deltas[0] * width * CENTRE_SCALE, y + deltas[1] * height * CENTRE_SCALE,
    width * stretch(deltas[2]), height * stretch(deltas[3]),
  ]);
}

// ---- layers/priors.py

const gridSize = ([height, width], level) =>
  [Math.ceil(height / level.stride), Math.ceil(width / level.stride)];

// The order is row, column, shape.
function layPriors(basePriors, [rows, columns], stride) {
  const priors = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const shift = [column * stride, row * stride, column * stride, row * stride];
      for (const prior of basePriors) {
        priors.push(prior.map((side, i) => Math.fround(side + shift[i])));
      }
    }
  }
  return priors;
}

// ---- layers/matching.py

// overlaps: IoU of each object with all priors. -> of each prior a row of objects, BACKGROUND or
// IGNORED.
function match(overlaps, count, positiveIou, negativeIou) {
  const matches = new Array(count).fill(BACKGROUND);
  for (let prior = 0; prior < count; prior++) {
    let best = -1, object = BACKGROUND;
    overlaps.forEach((row, i) => { if (row[prior] > best) { best = row[prior]; object = i; } });
    if (best >= positiveIou) matches[prior] = object;
    else if (best >= negativeIou) matches[prior] = IGNORED;
  }
  bestPriors(overlaps).forEach((prior, object) => {
    if (prior !== null) matches[prior] = object;
  });
  return matches;
}

// A prior for each object, the largest overlap first; no two objects get the same. null: none is
// left.
function bestPriors(overlaps) {
  const chosen = new Array(overlaps.length).fill(null);
  const taken = new Set();
  for (let turn = 0; turn < overlaps.length; turn++) {
    let largest = -1, object = 0, prior = 0;
    overlaps.forEach((row, i) => {
      if (chosen[i] !== null) return;
      row.forEach((overlap, j) => {
        if (overlap > largest && !taken.has(j)) { largest = overlap; object = i; prior = j; }
      });
    });
    if (largest < 0) break;
    chosen[object] = prior;
    taken.add(prior);
  }
  return chosen;
}

// ---- layers/losses.py

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const total = sum(powers);
  return powers.map((power) => power / total);
}

function crossEntropy(logits, column) {
  const largest = Math.max(...logits);
  return largest + Math.log(sum(logits.map((x) => Math.exp(x - largest)))) - logits[column];
}

function smoothL1(prediction, target, beta) {
  const error = Math.abs(prediction - target);
  return error < beta ? error * error / (2 * beta) : error - beta / 2;
}

// p^gamma (-ln(1 - p)) of a class that is not there.
const costIfAbsent = (logit, gamma) => sigmoid(logit) ** gamma * softplus(logit);

// The focal loss of one prior, summed over its classes. label: a class, BACKGROUND or IGNORED.
function focalLoss(logits, label, alpha, gamma) {
  if (label === IGNORED) return 0;
  return sum(logits.map((logit, i) => (i === label)
    ? alpha * costIfAbsent(-logit, gamma)
    : (1 - alpha) * costIfAbsent(logit, gamma)));
}

// -> for each prior, whether it is one of the background priors with the largest loss.
function mineHardNegatives(classLoss, labels, negativesPerPositive) {
  const negatives = [];
  labels.forEach((label, i) => { if (label === BACKGROUND) negatives.push(i); });
  negatives.sort((a, b) => classLoss[b] - classLoss[a]); // stable
  const numPositives = Math.max(labels.filter((label) => label >= 0).length, 1);
  const kept = new Array(labels.length).fill(false);
  for (const i of negatives.slice(0, negativesPerPositive * numPositives)) kept[i] = true;
  return kept;
}

// ---- layers/detections.py

// candidates: {prior, label, score, box}, best first -> those that repeat no better one.
function nms(candidates, maxIou) {
  const kept = [];
  for (const candidate of candidates) {
    const repeats = (better) =>
      better.label === candidate.label && iou(better.box, candidate.box) > maxIou;
    if (!kept.some(repeats)) kept.push(candidate);
  }
  return kept;
}

// The best k scores, of each class or of each level; scores [A][C] -> {prior, label, score}.
function topk(scores, levelSizes, perClass, k) {
  const groups = new Map();
  let start = 0;
  levelSizes.forEach((size, level) => {
    for (let prior = start; prior < start + size; prior++) {
      scores[prior].forEach((score, label) => {
        const group = perClass ? label : level;
        if (!groups.has(group)) groups.set(group, []);
        groups.get(group).push({ prior, label, score });
      });
    }
    start += size;
  });
  const best = (group) => group.sort((a, b) => b.score - a.score).slice(0, k);
  return [...groups.values()].flatMap(best);
}

// The confident boxes of an image, best first. settings: those of the recipe, by their names.
function detections(deltas, scores, priors, levelSizes, settings) {
  const perClass = settings.topk_per === "class";
  const confident = topk(scores, levelSizes, perClass, settings.pre_nms_topk)
    .filter((candidate) => candidate.score > settings.score_threshold)
    .sort((a, b) => b.score - a.score);
  for (const candidate of confident) {
    candidate.box = decode(deltas[candidate.prior], priors[candidate.prior]);
  }
  return nms(confident, settings.nms_iou).slice(0, settings.max_detections);
}
