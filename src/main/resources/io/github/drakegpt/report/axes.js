/* The arithmetic of charts: which points are drawn, where axes begin and end, where their ticks and labels are. */

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
  const end = Math.max(...shown.map((run) => (embedded.live ? Math.max(run.iters, last(run[from].step)) : last(run[from].step))));
  if (first === end) {
    return [view.logSteps ? first / 2 : 0, end * 2];
  }
  return [view.logSteps || first > end / 5 ? first : 0, end];
}

/**
 * Above which a few high values would press the rest together; Infinity if none do.
 *
 * @param values ascending; of many, enough to tell
 * @param later the same without the first of each line
 * @param highest of all values
 * @param ends of the lines, which are always there
 */
function towering(values, later, highest, ends) {
  const low = values[0];
  const isFew = values.length < 20;
  const most = isFew ? Math.max(...later) : low + 1.15 * (values[Math.floor(0.9 * (values.length - 1))] - low);
  const cut = Math.max(most, ...ends);
  return highest - low > (isFew ? 2.5 : 1.3) * (cut - low) ? cut : Infinity;
}

/** Whether there is one value, besides those that are none. */
function isSingle(values) {
  const first = values.findIndex(has);
  return first >= 0 && !values.some((value, i) => i > first && has(value));
}

/** The axis' range for the values from min to max, which covers at least a span; 0: a fifth of the values. */
function valueRange(min, max, log, span) {
  if (min > max) { // there are none
    return log ? [1, 10] : [0, 1];
  }
  if (log) {
    const room = Math.max(1.01, Math.pow(max / min, 0.05), Math.sqrt(1 + span / min));
    return [min / room, max * room];
  }
  const least = Math.max(span || Math.abs(max) * 0.2, Math.abs(max) * 0.001) || 1;
  const room = Math.max((max - min) * 0.05, (least - (max - min)) / 2);
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
