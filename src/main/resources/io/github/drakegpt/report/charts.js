/* The charts of runs, drawn by uPlot. */

const MOST_LABELS = 12; // lines with their name at the end
const MOST_IN_READOUT = 12;
const MOST_ROWS = 1000; // of a chart's table
const MOST_CELLS = 20000;
const MOST_DRAWN = 2e6; // steps of a chart times its lines

/*
 * Each chart shows columns of `steps` or `evaluations` of all runs: {id, title, unit, from, columns: [{key, losses, training}],
 * height, labels: whether lines have names at their ends, loss: whether the axis may be logarithmic and leaves out what towers
 * above the rest, log: whether it always is, span: the least that it covers, show: text of a value, tick: text of an axis'
 * value}.
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
    span: 0.1,
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
    span: 0.1,
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
    labels: true,
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
    log: true,
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
  const above = element("p", {class: "note above", hidden: ""});
  const values = element("details", {}, element("summary", {}, "Values as a table"));
  const figure = element(
    "figure",
    {},
    element("figcaption", {}, element("b", {}, definition.title), definition.unit ? " \u00b7 " + definition.unit : ""),
    host,
    readout,
    spoken,
    thinning,
    above,
    values);
  byId(definition.place).append(figure);

  let plot = null;
  let lines = []; // {run, column, x, y}, as in plot.data from 1 on
  let isPart = false; // whether plot.data has not all points of the lines

  const isLog = () => definition.log || (definition.loss && view.logLoss);

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
    above.hidden = true;
    if (lines.length === 0) {
      host.append(element("p", {class: "empty"}, whyEmpty()));
    } else if (host.clientWidth > 0) {
      const width = view.printing ? Math.min(host.clientWidth, definition.height > 250 ? 680 : 330) : host.clientWidth;
      plot = new uPlot(options(width), joined(), host);
      queueMicrotask(() => moveTo(step)); // uPlot has then done its part, which it queues too
    }
  }

  function whyEmpty() {
    const shown = runs.filter(isShown);
    const first = Math.min(...shown.map((run) => Number(run.settings["train.eval_interval"]) || Infinity));
    return embedded.live && from === "evaluations" && shown.length > 0 && first < Infinity
      ? "First evaluation at step " + asCount(first) + "."
      : "No run is shown that has these values.";
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
    const [muted, grid] = ["--muted", "--grid"].map(styleOf);
    const font = (narrow.matches ? "11px " : "12px ") + getComputedStyle(document.body).fontFamily;
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
        y: {range: rangeOf, ...log(isLog())},
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
        ...lines.map(({run, column}) => ({
          stroke: colour(run),
          width: crowded ? 1 : column.training || from === "steps" ? 1.25 : 2,
          alpha: crowded ? 0.6 : 1,
          dash: column.training ? palette.trainDash : [],
          points: points(run, column),
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
        drawAxes: [drawBands],
        draw: [labels.draw],
      },
    };
  }

  /** A dot for a single value, of training a hollow one; for runs beyond as many as there are colours, one at each evaluation. */
  function points(run, column) {
    const isMarked = from === "evaluations" && !column.training && mark(run) !== "none";
    const fill = column.training ? styleOf("--background") : isMarked ? markFill(run) : colour(run);
    return {show: (u, line) => isMarked || isSingle(u.data[line]), size: 6, width: 1.5, fill};
  }

  /** The axis of values, for the steps that it has to show; says so where it leaves some out above. */
  function rangeOf() {
    const [min, max] = view.zoom || allSteps(from);
    const isDrawn = (value) => has(value) && (!isLog() || value > 0);
    let [lowest, highest] = [Infinity, -Infinity];
    const all = [];
    const later = [];
    const ends = [];
    for (const {run, column, x, y} of lines) {
      const [start, end] = [indexUpTo(x, min - 1e-9) + 1, indexUpTo(x, max + 1e-9)];
      const each = Math.max(1, Math.floor((end - start) / 1000)); // enough to tell which values tower above the others
      const [low, high] = [run[from].low?.[column.key] || y, run[from].high?.[column.key] || y];
      let newest = null;
      for (let i = end; i >= start; i--) {
        if (isDrawn(low[i])) {
          lowest = Math.min(lowest, low[i]);
          highest = Math.max(highest, high[i]);
          newest ??= high[i];
          if ((end - i) % each === 0) {
            all.push(y[i]);
            i > 0 && later.push(y[i]);
          }
        }
      }
      has(newest) && ends.push(newest);
    }
    const cut = definition.loss && all.length > 0 ? towering(Float64Array.from(all).sort(), later, highest, ends) : Infinity;
    above.hidden = cut === Infinity;
    above.textContent = above.hidden ? "" : "The highest values, up to " + definition.show(highest) + ", are above the chart: zoom in to see them.";
    return valueRange(lowest, Math.min(highest, cut), isLog(), definition.span || 0);
  }

  /** Runs of several seeds: from the lowest to the highest value. */
  function drawBands(u) {
    const {ctx} = u;
    for (const {run, column, x} of lines.filter((line) => line.run[from].low && !line.column.training)) {
      const [low, high] = [run[from].low[column.key], run[from].high[column.key]];
      const place = (values) => (i) => [u.valToPos(x[i], "x", true), u.valToPos(values[i], "y", true)];
      const drawn = x.map((_, i) => i).filter((i) => has(low[i]) && (!isLog() || low[i] > 0));
      const outline = [...drawn.map(place(high)), ...drawn.reverse().map(place(low))];
      ctx.save();
      ctx.beginPath();
      ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
      ctx.clip();
      ctx.beginPath();
      outline.forEach(([left, top]) => ctx.lineTo(left, top));
      ctx.globalAlpha = 0.18;
      ctx.fillStyle = colour(run);
      ctx.fill();
      ctx.restore();
    }
  }

  // ------------------------------------------------------------------------------ names at the ends of lines

  function endLabels(width, font) {
    const context = document.createElement("canvas").getContext("2d");
    context.font = font;
    const lastStep = context.measureText(asCount((view.zoom || allSteps(from))[1])).width / 2 + 6;
    const first = columns.find((column) => lines.some((line) => line.column === column));
    const named = definition.labels ? merged(lines.filter((line) => line.column === first)) : [];
    if (named.length === 0 || named.length > MOST_LABELS) {
      return {width: lastStep, draw: () => {}};
    }
    const most = narrow.matches ? 0.5 * width : Math.min(220, width / 3);
    const names = named.map(({run, alike}) => {
      const name = run.name + (alike > 1 ? " and " + (alike - 1) + " more" : "");
      return alike > 1 && context.measureText(name).width > most ? count(alike, "run") : shortened(context, name, most);
    });
    const widest = Math.max(...names.map((name) => context.measureText(name).width));
    return {width: Math.max(lastStep, widest + 20), draw: (u) => drawLabels(u, named, names, widest, font)};
  }

  /** Lines; of those that lie on each other the first, with their number. */
  function merged(some) {
    const byShape = new Map();
    for (const line of some) {
      const shape = line.x.length > MOST_ROWS ? line : JSON.stringify([line.x, line.y]);
      byShape.set(shape, [...(byShape.get(shape) || []), line]);
    }
    return [...byShape.values()].map((alike) => ({...alike[0], alike: alike.length}));
  }

  function drawLabels(u, named, names, widest, font) {
    const ratio = uPlot.pxRatio;
    const {ctx} = u;
    const right = u.bbox.left + u.bbox.width;
    const [from, to] = [u.scales.x.min, u.scales.x.max];
    const labels = [];
    named.forEach(({run, column}, i) => {
      const {step: steps, [column.key]: values} = run[definition.from]; // as they are now
      const place = (at) => [u.valToPos(steps[at], "x", true), u.valToPos(values[at], "y", true)];
      let end = indexUpTo(steps, to);
      while (end >= 0 && !has(values[end])) {
        end--;
      }
      if (end >= 0 && steps[end] >= from) {
        let [x, y] = place(end);
        if (has(values[end + 1])) {
          // it goes on beyond the axis
          const [nextX, nextY] = place(end + 1);
          y += ((nextY - y) * (right - x)) / (nextX - x);
          x = right;
        }
        labels.push({name: names[i], run, end: [x, y], y});
      }
    });
    spread(labels, (narrow.matches ? 13 : 15) * ratio, u.bbox.top + 7 * ratio, u.bbox.top + u.bbox.height - 7 * ratio);
    // beside the lines, while none has come to the end of the axis
    const left = Math.min(right, Math.max(...labels.map((label) => label.end[0])));
    ctx.save();
    ctx.font = font.replace(/^\d+/, (size) => String(size * ratio));
    ctx.setLineDash([]);
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    for (const label of labels) {
      const [x, y] = label.end;
      ctx.strokeStyle = styleOf("--leader"); // of no run, and thinner than any
      ctx.lineWidth = ratio;
      ctx.beginPath();
      ctx.moveTo(x + 5 * ratio, y);
      ctx.lineTo(left + 5 * ratio, y);
      ctx.lineTo(left + 12 * ratio, label.y);
      ctx.stroke();
      ctx.fillStyle = colour(label.run);
      ctx.beginPath();
      ctx.arc(x, y, 3 * ratio, 0, 2 * Math.PI);
      ctx.fill();
      ctx.fillText(label.name, left + 15 * ratio, label.y);
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
