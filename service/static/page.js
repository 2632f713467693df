"use strict";

const byId = (id) => document.getElementById(id);
const form = document.querySelector("form");
const drop = byId("drop");
const input = byId("file");

function say(text, bad = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("bad", bad);
}

// `_unknown_` and `_silence_` are no keywords.
const keyword = (label) => !label.startsWith("_");
const spoken = (label) => (keyword(label) ? `“${label}”` : label === "_silence_" ? "nothing said" : "another word");

const percent = (p) => `${(100 * p).toFixed(1)} %`;

function cell(tag, content, best) {
  const element = document.createElement(tag);
  element.append(content);
  element.classList.toggle("best", best);
  return element;
}

const threshold = byId("threshold");
function showThreshold() {
  byId("threshold-value").textContent = percent(Number(threshold.value)).replace(".0", "");
  threshold.setAttribute("aria-valuetext", byId("threshold-value").textContent);
  document.documentElement.style.setProperty("--threshold", threshold.value);
}
threshold.addEventListener("input", showThreshold);

const bars = byId("bars");

function draw(samples) {
  const canvas = byId("wave");
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  context.fillStyle = getComputedStyle(document.body).color;
  const step = samples.length / width;
  for (let x = 0; x < width; x++) {
    let peak = 0;
    for (let k = Math.floor(x * step); k < (x + 1) * step; k++) peak = Math.max(peak, Math.abs(samples[k]));
    const tall = Math.max(1, peak * height);
    context.fillRect(x, (height - tall) / 2, 1, tall);
  }
}

function remember(answer, source) {
  const item = document.createElement("li");
  item.textContent = `${new Date().toLocaleTimeString()}: ${spoken(answer.prediction)} (${percent(answer.confidence)}), ${source}`;
  byId("history").prepend(item);
  while (byId("history").children.length > 10) byId("history").lastChild.remove();
}

function show(answer, milliseconds, timing) {
  const rows = Object.entries(answer.probabilities).flatMap(([label, p]) => {
    const best = label === answer.prediction;
    const meter = document.createElement("meter");
    meter.value = p;
    meter.setAttribute("aria-hidden", "true"); // the figure beside it says the same
    return [cell("dt", keyword(label) ? label : spoken(label), best), cell("dd", meter, best), cell("dd", percent(p), best)];
  });
  bars.replaceChildren(...rows);
  const { seconds, sample_rate: rate, channels, format } = answer.audio;
  const decode = /decode;dur=([\d.]+)/.exec(timing)?.[1];
  byId("facts").textContent =
    `${format}, ${seconds} s, ${rate} Hz, ${channels} channel${channels === 1 ? "" : "s"}; ` +
    (answer.windows ? `${answer.windows.length} windows; ` : "") +
    `model ${answer.model_version}: decode ${decode} ms, inference ${answer.latency_ms} ms, ` +
    `round trip ${milliseconds.toFixed(0)} ms`;
  byId("result").hidden = false;
}

// The answer, shown; null after an error, which is told.
async function ask(body) {
  const begin = performance.now();
  try {
    const response = await fetch(`${root}predict`, { method: "POST", body });
    const answer = await response.json();
    if (response.ok) {
      show(answer, performance.now() - begin, response.headers.get("Server-Timing") ?? "");
      return answer;
    }
    say(`${answer.title}. ${answer.detail}`, true);
  } catch (error) {
    say(`The service does not answer (${error.message}).`, true);
  }
  return null;
}

async function classify(body, source) {
  say(`Sending ${source} …`);
  byId("result").hidden = true;
  const answer = await ask(body);
  if (!answer) return;
  const unsure = keyword(answer.prediction) && !answer.accepted ? `, under its threshold of ${percent(answer.threshold)}` : "";
  say(`${spoken(answer.prediction)} (${percent(answer.confidence)})${unsure}`);
  remember(answer, source);
}

async function classifyFile(file) {
  const context = new OfflineAudioContext(1, 1, RATE);
  context.decodeAudioData(await file.arrayBuffer()).then(
    (audio) => draw(audio.getChannelData(0)),
    () => draw([]), // only the picture: the service judges the file
  );
  await classify(file, file.name ?? "the sample");
}

let busy = false;
async function withMicrophone(work) {
  if (busy) return;
  busy = true;
  const microphone = new Microphone();
  try {
    await microphone.open();
    await work(microphone);
  } catch (error) {
    say(`The microphone cannot be used (${error.message}). Allow it in the browser, or send a file.`, true);
  } finally {
    microphone.close();
    busy = false;
  }
}
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

byId("record").addEventListener("click", () =>
  withMicrophone(async (microphone) => {
    say("Say a word …");
    while (microphone.seconds() < 1.2) await pause(20);
    const samples = microphone.second();
    draw(samples);
    await classify(toWav(samples), "microphone");
  }),
);

// Live mode: the service listens, by the model's own rule; the slider's threshold goes before its.
function listen(rate) {
  const address = new URL(`${root}listen?rate=${rate}&threshold=${threshold.value}`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.addEventListener("message", ({ data }) => {
    const { label, confidence } = JSON.parse(data);
    say(`${spoken(label)} (${percent(confidence)})`);
    remember({ prediction: label, confidence }, "live");
  });
  return socket;
}

let live = false;
byId("live").addEventListener("click", () => {
  live = !live;
  if (!live) return;
  withMicrophone(async (microphone) => {
    byId("live").textContent = "Stop live mode";
    say("Listening …");
    const { sampleRate } = microphone.context;
    let socket = listen(sampleRate);
    const again = () => {
      socket.close();
      socket = listen(sampleRate);
    };
    threshold.addEventListener("change", again);
    microphone.eachFrame((frame) => socket.readyState === WebSocket.OPEN && socket.send(frame));
    while (live && socket.readyState <= WebSocket.OPEN) {
      draw(microphone.ring);
      await pause(100);
    }
    threshold.removeEventListener("change", again);
    if (live) say("The service ended the stream; start live mode again.", true);
    socket.close();
  }).finally(() => {
    live = false;
    byId("live").textContent = "Start live mode";
  });
});

if (microphoneMissing()) {
  byId("why").textContent = microphoneMissing();
  byId("why").hidden = false;
  byId("record").disabled = true;
  byId("live").disabled = true;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (input.files.length) classifyFile(input.files[0]);
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
  classifyFile(files[0]);
});

for (const place of document.querySelectorAll(".here")) place.textContent = new URL(root, location.href);
fetch(`${root}readyz`)
  .then(async (response) => {
    const { labels } = await response.json();
    if (response.ok) byId("labels").textContent = `: ${labels.filter(keyword).join(", ")}`;
  })
  .catch(() => say("The service does not answer.", true));
fetch(`${root}model-card`)
  .then(async (response) => {
    const card = await response.json();
    if (!response.ok) return;
    threshold.value = card.detection.threshold;
    showThreshold();
  })
  .catch(() => {}); // told by the one before
for (const button of document.querySelectorAll("#samples button")) {
  button.addEventListener("click", async () => {
    const word = button.dataset.word;
    const blob = await (await fetch(`${root}samples/${word}`)).blob();
    classifyFile(new File([blob], `${word}.wav`));
  });
}
