"use strict";

/*
 * Makes charts and tables of the runs that lie in the page as JSON; ReportPage.java says what they are. On a live page the
 * runs come as server-sent events instead, and grow. All text of runs reaches the document as text, never as HTML.
 */
(() => {
  const MOST_LABELS = 12; // lines with their name at the end
  const MOST_IN_READOUT = 12;
  const MOST_ROWS = 1000; // of a chart's table
  const MOST_CELLS = 20000;
  const MOST_CARDS = 24;
  const MOST_DRAWN = 2e6; // steps of a chart times its lines

  const embedded = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)"); // as in page.css: lines end in numbers there, for which names are too long

  let palette;
  let runs = [];
  let progressions = []; // as Progression.java finds them
  const hidden = new Set(); // names of runs
  const view = {losses: "both", logLoss: false, logSteps: false, zoom: null, sampleStep: null, printing: false};

  // ---------------------------------------------------------------------------------------------- numbers

  const grouped = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
  const compact = new Intl.NumberFormat("en", {notation: "compact", maximumSignificantDigits: 4});
  const NOTHING = "\u2013";

  const has = (value) => value !== null && value !== undefined;
  const formatted = (format) => (value) => (has(value) ? format(value) : NOTHING);
  const asCount = formatted((value) => grouped.format(value));
  const asLoss = formatted((value) => value.toFixed(4));
  const asDifference = formatted((value) => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(4));
  const asChange = formatted((value) => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(3));
  const asTimes = formatted((value) => value.toFixed(2));
  const asSmall = formatted((value) => String(Number(value.toPrecision(4))));
  const asMegabytes = formatted((value) => (value / 1e6).toFixed(value < 1e8 ? 2 : 0) + " MB");
  const asTime = formatted((seconds) => {
    if (seconds < 60) {
      return seconds.toFixed(1) + " s";
    }
    const minutes = Math.floor(seconds / 60);
    return minutes < 60
      ? minutes + " min " + Math.floor(seconds % 60) + " s"
      : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
  });

  // ---------------------------------------------------------------------------------------------- elements

  /** An element with attributes (null: none) and children, which are elements or text. */
  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value !== null) {
        made.setAttribute(key, value);
      }
    }
    made.append(...children.filter(has));
    return made;
  }

  /** A short line as the run's are drawn. */
  function keyLine(run, training) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const set = (node, attributes) => Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    set(svg, {class: "key-line", width: 24, height: 8, "aria-hidden": "true"});
    set(line, {
      x1: 0,
      x2: 24,
      y1: 4,
      y2: 4,
      stroke: colour(run),
      "stroke-width": training ? 1.5 : 3,
      "stroke-dasharray": (training ? palette.trainDash : dashes(run)).join(" "),
    });
    svg.append(line);
    return svg;
  }

  /**
   * A table that scrolls by itself.
   *
   * @param columns {title, value(row), show(row): text or element, number: right-aligned, hint}; the first one heads the row
   * @param groups lists of rows
   * @param sortable whether a click on a column's title sorts
   * @returns {node, refresh: shows the rows' values as they are now}
   */
  function table(label, columns, groups, {sortable = false, kind = "wide"} = {}) {
    let sorted = null; // {column, sign}
    const cell = (row) => (column, i) =>
      element(
        i === 0 ? "th" : "td",
        {scope: i === 0 ? "row" : null, class: (column.number ? "number-cell" : "") + (column.best?.(row) ? " best" : "")},
        column.show ? column.show(row) : column.value(row));
    const compare = (a, b) => {
      const [x, y] = [sorted.column.value(a), sorted.column.value(b)];
      if (!has(x) || !has(y)) {
        return has(y) - has(x); // what is not known goes last
      }
      return sorted.sign * (typeof x === "number" ? x - y : x.localeCompare(y, "en", {numeric: true}));
    };
    const bodies = groups.map(() => element("tbody", {class: "group"}));
    const refresh = () =>
      bodies.forEach((body, i) => {
        const rows = sorted === null ? groups[i] : [...groups[i]].sort(compare);
        body.replaceChildren(...rows.map((row) => element("tr", {}, ...columns.map(cell(row)))));
      });
    const heads = columns.map((column) => {
      const title = sortable ? element("button", {type: "button"}, column.title) : column.title;
      const head = element("th", {scope: "col", class: column.number ? "number-cell" : null, title: column.hint || null}, title);
      if (sortable) {
        title.addEventListener("click", () => {
          const again = head.getAttribute("aria-sort") === "ascending";
          heads.forEach((other) => other.removeAttribute("aria-sort"));
          head.setAttribute("aria-sort", again ? "descending" : "ascending");
          sorted = {column, sign: again ? -1 : 1};
          refresh();
        });
      }
      return head;
    });
    refresh();
    const content = element("table", {class: kind}, element("thead", {}, element("tr", {}, ...heads)), ...bodies);
    return {node: scrolling(label, content), refresh};
  }

  /** What is too wide scrolls within itself, by keyboard too. */
  function scrolling(label, content) {
    return element("div", {class: "scroll", role: "region", "aria-label": label, tabindex: "0"}, content);
  }

  // ---------------------------------------------------------------------------------------------- runs

  const isDark = () => dark.matches && !view.printing;
  const colour = (run) => palette[isDark() ? "dark" : "light"][run.index % palette.light.length];
  const dashes = (run) => palette.dashes[Math.floor(run.index / palette.light.length) % palette.dashes.length];
  const isShown = (run) => !hidden.has(run.name);
  const last = (values) => (values && values.length ? values[values.length - 1] : null);

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

  function runName(run) {
    const note = run.weightsOnly
      ? "packed weights"
      : !has(run.state) && !last(run.steps.step)
        ? "no checkpoint yet"
        : null;
    return element("span", {class: "run-name"}, keyLine(run), element("span", {}, run.name, note && element("span", {class: "aside"}, " \u00b7 " + note)));
  }

  const runColumn = {title: "run", value: (run) => run.name, show: runName};

  // ---------------------------------------------------------------------------------------------- charts

  /*
   * Each chart shows columns of `steps` or `evaluations` of all runs: {id, title, unit, from, columns: [{key, losses, training}],
   * height, loss: whether the axis may be logarithmic, show: text of a value, tick: text of an axis' value}.
   */
  const CHARTS = [
    {
      id: "loss",
      place: "loss-charts",
      title: "Loss at evaluations",
      unit: "nats per character; validation solid, training dashed",
      from: "evaluations",
      columns: [
        {key: "valLoss", name: "validation", losses: "val", training: false},
        {key: "trainLoss", name: "training", losses: "train", training: true},
      ],
      height: 440,
      labels: true,
      loss: true,
      show: asLoss,
    },
    {
      id: "batch",
      place: "batch-charts",
      title: "Training batches",
      unit: "loss of a step's batch, nats per character",
      from: "steps",
      columns: [{key: "loss"}],
      height: 300,
      labels: true,
      loss: true,
      show: asLoss,
    },
    {
      id: "gradient",
      place: "small-charts",
      title: "Gradient norm",
      unit: "before clipping",
      from: "steps",
      columns: [{key: "gradNorm"}],
      height: 210,
      show: asSmall,
    },
    {
      id: "rate",
      place: "small-charts",
      title: "Learning rate",
      from: "steps",
      columns: [{key: "learningRate"}],
      height: 210,
      show: asSmall,
    },
    {
      id: "speed",
      place: "small-charts",
      title: "Speed",
      unit: "tokens per second",
      from: "steps",
      columns: [{key: "tokensPerSecond"}],
      height: 210,
      show: asCount,
      tick: (value) => compact.format(value),
    },
    {
      id: "memory",
      place: "small-charts",
      title: "Peak memory",
      unit: "of the device, MB",
      from: "evaluations",
      columns: [{key: "peakMemory"}],
      height: 210,
      show: asMegabytes,
      tick: (value) => compact.format(value / 1e6),
    },
  ];

  const charts = CHARTS.map(makeChart);

  function makeChart(definition) {
    const {id, from, columns} = definition;
    const host = element("div", {
      class: "chart",
      id: "chart-" + id,
      tabindex: "0",
      role: "application",
      "aria-roledescription": "line chart",
    });
    const readout = element("div", {class: "readout", hidden: "", "aria-hidden": "true"});
    const spoken = element("div", {class: "spoken", "aria-live": "polite"});
    const thinning = element(
      "p",
      {class: "note", hidden: ""},
      "Of long runs only the highest and lowest points are drawn; zoom in to see all.");
    const values = element("details", {}, element("summary", {}, "Values as a table"));
    const figure = element(
      "figure",
      {},
      element("figcaption", {}, element("b", {}, definition.title), definition.unit ? " \u00b7 " + definition.unit : ""),
      host,
      readout,
      spoken,
      thinning,
      values);
    byId(definition.place).append(figure);

    let plot = null;
    let lines = []; // {run, column, x, y}, as in plot.data from 1 on
    let isPart = false; // whether plot.data has not all points of the lines

    const isLog = () => definition.loss && view.logLoss;

    function findLines() {
      const wanted = columns.filter((column) => !column.losses || view.losses === "both" || view.losses === column.losses);
      return runs.filter(isShown).flatMap((run) =>
        wanted
          .filter((column) => run[from][column.key] && run[from].step)
          .map((column) => ({run, column, x: run[from].step, y: run[from][column.key]})));
    }

    /** What is drawn: all steps, and for each line its values there. */
    function joined() {
      const positive = (y) => (isLog() ? y.map((value) => (value > 0 ? value : null)) : y);
      const all = lines.map((line) => [line.x, positive(line.y)]);
      const areTooMany = (points) => countSteps(points) * lines.length > MOST_DRAWN;
      const visible = (most) => all.map(([x, y]) => thinned(x, y, view.zoom || [0, Infinity], most));
      let tables = all;
      isPart = areTooMany(all);
      thinning.hidden = true;
      if (isPart) {
        tables = visible(Infinity);
        thinning.hidden = !areTooMany(tables);
        for (let most = 1 << 14; areTooMany(tables) && most > 100; most /= 2) {
          tables = visible(most);
        }
      }
      // the runs' columns themselves must not become uPlot's: they grow
      return lines.length === 1 ? tables[0].map((column) => column.slice()) : uPlot.join(tables);
    }

    /** Draws anew, with the cursor where it was. */
    function render() {
      const step = plot && has(plot.cursor.idx) ? plot.data[0][plot.cursor.idx] : null;
      lines = findLines();
      figure.hidden = id !== "loss" && !runs.some((run) => columns.some((column) => run[from][column.key]));
      plot?.destroy();
      plot = null;
      host.setAttribute(
        "aria-label",
        definition.title + (definition.unit ? ", " + definition.unit : "") + ", of " + count(new Set(lines.map((l) => l.run)).size, "run")
          + ". Arrow keys move the cursor through the steps, plus and minus zoom, escape ends both; the values are in the table below.");
      values.open && fillTable();
      host.replaceChildren();
      readout.hidden = true;
      if (lines.length === 0) {
        host.append(element("p", {class: "empty"}, "No run is shown that has these values."));
      } else if (host.clientWidth > 0) {
        const width = view.printing ? Math.min(host.clientWidth, definition.height > 250 ? 680 : 330) : host.clientWidth;
        plot = new uPlot(options(width), joined(), host);
        queueMicrotask(() => moveTo(step)); // uPlot has then done its part, which it queues too
      }
    }

    /** After values were added to the runs. */
    function update() {
      const before = lines;
      const now = findLines();
      if (plot === null || now.length !== before.length) {
        render();
        return;
      }
      lines = now;
      values.open && fillTable();
      const step = has(plot.cursor.idx) ? plot.data[0][plot.cursor.idx] : null;
      plot.setData(joined());
      queueMicrotask(() => moveTo(step));
    }

    function options(width) {
      const style = getComputedStyle(document.documentElement);
      const [muted, grid] = ["--muted", "--grid"].map((name) => style.getPropertyValue(name));
      const font = "12px " + getComputedStyle(document.body).fontFamily;
      const axis = {stroke: muted, font, grid: {stroke: grid, width: 1}, ticks: {show: false}, gap: 6};
      const labels = endLabels(width, font);
      const log = (on) => (on ? {distr: 3, log: 10} : {});
      const crowded = lines.length > 50;
      return {
        width,
        height: narrow.matches ? Math.min(definition.height, 320) : definition.height,
        padding: [10, labels.width, 0, 0],
        legend: {show: false},
        scales: {
          x: {time: false, range: () => view.zoom || allSteps(from), ...log(view.logSteps)},
          y: {range: (u, min, max) => valueRange(min, max, isLog()), ...log(isLog())},
        },
        axes: [
          {
            ...axis,
            size: 28,
            label: definition.height > 250 ? "step" : null,
            labelFont: font,
            labelSize: 18,
            labelGap: 0,
            space: 70,
            splits: view.logSteps ? (u, i, min, max) => logTicks(min, max) : undefined,
            filter: (u, splits) => splits,
            values: (u, splits) => splits.map((step) => (Number.isInteger(step) ? asCount(step) : null)), // none between two steps
          },
          {
            ...axis,
            space: 36,
            size: (u, shown) => 14 + 7 * Math.max(3, ...(shown || []).map((value) => (value ? value.length : 0))),
            splits: isLog() ? (u, i, min, max) => logTicks(min, max) : undefined,
            filter: (u, splits) => splits,
            values: (u, splits) => splits.map(definition.tick || ((value) => String(Number(value.toPrecision(6))))),
          },
        ],
        series: [
          {},
          ...lines.map(({run, column, y}) => ({
            stroke: colour(run),
            width: crowded ? 1 : column.training || from === "steps" ? 1.25 : 2,
            alpha: crowded ? 0.6 : 1,
            dash: column.training ? palette.trainDash : dashes(run),
            points: {show: y.reduce((sum, value) => sum + has(value), 0) === 1, size: 6, fill: colour(run)},
          })),
        ],
        cursor: {
          y: false,
          // without points no line's value needs to be searched for
          ...(lines.length <= 2 * MOST_LABELS ? {points: {size: 8}} : {points: {show: false}, dataIdx: (u, line, i) => i}),
          drag: {x: true, y: false, setScale: false, dist: 6},
          bind: {dblclick: () => () => zoomTo(null)},
        },
        hooks: {
          setCursor: [onCursor],
          setSelect: [onSelect],
          draw: [labels.draw],
        },
      };
    }

    // ------------------------------------------------------------------------------ names at the ends of lines

    function endLabels(width, font) {
      const context = document.createElement("canvas").getContext("2d");
      context.font = font;
      const lastStep = context.measureText(asCount((view.zoom || allSteps(from))[1])).width / 2 + 6;
      const first = columns.find((column) => lines.some((line) => line.column === column));
      const named = lines.filter((line) => line.column === first);
      if (!definition.labels || named.length > MOST_LABELS) {
        return {width: lastStep, draw: () => {}};
      }
      const most = Math.min(220, width / 4);
      const names = named.map((line) => (narrow.matches ? String(line.run.index + 1) : shortened(context, line.run.name, most)));
      const widest = Math.max(...names.map((name) => context.measureText(name).width));
      return {width: Math.max(lastStep, widest + 20), draw: (u) => drawLabels(u, named, names, font)};
    }

    function drawLabels(u, named, names, font) {
      const ratio = uPlot.pxRatio;
      const {ctx} = u;
      const right = u.bbox.left + u.bbox.width;
      const [from, to] = [u.scales.x.min, u.scales.x.max];
      const place = (line, i) => [u.valToPos(line.x[i], "x", true), u.valToPos(line.y[i], "y", true)];
      const labels = [];
      named.forEach((line, i) => {
        let end = indexUpTo(line.x, to);
        while (end >= 0 && !has(line.y[end])) {
          end--;
        }
        if (end >= 0 && line.x[end] >= from) {
          let [x, y] = place(line, end);
          if (has(line.y[end + 1])) {
            // it goes on beyond the axis
            const [nextX, nextY] = place(line, end + 1);
            y += ((nextY - y) * (right - x)) / (nextX - x);
            x = right;
          }
          labels.push({name: names[i], run: line.run, end: [x, y], y});
        }
      });
      spread(labels, 15 * ratio, u.bbox.top + 7 * ratio, u.bbox.top + u.bbox.height - 7 * ratio);
      ctx.save();
      ctx.font = font.replace(/^\d+/, (size) => String(size * ratio));
      ctx.setLineDash([]);
      ctx.textBaseline = "middle";
      ctx.textAlign = "left";
      for (const label of labels) {
        ctx.strokeStyle = colour(label.run);
        ctx.lineWidth = ratio;
        ctx.globalAlpha = 0.6;
        ctx.beginPath();
        ctx.moveTo(label.end[0] + 2 * ratio, label.end[1]);
        ctx.lineTo(right + 4 * ratio, label.end[1]);
        ctx.lineTo(right + 12 * ratio, label.y);
        ctx.stroke();
        ctx.globalAlpha = 1;
        ctx.fillStyle = colour(label.run);
        ctx.fillText(label.name, right + 15 * ratio, label.y);
      }
      ctx.restore();
    }

    // ------------------------------------------------------------------------------ cursor

    let byKeyboard = false;

    function moveTo(step) {
      if (plot === null) {
        return;
      }
      const off = step === null || plot.data[0].length === 0 || step < plot.scales.x.min || step > plot.scales.x.max;
      plot.setCursor(off ? {left: -10, top: -10} : {left: plot.valToPos(step, "x"), top: -10}, false);
    }

    function onCursor(u) {
      const step = u.cursor.idx === null || u.cursor.idx === undefined || u.cursor.left < 0 ? null : u.data[0][u.cursor.idx];
      charts.forEach((chart) => chart !== self && chart.follow(step));
      showReadout(step, u.cursor.top);
    }

    function onSelect(u) {
      const {left, width} = u.select;
      if (width > 0) {
        const from = u.posToVal(left, "x");
        const to = u.posToVal(left + width, "x");
        u.setSelect({left: 0, top: 0, width: 0, height: 0}, false);
        zoomTo([from, to]);
      }
    }

    /** The values of the runs at a step: each one's last up to there. */
    function readings(step) {
      const found = new Map();
      for (const line of lines) {
        const i = indexUpTo(line.x, step);
        if (i >= 0 && step <= last(line.x)) {
          const reading = found.get(line.run) || {run: line.run, step: line.x[i], values: new Map()};
          reading.values.set(line.column, line.y[i]);
          found.set(line.run, reading);
        }
      }
      return [...found.values()];
    }

    /** @param top where the pointer is, in pixels; negative if there is none */
    function showReadout(step, top) {
      readout.hidden = step === null;
      if (step === null) {
        return;
      }
      const shown = columns.filter((column) => lines.some((line) => line.column === column));
      const main = (reading) => shown.map((column) => reading.values.get(column)).find(has);
      const all = readings(step);
      const value = top >= 0 ? plot.posToVal(top, "y") : null;
      const distance = (reading) =>
        Math.min(...[...reading.values.values()].map((y) => (has(y) ? Math.abs(y - value) : Infinity)));
      let nearest = null;
      let listed = all;
      if (value !== null && all.length > 1) {
        listed = [...all].sort((a, b) => distance(a) - distance(b)).slice(0, MOST_IN_READOUT);
        nearest = listed[0];
      }
      listed = [...listed].sort((a, b) => (main(b) ?? -Infinity) - (main(a) ?? -Infinity)); // as the lines lie
      if (listed.length > MOST_IN_READOUT) {
        listed = listed.slice(-MOST_IN_READOUT); // by keyboard: the lowest
      }
      const rows = listed.map((reading) =>
        element(
          "tr",
          {class: reading === nearest ? "nearest" : null, "data-run": String(reading.run.index)},
          element(
            "th",
            {scope: "row"},
            keyLine(reading.run),
            reading.run.name,
            reading.step === step ? null : element("span", {class: "aside"}, " at " + asCount(reading.step))),
          ...shown.map((column) => element("td", {class: "number-cell"}, definition.show(reading.values.get(column))))));
      const titles = shown.length > 1 ? shown.map((column) => element("th", {class: "number-cell"}, column.name)) : [];
      const content = element(
        "table",
        {},
        element("thead", {}, element("tr", {}, element("th", {}, "step " + asCount(step)), ...titles)),
        element("tbody", {}, ...rows));
      const more = all.length - listed.length;
      readout.replaceChildren(content, more > 0 ? element("div", {class: "aside"}, "and " + count(more, "more run")) : "");
      placeReadout();
      if (byKeyboard) {
        spoken.textContent =
          "Step " + asCount(step) + ". "
          + listed
            .map((r) => r.run.name + ": " + shown.map((c) => (shown.length > 1 ? c.name + " " : "") + definition.show(r.values.get(c))).join(", "))
            .join("; ");
      }
    }

    /** On the side of the cursor that has more room. */
    function placeReadout() {
      const place = plot.over.offsetLeft + plot.cursor.left;
      const toTheRight = plot.cursor.left < plot.over.clientWidth / 2;
      const room = host.clientWidth - readout.offsetWidth;
      const left = toTheRight ? place + 14 : place - 14 - readout.offsetWidth;
      readout.style.left = Math.max(0, Math.min(room, left)) + "px";
      readout.style.top = host.offsetTop + 8 + "px";
    }

    host.addEventListener("keydown", (event) => {
      if (plot === null || plot.data[0].length === 0 || event.ctrlKey || event.metaKey || event.altKey) {
        return;
      }
      const steps = plot.data[0];
      const first = indexUpTo(steps, plot.scales.x.min - 1e-9) + 1;
      const end = indexUpTo(steps, plot.scales.x.max + 1e-9);
      const now = plot.cursor.left >= 0 && has(plot.cursor.idx) ? plot.cursor.idx : null;
      const page = Math.max(1, Math.round((end - first) / 20));
      const moves = {
        ArrowLeft: () => (now === null ? end : now - 1),
        ArrowRight: () => (now === null ? first : now + 1),
        PageUp: () => (now === null ? end : now - page),
        PageDown: () => (now === null ? first : now + page),
        Home: () => first,
        End: () => end,
      };
      if (event.key in moves) {
        const to = Math.max(first, Math.min(end, moves[event.key]()));
        byKeyboard = true;
        moveTo(steps[to]);
        showReadout(steps[to], -1);
        charts.forEach((chart) => chart !== self && chart.follow(steps[to]));
        byKeyboard = false;
      } else if (event.key === "Escape" && now !== null) {
        leave();
      } else if (event.key === "Escape") {
        zoomTo(null);
      } else if (event.key === "+" || event.key === "=" || event.key === "-") {
        const step = now === null ? null : steps[now];
        zoomAround(step, event.key === "-" ? 2 : 0.5, allSteps(from));
        queueMicrotask(() => {
          moveTo(step);
          showReadout(step, -1);
        });
      } else {
        return;
      }
      event.preventDefault();
    });

    function leave() {
      moveTo(null);
      showReadout(null);
      spoken.textContent = "";
      charts.forEach((chart) => chart !== self && chart.follow(null));
    }

    host.addEventListener("blur", leave);

    // ------------------------------------------------------------------------------ the same as a table

    values.addEventListener("toggle", () => values.open && fillTable());

    function fillTable() {
      const steps = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
      const most = Math.max(20, Math.min(MOST_ROWS, Math.floor(MOST_CELLS / (lines.length + 1))));
      const each = Math.max(1, Math.ceil(steps.length / most));
      const rows = steps.filter((_, i) => (steps.length - 1 - i) % each === 0); // the last one is always there
      const value = ({x, y}) => (step) => {
        const i = indexUpTo(x, step);
        return i >= 0 && step <= last(x) && (each > 1 || x[i] === step) ? y[i] : null;
      };
      const tableColumns = [
        {title: "step", value: (step) => step, show: asCount, number: true},
        ...lines.map((line) => ({
          title: line.run.name + (columns.length > 1 ? ", " + line.column.name : ""),
          value: value(line),
          show: (step) => definition.show(value(line)(step)),
          number: true,
        })),
      ];
      const content = [table(definition.title, tableColumns, [rows], {kind: "narrow"}).node];
      if (each > 1) {
        content.push(element("p", {class: "note"}, "One of " + each + " recorded steps, with each run's last value up to it; metrics.jsonl in a run's folder has all."));
      }
      values.replaceChildren(values.firstChild, ...content);
    }

    const self = {
      render,
      update,
      zoom() {
        if (isPart) {
          render(); // with other points
          return;
        }
        const [min, max] = view.zoom || allSteps(from);
        plot?.setScale("x", {min, max});
      },
      follow: (step) => {
        readout.hidden = true;
        if (plot !== null) {
          plot.hooks.setCursor = []; // it would tell the others again
          moveTo(step);
          plot.hooks.setCursor = [onCursor];
        }
      },
      /** After the page's width may have changed. */
      fit: () => !view.printing && plot?.width !== host.clientWidth && render(),
    };
    return self;
  }

  /** How many different steps the first columns of tables have. */
  function countSteps(tables) {
    const [first] = tables;
    if (tables.every(([x]) => x.length === first[0].length && last(x) === last(first[0]))) {
      return first[0].length; // as in runs of the same settings
    }
    return new Set(tables.flatMap(([x]) => x)).size;
  }

  /** Of the points between two steps, and one beyond each, the lowest and the highest of every few. */
  function thinned(x, y, [from, to], most) {
    const start = Math.max(0, indexUpTo(x, from));
    const end = Math.min(x.length, indexUpTo(x, to) + 2);
    if (end - start <= most) {
      return [x.slice(start, end), y.slice(start, end)];
    }
    const kept = new Set([start]);
    const each = Math.ceil((2 * (end - start)) / most);
    for (let i = start; i < end; i += each) {
      let [low, high] = [i, i];
      for (let j = i; j < Math.min(end, i + each); j++) {
        low = y[j] < y[low] || !has(y[low]) ? j : low;
        high = y[j] > y[high] || !has(y[high]) ? j : high;
      }
      kept.add(Math.min(low, high)).add(Math.max(low, high));
    }
    kept.add(end - 1);
    const places = [...kept];
    return [places.map((i) => x[i]), places.map((i) => y[i])];
  }

  const count = (n, what) => grouped.format(n) + " " + what + (n === 1 ? "" : "s");

  function shortened(context, name, most) {
    const characters = [...name];
    let text = name;
    while (characters.length > 1 && context.measureText(text).width > most) {
      characters.pop();
      text = characters.join("") + "\u2026";
    }
    return text;
  }

  /** Moves labels apart to a least distance, in their order from top to bottom, between two limits. */
  function spread(labels, distance, top, bottom) {
    labels.sort((a, b) => a.y - b.y);
    labels.forEach((label, i) => {
      label.y = Math.max(label.y, i ? labels[i - 1].y + distance : top);
    });
    for (let i = labels.length - 1; i >= 0; i--) {
      labels[i].y = Math.min(labels[i].y, i === labels.length - 1 ? bottom : labels[i + 1].y - distance);
    }
  }

  /** From the first step or evaluation of all runs that are shown to the last. */
  function allSteps(from) {
    const shown = runs.filter((run) => isShown(run) && run[from].step);
    const first = Math.min(...shown.map((run) => run[from].step[0]));
    const end = Math.max(...shown.map((run) => last(run[from].step)));
    if (first === end) {
      return [view.logSteps ? first / 2 : 0, end * 2];
    }
    return [view.logSteps || first > end / 5 ? first : 0, end];
  }

  /** The axis' range for the values that it has to show. */
  function valueRange(min, max, log) {
    if (!has(min)) {
      return log ? [1, 10] : [0, 1];
    }
    if (log) {
      const room = Math.max(1.01, Math.pow(max / min, 0.05));
      return [min / room, max * room];
    }
    const room = max > min ? (max - min) * 0.05 : Math.abs(max) * 0.1 || 1;
    return [min >= 0 ? Math.max(0, min - room) : min - room, max + room];
  }

  /** 1, 2, 5, 10, 20 and so on; of a range of less than a power of ten, even steps. */
  function logTicks(min, max) {
    if (max / min > 8) {
      const many = max / min > 1e4;
      const ticks = [];
      for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power++) {
        for (const digit of many ? [1] : [1, 2, 5]) {
          const tick = Number((digit * Math.pow(10, power)).toPrecision(6));
          if (tick >= min && tick <= max) {
            ticks.push(tick);
          }
        }
      }
      return ticks;
    }
    const rough = (max - min) / 6;
    const power = Math.pow(10, Math.floor(Math.log10(rough)));
    const step = power * ([1, 2, 5].find((digit) => digit * power >= rough) || 10);
    const ticks = [];
    for (let i = Math.ceil(min / step); i * step <= max; i++) {
      ticks.push(Number((i * step).toPrecision(6)));
    }
    return ticks;
  }

  function zoomTo(range) {
    view.zoom = range;
    byId("reset-zoom").hidden = range === null;
    charts.forEach((chart) => chart.zoom());
  }

  /**
   * @param step what stays where it is; null: the middle
   * @param all from the first step that can be seen to the last
   */
  function zoomAround(step, factor, all) {
    const [from, to] = view.zoom || all;
    const centre = step ?? (from + to) / 2;
    const zoomed = [Math.max(all[0], centre - (centre - from) * factor), Math.min(all[1], centre + (to - centre) * factor)];
    if (zoomed[1] - zoomed[0] >= 1) {
      zoomTo(zoomed[0] <= all[0] && zoomed[1] >= all[1] ? null : zoomed);
    }
  }

  // ---------------------------------------------------------------------------------------------- list of runs

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
          element("span", {class: "number"}, String(run.index + 1)),
          element("span", {class: "name"}, run.name),
          element("span", {class: "value"}));
        return element("li", {}, label);
      }));
    refreshRunList();
  }

  function refreshRunList() {
    byId("runs").querySelectorAll(".value").forEach((value, i) => {
      value.textContent = asLoss(progress(runs[i]).valLoss);
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

  // ---------------------------------------------------------------------------------------------- tables

  let models; // the table

  function isBest(run) {
    const loss = (of) => progress(of).bestValLoss ?? Infinity;
    return runs.every((other) => loss(run) <= loss(other)) && loss(run) < Infinity;
  }

  function renderModels() {
    const field = (title, key, show, hint) => ({
      title,
      value: (run) => progress(run)[key],
      show: (run) => show(progress(run)[key]),
      number: true,
      hint,
    });
    const columns = [
      runColumn,
      {title: "model", value: (run) => run.model},
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
      field("train loss", "trainLoss", asLoss, "estimate of the last evaluation"),
      field("val loss", "valLoss", asLoss, "over the whole validation split at the end of the training; an estimate before"),
      {...field("best val loss", "bestValLoss", asLoss), best: (run) => isBest(run)},
      field("time", "seconds", asTime, "evaluations included"),
      field("tokens/s", "tokensPerSecond", asCount, "of the training steps alone"),
      field("steps/s", "stepsPerSecond", asCount, "of the training steps alone"),
    ].filter((column) => column.title !== "model" || runs.some((run) => run.name !== run.model));
    models = table("Models", columns, [runs], {sortable: true});
    byId("models").replaceChildren(
      models.node,
      element("p", {class: "note"}, "Losses in nats per character; the lowest validation loss is bold. Time with evaluations, speed without."));
  }

  // ---------------------------------------------------------------------------------------------- what each part bought

  function renderProgressions() {
    byId("progression").hidden = progressions.length === 0;
    const firsts = progressions.map(({steps}) => runs[steps[0].runs[0]]);
    const differing = differingSettings(firsts).filter((key) => key !== "model.name" && key !== "train.seed");
    byId("progressions").replaceChildren(
      ...progressions.flatMap(({sentence, largestChange, steps}, i) => {
        const bar = ({change}) => {
          if (!has(change)) {
            return "";
          }
          const node = element("div", {class: change < 0 ? "bar" : "bar worse"});
          node.style.width = (100 * Math.abs(change)) / (largestChange || 1) + "%";
          return element("div", {class: "bars"}, node);
        };
        const columns = [
          {title: "model", value: (step) => step.model, show: (step) => modelName(step)},
          {title: "adds", value: (step) => step.adds, show: (step) => element("span", {class: "adds"}, step.adds)},
          {title: "val loss", value: (step) => step.valLoss, show: (step) => asLoss(step.valLoss), number: true},
          {title: "change", value: (step) => step.change, show: (step) => asChange(step.change), number: true},
          {title: "", value: (step) => step.change, show: bar},
        ];
        const title = differing.map((key) => key + " " + (firsts[i].settings[key] ?? NOTHING)).join(", ");
        return [
          title ? element("h3", {}, title) : "",
          element("p", {class: "verdict"}, sentence),
          table("What each part bought" + (title && ", " + title), columns, [steps]).node,
        ];
      }));
  }

  /** A step's model with its run's line; of several runs the first one's. */
  function modelName(step) {
    const more = step.runs.length - 1;
    return element(
      "span",
      {class: "run-name"},
      keyLine(runs[step.runs[0]]),
      element("span", {}, step.model, more ? element("span", {class: "aside"}, " \u00b7 mean of " + count(more + 1, "run")) : null));
  }

  // ---------------------------------------------------------------------------------------------- quantized

  const WEIGHTS = {none: "fp32", "b1.58": "1.58 bits", bitnet: "1 bit"};

  function renderQuantized() {
    // compared is what differs in the weights alone
    const groups = new Map();
    for (const run of runs.filter((r) => r.model.startsWith("TransformerLM"))) {
      const shape = ["vocab_size", "context_length", "embedding_dim", "num_heads", "num_layers"].map((key) => run.settings["model." + key]);
      const key = JSON.stringify([...shape, run.settings["data.sha256"]]);
      groups.set(key, [...(groups.get(key) || []), run]);
    }
    const compared = [...groups.values()]
      .map((group) => [...group.filter((run) => run.quant === "none"), ...group.filter((run) => run.quant !== "none")])
      .filter((group) => group[0].quant === "none" && last(group).quant !== "none");
    byId("quantized").hidden = compared.length === 0;
    if (compared.length === 0) {
      return;
    }
    const full = new Map(compared.flatMap((group) => group.map((run) => [run, group[0]])));
    const loss = (run) => progress(run).valLoss ?? run.profile?.val_loss ?? null;
    const isFull = (run) => full.get(run) === run;
    const differs = (run) => (isFull(run) || !has(loss(run)) || !has(loss(full.get(run))) ? null : loss(run) - loss(full.get(run)));
    const times = (run) => full.get(run).weightBytes / run.weightBytes;
    const speed = (run) => progress(run).tokensPerSecond;
    const content = [
      table(
        "Quantized against full precision",
        [
          runColumn,
          {title: "weights", value: (run) => WEIGHTS[run.quant]},
          {title: "val loss", value: loss, show: (run) => asLoss(loss(run)), number: true},
          {title: "difference", value: differs, show: (run) => asDifference(differs(run)), number: true},
          {title: "weight bytes", value: (run) => run.weightBytes, show: (run) => asCount(run.weightBytes), number: true},
          {title: "times smaller", value: times, show: (run) => (isFull(run) ? NOTHING : asTimes(times(run))), number: true},
          {title: "training tokens/s", value: speed, show: (run) => asCount(speed(run)), number: true},
        ],
        compared).node,
    ];
    const profiled = compared.flat();
    const devices = new Set(profiled.map((run) => run.profile?.device));
    const device = [...devices][0];
    if (devices.size === 1 && device) {
      const measured = (run, phase, batch) =>
        run.profile.speed?.find((row) => row.phase === phase && row.batch === batch)?.tokens_per_s ?? null;
      const columns = ["prefill", "decode"].flatMap((phase) =>
        [1, 8, 64].map((batch) => ({
          title: phase + ", batch " + batch,
          value: (run) => measured(run, phase, batch),
          show: (run) => asCount(measured(run, phase, batch)),
          number: true,
        })));
      content.push(
        element("p", {class: "note"}, "Inference, tokens per second on " + device + ": prefill reads a prompt, decode writes."),
        table("Speed of inference", [runColumn, ...columns], compared).node);
    }
    byId("quantized-tables").replaceChildren(...content);
  }

  // ---------------------------------------------------------------------------------------------- samples

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
          about.textContent =
            i < 0 ? "nothing yet" : "step " + asCount(evaluations.step[i]) + ", validation loss " + asLoss(evaluations.valLoss[i]);
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

  const settingKeys = (some) => [...new Set(some.flatMap((run) => Object.keys(run.settings)))];
  const differingSettings = (some) => settingKeys(some).filter((key) => some.some((run) => run.settings[key] !== some[0].settings[key]));

  /** The value that most of some runs have; the first of several. */
  function usual(key, some) {
    const times = new Map();
    some.forEach((run) => times.set(run.settings[key], (times.get(run.settings[key]) || 0) + 1));
    return [...times].reduce((most, each) => (each[1] > most[1] ? each : most))[0];
  }

  const pair = (key, value) => element("div", {class: "pair"}, element("dt", {}, key), element("dd", {}, value));

  function renderMachines() {
    const machines = new Map();
    for (const run of runs.filter((r) => Object.keys(r.machine).length > 0)) {
      const key = JSON.stringify(run.machine);
      machines.set(key, [...(machines.get(key) || []), run]);
    }
    byId("machine").hidden = machines.size === 0;
    byId("machines").replaceChildren(
      ...[...machines.values()].map((group) =>
        element(
          "div",
          {class: "machine"},
          group.length < runs.length ? element("h3", {}, group.map((run) => run.name).join(", ")) : null,
          element("dl", {}, ...Object.entries(group[0].machine).map(([key, value]) => pair(key, value))))));
  }

  // ---------------------------------------------------------------------------------------------- the page

  function load(data) {
    palette = data.palette;
    runs = data.runs;
    runs.forEach((run, index) => {
      run.index = index;
    });
    byId("report").hidden = false;
    const name = runs.length === 1 ? runs[0].name : count(runs.length, "run");
    document.title = name + " \u00b7 DrakeGPT " + (embedded.live ? "live" : "report");
    byId("title").textContent = runs.length === 1 ? runs[0].name : "DrakeGPT report";
    const sources = new Set(runs.map((run) => run.settings["data.source"]));
    const source = sources.size === 1 && [...sources][0] ? " on " + [...sources][0] : "";
    byId("subtitle").textContent = (runs.length === 1 ? runs[0].model : count(runs.length, "run")) + source;
    progressions = data.progressions;
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
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));

  /** Paper is white. */
  function print(printing) {
    view.printing = printing;
    document.documentElement.classList.toggle("printing", printing);
    palette && renderAll();
  }

  // ---------------------------------------------------------------------------------------------- live

  function follow() {
    let ended = null;

    /** @param aloud whether screen readers should say it, which every step would be too much of */
    const say = (text, aloud = true) => {
      byId("status").hidden = false;
      byId("status").setAttribute("aria-live", aloud ? "polite" : "off");
      byId("status").textContent = text;
    };
    const standing = () => {
      const run = last(runs); // each is trained after those before it
      const {step, valLoss} = progress(run);
      const speed = last(run.steps.tokensPerSecond);
      return (
        (runs.length > 1 ? run.name + ": " : "")
        + "step " + asCount(step) + " of " + asCount(run.iters)
        + (has(valLoss) ? ", validation loss " + asLoss(valLoss) : "")
        + (has(speed) ? ", " + asCount(speed) + " tokens/s" : "")
      );
    };
    const report = () => {
      if (runs.length === 0) {
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
        append(runs[run], metrics);
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

  /** Adds a line of metrics.jsonl to a run. */
  function append(run, line) {
    const add = (columns, values) => {
      const before = (columns.step || []).length;
      for (const [name, value] of Object.entries(values)) {
        if (!columns[name] && has(value)) {
          columns[name] = new Array(before).fill(null);
        }
        columns[name]?.push(name === "sample" || Number.isFinite(value) ? value : null); // "NaN" is a text there
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

  if (embedded.live) {
    follow();
  } else {
    load(embedded);
  }
})();
