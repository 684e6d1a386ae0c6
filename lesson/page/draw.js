"use strict";
// What is drawn: a detector's view of the image on a canvas, and curves.

const CASING = "#000000b0"; // a dark line around each bright one, visible on any image

// Draw a detector on its canvas. row: the selected prior. mode: matching, loss or detections.
function drawView(canvas, photo, detector, row, mode, colours) {
  const [height, width] = detector.size;
  const ratio = window.devicePixelRatio || 1;
  const scale = canvas.clientWidth * ratio / width;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.unit = ratio / scale; // a pixel of the screen
  pen.drawImage(photo, 0, 0, width, height);
  pen.fillStyle = mode === "loss" ? "#ffffffb8" : "#00000080";
  pen.fillRect(0, 0, width, height);
  if (mode === "matching") drawMatching(pen, detector, colours);
  else if (mode === "loss") drawLoss(pen, detector, colours);
  else drawDetections(pen, detector, colours);
  drawSelected(pen, detector, row, colours);
}

function strokeBox(pen, box, colour, width, { casing = false, dash = [] } = {}) {
  const [left, top, right, bottom] = box;
  const place = [left, top, right - left, bottom - top];
  pen.setLineDash(dash.map((length) => length * pen.unit));
  if (casing) {
    pen.strokeStyle = CASING;
    pen.lineWidth = (width + 2.5) * pen.unit;
    pen.strokeRect(...place);
  }
  pen.strokeStyle = colour;
  pen.lineWidth = width * pen.unit;
  pen.strokeRect(...place);
  pen.setLineDash([]);
}

function drawMatching(pen, detector, colours) {
  detector.objects.forEach((box) => strokeBox(pen, box, colours.object, 1.2));
  detector.labels.forEach((label, row) => {
    const { level } = label === BACKGROUND ? {} : detector.place(row);
    const [x, y] = xyxyToCxcywh(detector.priors[row]);
    if (label >= 0) {
      pen.globalAlpha = 0.75;
      strokeBox(pen, detector.priors[row], colours.levels[level], 1);
      pen.globalAlpha = 1;
    } else if (label === IGNORED) {
      const side = 5 * pen.unit;
      pen.fillStyle = colours.ignored;
      pen.fillRect(x - side / 2, y - side / 2, side, side);
    }
  });
}

// A dot at the centre of each prior that counts, as large as its part of the loss.
function drawLoss(pen, detector, colours) {
  const costs = detector.classCosts.map((cost, row) => (detector.counts[row] ? cost : 0));
  const largest = Math.max(...costs, 1e-9);
  const order = costs.map((_, row) => row).filter((row) => costs[row] > 0)
    .sort((a, b) => costs[b] - costs[a]);
  for (const row of order) {
    const [x, y] = xyxyToCxcywh(detector.priors[row]);
    const radius = 8 * pen.unit * Math.sqrt(costs[row] / largest);
    if (radius < 0.4 * pen.unit) break;
    const isObject = detector.labels[row] >= 0;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fillStyle = (isObject ? colours.positive : colours.background) + "80";
    pen.fill();
  }
}

function drawDetections(pen, detector, colours) {
  detector.objects.forEach((box) => strokeBox(pen, box, colours.object, 1));
  const shown = [...detector.detections].reverse();
  for (const { box, label, score } of shown) {
    pen.globalAlpha = 0.12 + 0.88 * score;
    strokeBox(pen, box, colours.classes[label], 2, { casing: score >= 0.3 });
  }
  pen.globalAlpha = 1;
  for (const { box, label, score } of shown.filter((detection) => detection.score >= 0.3)) {
    writeOn(pen, box[0], box[1], score.toFixed(2), colours.classes[label], detector.size);
  }
}

// Text on a coloured plate above a box, or inside it where the image ends.
function writeOn(pen, x, y, text, colour, [, width]) {
  const { unit } = pen;
  pen.font = `600 ${12 * unit}px system-ui, sans-serif`;
  const plate = pen.measureText(text).width + 8 * unit;
  const left = clamp(x, 0, width - plate);
  const top = Math.max(y - 17 * unit, 0);
  pen.fillStyle = colour;
  pen.fillRect(left, top, plate, 17 * unit);
  pen.fillStyle = "#111111";
  pen.fillText(text, left + 4 * unit, top + 13 * unit);
}

function drawSelected(pen, detector, row, colours) {
  const prior = detector.priors[row];
  const [x, y] = xyxyToCxcywh(prior);
  const object = detector.matches[row];
  if (object >= 0) strokeBox(pen, detector.objects[object], colours.object, 2.5, { casing: true });
  strokeBox(pen, detector.decoded(row), colours.classes[bestClass(detector, row)], 2.5,
    { casing: true });
  const { level } = detector.place(row);
  strokeBox(pen, prior, colours.levels[level], 2.5, { casing: true, dash: [7, 5] });
  pen.beginPath();
  pen.arc(x, y, 3.5 * pen.unit, 0, 2 * Math.PI);
  pen.fillStyle = colours.levels[level];
  pen.fill();
  pen.lineWidth = 1.5 * pen.unit;
  pen.strokeStyle = CASING;
  pen.stroke();
}

const bestClass = (detector, row) => {
  const scores = detector.scores[row];
  return scores.indexOf(Math.max(...scores));
};

// What the colours on a canvas stand for: [colour, words, whether its line is dashed].
function legendOf(detector, row, mode, colours) {
  const selected = [
    [colours.levels[detector.place(row).level], "the prior", true],
    [colours.classes[bestClass(detector, row)], "its decoded box"],
  ];
  if (mode === "matching") {
    const levels = detector.levels.map(({ stride }, i) => [colours.levels[i], `stride ${stride}`]);
    const ignored = detector.isSsd ? [] : [[colours.ignored, "ignored"]];
    return [[colours.object, "objects"], ...levels, ...ignored, ...selected];
  }
  if (mode === "loss") {
    return [
      [colours.positive, "loss of objects"], [colours.background, "loss of background"], ...selected,
    ];
  }
  const classes = detector.classes.map((name, i) => [colours.classes[i], name]);
  return [[colours.object, "objects"], ...classes, ...selected];
}

// ---- Curves, as SVG: a plane 300 x 152 with room for the numbers of its axes.

const PLANE = { left: 30, top: 22, width: 258, height: 92 };

function plotOf({ title, xlabel, xticks, yticks, toX, toY, body, label }) {
  const { left, top, width, height } = PLANE;
  const x = (value) => (left + width * toX(value)).toFixed(1);
  const y = (value) => (top + height * (1 - toY(value))).toFixed(1);
  const bottom = top + height;
  const ticks = xticks.map(([value, text]) =>
    `<text x="${x(value)}" y="${bottom + 15}" text-anchor="middle">${text}</text>`);
  const rules = yticks.map(([value, text]) =>
    `<line x1="${left}" x2="${left + width}" y1="${y(value)}" y2="${y(value)}" stroke="#e2e0da"/>
     <text x="${left - 5}" y="${Number(y(value)) + 4}" text-anchor="end">${text}</text>`);
  return `<svg viewBox="0 0 300 152" role="img" aria-label="${label}">
    <text x="${left}" y="12">${title}</text>${rules.join("")}${ticks.join("")}
    <text x="${left + width}" y="${bottom + 32}" text-anchor="end">${xlabel}</text>
    ${body(x, y)}</svg>`;
}

function pathOf(points, x, y, colour, width = 2) {
  const path = points.map((point) => `${x(point[0])},${y(point[1])}`).join(" ");
  return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="${width}"
    stroke-linejoin="round"/>`;
}

const dotOf = (x, y, colour) =>
  `<circle cx="${x}" cy="${y}" r="5" fill="${colour}" stroke="white" stroke-width="1.5"/>`;

// RetinaNet: what a class costs by its probability, and where the classes of the prior are.
function focalCurve(detector, row, colours) {
  const { focal_alpha: alpha, focal_gamma: gamma } = detector.settings;
  const chances = Array.from({ length: 199 }, (_, i) => (i + 1) / 200);
  const logit = (p) => Math.log(p / (1 - p));
  const absent = (p) => (1 - alpha) * costIfAbsent(logit(p), gamma);
  const present = (p) => alpha * costIfAbsent(-logit(p), gamma);
  const top = 2;
  const below = (cost) => chances.map((p) => [p, cost(p)]).filter((point) => point[1] <= top);
  const label = detector.labels[row];
  const dots = detector.scores[row].map((p, i) => {
    const cost = i === label ? present(p) : absent(p);
    return [clamp(p, 0.001, 0.999), Math.min(cost, top), colours.classes[i]];
  });
  return plotOf({
    title: "cost of a class",
    label: `The cost of a class by its probability, with alpha ${alpha} and gamma ${gamma}`,
    xlabel: "its probability (dots: this prior)",
    xticks: [0, 0.25, 0.5, 0.75, 1].map((p) => [p, p]),
    yticks: [0, 1, 2].map((cost) => [cost, cost]),
    toX: (p) => p,
    toY: (cost) => cost / top,
    body: (x, y) =>
      pathOf(below(absent), x, y, colours.background)
      + pathOf(below(present), x, y, colours.positive)
      + `<text x="${x(0.08)}" y="${y(1.6)}" style="fill:${colours.positive}">it is there</text>
         <text x="${x(0.84)}" y="${y(1.6)}" text-anchor="end"
           style="fill:${colours.background}">it is not there</text>`
      + dots.map(([p, cost, colour]) => dotOf(x(p), y(cost), colour)).join(""),
  });
}

// SSD: what background priors cost, the hardest first, and which of them count.
function miningCurve(detector, row, colours) {
  const rows = detector.labels.map((_, i) => i).filter((i) => detector.labels[i] === BACKGROUND);
  rows.sort((a, b) => detector.classCosts[b] - detector.classCosts[a]);
  const costs = rows.map((i) => detector.classCosts[i]);
  const kept = detector.totals.negatives;
  const top = Math.max(...costs, 1e-9);
  const toX = (rank) => Math.log10(rank) / Math.log10(rows.length);
  const points = costs.map((cost, i) => [i + 1, cost])
    .filter((_, i) => i < 50 || i % Math.ceil(i / 50) === 0);
  const own = rows.indexOf(row);
  return plotOf({
    title: "cost of background, hardest first",
    label: `The ${kept} background priors with the largest cost, of ${rows.length}, count`,
    xlabel: "place in this order; shaded: counted",
    xticks: [1, 10, 100, 1000].map((rank) => [rank, rank]),
    yticks: [[0, "0"], [top, top.toFixed(top < 10 ? 1 : 0)]],
    toX,
    toY: (cost) => cost / top,
    body: (x, y) => {
      const end = x(Math.max(kept, 1));
      const { left, height, top: y0 } = PLANE;
      return `<rect x="${left}" y="${y0}" width="${(end - left).toFixed(1)}" height="${height}"
          fill="${colours.background}" opacity="0.14"/>`
        + pathOf(points, x, y, colours.background)
        + (own >= 0 ? dotOf(x(own + 1), y(costs[own]), colours.positive) : "");
    },
  });
}

// Two bars: how many priors are objects' and background's, and what part of the class loss.
function sharesOf(detector, colours) {
  const { positives, negatives, object, background } = detector.totals;
  const bar = (words, a, b) => {
    const part = 100 * a / (a + b || 1);
    return `${words}<div class="bar" aria-hidden="true">
      <div style="width:${part}%;background:${colours.positive}"></div>
      <div style="width:${100 - part}%;background:${colours.background}"></div></div>`;
  };
  const percent = Math.round(100 * object / (object + background || 1));
  return bar(`priors that count: ${positives} objects', ${negatives} background`, positives, negatives)
    + bar(`class loss: ${percent} % objects, ${100 - percent} % background`, object, background);
}
