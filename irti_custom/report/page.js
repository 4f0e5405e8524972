"use strict";

/* Tables that sort: each header with a button sorts by the `data-value` of its column. */
for (const button of document.querySelectorAll("th button.sort")) {
  button.addEventListener("click", () => {
    const header = button.closest("th");
    const row = header.parentElement;
    const column = Array.from(row.children).indexOf(header);
    const numeric = header.dataset.kind === "number";
    const current = header.getAttribute("aria-sort");
    const order = current === (numeric ? "descending" : "ascending") ? -1 : 1;
    for (const other of row.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", (order > 0) === numeric ? "descending" : "ascending");
    const body = header.closest("table").tBodies[0];
    const value = (line) => line.children[column].dataset.value;
    const lines = Array.from(body.rows);
    lines.sort((one, other) => {
      const a = value(one);
      const b = value(other);
      if (a === "" || b === "") return (a === "") - (b === ""); /* unknown ones come last */
      return order * (numeric ? Number(b) - Number(a) : a.localeCompare(b));
    });
    body.append(...lines);
  });
}

/* Cases: filters, and a page at a time. All text goes in as text. */
const { labels, kinds, changes, groups, rows } = JSON.parse(document.getElementById("data").textContent);
const form = document.getElementById("filters");
const list = document.getElementById("list");
const PAGE = 20;
const NOTHING = labels.length;
let found = [];
let page = 0;

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function label(id) {
  return element("bdi", "", labels[id]);
}

function ids(pairs) {
  return pairs.map(([id]) => id);
}

function answers(pairs, reference, wrong, note) {
  const others = new Set(reference);
  const made = pairs.map(([id, score]) => {
    const isWrong = !others.has(id);
    const one = element("span", isWrong ? `answer ${wrong}` : "answer", label(id));
    if (isWrong) one.append(element("span", "hidden", ` (${note})`));
    if (score !== undefined) one.append(" ", element("small", "", score.toFixed(2)));
    return one;
  });
  return made.length ? made : [element("span", "answer", element("small", "", "none"))];
}

function line(name, entries) {
  return [element("dt", "", name), element("dd", "", ...entries)];
}

function draw(row) {
  const right = row.kind === "right" ? "right" : "";
  const text = element("p", "case-text", row.before, element("mark", right, row.string), row.after);
  text.dir = "auto";
  const truth = ids(row.true);
  const head = element("div", "case-head", element("strong", right, (right ? "✓ " : "✗ ") + kinds[row.kind]));
  if (row.change) head.append(element("span", "", changes[row.change]));
  head.append(element("span", "", "record ", element("bdi", "", row.record)));
  const list = element(
    "dl",
    "answers",
    ...line("True", answers(row.true, ids(row.predicted), "missed", "missed")),
    ...line("Predicted", answers(row.predicted, truth, "wrong", "false")),
  );
  if (row.other) list.append(...line("Other model", answers(row.other.map((id) => [id]), truth, "wrong", "false")));
  return element("li", "", head, text, list);
}

function show() {
  const start = page * PAGE;
  const shown = found.slice(start, start + PAGE);
  list.replaceChildren(...shown.map(draw));
  const status = shown.length
    ? `Cases ${start + 1} to ${start + shown.length} of ${found.length}`
    : "No case fits these filters.";
  for (const pager of document.querySelectorAll(".pager")) {
    pager.querySelector("p").textContent = status;
    pager.querySelector(".previous").disabled = page === 0;
    pager.querySelector(".next").disabled = start + PAGE >= found.length;
  }
}

/* As in the matrix: a label is taken for labels of its own group only; groups[id] is its number. */
function confuses(row, truth, predicted) {
  const group = groups[truth === NOTHING ? predicted : truth];
  const own = (pairs) => ids(pairs).filter((id) => groups[id] === group);
  const missed = own(row.true).filter((id) => !ids(row.predicted).includes(id));
  const spurious = own(row.predicted).filter((id) => !ids(row.true).includes(id));
  const fits = (list, id) => (id === NOTHING ? !list.length : list.includes(id));
  return fits(missed, truth) && fits(spurious, predicted);
}

function filter() {
  const value = (name) => (form.elements[name] ? form.elements[name].value : "");
  const chosen = value("label");
  const kind = value("kind");
  const change = value("change");
  const words = value("words").toLowerCase();
  const [truth, predicted] = value("pair").split(" ").map(Number);
  form.elements.pair.closest("label").hidden = !value("pair");
  found = rows.filter(
    (row) =>
      (!kind || row.kind === kind || (kind === "wrong" && row.kind !== "right")) &&
      (!change || row.change === change || (change === "any" && row.change)) &&
      (!chosen || [...row.true, ...row.predicted].some(([id]) => id === Number(chosen))) &&
      (!value("pair") || confuses(row, truth, predicted)) &&
      (!words || (row.before + row.string + row.after).toLowerCase().includes(words)),
  );
  page = 0;
  show();
}

function turn(step, pager) {
  page += step;
  show();
  if (pager.classList.contains("last")) document.getElementById("cases").scrollIntoView();
  const button = pager.querySelector(step > 0 ? ".next" : ".previous");
  (button.disabled ? pager.querySelector("button:not(:disabled)") : button).focus({ preventScroll: true });
}

for (const pager of document.querySelectorAll(".pager")) {
  pager.querySelector(".previous").addEventListener("click", () => turn(-1, pager));
  pager.querySelector(".next").addEventListener("click", () => turn(1, pager));
}
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());

/* Names of labels and cells of the confusions lead to their cases. */
for (const link of document.querySelectorAll("button.to-cases")) {
  link.addEventListener("click", () => {
    form.reset();
    const pair = form.elements.pair;
    pair.replaceChildren(new Option("all", ""));
    if (link.dataset.pair) {
      const name = (id) => labels[id] ?? "nothing";
      const [truth, predicted] = link.dataset.pair.split(" ").map(Number);
      pair.append(new Option(`${name(truth)} taken for ${name(predicted)}`, link.dataset.pair, true, true));
    } else {
      form.elements.label.value = link.dataset.label;
    }
    filter();
    document.getElementById("cases").scrollIntoView();
    form.elements[link.dataset.pair ? "pair" : "label"].focus({ preventScroll: true });
  });
}
filter();
