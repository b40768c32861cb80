"use strict";

/*
 * The report's page, of five files that run as one script: elements.js has numbers as text, elements and tables; runs.js what
 * the page knows of runs; axes.js the arithmetic of charts; charts.js the charts; page.js the rest of the page. All text of runs
 * reaches the document as text, never as HTML.
 */

const byId = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 600px)"); // as in page.css

// --------------------------------------------------------------------------------------------------------- numbers

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

// -------------------------------------------------------------------------------------------------------- elements

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

/**
 * A table that scrolls by itself.
 *
 * @param columns {title, value(row), show(row): text or element, number: right-aligned, hint, first: leads where a row is a
 *     card, on narrow pages}; the first column heads the row
 * @param groups lists of rows
 * @param sortable whether a click on a column's title sorts
 * @returns {node, refresh: shows the rows' values as they are now}
 */
function table(label, columns, groups, {sortable = false, kind = "wide"} = {}) {
  let sorted = null; // {column, sign}
  const cell = (row) => (column, i) =>
    element(
      i === 0 ? "th" : "td",
      {
        scope: i === 0 ? "row" : null,
        class: [column.number && "number-cell", column.best?.(row) && "best", column.first && "first"].filter(Boolean).join(" ") || null,
        "data-title": i === 0 ? null : column.title,
      },
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
