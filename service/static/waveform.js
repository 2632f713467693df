"use strict";

// The picture of a recording, with the word in it marked.

const SOUND_RANGE_DB = 20; // what is quieter than the loudest frame by more is no part of a word, as in kws/detection.py
const QUIET = 0.1; // this share of the frames is taken for the room

// [first, last + 1] sample of what is loud between two samples, or null where all is silent. Loud is what is nearer to
// the loudest frame than to the room, in decibels.
function loudPart(samples, rate, from, to) {
  const frame = Math.round(rate / 100);
  const powers = [];
  for (let begin = from; begin + frame <= to; begin += frame) {
    powers.push(samples.subarray(begin, begin + frame).reduce((sum, s) => sum + s * s, 0));
  }
  const most = Math.max(...powers);
  const room = powers.toSorted((a, b) => a - b)[Math.floor(QUIET * powers.length)];
  const least = Math.max(most * 10 ** (-SOUND_RANGE_DB / 10), Math.sqrt(most * room));
  if (!(least > 0)) return null;
  const loud = (power) => power >= least;
  return [from + frame * powers.findIndex(loud), from + frame * (powers.findLastIndex(loud) + 1)];
}

let drawn = [[]];
addEventListener("resize", () => draw(...drawn));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(...drawn));

// Draws samples; what lies between the two of `mark` is marked, and `word` stands over it.
function draw(samples, mark = null, word = "") {
  drawn = [samples, mark, word];
  const canvas = document.getElementById("wave");
  const width = (canvas.width = canvas.clientWidth * devicePixelRatio);
  const height = (canvas.height = canvas.clientHeight * devicePixelRatio);
  const context = canvas.getContext("2d");
  const { color: text, borderTopColor: accent, outlineColor: marked, fontFamily } = getComputedStyle(canvas);
  const step = samples.length / width;
  const [left, right] = mark ? mark.map((sample) => sample / step) : [0, 0];
  context.fillStyle = marked;
  context.fillRect(left, 0, right - left, height);
  for (let x = 0; x < width; x++) {
    let peak = 0;
    const end = Math.min((x + 1) * step, samples.length);
    for (let k = Math.floor(x * step); k < end; k++) peak = Math.max(peak, Math.abs(samples[k]));
    const tall = Math.max(1, peak * height);
    context.fillStyle = x >= left && x < right ? accent : text;
    context.fillRect(x, (height - tall) / 2, 1, tall);
  }
  context.fillStyle = text;
  context.font = `${16 * devicePixelRatio}px ${fontFamily}`;
  context.textAlign = "center";
  context.fillText(word, Math.min(Math.max((left + right) / 2, 0.1 * width), 0.9 * width), 18 * devicePixelRatio);
}
