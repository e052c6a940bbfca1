import { SIDE, centred, channels, painted, resized, softmax } from "./digits.js";

const find = name => document.getElementById(name);
const pad = find("pad"), ink = find("ink"), ground = find("ground"), status = find("status");
const strokes = new OffscreenCanvas(pad.width, pad.height);
const pen = strokes.getContext("2d", { willReadFrequently: true });
const PAIRS = {
  "as in training": [["#ff0000", "#000000"], ["#00ff00", "#000000"], ["#ffffff", "#000000"]],
  "never seen": [["#ffff00", "#ffffff"], ["#0000ff", "#ffffff"], ["#e04fb0", "#1f8a70"], ["#202020", "#ffb000"]],
};
const SHOWN = 96; // pixels of the shaded picture
let networks = [], examples = [], example = 0, grey = null, asked = 0, answered = 0, busy = false;

function say(text) { status.textContent = text; }

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// --- drawing

function show() {
  const context = pad.getContext("2d");
  const tinted = new OffscreenCanvas(pad.width, pad.height), tint = tinted.getContext("2d");
  tint.drawImage(strokes, 0, 0);
  tint.globalCompositeOperation = "source-in";
  tint.fillStyle = ink.value;
  tint.fillRect(0, 0, pad.width, pad.height);
  context.fillStyle = ground.value;
  context.fillRect(0, 0, pad.width, pad.height);
  context.drawImage(tinted, 0, 0);
}

function read() {
  const data = pen.getImageData(0, 0, pad.width, pad.height).data;
  const alpha = new Uint8Array(pad.width * pad.height);
  for (let place = 0; place < alpha.length; place++) alpha[place] = data[4 * place + 3];
  return centred(alpha, pad.width, pad.height);
}

function changed() {
  show();
  grey = read();
  for (const button of document.querySelectorAll(".pair"))
    button.setAttribute("aria-pressed", button.dataset.ink === ink.value && button.dataset.ground === ground.value);
  answer();
}

function place(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) * pad.width / box.width, (event.clientY - box.top) * pad.height / box.height];
}

let last = null, fresh = true; // the first stroke takes the example away
function stroke(event) {
  const [x, y] = place(event);
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = 22;
  pen.beginPath();
  pen.moveTo(...(last ?? [x, y]));
  pen.lineTo(x, y + (last ? 0 : 0.01));
  pen.stroke();
  last = [x, y];
}
function wipe() { pen.clearRect(0, 0, pad.width, pad.height); }

pad.addEventListener("pointerdown", event => {
  event.preventDefault();
  if (event.isTrusted) pad.setPointerCapture(event.pointerId);
  if (fresh) wipe();
  fresh = false;
  last = null;
  stroke(event);
  changed();
});
pad.addEventListener("pointermove", event => { if (last) { stroke(event); changed(); } });
for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { last = null; });
find("clear").addEventListener("click", () => { wipe(); fresh = false; changed(); });
find("example").addEventListener("click", () => {
  if (!examples.length) return;
  example = (example + 1) % examples.length;
  showExample();
});
for (const picker of [ink, ground]) picker.addEventListener("input", changed);

function showExample() {
  const small = new OffscreenCanvas(SIDE, SIDE), context = small.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  examples[example].forEach((value, at) => { image.data[4 * at + 3] = value; });
  context.putImageData(image, 0, 0);
  wipe();
  pen.imageSmoothingEnabled = true;
  pen.drawImage(small, 0, 0, pad.width, pad.height);
  fresh = true;
  changed();
}

for (const [title, pairs] of Object.entries(PAIRS)) {
  const row = element("div", { className: "row" });
  find("pairs").append(element("div", {}, element("h2", { textContent: title }), row));
  for (const [digit, behind] of pairs) {
    const button = element("button", { type: "button", className: "pair", textContent: "5" });
    button.ariaLabel = `${title}: ${digit} on ${behind}`;
    Object.assign(button.dataset, { ink: digit, ground: behind });
    Object.assign(button.style, { color: digit, background: behind });
    button.addEventListener("click", () => { ink.value = digit; ground.value = behind; changed(); });
    row.append(button);
  }
}

// --- answering

function card(told) {
  const bars = element("div", { className: "bars" }), rows = [];
  for (const label of told.labels) {
    const bar = element("b"), share = element("span", { textContent: "–" });
    bars.append(element("span", { textContent: label }), element("i", {}, bar), share);
    rows.push({ bar, share });
  }
  const canvas = element("canvas", { width: SHOWN, height: SHOWN });
  const digit = element("div", { className: "digit", textContent: "?" });
  const sure = element("div", { className: "sure" });
  const box = element("article", { className: "card", id: told.name },
    element("h2", { textContent: told.title }),
    element("div", { className: "top" }, canvas, element("div", {}, digit, sure)),
    bars, element("p", { className: "measured", textContent: told.measured }));
  find("answers").append(box);
  return { canvas, digit, sure, rows };
}

function blank() {
  for (const { shown } of networks) {
    shown.digit.textContent = "?";
    shown.sure.textContent = "";
    shown.canvas.getContext("2d").clearRect(0, 0, SHOWN, SHOWN);
    for (const { bar, share } of shown.rows) { bar.style.width = 0; share.textContent = "–"; }
  }
}

function shade(canvas, map, height, width) {
  const heat = resized(map, height, width, SHOWN), digit = resized(grey, SIDE, SIDE, SHOWN);
  const largest = Math.max(...heat) || 1;
  const context = canvas.getContext("2d"), image = context.createImageData(SHOWN, SHOWN);
  for (let at = 0; at < heat.length; at++) {
    const base = 235 - 175 * digit[at], weight = 0.85 * heat[at] / largest;
    [255, 120, 0].forEach((color, channel) => {
      image.data[4 * at + channel] = base + weight * (color - base);
    });
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

async function run({ session, told, shown }) {
  const { mean, std } = told.processor;
  const pixels = painted(grey, channels(ink.value), channels(ground.value), mean, std);
  const feeds = { pixel_values: new ort.Tensor("float32", pixels, [1, 3, SIDE, SIDE]) };
  const { logits, grad_cam: map } = await session.run(feeds);
  const shares = softmax(logits.data), best = shares.indexOf(Math.max(...shares));
  shown.digit.textContent = told.labels[best];
  shown.sure.textContent = `${(100 * shares[best]).toFixed(0)} %`;
  shown.rows.forEach(({ bar, share }, label) => {
    bar.style.width = `${100 * shares[label]}%`;
    share.textContent = `${(100 * shares[label]).toFixed(0)} %`;
  });
  shade(shown.canvas, map.data, map.dims[1], map.dims[2]);
  return { name: told.name, shares, map: Array.from(map.data) };
}

// Answers one drawing at a time, always the newest.
async function answer() {
  asked++;
  if (busy || !networks.length) return;
  busy = true;
  while (answered < asked) {
    answered = asked;
    if (!grey) { blank(); say("Draw a digit."); continue; }
    if (ink.value === ground.value) { blank(); say("Choose two colours that differ."); continue; }
    const start = performance.now();
    const detail = { grey: Array.from(grey), ink: ink.value, ground: ground.value, answers: [] };
    for (const network of networks) detail.answers.push(await run(network));
    document.dispatchEvent(new CustomEvent("answered", { detail }));
    say(`Both answered in ${(performance.now() - start).toFixed(0)} ms, in your browser.`);
  }
  busy = false;
}

async function start() {
  const told = await (await fetch("demo.json")).json();
  find("commands").textContent = told.commands.join("\n");
  examples = told.examples;
  showExample();
  ort.env.wasm.numThreads = 1; // more would need cross-origin isolation
  ort.env.wasm.wasmPaths = new URL("runtime/", location.href).href;
  const found = [];
  for (const each of told.networks) {
    const description = await (await fetch(`${each.name}/model.json`)).json();
    const session = await ort.InferenceSession.create(`${each.name}/model.onnx`, { executionProviders: ["wasm"] });
    found.push({ session, told: { ...description, ...each }, shown: null });
  }
  for (const each of found) each.shown = card(each.told);
  networks = found;
  answer();
}

start().catch(error => {
  say(location.protocol === "file:"
    ? "Open this page over http: python -m http.server in its folder."
    : `The networks did not load: ${error.message}`);
});
