/*
 * What the page knows of runs. They lie in the page as JSON; ReportPage.java says what they are. On a live page they come as
 * server-sent events instead, and grow.
 */

const embedded = JSON.parse(byId("data").textContent);

let palette;
let records = []; // each run as it was recorded
let runs = []; // the same as they are shown: those of several seeds as one, which has them as members
let progressions = []; // as Progression.java finds them
let quantizationCosts = []; // as QuantizationCost.java finds them
const hidden = new Set(); // names of runs
const view = {losses: "both", logLoss: false, logSteps: false, zoom: null, sampleStep: null, printing: false};

const isDark = () => dark.matches && !view.printing;
const colour = (run) => palette[isDark() ? "dark" : "light"][run.slot % palette.light.length];
const mark = (run) => palette.marks[Math.floor(run.slot / palette.light.length) % palette.marks.length];
const markFill = (run) => (mark(run) === "full" ? colour(run) : styleOf("--background"));
const styleOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
const isShown = (run) => !hidden.has(run.name);
const last = (values) => (values && values.length ? values[values.length - 1] : null);
const count = (n, what) => grouped.format(n) + " " + what + (n === 1 ? "" : "s");

function take(data) {
  ({palette, progressions, quantizationCosts, runs: records} = data);
  runs = data.groups.map(({name, slot, runs: places}, index) => {
    const members = places.map((place) => records[place]);
    const profile = members.map((member) => member.profile).find(has);
    const seeds = members.map((member) => member.settings["train.seed"]).join(", ");
    const settings = members.length > 1 ? {...members[0].settings, "train.seed": seeds} : members[0].settings;
    return refreshed({...members[0], name, slot, index, members, profile, settings});
  });
}

/** A shown run after values were added to its members. */
function refreshed(run) {
  const mean = (from) => (run.members.length === 1 ? run.members[0][from] : meanColumns(run.members.map((member) => member[from])));
  return Object.assign(run, {steps: mean("steps"), evaluations: mean("evaluations"), progress: null});
}

/**
 * Means of columns at each step that one of them has, of those that have it; in low and high the least and the greatest
 * values. Samples are the first one's.
 */
function meanColumns(all) {
  const step = [...new Set(all.flatMap((columns) => columns.step || []))].sort((a, b) => a - b);
  if (step.length === 0) {
    return {};
  }
  const places = all.map((columns) => new Map((columns.step || []).map((at, i) => [at, i])));
  const values = (key, at) => all.map((columns, i) => columns[key]?.[places[i].get(at)]).filter(has);
  const joined = {step, low: {}, high: {}};
  for (const key of new Set(all.flatMap(Object.keys))) {
    if (key === "sample") {
      joined.sample = step.map((at) => values(key, at)[0] ?? null);
    } else if (key !== "step") {
      const each = step.map((at) => values(key, at));
      joined[key] = each.map(meanOf);
      joined.low[key] = each.map((some) => (some.length ? Math.min(...some) : null));
      joined.high[key] = each.map((some) => (some.length ? Math.max(...some) : null));
    }
  }
  return joined;
}

const meanOf = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null);

/** The standard deviation of a sample; null of fewer than two values. */
function deviationOf(values) {
  const mean = meanOf(values);
  return values.length < 2
    ? null
    : Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

/** The index of the last value that is not above x, of ascending values; -1 if there is none. */
function indexUpTo(values, x) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= x) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - 1;
}

/** Where a run stands: by its metrics, or by its checkpoint where that has come further. */
const progress = (run) => (run.progress ??= progressNow(run));

function progressNow(run) {
  return run.members?.length > 1 ? meanProgress(run.members.map(progress)) : ownProgress(run);
}

/** The mean of several runs, with the deviations of the losses; of their steps the last. */
function meanProgress(each) {
  const values = (key) => each.map((one) => one[key]).filter(has);
  const mean = {deviations: {}};
  for (const key of Object.keys(each[0])) {
    mean[key] = meanOf(values(key));
  }
  for (const key of ["trainLoss", "valLoss", "bestValLoss"]) {
    mean.deviations[key] = deviationOf(values(key));
  }
  return {...mean, step: Math.max(...values("step"))};
}

function ownProgress(run) {
  const {steps, evaluations, state} = run;
  const step = last(steps.step) || 0;
  const checkpointed = has(state) && state.step >= step;
  const evaluated = last(evaluations.step) || 0;
  const fromState = has(state) && state.step >= evaluated;
  let best = null;
  for (const loss of evaluations.valLoss || []) {
    best = has(loss) && (best === null || loss < best) ? loss : best;
  }
  const seconds = checkpointed ? state.trainSeconds : trainingSeconds(run);
  const at = checkpointed ? state.step : step;
  return {
    step: at,
    trainLoss: fromState ? state.trainLoss : last(evaluations.trainLoss),
    valLoss: fromState ? state.valLoss : last(evaluations.valLoss),
    bestValLoss: has(state) && has(state.bestValLoss) && (best === null || state.bestValLoss < best) ? state.bestValLoss : best,
    seconds: checkpointed ? state.seconds : last(steps.seconds),
    stepsPerSecond: seconds > 0 ? at / seconds : null,
    tokensPerSecond: seconds > 0 ? (at * run.tokensPerStep) / seconds : null,
  };
}

/** Spent in training steps, evaluations apart: each line tells the speed since the one before. */
function trainingSeconds(run) {
  const {step, tokensPerSecond} = run.steps;
  return (step || []).reduce((sum, at, i) => {
    const tokens = (at - (i ? step[i - 1] : 0)) * run.tokensPerStep;
    return tokensPerSecond[i] > 0 ? sum + tokens / tokensPerSecond[i] : sum;
  }, 0);
}

/** A loss of where a run stands, of several runs with their deviation. */
function lossText(run, key) {
  const {[key]: loss, deviations} = progress(run);
  return asLoss(loss) + (has(deviations?.[key]) ? " \u00b1 " + asLoss(deviations[key]) : "");
}

/** A short line as the run's are drawn. */
function keyLine(run) {
  const drawn = (name, attributes, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    node.append(...children);
    return node;
  };
  const line = drawn("line", {x1: 0, x2: 24, y1: 4, y2: 4, stroke: colour(run), "stroke-width": 3});
  const dot = {cx: 12, cy: 4, r: 3, stroke: colour(run), "stroke-width": 1.5, fill: markFill(run)};
  return drawn(
    "svg",
    {class: "key-line", width: 24, height: 8, "aria-hidden": "true"},
    line,
    ...(mark(run) === "none" ? [] : [drawn("circle", dot)]));
}

/** A run's line and name; with its model's name where that is another, which may also come first. */
function runName(run, {withModel = false, modelFirst = false} = {}) {
  const isNamedOtherwise = run.name !== run.model;
  const notes = [
    modelFirst && isNamedOtherwise ? run.name : null,
    withModel && isNamedOtherwise ? run.model : null,
    run.members.length > 1 ? "mean of " + run.members.length + " seeds" : null,
    run.weightsOnly ? "packed weights" : !has(run.state) && !last(run.steps.step) ? "no checkpoint yet" : null,
  ].filter(has);
  const aside = notes.length > 0 ? element("span", {class: "aside"}, " \u00b7 " + notes.join(", ")) : null;
  return element("span", {class: "run-name"}, keyLine(run), element("span", {}, modelFirst ? run.model : run.name, aside));
}

const runColumn = {title: "run", value: (run) => run.name, show: (run) => runName(run)};

/** Adds a line of metrics.jsonl to a run. */
function append(run, line) {
  const add = (columns, values) => {
    const before = (columns.step || []).length;
    for (const [name, value] of Object.entries(values)) {
      if (!columns[name] && has(value)) {
        columns[name] = new Array(before).fill(null);
      }
      columns[name]?.push(name === "sample" || Number.isFinite(value) ? value : null); // null if it was not finite, a text in older runs
    }
  };
  add(run.steps, {
    step: line.step,
    loss: line.loss,
    gradNorm: line.grad_norm,
    learningRate: line.lr,
    tokensPerSecond: line.tokens_per_s,
    seconds: line.elapsed_s,
  });
  run.progress = null;
  if (has(line.val_loss)) {
    add(run.evaluations, {
      step: line.step,
      trainLoss: line.train_loss,
      valLoss: line.final_val_loss ?? line.val_loss,
      peakMemory: line.peak_memory_bytes,
      sample: line.sample ?? null,
    });
  }
}

// ---------------------------------------------------------------------------------------------- settings

const settingKeys = (some) => [...new Set(some.flatMap((run) => Object.keys(run.settings)))];
const differingSettings = (some) => settingKeys(some).filter((key) => some.some((run) => run.settings[key] !== some[0].settings[key]));

/** The corpus that a run's losses are of; undefined where its settings do not tell. */
const corpusOf = (run) => run.settings["data.sha256"];

/** Why not all losses can be compared; null if they can. */
function incomparable() {
  const byCorpus = new Map();
  for (const run of runs.filter(corpusOf)) {
    byCorpus.set(corpusOf(run), [...(byCorpus.get(corpusOf(run)) || []), run]);
  }
  const vocabularies = [...new Set(runs.map((run) => run.settings["model.vocab_size"]))];
  if (byCorpus.size < 2 && vocabularies.length < 2) {
    return null;
  }
  const names = (some) => some.slice(0, 4).map((run) => run.name).join(", ") + (some.length > 4 ? " and " + (some.length - 4) + " more" : "");
  const texts = [...byCorpus].map(([sum, some]) => (some[0].settings["data.source"] || "a text") + " (" + sum.slice(0, 8) + "): " + names(some));
  return (
    "Not all of these losses can be compared: "
    + [
      byCorpus.size > 1 ? "they are of " + byCorpus.size + " different texts" : null,
      vocabularies.length > 1 ? "the vocabularies have " + vocabularies.join(", ") + " characters" : null,
    ].filter(has).join(", and ")
    + "."
    + (byCorpus.size > 1 ? " " + texts.join("; ") + "." : "")
  );
}

// ---------------------------------------------------------------------------------------------- CSV

/** All lines of all runs' metrics.jsonl but for the samples, as MetricsCsv.java writes them; numbers have eight digits. */
function csv() {
  const columns = {
    step: (run, i) => run.steps.step[i],
    loss: (run, i) => run.steps.loss?.[i],
    train_loss: (run, i, e) => run.evaluations.trainLoss?.[e],
    val_loss: (run, i, e) => run.evaluations.valLoss?.[e],
    lr: (run, i) => run.steps.learningRate?.[i],
    grad_norm: (run, i) => run.steps.gradNorm?.[i],
    tokens_per_s: (run, i) => run.steps.tokensPerSecond?.[i],
    peak_memory_bytes: (run, i, e) => run.evaluations.peakMemory?.[e],
    elapsed_s: (run, i) => run.steps.seconds?.[i],
  };
  const text = (value) => {
    const harmless = /^[=+\-@\t\r]/.test(value) ? "'" + value : value; // else a spreadsheet would compute it
    return /[",\r\n]/.test(harmless) ? '"' + harmless.replaceAll('"', '""') + '"' : harmless;
  };
  const lines = [["run", "model", "seed", ...Object.keys(columns)].join(",")];
  for (const run of records) {
    const evaluated = new Map((run.evaluations.step || []).map((step, e) => [step, e]));
    const about = [run.name, run.model, run.settings["train.seed"] ?? ""].map(text);
    (run.steps.step || []).forEach((step, i) => {
      lines.push([...about, ...Object.values(columns).map((value) => value(run, i, evaluated.get(step)) ?? "")].join(","));
    });
  }
  return lines.join("\r\n") + "\r\n";
}
