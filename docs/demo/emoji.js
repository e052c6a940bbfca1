import { softmax } from "./digits.js";

const find = name => document.getElementById(name);
const TABS = ["digits", "emoji"];
let told = null, numbers = null, shown = null;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// --- tabs

function open(name) {
  for (const tab of TABS) {
    find(tab).hidden = tab !== name;
    find(`tab-${tab}`).setAttribute("aria-selected", tab === name);
  }
  if (name === "emoji" && !told) {
    told = {};
    start().catch(error => {
      told = null;
      find("truth").textContent = `The emoji did not load: ${error.message}`;
    });
  }
}

for (const tab of TABS)
  find(`tab-${tab}`).addEventListener("click", () => { history.replaceState(null, "", `#${tab}`); open(tab); });
for (const event of ["hashchange", "DOMContentLoaded"])
  addEventListener(event, () => open(TABS.includes(location.hash.slice(1)) ? location.hash.slice(1) : TABS[0]));

// --- answering

// The parts of a file of float32 numbers: features of every picture, then weights and biases of every head.
function parts(buffer, { emoji, styles, labels, size, heads }) {
  let start = 0;
  const next = length => new Float32Array(buffer, 4 * start, (start += length, length));
  const features = next(emoji.length * styles.length * size);
  return { features, heads: heads.map(() => ({ weights: next(labels.length * size), biases: next(labels.length) })) };
}

export function answers(head, features, size) {
  const logits = Array.from(head.biases, (bias, label) => {
    let sum = bias;
    for (let at = 0; at < size; at++) sum += head.weights[label * size + at] * features[at];
    return sum;
  });
  return softmax(logits);
}

function card(style) {
  const picture = element("img", { width: 64, height: 64 });
  const rows = told.heads.map(({ title }) => {
    const label = element("b"), share = element("span"), bar = element("i");
    const box = element("div", { className: "said" },
      element("div", { className: "line" }, element("span", { className: "who", textContent: title }), label, share),
      element("div", { className: "track" }, bar));
    return { box, label, share, bar };
  });
  const box = element("article", { className: `style${style.seen ? "" : " unseen"}` },
    element("div", { className: "head" }, picture,
      element("h2", { textContent: style.name.replaceAll("_", " ") }),
      element("span", { className: "mark", textContent: style.seen ? "trained on" : "never seen" })),
    ...rows.map(row => row.box));
  find("styles").append(box);
  return { picture, rows };
}

function show(place) {
  const { emoji, styles, labels, size } = told, chosen = emoji[place];
  const wrong = told.heads.map(() => 0);
  const detail = { place, answers: [] };
  styles.forEach((style, number) => {
    const start = (place * styles.length + number) * size, features = numbers.features.subarray(start, start + size);
    const { picture, rows } = shown[number];
    picture.src = chosen.pictures[number];
    picture.alt = `${chosen.name}, as ${style.name} draws it`;
    numbers.heads.forEach((head, which) => {
      const shares = answers(head, features, size), best = shares.indexOf(Math.max(...shares));
      const right = best === chosen.label, { box, label, share, bar } = rows[which];
      wrong[which] += !right;
      box.classList.toggle("wrong", !right);
      label.textContent = `${right ? "✓" : "✗"} ${labels[best]}`;
      share.textContent = `${(100 * shares[best]).toFixed(0)} %`;
      bar.style.width = `${100 * shares[best]}%`;
      detail.answers.push({ head: told.heads[which].name, style: style.name, shares });
    });
  });
  for (const [number, button] of [...find("choices").children].entries())
    button.setAttribute("aria-pressed", number === place);
  const said = told.heads.map(({ title }, which) =>
    `${title} is wrong in ${wrong[which]} of ${styles.length} styles`).join(", ");
  find("truth").textContent = `${chosen.name.replaceAll("-", " ")}: ${labels[chosen.label]}. ${said}.`;
  document.dispatchEvent(new CustomEvent("named", { detail }));
}

async function start() {
  const [description, buffer] = await Promise.all([
    fetch("emoji.json").then(found => found.json()), fetch("emoji.bin").then(found => found.arrayBuffer())]);
  told = description;
  numbers = parts(buffer, told);
  shown = told.styles.map(card);
  told.emoji.forEach(({ name, pictures }, place) => {
    const button = element("button", { type: "button" }, element("img", { src: pictures[0], alt: name, width: 40, height: 40 }));
    button.addEventListener("click", () => show(place));
    find("choices").append(button);
  });
  for (const { title, measured } of told.heads)
    find("heads").append(element("p", { className: "measured", textContent: `${title}: ${measured}` }));
  find("verdict").textContent = ` (${told.heads.at(-1).verdict})`;
  find("emoji-commands").textContent = told.commands.join("\n");
  show(0);
}
