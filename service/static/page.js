"use strict";

const byId = (id) => document.getElementById(id);
const form = document.querySelector("form");
const drop = byId("drop");
const input = byId("file");

function say(text, bad = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("bad", bad);
}

const percent = (p) => `${(100 * p).toFixed(1)} %`;

function cell(tag, content, best) {
  const element = document.createElement(tag);
  element.append(content);
  element.classList.toggle("best", best);
  return element;
}

function show(answer, milliseconds) {
  const rows = Object.entries(answer.probabilities).flatMap(([label, p]) => {
    const best = label === answer.prediction;
    const meter = document.createElement("meter");
    meter.value = p;
    meter.setAttribute("aria-hidden", "true"); // the figure beside it says the same
    return [cell("dt", label, best), cell("dd", meter, best), cell("dd", percent(p), best)];
  });
  byId("bars").replaceChildren(...rows);
  const { seconds, sample_rate: rate, channels, format } = answer.audio;
  byId("facts").textContent =
    `${format}, ${seconds} s, ${rate} Hz, ${channels} channel${channels === 1 ? "" : "s"}; ` +
    (answer.windows ? `${answer.windows.length} windows; ` : "") +
    `model ${answer.model_version}: ${answer.latency_ms} ms, round trip ${milliseconds.toFixed(0)} ms`;
  byId("result").hidden = false;
  say(`“${answer.prediction}” (${percent(answer.confidence)})`);
}

async function classify(file) {
  say(`Sending ${file.name} …`);
  byId("result").hidden = true;
  const body = new FormData();
  body.append("file", file);
  const begin = performance.now();
  try {
    const response = await fetch("/predict", { method: "POST", body });
    const answer = await response.json();
    if (response.ok) show(answer, performance.now() - begin);
    else say(`${answer.title}. ${answer.detail}`, true);
  } catch (error) {
    say(`The service does not answer (${error.message}).`, true);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (input.files.length) classify(input.files[0]);
});
for (const type of ["dragenter", "dragover"]) {
  drop.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const type of ["dragleave", "drop"]) {
  drop.addEventListener(type, () => drop.classList.remove("over"));
}
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  const { files } = event.dataTransfer;
  if (!files.length) return;
  input.files = files;
  classify(files[0]);
});

for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
fetch("/readyz")
  .then(async (response) => {
    const { labels } = await response.json();
    if (response.ok) byId("labels").textContent = `: ${labels.join(", ")}`;
  })
  .catch(() => say("The service does not answer.", true));
