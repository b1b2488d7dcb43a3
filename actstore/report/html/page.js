"use strict";
// The page's own few lines: Vega draws, and follows the inputs by itself. Here are what is no chart:
// tables, one sentence, and which checkpoints the slider and the list beside it stand for.
// Names from the store are only ever written as text.

const byId = (id) => document.getElementById(id);
const page = JSON.parse(byId("numbers").textContent);
const quantity = () => page.columns[byId("quantity").value];
const states = () => page.states[byId("states").value];
const shown = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))));

// Each chart gets rows of its own: Vega writes into those it is given.
const rows = () =>
  page.arms.s.map((s, i) => {
    const row = { s, c: page.arms.c[i], l: page.arms.l[i] };
    row.k = page.states[s].checkpoints[row.c];
    for (const [key, values] of Object.entries(page.columns)) row[key] = values[i];
    return row;
  });

// By checkpoint, the [layer, value] pairs of the chosen states and quantity.
const grid = () => {
  const found = states().checkpoints.map(() => []);
  const chosen = Number(byId("states").value);
  page.arms.s.forEach((s, i) => {
    if (s === chosen) found[page.arms.c[i]].push([page.arms.l[i], quantity()[i]]);
  });
  return found;
};

const cell = (row, text, kind = "td") => {
  const made = row.appendChild(document.createElement(kind));
  made.textContent = text;
  if (kind === "th") made.scope = row.parentNode.nodeName === "THEAD" ? "col" : "row";
};

const fill = (part, lines) => {
  part.replaceChildren();
  lines.forEach((line) => {
    const row = part.appendChild(document.createElement("tr"));
    const isHead = part.nodeName === "THEAD";
    line.forEach((text, i) => cell(row, text, isHead || i === 0 ? "th" : "td"));
  });
};

// Layer, value, next layer, margin, last layer, gain; of equal layers the lowest.
const best = (cells) => {
  const there = cells.filter(([, value]) => value !== null);
  if (!there.length) return null;
  const ranked = [...there].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const [[layer, value], next] = ranked;
  const last = there[there.length - 1];
  const margin = next ? value - next[1] : null;
  return [layer, value, next ? next[0] : null, margin, last[0], value - last[1]];
};

const write = () => {
  const { checkpoints, layers } = states();
  const cells = grid();
  const found = cells.map(best);
  const line = (b) => (b ? b.map(shown) : Array(6).fill("–"));
  fill(byId("best").tBodies[0], checkpoints.map((name, i) => [name, ...line(found[i])]));
  fill(byId("values").tHead, [["checkpoint", ...layers.map(String)]]);
  const values = (i) => cells[i].map(([, value]) => shown(value));
  fill(byId("values").tBodies[0], checkpoints.map((name, i) => [name, ...values(i)]));
  const at = Number(byId("checkpoint").value);
  const name = byId("quantity").selectedOptions[0].textContent;
  const [layer, value, , margin] = found[at] ?? [];
  const told = found[at]
    ? `highest at layer ${layer}: ${shown(value)}` +
      (margin === null ? "" : `, ${shown(margin)} above the next layer`)
    : "no value";
  byId("said").textContent = `${name}, ${checkpoints[at]}: ${told}.`;
  byId("about").textContent = page.about[byId("quantity").value];
  byId("checkpoint-name").textContent = checkpoints[at];
  byId("checkpoint").setAttribute("aria-valuetext", checkpoints[at]);
};

const tell = (input) => input.dispatchEvent(new Event("input"));

// Other states have other checkpoints, and may lack some quantities.
const choose = () => {
  const { checkpoints } = states();
  const last = checkpoints.length - 1;
  const options = checkpoints.map((name, i) => new Option(name, i));
  byId("compared").replaceChildren(new Option("none", -1), ...options);
  byId("compared").value = -1;
  byId("checkpoint").max = last;
  byId("checkpoint").value = last;
  byId("checkpoint").disabled = last === 0;
  ["quantity", "across", "up"].forEach((id) => {
    const input = byId(id);
    [...input.options].forEach((option) => {
      option.disabled = !states().quantities.includes(option.value);
    });
    if (input.selectedOptions[0]?.disabled ?? true) {
      input.value = [...input.options].find((option) => !option.disabled)?.value;
    }
    tell(input);
  });
  ["compared", "checkpoint"].forEach((id) => tell(byId(id)));
};

const draw = async () => {
  choose();
  const charts = JSON.parse(byId("charts").textContent);
  const actions = { export: true, source: false, compiled: false, editor: false };
  // `ast` has Vega interpret expressions, where it would compile them: the page's policy forbids it.
  // Level 1 is errors alone: warnings are of scales without data, which choosing nothing to compare with makes.
  const settings = { ast: true, renderer: "svg", actions, logLevel: 1 };
  const views = Object.entries(charts).map(([id, chart]) =>
    vegaEmbed(`#${id}`, { ...chart, datasets: { arms: rows() } }, settings),
  );
  const [heatmap] = await Promise.all(views);
  heatmap.view.addEventListener("click", (_, item) => {
    if (item?.datum?.c === undefined) return;
    byId("checkpoint").value = item.datum.c;
    tell(byId("checkpoint"));
  });
  byId("states").addEventListener("input", choose);
  ["states", "quantity", "checkpoint"].forEach((id) => byId(id).addEventListener("input", write));
  write();
  document.documentElement.dataset.drawn = "yes";
};

draw().catch((error) => {
  byId("said").textContent = `The charts could not be drawn: ${error.message}`;
  throw error;
});
