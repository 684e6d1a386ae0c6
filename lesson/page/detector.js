"use strict";
// A detector on the example image: what Python wrote about it, and all that follows from this and
// from the settings. Nothing here draws.

// ---- The numbers in the page, which are base64.

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
}

const readFloat32 = (base64) => new Float32Array(bytesOf(base64));

// bfloat16 is the upper half of float32.
function readBfloat16(base64) {
  const halves = new Uint16Array(bytesOf(base64));
  return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
}

function toRows(numbers, columns) {
  const rows = [];
  for (let i = 0; i < numbers.length; i += columns) rows.push([...numbers.slice(i, i + columns)]);
  return rows;
}

// ---- Numbers as Python writes them: of two equally near ones, the even.

function fixed(x, digits) {
  const number = Math.fround(x);
  const scaled = Math.abs(number) * 10 ** digits;
  if (scaled % 1 !== 0.5) return number.toFixed(digits);
  const even = 2 * Math.round(scaled / 2) / 10 ** digits;
  return (number < 0 ? "-" : "") + even.toFixed(digits);
}

const numbersOf = (numbers, digits) => numbers.map((x) => fixed(x, digits)).join(", ");

// ---- A detector.

class Detector {
  constructor(key, page) {
    const data = page.detectors[key];
    Object.assign(this, data, { key, classes: page.classes, isSsd: key === "ssd" });
    this.columns = this.classes.length + (this.isSsd ? 1 : 0);
    this.grids = this.levels.map((level) => gridSize(this.padded_size, level));
    const parts = this.levels.map((level, i) =>
      layPriors(level.base_priors.map((prior) => prior.map(Math.fround)), this.grids[i],
        level.stride));
    this.levelSizes = parts.map((part) => part.length);
    this.priors = parts.flat();
    this.overlaps = this.objects.map((box) => this.priors.map((prior) => iou(box, prior)));
    this.settings = { ...this.recipe };
    this.useMoment(this.moments.length - 1);
    this.recipeMatches = this.matches;
  }

  useMoment(index) {
    const moment = this.moments[index];
    this.iteration = moment.iteration;
    this.deltas = toRows(readFloat32(moment.deltas), 4);
    this.logits = toRows(readFloat32(moment.logits), this.columns);
    this.scores = this.logits.map((logits) => this.scoresOf(logits));
    this.compute();
  }

  scoresOf(logits) {
    return this.isSsd ? softmax(logits).slice(1) : logits.map(sigmoid);
  }

  change(setting, value) {
    this.settings[setting] = value;
    if (["score_threshold", "nms_iou"].includes(setting)) this.computeDetections();
    else this.computeLosses();
  }

  compute() {
    this.computeLosses();
    this.computeDetections();
  }

  computeDetections() {
    const { deltas, scores, priors, levelSizes, settings } = this;
    this.detections = detections(deltas, scores, priors, levelSizes, settings);
  }

  // What priors are matched to, and what they cost.
  computeLosses() {
    const { settings } = this;
    // SSD has one threshold, and a prior cannot be positive and background.
    const negativeIou =
      this.isSsd ? settings.positive_iou : Math.min(settings.negative_iou, settings.positive_iou);
    this.matches = match(this.overlaps, this.priors.length, settings.positive_iou, negativeIou);
    this.labels = this.matches.map((row) => (row >= 0 ? this.object_labels[row] : row));
    this.classCosts = this.logits.map((logits, i) => this.classCost(logits, this.labels[i]));
    this.counts = this.labels.map((label) => label !== IGNORED);
    if (this.isSsd) {
      const ratio = settings.negatives_per_positive;
      const hard = mineHardNegatives(this.classCosts, this.labels, ratio);
      this.counts = this.labels.map((label, i) => label >= 0 || hard[i]);
    }
    this.boxCosts = this.matches.map((object, i) => this.boxCost(object, i));
    this.totals = this.addUp();
  }

  classCost(logits, label) {
    if (this.isSsd) return crossEntropy(logits, Math.max(label + 1, 0));
    // An ignored prior is shown with the cost that it would have as background.
    const { focal_alpha: alpha, focal_gamma: gamma } = this.settings;
    return focalLoss(logits, label === IGNORED ? BACKGROUND : label, alpha, gamma);
  }

  boxCost(object, row) {
    if (object < 0) return 0;
    const box = this.objects[object], prior = this.priors[row];
    if (this.recipe.box_loss === "giou") {
      return this.recipe.box_weight * (1 - giou(decode(this.deltas[row], prior), box));
    }
    const targets = encode(box, prior);
    const errors = targets.map((target, i) => smoothL1(this.deltas[row][i], target, 1));
    return this.recipe.box_weight * sum(errors);
  }

  // Both losses, and the parts that objects and background have in that of the classes.
  addUp() {
    const totals = { positives: 0, negatives: 0, ignored: 0, object: 0, background: 0, box: 0 };
    this.labels.forEach((label, i) => {
      if (label >= 0) totals.positives += 1;
      else if (label === IGNORED) totals.ignored += 1;
      else if (this.counts[i]) totals.negatives += 1;
      if (this.counts[i]) totals[label >= 0 ? "object" : "background"] += this.classCosts[i];
      totals.box += this.boxCosts[i];
    });
    const count = Math.max(totals.positives, 1);
    for (const part of ["object", "background", "box"]) totals[part] /= count;
    return totals;
  }

  // ---- Priors

  // Where a prior stands: its level, and its row, column and shape there.
  place(row) {
    let level = 0, rest = row;
    while (rest >= this.levelSizes[level]) rest -= this.levelSizes[level++];
    const shapes = this.levels[level].base_priors.length;
    const columns = this.grids[level][1];
    const cell = Math.floor(rest / shapes);
    return { level, row: Math.floor(cell / columns), column: cell % columns, shape: rest % shapes };
  }

  // The number of the prior at a place, which is moved onto the level's grid.
  rowAt({ level, row, column, shape }) {
    const [rows, columns] = this.grids[level];
    const shapes = this.levels[level].base_priors.length;
    const cell = clamp(row, 0, rows - 1) * columns + clamp(column, 0, columns - 1);
    return sum(this.levelSizes.slice(0, level)) + cell * shapes + clamp(shape, 0, shapes - 1);
  }

  // The prior of the cell around a pixel that overlaps an object most; if none overlaps any, the
  // one of the same level and shape as now.
  rowUnder(x, y, current) {
    let best = 0, chosen = null;
    this.levels.forEach(({ stride, base_priors: shapes }, level) => {
      const cell = { level, row: Math.floor(y / stride), column: Math.floor(x / stride) };
      shapes.forEach((_, shape) => {
        const row = this.rowAt({ ...cell, shape });
        const overlap = this.bestOverlap(row).overlap;
        if (overlap > best) { best = overlap; chosen = row; }
      });
    });
    if (chosen !== null) return chosen;
    const { level, shape } = this.place(current);
    const { stride } = this.levels[level];
    return this.rowAt({ level, row: Math.floor(y / stride), column: Math.floor(x / stride), shape });
  }

  bestOverlap(row) {
    let object = 0;
    this.overlaps.forEach((overlaps, i) => {
      if (overlaps[row] > this.overlaps[object][row]) object = i;
    });
    return { object, overlap: this.overlaps[object][row] };
  }

  // The prior that overlaps an object most.
  bestPrior(object) {
    const overlaps = this.overlaps[object];
    return overlaps.reduce((best, overlap, i) => (overlap > overlaps[best] ? i : best), 0);
  }

  // The prior that overlaps another detector's most.
  partner(other, row) {
    const scale = [this.size[1] / other.size[1], this.size[0] / other.size[0]];
    const wanted = other.priors[row].map((side, i) => side * scale[i % 2]);
    let best = 0;
    this.priors.forEach((prior, i) => {
      if (iou(wanted, prior) > iou(wanted, this.priors[best])) best = i;
    });
    return best;
  }

  decoded(row) {
    return decode(this.deltas[row], this.priors[row]);
  }

  isKept(row) {
    return this.detections.some((detection) => detection.prior === row);
  }

  matchOf(row) {
    const label = this.labels[row];
    return { [BACKGROUND]: "background", [IGNORED]: "ignored" }[label] ?? this.classes[label];
  }

  logitNames() {
    return this.isSsd ? ["background", ...this.classes] : this.classes;
  }

  gradientSigns(row) {
    if (!this.counts[row]) return "none: it does not count";
    const label = this.labels[row] + (this.isSsd ? 1 : 0);
    const words = (name, i) => `${name} ${i === label ? "up" : "down"}`;
    return this.logitNames().map(words).join(", ");
  }

  // What lesson/microscope.py prints of a prior: name -> text.
  describePrior(row) {
    const { level } = this.place(row);
    const { object, overlap } = this.bestOverlap(row);
    const lines = {
      image: `${this.size[1]} x ${this.size[0]} pixels`,
      box: numbersOf(this.priors[row], 1),
      level: `${level}, stride ${this.levels[level].stride}`,
      "best IoU": `${fixed(overlap, 3)}, with object ${object}`,
      match: this.matchOf(row),
    };
    if (this.matches[row] >= 0) {
      const box = this.objects[this.matches[row]];
      lines["target deltas"] = numbersOf(encode(box, this.priors[row]), 3);
    }
    const counted = this.counts[row] ? "" : ", which does not count";
    return {
      ...lines,
      deltas: numbersOf(this.deltas[row], 3),
      logits: numbersOf(this.logits[row], 3),
      scores: numbersOf(this.scores[row], 3),
      "class loss": fixed(this.classCosts[row], 4) + counted,
      "box loss": fixed(this.boxCosts[row], 4),
      gradient: this.gradientSigns(row),
      "decoded box": numbersOf(this.decoded(row), 1),
      "after NMS": this.isKept(row) ? "kept" : "not shown",
    };
  }

  // The first iteration: what a prior predicts before and after it, and the gradients between.
  stepOf(row) {
    const { step, columns, moments } = this;
    this.stepNumbers ??= {
      deltas: readFloat32(moments[0].deltas),
      logits: readFloat32(moments[0].logits),
      deltaGradients: readBfloat16(step.delta_gradients),
      logitGradients: readBfloat16(step.logit_gradients),
      deltaChanges: readBfloat16(step.delta_changes),
      logitChanges: readBfloat16(step.logit_changes),
    };
    const cut = (name, width) => [...this.stepNumbers[name].slice(row * width, (row + 1) * width)];
    return {
      deltas: cut("deltas", 4), logits: cut("logits", columns),
      deltaGradients: cut("deltaGradients", 4), logitGradients: cut("logitGradients", columns),
      deltaChanges: cut("deltaChanges", 4), logitChanges: cut("logitChanges", columns),
    };
  }
}
