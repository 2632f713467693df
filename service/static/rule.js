"use strict";

// The rule of running audio (service/rule.py), a window at a time: one detection a spoken keyword.
class Listener {
  // rule: hop_seconds, smoothing, threshold, refractory_seconds, as the model card has it.
  constructor(rule) {
    this.rule = rule;
    this.apart = Math.max(1, Math.round(rule.refractory_seconds / rule.hop_seconds));
    this.windows = []; // the last ones, to average
    this.count = 0;
    this.free = 0; // the first window that may be a detection
    this.label = null; // over the threshold in the window before
    this.held = false; // whether this one was detected already
    this.candidate = null;
  }

  // Takes {label: probability} of the next window; the detection {label, confidence} that it completes, or null:
  // a probability must have passed its top, so a detection is told a window after it.
  hear(probabilities) {
    this.windows.push(probabilities);
    if (this.windows.length > this.rule.smoothing) this.windows.shift();
    let label = null;
    let confidence = -1;
    for (const name of Object.keys(probabilities)) {
      const mean = this.windows.reduce((sum, window) => sum + window[name], 0) / this.windows.length;
      if (mean > confidence) [label, confidence] = [name, mean];
    }
    if (label.startsWith("_")) confidence = 0;
    const { candidate } = this;
    const told = candidate && confidence <= candidate.confidence ? candidate : null;
    if (told) {
      this.free = told.window + this.apart;
      this.held = true;
    }
    const over = confidence > 0 && confidence >= this.rule.threshold ? label : null;
    if (over === null || over !== this.label) this.held = false; // a word counts once, however long it stays
    this.label = over;
    const open = over !== null && !this.held && this.count >= this.free;
    this.candidate = open ? { label, confidence, window: this.count } : null;
    this.count += 1;
    return told && { label: told.label, confidence: told.confidence };
  }
}
