/* The parts of the page: what each part bought, quantized models, samples, the list of runs, tables; and how a live page grows. */

const MOST_CARDS = 24;

// ---------------------------------------------------------------------------------------------------- list of runs

function renderRunList() {
  byId("runs").replaceChildren(
    ...runs.map((run) => {
      const box = element("input", {type: "checkbox"});
      box.checked = isShown(run);
      box.addEventListener("change", () => {
        hidden[box.checked ? "delete" : "add"](run.name);
        renderShown();
      });
      const label = element(
        "label",
        {title: run.name},
        box,
        keyLine(run),
        element("span", {class: "name"}, run.name),
        element("span", {class: "value"}));
      return element("li", {}, label);
    }));
  refreshRunList();
}

function refreshRunList() {
  byId("runs").querySelectorAll(".value").forEach((value, i) => {
    value.textContent = lossText(runs[i], "valLoss");
  });
}

function showAll(shown) {
  runs.forEach((run) => hidden[shown ? "delete" : "add"](run.name));
  renderRunList();
  renderShown();
}

/** What depends on which runs are shown. */
function renderShown() {
  charts.forEach((chart) => chart.render());
  renderSamples();
}

// ------------------------------------------------------------------------------------------- what each part bought

function renderProgressions() {
  byId("progression").hidden = progressions.length === 0;
  const firsts = progressions.map(({steps}) => runs[steps[0].group]);
  const differing = differingSettings(firsts).filter((key) => key !== "model.name" && key !== "train.seed");
  byId("progressions").replaceChildren(
    ...progressions.flatMap(({sentence, largestChange, steps}, i) => {
      const bar = ({change}) => {
        if (!has(change)) {
          return "";
        }
        const node = element("div", {class: change < 0 ? "bar" : "bar worse"});
        node.style.width = (100 * Math.abs(change)) / (largestChange || 1) + "%";
        return element("div", {class: "bars", "aria-hidden": "true"}, node);
      };
      const run = (step) => runs[step.group];
      const columns = [
        {title: "model", value: (step) => run(step).model, show: (step) => runName(run(step), {modelFirst: true})},
        {title: "adds", value: (step) => step.adds, show: (step) => element("span", {class: "adds"}, step.adds)},
        {title: "val loss", value: (step) => step.valLoss, show: (step) => lossText(run(step), "valLoss"), number: true, first: true},
        {title: "change", value: (step) => step.change, show: (step) => asChange(step.change), number: true, first: true},
        {title: "", value: (step) => step.change, show: bar, first: true},
      ];
      const title = differing.map((key) => key + " " + (firsts[i].settings[key] ?? NOTHING)).join(", ");
      return [
        title ? element("h3", {}, title) : "",
        element("p", {class: "verdict"}, sentence),
        table("What each part bought" + (title && ", " + title), columns, [steps]).node,
      ];
    }));
}

// ------------------------------------------------------------------------------------------------------- quantized

const WEIGHTS = {none: "fp32", "b1.58": "1.58 bits", bitnet: "1 bit"};

function renderQuantized() {
  byId("quantized").hidden = quantizationCosts.length === 0;
  if (quantizationCosts.length === 0) {
    return;
  }
  const full = new Map(); // of each quantized run
  const compared = new Map(); // to each run of full precision, with it as the first
  for (const cost of quantizationCosts) {
    const [run, other] = [runs[cost.quantized], runs[cost.full]];
    full.set(run, other);
    compared.set(other, [...(compared.get(other) || [other]), run]);
  }
  const loss = (run) => progress(run).valLoss ?? run.profile?.val_loss ?? null;
  const differs = (run) => (full.has(run) && has(loss(run)) && has(loss(full.get(run))) ? loss(run) - loss(full.get(run)) : null);
  const times = (run) => (full.has(run) ? full.get(run).weightBytes / run.weightBytes : null);
  const speed = (run) => progress(run).tokensPerSecond;
  const groups = [...compared.values()];
  const content = [
    ...quantizationCosts.map((cost) => element("p", {class: "verdict"}, cost.sentence)),
    table(
      "Quantized against full precision",
      [
        runColumn,
        {title: "weights", value: (run) => WEIGHTS[run.quant]},
        {title: "val loss", value: loss, show: (run) => asLoss(loss(run)), number: true, first: true},
        {title: "difference", value: differs, show: (run) => asDifference(differs(run)), number: true, first: true},
        {title: "weight bytes", value: (run) => run.weightBytes, show: (run) => asCount(run.weightBytes), number: true},
        {title: "times smaller", value: times, show: (run) => asTimes(times(run)), number: true},
        {title: "training tokens/s", value: speed, show: (run) => asCount(speed(run)), number: true},
      ],
      groups).node,
  ];
  const devices = new Set(groups.flat().map((run) => run.profile?.device));
  const device = [...devices][0];
  if (devices.size === 1 && device) {
    const measured = (run, phase, batch) =>
      run.profile.speed?.find((row) => row.phase === phase && row.batch === batch)?.tokens_per_s ?? null;
    const columns = ["decode", "prefill"].flatMap((phase) =>
      [1, 8, 64].map((batch) => ({
        title: phase + ", batch " + batch,
        value: (run) => measured(run, phase, batch),
        show: (run) => asCount(measured(run, phase, batch)),
        number: true,
      })));
    content.push(
      element("p", {class: "note"}, "Inference, tokens per second on " + device + ": decode writes, prefill reads a prompt."),
      table("Speed of inference", [runColumn, ...columns], groups).node);
  }
  byId("quantized-tables").replaceChildren(...content);
}

// --------------------------------------------------------------------------------------------------------- samples

function renderSamples() {
  const written = runs.filter((run) => run.evaluations.sample?.some(has));
  byId("samples").hidden = written.length === 0;
  const steps = [...new Set(written.flatMap((run) => run.evaluations.step.filter((_, i) => has(run.evaluations.sample[i]))))].sort((a, b) => a - b);
  const slider = byId("samples-step");
  slider.max = String(Math.max(0, steps.length - 1));
  slider.value = String(view.sampleStep === null ? steps.length - 1 : indexUpTo(steps, view.sampleStep));
  byId("samples-control").hidden = steps.length < 2;
  const shown = written.filter(isShown);
  const cards = shown.slice(0, MOST_CARDS).map((run) => {
    const about = element("p");
    const text = element("pre");
    return {
      node: element("article", {class: "card"}, element("h3", {}, keyLine(run), run.name), about, text),
      show(step) {
        const {evaluations} = run;
        let i = indexUpTo(evaluations.step, step);
        while (i >= 0 && !has(evaluations.sample[i])) {
          i--;
        }
        text.textContent = i < 0 ? "" : evaluations.sample[i];
        const whose = run.members.length > 1 ? "the first seed's, mean validation loss " : "validation loss ";
        about.textContent = i < 0 ? "nothing yet" : "step " + asCount(evaluations.step[i]) + ", " + whose + asLoss(evaluations.valLoss[i]);
      },
    };
  });
  const show = () => {
    const step = steps[Number(slider.value)];
    byId("samples-output").textContent = asCount(step);
    slider.setAttribute("aria-valuetext", "step " + asCount(step));
    cards.forEach((card) => card.show(step));
  };
  slider.oninput = () => {
    // at the end it follows what is still to come
    view.sampleStep = Number(slider.value) === steps.length - 1 ? null : steps[Number(slider.value)];
    show();
  };
  byId("cards").replaceChildren(...cards.map((card) => card.node));
  byId("more-cards").hidden = shown.length <= MOST_CARDS;
  byId("more-cards").textContent =
    "Of " + count(shown.length, "run") + " the first " + MOST_CARDS + "; hide some in the list beside the curves to see others.";
  steps.length > 0 && show();
}

// ---------------------------------------------------------------------------------------------------------- tables

let models; // the table

function isBest(run) {
  const loss = (of) => progress(of).bestValLoss ?? Infinity;
  return runs.every((other) => corpusOf(other) !== corpusOf(run) || loss(run) <= loss(other)) && loss(run) < Infinity;
}

function renderModels() {
  const field = (title, key, show, hint) => ({
    title,
    value: (run) => progress(run)[key],
    show: (run) => show(progress(run)[key]),
    number: true,
    hint,
  });
  const losses = (title, key, hint) => ({...field(title, key, null, hint), show: (run) => lossText(run, key)});
  const columns = [
    {...runColumn, show: (run) => runName(run, {withModel: true})},
    {title: "adds", value: (run) => run.adds, show: (run) => element("span", {class: "adds"}, run.adds)},
    {title: "parameters", value: (run) => run.parameters, show: (run) => asCount(run.parameters), number: true},
    {
      title: "weight bytes",
      value: (run) => run.weightBytes,
      show: (run) => asCount(run.weightBytes),
      number: true,
      hint: "as a trained model holds them: 4 for each weight, those of a quantized model packed",
    },
    {
      ...field("steps", "step"),
      show: (run) => {
        const {step} = progress(run);
        return step === 0 ? NOTHING : asCount(step) + (step < run.iters ? " of " + asCount(run.iters) : "");
      },
    },
    losses("train loss", "trainLoss", "estimate of the last evaluation"),
    {...losses("val loss", "valLoss", "over the whole validation split at the end of the training; an estimate before"), first: true},
    {...losses("best val loss", "bestValLoss"), best: isBest, first: true},
    field("time", "seconds", asTime, "evaluations included"),
    field("tokens/s", "tokensPerSecond", asCount, "of the training steps alone"),
    field("steps/s", "stepsPerSecond", asCount, "of the training steps alone"),
  ];
  models = table("Models", columns, [runs], {sortable: true});
  byId("models").replaceChildren(
    models.node,
    element("p", {class: "note"}, "Losses in nats per character; the lowest validation loss is bold. Time with evaluations, speed without."
      + (runs.some((run) => run.members.length > 1) ? " Of several seeds the mean, \u00b1 the standard deviation." : "")));
}

// ---------------------------------------------------------------------------------------------- settings, machines

function renderSettings() {
  const value = (run, key) => run.settings[key] ?? null;
  const differing = differingSettings(runs);
  const same = settingKeys(runs).filter((key) => !differing.includes(key));
  const content = [];
  if (differing.length > 0) {
    // runs of the same settings share a column
    const groups = new Map();
    for (const run of runs) {
      const settings = JSON.stringify(differing.map((key) => value(run, key)));
      groups.set(settings, [...(groups.get(settings) || []), run]);
    }
    const distinct = [...groups.values()];
    const few = 6;
    const names = (group) =>
      group.slice(0, few).map((run) => run.name).join(", ") + (group.length > few ? " and " + (group.length - few) + " more" : "");
    const marked = (group, key) => element("span", value(group[0], key) === usuals.get(key) ? {} : {class: "unusual"}, value(group[0], key) ?? NOTHING);
    const usuals = new Map(differing.map((key) => [key, usual(key, runs) ?? null]));
    const columns = distinct.map((group) => ({title: names(group), value: (key) => value(group[0], key), show: (key) => marked(group, key)}));
    const turned = differing.map((key) => ({title: key, value: (group) => value(group[0], key), show: (group) => marked(group, key)}));
    content.push(
      element("h3", {}, "What differs", element("span", {class: "aside"}, ", marked where it is not what most runs have")),
      distinct.length <= 12
        ? table("Settings that differ", [{title: "setting", value: (key) => key}, ...columns], [differing], {kind: "setting-table"}).node
        : table("Settings that differ", [{title: "run", value: names}, ...turned], [distinct], {kind: "setting-table turned"}).node);
  }
  if (same.length > 0) {
    content.push(
      runs.length > 1 ? element("h3", {}, "The same in all runs") : "",
      element("dl", {class: "same-settings"}, ...same.map((key) => pair(key, value(runs[0], key)))));
  }
  byId("settings").replaceChildren(...content);
}

/** The value that most of some runs have; the first of several. */
function usual(key, some) {
  const times = new Map();
  some.forEach((run) => times.set(run.settings[key], (times.get(run.settings[key]) || 0) + 1));
  return [...times].reduce((most, each) => (each[1] > most[1] ? each : most))[0];
}

const pair = (key, value) => element("div", {class: "pair"}, element("dt", {}, key), element("dd", {}, value));

function renderMachines() {
  const machines = new Map();
  for (const run of records.filter((r) => Object.keys(r.machine).length > 0)) {
    const key = JSON.stringify(run.machine);
    machines.set(key, [...(machines.get(key) || []), run]);
  }
  byId("machine").hidden = machines.size === 0;
  byId("machines").replaceChildren(
    ...[...machines.values()].map((group) =>
      element(
        "div",
        {class: "machine"},
        group.length < records.length ? element("h3", {}, group.map((run) => run.name).join(", ")) : null,
        element("dl", {}, ...Object.entries(group[0].machine).map(([key, value]) => pair(key, value))))));
}

// -------------------------------------------------------------------------------------------------------- the page

function load(data) {
  take(data);
  byId("report").hidden = false;
  const name = runs.length === 1 ? runs[0].name : count(runs.length, "run");
  document.title = name + " \u00b7 DrakeGPT " + (embedded.live ? "live" : "report");
  byId("title").textContent = runs.length === 1 ? runs[0].name : "DrakeGPT report";
  const sources = new Set(runs.map((run) => run.settings["data.source"]));
  const source = sources.size === 1 && [...sources][0] ? " on " + [...sources][0] : "";
  byId("subtitle").textContent = (runs.length === 1 ? runs[0].model : count(records.length, "run")) + source;
  byId("warning").hidden = incomparable() === null;
  byId("warning").textContent = incomparable();
  renderAll();
}

function renderAll() {
  byId("training").hidden = !isRecorded();
  renderRunList();
  renderShown();
  renderModels();
  renderProgressions();
  renderQuantized();
  renderSettings();
  renderMachines();
}

/** Whether any run has come to its first line of metrics. */
const isRecorded = () => runs.some((run) => run.steps.step);

for (const radio of document.querySelectorAll("input[name=losses]")) {
  radio.addEventListener("change", () => {
    view.losses = radio.value;
    charts.forEach((chart) => chart.render());
  });
}
for (const [id, key] of [["log-loss", "logLoss"], ["log-steps", "logSteps"]]) {
  byId(id).addEventListener("change", () => {
    view[key] = byId(id).checked;
    charts.forEach((chart) => chart.render());
  });
}
byId("reset-zoom").addEventListener("click", () => zoomTo(null));
byId("all-runs").addEventListener("click", () => showAll(true));
byId("no-runs").addEventListener("click", () => showAll(false));
dark.addEventListener("change", () => palette && renderAll());
new ResizeObserver(() => palette && charts.forEach((chart) => chart.fit())).observe(byId("report"));
addEventListener("beforeprint", () => drawForPaper(true));
addEventListener("afterprint", () => drawForPaper(false));
byId("download-csv").addEventListener("click", () => {
  const link = element("a", {href: URL.createObjectURL(new Blob([csv()], {type: "text/csv"})), download: "drakegpt-runs.csv"});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});

/** Paper is white. */
function drawForPaper(printing) {
  view.printing = printing;
  document.documentElement.classList.toggle("printing", printing);
  palette && renderAll();
}

// ------------------------------------------------------------------------------------------------------------ live

function follow() {
  let ended = null;

  /** @param aloud whether screen readers should say it, which every step would be too much of */
  const say = (text, aloud = true) => {
    byId("status").hidden = false;
    byId("status-text").setAttribute("aria-live", aloud ? "polite" : "off");
    byId("status-text").textContent = text;
  };
  const standing = () => {
    const run = last(records); // each is trained after those before it
    const {step, valLoss, seconds} = progress(run);
    const speed = last(run.steps.tokensPerSecond);
    const first = run.settings["train.eval_interval"];
    byId("bar").hidden = false;
    byId("bar").max = run.iters;
    byId("bar").value = step;
    return [
      (records.length > 1 ? run.name + ": " : "") + "step " + asCount(step) + " of " + asCount(run.iters),
      step > 0 && has(seconds) ? asTime(seconds) + " elapsed" : null,
      ended === null && step > 0 && has(seconds) ? "about " + asTime((seconds / step) * (run.iters - step)) + " left" : null,
      has(valLoss) ? "validation loss " + asLoss(valLoss) : first ? "first evaluation at step " + asCount(Number(first)) : null,
      has(speed) ? asCount(speed) + " tokens/s" : null,
    ].filter(has).join(", ");
  };
  const report = () => {
    if (records.length === 0) {
      say("Waiting for the first run.");
    } else {
      say(ended === null ? standing() : standing() + ". " + ended, ended !== null);
    }
  };

  // several lines may come in the time of one drawing
  let waiting = false;
  let evaluated = false;
  const draw = (line) => {
    evaluated ||= has(line.val_loss);
    if (!waiting) {
      waiting = true;
      setTimeout(() => {
        runs.forEach(refreshed);
        byId("training").hidden = !isRecorded();
        charts.forEach((chart) => chart.update());
        models.refresh();
        if (evaluated) {
          refreshRunList();
          renderQuantized();
          renderSamples();
        }
        waiting = false;
        evaluated = false;
      }, 200);
    }
  };

  say("Waiting for the trainer.");
  const connect = () => {
    const events = new EventSource("events");
    events.addEventListener("report", (event) => {
      ended = null;
      load(JSON.parse(event.data));
      report();
    });
    events.addEventListener("metrics", (event) => {
      const {run, metrics} = JSON.parse(event.data);
      append(records[run], metrics);
      report();
      draw(metrics);
    });
    events.addEventListener("end", (event) => {
      ended = "Training has ended: " + JSON.parse(event.data).reason;
      report();
    });
    events.onerror = () => {
      if (ended === null) {
        say("The connection to the trainer is lost; the page keeps what it has and goes on when the trainer is there again.");
      }
      if (events.readyState === EventSource.CLOSED) { // refused, which a browser does not try again
        setTimeout(connect, 5000);
      }
    };
  };
  connect();
}

if (embedded.live) {
  follow();
} else {
  load(embedded);
}
