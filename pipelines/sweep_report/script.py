"""What the report does when it is touched: it lights trials up, picks them out and sorts them.

The script reads everything from the page itself, and writes text alone, never markup.
"""

SCRIPT = r"""
"use strict";
(() => {
const all = (query, root = document) => [...root.querySelectorAll(query)];
const one = query => document.querySelector(query);
document.body.classList.add("scripted");

const table = one(".trials"), body = table.tBodies[0], heads = all("thead th", table);
const rows = new Map(all("tr", body).map(row => [row.dataset.t, row]));
const parts = new Map();
for (const part of all("[data-t]")) {
  if (!parts.has(part.dataset.t)) parts.set(part.dataset.t, []);
  parts.get(part.dataset.t).push(part);
}

/* One trial, everywhere. */
const tip = document.createElement("div");
tip.className = "tip"; tip.hidden = true; tip.setAttribute("role", "status");
document.body.append(tip);
let hot = null, kept = null;
const light = t => {
  if (t === hot) return;
  for (const part of parts.get(hot) || []) part.classList.remove("hot");
  hot = t;
  for (const part of parts.get(hot) || []) part.classList.add("hot");
};
const tell = (t, x, y) => {
  const row = rows.get(t);
  if (!row) { tip.hidden = true; return; }
  const cells = [...row.cells].map(cell => cell.textContent);
  const name = document.createElement("b");
  name.textContent = `Trial ${cells[0]} · ${cells[1]} · ${cells[2]}`;
  const lines = cells.slice(3, 9).map((said, k) => `${heads[k + 3].textContent.trim()} ${said}`);
  tip.replaceChildren(name, `${lines.join(" · ")}\n${cells[9].split(", ").join("\n")}`);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = x + 18 + box.width > innerWidth ? x - box.width - 14 : x + 18;
  tip.style.left = Math.max(8, left) + "px";
  tip.style.top = Math.max(8, Math.min(y + 14, innerHeight - box.height - 8)) + "px";
};
const rest = () => { light(kept); tip.hidden = true; };

/* The nearest trial to the pointer, as lines of a hair's breadth cannot be hit. */
const numbers = d => (d.match(/-?[\d.]+/g) || []).map(Number);
const shapes = new Map();
for (const svg of all("svg")) {
  const found = all("[data-t]", svg).map(part => part.tagName === "circle"
    ? { part, points: [[+part.getAttribute("cx"), +part.getAttribute("cy")]] }
    : { part, points: ((v) => v.filter((_, k) => k % 2 === 0).map((x, k) => [x, v[2 * k + 1]]))(
        part.getAttribute("d").includes("h") ? numbers(part.getAttribute("d")).slice(0, 2)
        : numbers(part.getAttribute("d"))) });
  if (found.length) shapes.set(svg, found);
}
const distance = (points, x, y) => {
  if (points.length === 1) return Math.hypot(points[0][0] - x, points[0][1] - y);
  let best = Infinity;
  for (let k = 1; k < points.length; k++) {
    const [ax, ay] = points[k - 1], [bx, by] = points[k];
    const length = (bx - ax) ** 2 + (by - ay) ** 2 || 1;
    const on = Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length));
    best = Math.min(best, Math.hypot(ax + on * (bx - ax) - x, ay + on * (by - ay) - y));
  }
  return best;
};
const nearest = event => {
  const svg = event.target.closest && event.target.closest("svg"), found = shapes.get(svg);
  if (!found) return null;
  const at = new DOMPoint(event.clientX, event.clientY)
    .matrixTransform(svg.getScreenCTM().inverse());
  let t = null, least = 12;
  for (const { part, points } of found) {
    if (part.classList.contains("out")) continue;
    const far = distance(points, at.x, at.y);
    if (far < least) { least = far; t = part.dataset.t; }
  }
  return t;
};
const trialAt = event => {
  const row = event.target.closest && event.target.closest(".trials tbody tr");
  return row ? row.dataset.t : nearest(event);
};
let waiting = null, drag = null;
document.addEventListener("pointermove", event => {
  if (drag) return;
  if (!waiting) requestAnimationFrame(() => {
    const last = waiting, t = trialAt(last);
    waiting = null;
    if (!t) return rest();
    light(t);
    if (last.target.closest("svg")) tell(t, last.clientX, last.clientY); else tip.hidden = true;
  });
  waiting = event;
});
const keep = t => {
  if (kept !== null) rows.get(kept)?.removeAttribute("aria-selected");
  kept = kept === t ? null : t;
  if (kept !== null) rows.get(kept)?.setAttribute("aria-selected", "true");
  light(kept);
};
let dragged = false;
document.addEventListener("click", event => {
  if (dragged) { dragged = false; return; }
  const t = trialAt(event);
  if (t) keep(t);
});
body.addEventListener("focusin", event => light(event.target.closest("tr").dataset.t));
body.addEventListener("focusout", rest);
body.addEventListener("keydown", event => {
  const row = event.target.closest("tr");
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); keep(row.dataset.t); }
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (!step) return;
  event.preventDefault();
  let next = row[step];
  while (next && next.classList.contains("out")) next = next[step];
  if (next) next.focus();
});
document.addEventListener("keydown", event => {
  if (event.key === "Escape") { kept = null; rest(); clear(); }
});

/* Some trials: by ranges on the axes, and from a score up. */
const ranges = new Map(), floor = one("#floor"), shown = one("#shown");
const boards = all(".board");
const board = () => boards.find(each => !each.hidden);
const scores = all("tr", body).map(row => parseFloat(row.cells[3].dataset.v)).filter(isFinite)
  .sort((a, b) => a - b);
const apply = () => {
  const svg = board() && board().querySelector("svg");
  const inside = new Set();
  if (ranges.size && svg) for (const { part, points } of shapes.get(svg) || [])
    if ([...ranges].every(([k, [low, high]]) => points[k][1] >= low && points[k][1] <= high))
      inside.add(part.dataset.t);
  const least = +floor.value ? scores[Math.round((scores.length - 1) * floor.value / 100)] : null;
  let count = 0;
  for (const [t, row] of rows) {
    const score = parseFloat(row.cells[3].dataset.v);
    const out = (ranges.size > 0 && !inside.has(t)) || (least !== null && !(score >= least));
    count += !out;
    for (const part of parts.get(t)) part.classList.toggle("out", out);
  }
  const limit = least === null ? "" : `, from ${least.toFixed(4)} up`;
  const [some, every] = [count, rows.size].map(each => each.toLocaleString("en"));
  shown.textContent = `${some} of ${every} trials${limit}`;
  one("#clear").hidden = !ranges.size && !+floor.value;
};
const clear = () => {
  ranges.clear(); floor.value = 0;
  for (const each of all(".brush")) each.setAttribute("height", 0);
  apply();
};
floor.addEventListener("input", apply);
one("#clear").addEventListener("click", clear);
const show = name => {
  for (const each of boards) each.hidden = each.dataset.family !== name;
  clear();
};
for (const radio of all("input[name=family]"))
  radio.addEventListener("change", () => show(radio.value));
for (const grip of all(".grip")) {
  const svg = grip.ownerSVGElement, k = +grip.dataset.k;
  const brush = svg.querySelector(`.brush[data-k="${k}"]`);
  const at = event => new DOMPoint(event.clientX, event.clientY)
    .matrixTransform(svg.getScreenCTM().inverse()).y;
  grip.addEventListener("pointerdown", event => {
    grip.setPointerCapture(event.pointerId); drag = at(event); dragged = false; tip.hidden = true;
  });
  grip.addEventListener("pointermove", event => {
    if (drag === null) return;
    const low = Math.min(drag, at(event)), high = Math.max(drag, at(event));
    if (high - low < 3 && !dragged) return;
    dragged = true;
    brush.setAttribute("y", low); brush.setAttribute("height", high - low);
    ranges.set(k, [low, high]);
    requestAnimationFrame(apply);
  });
  const end = () => {
    if (drag !== null && !dragged && ranges.delete(k)) {
      brush.setAttribute("height", 0); apply(); dragged = true;
    }
    drag = null;
  };
  grip.addEventListener("pointerup", end);
  grip.addEventListener("pointercancel", end);
}

/* Sorting. */
heads.forEach((head, k) => head.querySelector("button").addEventListener("click", () => {
  const up = head.getAttribute("aria-sort") === "descending"
    || (head.getAttribute("aria-sort") === null && !head.classList.contains("n"));
  for (const each of heads) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[k].dataset.v ?? row.cells[k].textContent;
  const sorted = [...rows.values()].map(row => [key(row), row]);
  const number = head.classList.contains("n");
  sorted.sort(([a], [b]) => {
    if (!number) return (up ? 1 : -1) * a.localeCompare(b);
    if (a === "" || b === "") return (a === "") - (b === "");
    return (up ? 1 : -1) * (a - b);
  });
  body.append(...sorted.map(([, row]) => row));
}));

const chosen = one("input[name=family]:checked");
if (chosen) show(chosen.value); else apply();
})();
"""
