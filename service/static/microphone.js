"use strict";

// The microphone: a second of it as 16 kHz WAV, resampled here, or frames of 16-bit samples at the device's own rate
// (Firefox refuses another).

const RATE = 16000;
const KEPT_SECONDS = 4; // of what was heard last
// The way to the service's root from this page, whatever prefix a proxy puts before it.
const { root } = document.querySelector("main").dataset;

// A windowed-sinc low-pass, so that what 16 kHz cannot hold does not fold into speech.
function resample(input, from) {
  if (from === RATE) return input;
  const step = from / RATE;
  const cut = Math.min(1, 1 / step);
  const reach = Math.ceil(16 / cut);
  const output = new Float32Array(Math.floor(input.length / step));
  for (let n = 0; n < output.length; n++) {
    const centre = n * step;
    let sum = 0;
    const first = Math.max(0, Math.ceil(centre - reach));
    const last = Math.min(input.length - 1, Math.floor(centre + reach));
    for (let k = first; k <= last; k++) {
      const x = (k - centre) * cut;
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
      sum += input[k] * sinc * cut * (0.5 + 0.5 * Math.cos((Math.PI * (k - centre)) / reach));
    }
    output[n] = sum;
  }
  return output;
}

function toWav(samples) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (offset, word) => [...word].forEach((c, i) => view.setUint8(offset + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((s, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, s)) * 32767, true));
  return new Blob([view], { type: "audio/wav" });
}

// Why there is no microphone to be had here, or an empty string.
function microphoneMissing() {
  if (!window.isSecureContext) {
    return "The browser gives the microphone only to https or localhost pages: open this page so, or send a file.";
  }
  return navigator.mediaDevices && window.AudioWorkletNode ? "" : "This browser offers no microphone; send a file.";
}

class Microphone {
  // Resolves once samples come; rejects where the person or the system refuses.
  async open() {
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule(`${root}static/tap.js`);
    this.ring = new Float32Array(Math.ceil(this.context.sampleRate * KEPT_SECONDS));
    this.heard = 0;
    this.frames = null;
    const tap = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 1 });
    tap.port.onmessage = ({ data }) => {
      this.ring.copyWithin(0, data.length);
      this.ring.set(data, this.ring.length - data.length);
      this.heard += data.length;
      this.frames?.(data);
    };
    this.context.createMediaStreamSource(this.stream).connect(tap).connect(this.context.destination);
    await this.context.resume();
  }

  seconds() {
    return this.heard / this.context.sampleRate;
  }

  // The last second at 16 kHz; recorded a little longer so that the filter has its surroundings.
  second() {
    return resample(this.ring.slice(-1.2 * this.context.sampleRate), this.context.sampleRate).slice(-RATE);
  }

  // Calls `take` with the samples to come, a tenth of a second at a time, as 16-bit ones.
  eachFrame(take) {
    const frame = new Int16Array(Math.round(this.context.sampleRate / 10));
    let filled = 0;
    this.frames = (samples) => {
      for (const sample of samples) {
        frame[filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
        if (filled < frame.length) continue;
        take(frame.slice());
        filled = 0;
      }
    };
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.context?.close();
  }
}
