// The credit viewer: the completions of a group, aligned token by token and coloured by the credit that they got.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent).credit;
  const viewer = document.getElementById("viewer");
  if (!data || !data.steps.length) { document.getElementById("tokens-section").hidden = true; return; }

  const PAGE = 200; // columns at a time, so that long completions stay quick to draw and to scroll
  const QUANTITIES = {
    entropy: { label: "Entropy", key: "e", unit: "nats" },
    weight: { label: "Weight", key: "w", unit: "" },
    shaped_reward: { label: "Shaped reward", key: "r", unit: "" },
    advantage: { label: "Advantage", key: "a", unit: "" },
  };
  // Values come rounded to four digits; written as credit_number of entroshape.metrics.wording writes them.
  const number = (value) => { const size = Math.abs(value); return size === 0 ? "0" : size >= 1e-4 && size < 1e4 ? String(value) : value.toExponential(); };
  const at = (id) => document.getElementById(id);
  const element = (name, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  };

  const present = Object.keys(QUANTITIES).filter((name) => data.steps.some(({ groups }) => groups.some(({ responses }) => responses.some((each) => each[name] !== null))));
  const state = { step: data.steps.length - 1, group: 0, quantity: present.includes("advantage") ? "advantage" : present[0], page: 0, row: 0, column: 0 };

  // --- values and colours -------------------------------------------------------------------------------------------

  const responses = () => data.steps[state.step].groups[state.group].responses;
  const longest = () => d3.max(responses(), ({ tokens }) => tokens.length) || 0;
  const valueOf = (response, name, column) => {
    const own = response[name];
    if (own === null || column >= response.tokens.length) return null;
    return Array.isArray(own) ? own[column] : own;
  };

  let theme;
  function readTheme() {
    const style = getComputedStyle(document.documentElement);
    const [card, blue, vermillion, green] = ["card", "blue", "vermillion", "green"].map((name) => style.getPropertyValue(`--${name}`).trim());
    theme = { card, above: d3.interpolateLab(card, blue), below: d3.interpolateLab(card, vermillion), amount: d3.interpolateLab(card, green) };
  }

  /** The ends of the colour scale: the range of 98 % of the group's values, below 0 and above 0. */
  let limits;
  function readLimits() {
    const ends = (values) => (values.length ? [0.01, 0.99].map((share) => d3.quantile(values, share)) : undefined);
    const all = (name) => responses().flatMap((response) => (Array.isArray(response[name]) ? response[name] : response[name] === null ? [] : [response[name]]));
    limits = Object.fromEntries(present.map((name) => [name, { below: ends(all(name).filter((value) => value < 0)), above: ends(all(name).filter((value) => value > 0)) }]));
  }

  /** The colour of a value: the hue shows its sign, the depth its place among the values of that sign. */
  function colour(name, value) {
    const { below, above } = limits[name];
    if (name === "entropy" || name === "weight") return theme.amount(Math.min(1, value / (above ?? [0, 1])[1]));
    if (value === 0) return theme.card;
    const [low, high] = (value > 0 ? above : below) ?? [value, value];
    const place = high > low ? Math.max(0, Math.min(1, (value - low) / (high - low))) : 0.6;
    return value > 0 ? theme.above(0.2 + 0.8 * place) : theme.below(0.2 + 0.8 * (1 - place));
  }

  const tokenOf = (response, column) => data.tokens[response.tokens[column]];
  const outcome = ({ success, gated }) => (gated ? ["gated", "gated", "○"] : success ? ["success", "success", "✓"] : ["failure", "failure", "✗"]);

  // --- drawing ------------------------------------------------------------------------------------------------------

  function drawGrid() {
    const [from, to] = [state.page * PAGE, Math.min(longest(), (state.page + 1) * PAGE)];
    const columns = d3.range(from, to);
    const head = element("tr", {}, element("th", { scope: "col" }, "completion"), ...columns.map((column) => {
      const cell = element("th", { scope: "col" }, String(column + 1));
      cell.dataset.column = column;
      return cell;
    }));
    const rows = responses().map((response, row) => {
      const [kind, word, sign] = outcome(response);
      const name = element("th", { scope: "row" }, element("b", { className: kind }, `${sign} ${word}`), ` ${number(response.reward)}`);
      name.title = `completion ${row + 1}: ${word}${response.gated ? (response.success ? " (all completions of the group succeeded: no credit)" : " (all completions of the group failed: no credit)") : ""}, reward ${number(response.reward)}, ${response.tokens.length} tokens`;
      return element("tr", {}, name, ...columns.map((column) => cellOf(response, row, column)));
    });
    const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
    table.setAttribute("role", "grid");
    table.setAttribute("aria-label", "Tokens of the group's completions");
    at("tokens").replaceChildren(table);
    drawPager(from, to);
    mark(false);
    viewer.dispatchEvent(new CustomEvent("drawn", { detail: { step: state.step } }));
  }

  function cellOf(response, row, column) {
    if (column >= response.tokens.length) return element("td", { className: "none" });
    const value = valueOf(response, state.quantity, column);
    const text = visible(tokenOf(response, column)[0]);
    const cell = element("td", { tabIndex: -1 }, element("bdi", {}, text));
    cell.dataset.row = row;
    cell.dataset.column = column;
    if (response.kinds) cell.dataset.kind = response.kinds[column];
    if (response.first_error === column) cell.classList.add("first-error");
    if (value !== null) {
      cell.style.background = colour(state.quantity, value);
      cell.style.color = inkOn(cell.style.background);
      cell.setAttribute("aria-label", `${text}, completion ${row + 1}, token ${column + 1}: ${QUANTITIES[state.quantity].label} ${number(value)}`);
    }
    return cell;
  }

  function drawPager(from, to) {
    const total = longest();
    at("pager").hidden = total <= PAGE;
    at("columns").textContent = `tokens ${d3.format(",")(from + 1)} to ${d3.format(",")(to)} of ${d3.format(",")(total)}`;
    at("earlier").disabled = from === 0;
    at("later").disabled = to >= total;
  }

  function drawScale() {
    const { label, unit } = QUANTITIES[state.quantity];
    const { below, above } = limits[state.quantity];
    const ends = state.quantity === "entropy" || state.quantity === "weight" ? [0, (above ?? [0, 1])[1]] : d3.extent([0, ...(below ?? []), ...(above ?? [])]);
    if (ends[0] === ends[1]) { at("scale").replaceChildren(`${label}: 0 everywhere`); return; }
    at("scale").replaceChildren(Plot.legend({
      width: 250, height: 44, marginLeft: 12, marginRight: 12, ticks: 4, label: `${label}${unit ? `, ${unit}` : ""} (98 % of the group)`,
      color: { type: "linear", domain: ends, interpolate: (t) => colour(state.quantity, ends[0] + t * (ends[1] - ends[0])) },
    }));
  }

  /** Marks the cursor's column in all completions and shows the numbers of the token there. */
  function mark(focus) {
    const tokens = at("tokens");
    tokens.querySelectorAll(".marked").forEach((cell) => cell.classList.remove("marked"));
    tokens.querySelectorAll(`[data-column="${state.column}"]`).forEach((cell) => cell.classList.add("marked"));
    tokens.querySelectorAll('td[tabindex="0"]').forEach((cell) => { cell.tabIndex = -1; });
    const cell = tokens.querySelector(`td[data-row="${state.row}"][data-column="${state.column}"]`);
    if (cell) {
      cell.tabIndex = 0;
      if (focus) { cell.focus({ preventScroll: true }); cell.scrollIntoView({ block: "nearest", inline: "nearest" }); }
    }
    drawReadout();
  }

  function drawReadout() {
    const response = responses()[state.row];
    if (!response || state.column >= response.tokens.length) { at("token").replaceChildren(); at("column").replaceChildren(); return; }
    const [text, id] = tokenOf(response, state.column);
    const kind = response.kinds ? [["kind", visible(data.kinds[response.kinds[state.column]]) + (response.first_error === state.column ? " (first false token)" : "")]] : [];
    const facts = [["token", visible(text)], ...kind, ...(id < 0 ? [] : [["id", String(id)]]), ["position", `${state.column + 1} of ${response.tokens.length}, completion ${state.row + 1}`]];
    for (const name of present) {
      const value = valueOf(response, name, state.column);
      if (value !== null) facts.push([QUANTITIES[name].label.toLowerCase(), `${number(value)} ${QUANTITIES[name].unit}`.trim()]);
    }
    at("token").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, element("bdi", {}, value))]));
    drawColumn();
  }

  /** The values of all completions at the cursor's position, successes and failures separately. */
  function drawColumn() {
    const { label, unit } = QUANTITIES[state.quantity];
    const points = responses().flatMap((response, row) => {
      const value = valueOf(response, state.quantity, state.column);
      if (value === null) return [];
      return [{ row, value, kind: response.success ? "success" : "failure", text: `${row + 1}: ${visible(tokenOf(response, state.column)[0])}\n${number(value)}` }];
    });
    const fill = (point) => (point.kind === "success" ? "var(--blue)" : "var(--vermillion)");
    const width = Math.max(260, at("column").clientWidth);
    const plot = Plot.plot({
      width, height: 118, marginLeft: 62, marginRight: 14, marginBottom: 36,
      style: { fontFamily: "inherit", fontSize: "12px", color: "var(--muted)", background: "none", overflow: "visible" },
      x: { label: `${label.toLowerCase()}${unit ? `, ${unit}` : ""}`, labelAnchor: "center", labelArrow: "none", nice: true, ticks: 5 },
      y: { domain: ["success", "failure"], label: null, tickSize: 0 },
      marks: [
        Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }),
        Plot.dot(points, { x: "value", y: "kind", r: 4.5, fill, fillOpacity: 0.55, title: "text" }),
        Plot.dot(points.filter(({ row }) => row === state.row), { x: "value", y: "kind", r: 7, fill, stroke: "var(--ink)", strokeWidth: 2 }),
      ],
    });
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `${label} of the ${points.length} completions that have a token at position ${state.column + 1}`);
    at("column").replaceChildren(element("h4", {}, `Position ${state.column + 1} in all completions`), plot);
  }

  // --- choosing -----------------------------------------------------------------------------------------------------

  const oneLine = (text) => { const line = escaped(text.replace(/\s+/g, " ").trim()); return line.length > 70 ? `${line.slice(0, 34)} … ${line.slice(-34)}` : line; };

  function fillGroups() {
    const { groups } = data.steps[state.step];
    at("group").replaceChildren(...groups.map(({ prompt, responses: all }, i) =>
      element("option", { value: i, selected: i === state.group }, `${i + 1}: ${oneLine(prompt)} (${all.filter(({ success }) => success).length} of ${all.length} succeeded)`)));
    at("prompt").textContent = escaped(groups[state.group].prompt.replace(/\r\n/g, "\n"));
  }

  function choose(changes) {
    Object.assign(state, changes);
    const { groups } = data.steps[state.step];
    state.group = Math.min(state.group, groups.length - 1);
    if ("step" in changes || "group" in changes) Object.assign(state, { page: 0, row: 0, column: 0 }, changes);
    at("step").value = state.step;
    fillGroups();
    viewer.querySelectorAll('input[name="quantity"]').forEach((input) => { input.checked = input.value === state.quantity; });
    readLimits();
    drawScale();
    drawGrid();
  }

  function moveTo(row, column, focus = true) {
    row = Math.max(0, Math.min(responses().length - 1, row));
    const length = responses()[row].tokens.length;
    column = Math.max(0, Math.min(Math.max(0, (focus ? longest() : length) - 1), column));
    const page = Math.floor(column / PAGE);
    Object.assign(state, { row, column: Math.min(column, Math.max(0, length - 1)) });
    const own = Math.floor(state.column / PAGE);
    if (own !== state.page && page !== state.page) { state.page = own; drawGrid(); }
    mark(focus);
  }

  const cycle = (value, by, length) => (value + by + length) % length;
  const MOVES = {
    ArrowLeft: () => moveTo(state.row, state.column - 1),
    ArrowRight: () => moveTo(state.row, state.column + 1),
    ArrowUp: () => moveTo(state.row - 1, state.column),
    ArrowDown: () => moveTo(state.row + 1, state.column),
    Home: () => moveTo(state.row, 0),
    End: () => moveTo(state.row, responses()[state.row].tokens.length - 1),
    PageUp: () => moveTo(state.row, state.column - PAGE),
    PageDown: () => moveTo(state.row, state.column + PAGE),
  };
  const KEYS = {
    ...MOVES,
    ",": () => choose({ step: cycle(state.step, -1, data.steps.length) }),
    ".": () => choose({ step: cycle(state.step, 1, data.steps.length) }),
    p: () => choose({ group: cycle(state.group, -1, data.steps[state.step].groups.length) }),
    n: () => choose({ group: cycle(state.group, 1, data.steps[state.step].groups.length) }),
    ...Object.fromEntries(present.map((name) => [QUANTITIES[name].key, () => choose({ quantity: name })])),
  };

  function connect() {
    at("step").addEventListener("change", (event) => choose({ step: +event.target.value }));
    at("group").addEventListener("change", (event) => choose({ group: +event.target.value }));
    at("earlier").addEventListener("click", () => choose({ page: state.page - 1, column: (state.page - 1) * PAGE }));
    at("later").addEventListener("click", () => choose({ page: state.page + 1, column: (state.page + 1) * PAGE }));
    at("quantities").append(...present.map((name) => {
      const input = element("input", { type: "radio", name: "quantity", value: name });
      input.addEventListener("change", () => choose({ quantity: name }));
      return element("label", {}, input, QUANTITIES[name].label);
    }));
    listen();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readTheme(); choose({}); });
  }

  /** Tokens are selected by pointer, tap or keys. Keys work while the viewer has the focus or the pointer is over it. */
  function listen() {
    let [last, pointing] = [{}, false];
    document.addEventListener("pointermove", (event) => {
      // If the table is redrawn under a resting pointer, the keyboard must keep the cursor.
      const moved = event.clientX !== last.x || event.clientY !== last.y;
      last = { x: event.clientX, y: event.clientY };
      // A moving finger scrolls; a tap, which is a click, selects.
      if (!moved || event.pointerType === "touch") return;
      pointing = viewer.contains(event.target);
      const cell = event.target.closest("#tokens td[data-row]");
      // A list that was just used would keep receiving the keys that are now meant for the tokens.
      if (cell && document.activeElement?.closest("#viewer select")) document.activeElement.blur();
      if (cell && (+cell.dataset.row !== state.row || +cell.dataset.column !== state.column)) moveTo(+cell.dataset.row, +cell.dataset.column, false);
    });
    at("tokens").addEventListener("click", ({ target }) => { const cell = target.closest("td[data-row]"); if (cell) moveTo(+cell.dataset.row, +cell.dataset.column); });
    document.addEventListener("keydown", (event) => {
      // If the page is scrolled by keys under a resting pointer, it must keep scrolling: require that the pointer moved here.
      const here = viewer.contains(event.target) || (pointing && viewer.matches(":hover"));
      if (!here || !(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select")) return;
      // The colour buttons and a long prompt use the arrow keys themselves.
      if (event.key in MOVES && event.target.closest("input, #prompt")) return;
      event.preventDefault();
      KEYS[event.key]();
      mark(true);
    });
  }

  function describe() {
    const { steps, groups, responses: rest } = data.left_out;
    const missing = [steps && `${steps} more steps`, groups && `${groups} more groups`, rest && `${rest} more completions`].filter(Boolean);
    at("left-out").textContent = missing.length ? ` The run directory holds ${missing.join(", ")}, which would make this file too large.` : "";
  }

  readTheme();
  connect();
  at("step").append(...data.steps.map(({ step }, i) => element("option", { value: i }, `step ${step}`)));
  describe();
  choose({});
  viewer.dataset.ready = "true";
})();
