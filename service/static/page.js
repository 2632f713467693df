"use strict";

const byId = (id) => document.getElementById(id);
const drop = byId("drop");
const input = byId("file");

// `_unknown_` and `_silence_` are no keywords.
const keyword = (label) => !label.startsWith("_");
const spoken = (label) => (keyword(label) ? `“${label}”` : label === "_silence_" ? "nothing said" : "another word");
const percent = (p) => `${(100 * p).toFixed(1)} %`;

function element(tag, content, ...classes) {
  const made = document.createElement(tag);
  made.append(content);
  made.classList.add(...classes);
  return made;
}

// What is going on, or what went wrong.
function say(text, mood = "") {
  byId("status").replaceChildren(text);
  byId("status").className = mood;
}

// A result: the word large, and what became of it.
function announce(word, text, mood) {
  say("", mood);
  byId("status").append(element("strong", word), ` ${text}`);
}

function remember(what, source) {
  byId("history").prepend(element("li", `${new Date().toLocaleTimeString()}: ${what}, ${source}`));
  while (byId("history").children.length > 10) byId("history").lastChild.remove();
}

// Whether the model accepts its own answer, in words.
function verdict({ prediction, confidence, accepted, threshold }) {
  if (!keyword(prediction)) return `no keyword: ${percent(confidence)}`;
  return accepted
    ? `accepted: ${percent(confidence)}, over its threshold of ${percent(threshold)}`
    : `not accepted: ${percent(confidence)}, under its threshold of ${percent(threshold)}`;
}

function showProbabilities(answer, milliseconds, timing) {
  document.documentElement.style.setProperty("--threshold", answer.threshold);
  const rows = Object.entries(answer.probabilities).flatMap(([label, p]) => {
    const classes = [...(label === answer.prediction ? ["best"] : []), ...(keyword(label) ? ["keyword"] : [])];
    const meter = document.createElement("meter");
    meter.value = p;
    meter.setAttribute("aria-hidden", "true"); // the figure beside it says the same
    const name = keyword(label) ? label : spoken(label);
    return [element("dt", name, ...classes), element("dd", meter, ...classes), element("dd", percent(p), ...classes)];
  });
  byId("bars").replaceChildren(...rows);
  const { seconds, sample_rate: rate, channels, format } = answer.audio;
  const decode = /decode;dur=([\d.]+)/.exec(timing)?.[1];
  byId("facts").textContent =
    `${format}, ${seconds} s, ${rate} Hz, ${channels} channel${channels === 1 ? "" : "s"}; ` +
    (answer.windows ? `${answer.windows.length} windows; ` : "") +
    `model ${answer.model_version}: decode ${decode} ms, inference ${answer.latency_ms} ms, ` +
    `round trip ${milliseconds.toFixed(0)} ms`;
  byId("result").hidden = false;
}

// Where the word is in samples at RATE: what is loud in the window that spoke for the recording.
function wordIn(samples, { windows, prediction, confidence }) {
  const window = windows?.find((each) => each.prediction === prediction && each.confidence === confidence);
  const ends = window ? [window.start, window.end].map((second) => Math.round(second * RATE)) : [0, samples.length];
  return loudPart(samples, RATE, ...ends.map((end) => Math.min(end, samples.length)));
}

// Asks /predict about audio whose samples are known, or empty where only the service can read them.
async function classify(body, samples, source) {
  say(`Sending ${source} …`);
  byId("result").hidden = true;
  draw(samples);
  const begin = performance.now();
  try {
    const response = await fetch(`${root}predict`, { method: "POST", body });
    const answer = await response.json();
    if (!response.ok) return say(`${answer.title}. ${answer.detail}`, "bad");
    const word = spoken(answer.prediction);
    announce(word, verdict(answer), answer.accepted ? "good" : "");
    if (samples.length && answer.prediction !== "_silence_") draw(samples, wordIn(samples, answer), word);
    showProbabilities(answer, performance.now() - begin, response.headers.get("Server-Timing") ?? "");
    remember(`${word} ${verdict(answer)}`, source);
  } catch (error) {
    say(`The service does not answer (${error.message}).`, "bad");
  }
}

async function classifyFile(file) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const decoded = context.decodeAudioData(await file.arrayBuffer());
  const samples = await decoded.then((audio) => audio.getChannelData(0), () => []); // the service judges the file
  await classify(file, samples, file.name);
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
    say(`The microphone cannot be used (${error.message}). Allow it in the browser, or send a file.`, "bad");
  } finally {
    microphone.close();
    busy = false;
  }
}
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

byId("record").addEventListener("click", () =>
  withMicrophone(async (microphone) => {
    say("Say a word …");
    while (microphone.seconds() < 1.2) {
      draw(microphone.ring);
      await pause(50);
    }
    const samples = microphone.second();
    await classify(toWav(samples), samples, "microphone");
  }),
);

// Live mode: the service listens by the model's own rule, at the sensitivity that is chosen.
function listen(microphone, heard) {
  const { sampleRate } = microphone.context;
  const query = new URLSearchParams({ rate: sampleRate });
  if (byId("sensitivity").value) query.set("sensitivity", byId("sensitivity").value);
  const address = new URL(`${root}listen?${query}`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  let begin = null; // the first sample that was sent, counted as the microphone does
  microphone.eachFrame((frame) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    begin ??= microphone.heard - frame.length;
    socket.send(frame);
  });
  socket.addEventListener("message", ({ data }) => {
    const { label, confidence, start, end } = JSON.parse(data);
    heard(label, [start, end].map((second) => begin + second * sampleRate));
    announce(spoken(label), `heard: ${percent(confidence)}`, "good");
    remember(`${spoken(label)} ${percent(confidence)}`, "live");
  });
  return socket;
}

let live = false;
byId("live").addEventListener("click", () => {
  live = !live;
  if (!live) return;
  withMicrophone(async (microphone) => {
    byId("live").textContent = "Stop live mode";
    byId("result").hidden = true;
    say("Listening …");
    let [word, part] = ["", null];
    const heard = (label, samples) => ([word, part] = [spoken(label), samples]);
    let socket = listen(microphone, heard);
    const again = () => {
      socket.close();
      socket = listen(microphone, heard);
    };
    byId("sensitivity").addEventListener("change", again);
    while (live && socket.readyState <= WebSocket.OPEN) {
      const first = microphone.heard - microphone.ring.length;
      const seen = part && part[1] > first;
      draw(microphone.ring, seen ? part.map((sample) => Math.max(0, sample - first)) : null, seen ? word : "");
      await pause(100);
    }
    byId("sensitivity").removeEventListener("change", again);
    if (live) say("The service ended the stream. Start live mode again.", "bad");
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

input.addEventListener("change", () => input.files.length && classifyFile(input.files[0]));
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
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
  if (event.dataTransfer.files.length) classifyFile(event.dataTransfer.files[0]);
});
for (const button of document.querySelectorAll("#samples button")) {
  button.addEventListener("click", async () => {
    const word = button.dataset.word;
    const blob = await (await fetch(`${root}samples/${word}`)).blob();
    classifyFile(new File([blob], `${word}.wav`));
  });
}

for (const place of document.querySelectorAll(".here")) place.textContent = new URL(root, location.href);
fetch(`${root}model-card`)
  .then(async (response) => {
    const { labels, sensitivities, title } = await response.json();
    if (!response.ok) return say(`${title}.`, "bad");
    byId("labels").textContent = `: ${labels.filter(keyword).join(", ")}`;
    for (const button of document.querySelectorAll("#samples button")) {
      button.hidden = !labels.includes(button.dataset.word);
    }
    for (const name of Object.keys(sensitivities)) {
      byId("sensitivity").append(new Option(name, name, name === "medium", name === "medium"));
    }
    byId("choice").hidden = !Object.keys(sensitivities).length;
  })
  .catch(() => say("The service does not answer.", "bad"));
