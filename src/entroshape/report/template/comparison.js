// Draws a comparison with Observable Plot from the JSON in the page: a forest plot of differences, curves with bands over
// seeds for the selected arms, and the table of all figures.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("comparison-data").textContent);
  const [INK, MUTED, LINE, CARD] = ["ink", "muted", "line", "card"].map((name) => `var(--${name})`);
  const COLOURS = ["blue", "vermillion", "green", "orange", "purple", "gray"].map((name) => `var(--${name})`);
  const DASHES = [undefined, "6 3", "2 3"]; // for the second and third round of colours
  const FIRST = 4; // arms drawn at first, in addition to the baseline
  const element = (name, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  };
  const scaleOf = ({ share }) => (share ? 100 : 1); // for drawing; figures come as text, in Python's words and digits
  const STYLE = { fontFamily: "inherit", fontSize: "12px", color: MUTED, background: "none", overflow: "visible" };

  // --- arms ---------------------------------------------------------------------------------------------------------

  const others = data.arms.filter((arm) => arm.name !== data.baseline);
  const colours = new Map(others.map((arm, i) => [arm.name, COLOURS[i % COLOURS.length]]));
  colours.set(data.baseline, INK);
  const dashes = new Map(others.map((arm, i) => [arm.name, DASHES[Math.floor(i / COLOURS.length) % DASHES.length]]));
  const drawn = new Set([data.baseline, ...others.slice(0, FIRST).map((arm) => arm.name)]);

  function fillArms() {
    document.getElementById("arms").append(...data.arms.map((arm) => {
      const box = element("input", { type: "checkbox", checked: drawn.has(arm.name), value: arm.name });
      box.addEventListener("change", () => { box.checked ? drawn.add(arm.name) : drawn.delete(arm.name); drawFrontier(); drawCurves(); });
      const label = element("label", {}, box, arm.name);
      label.style.setProperty("--key", colours.get(arm.name));
      label.className = ["", "dashed", "dotted"][DASHES.indexOf(dashes.get(arm.name))];
      return label;
    }));
  }

  // --- forest plot --------------------------------------------------------------------------------------------------

  const compared = [...data.beyond.metrics, ...data.metrics];
  let metric = compared.find(({ name }) => name === data.primary) ?? compared[0];

  function fillMetrics() {
    document.getElementById("metrics").append(...compared.map((each) => {
      const radio = element("input", { type: "radio", name: "metric", value: each.name, checked: each === metric });
      radio.addEventListener("change", () => { metric = each; drawForest(); });
      return element("label", {}, radio, each.label);
    }));
  }

  function drawForest() {
    const plot = document.getElementById("forest");
    const scale = scaleOf(metric);
    const rows = data.arms.filter((arm) => arm.differences[metric.name]).map((arm) => {
      const { mean, low, high, stands, tip } = arm.differences[metric.name];
      return { name: arm.name, mean: scale * mean, low: scale * (low ?? mean), high: scale * (high ?? mean), stands, text: tip.join("\n") };
    });
    if (!rows.length) { plot.replaceChildren(element("p", { className: "empty" }, "There is nothing to compare with the baseline yet.")); return; }
    const single = data.arms.flatMap((arm) => (arm.seeds[metric.name] ?? []).map((value) => ({ name: arm.name, value: scale * value })));
    // If nothing differs, the axis has no extent, and a bar would cover all of it.
    const flat = [...single, ...rows.flatMap(({ low, high }) => [{ value: low }, { value: high }])].every(({ value }) => value === 0);
    const colour = (row) => (row.stands ? "var(--blue)" : MUTED);
    const longest = d3.max(rows, (row) => row.name.length);
    const width = Math.max(320, plot.clientWidth);
    const narrow = width < 560;
    const svg = Plot.plot({
      width, height: 60 + (narrow ? 44 : 30) * rows.length, marginLeft: narrow ? 8 : Math.min(0.5 * width, 16 + 7 * longest), marginRight: 20, marginBottom: 40, style: STYLE,
      x: { label: metric.axis ?? `difference in ${metric.label}${metric.share ? ", percentage points" : ""}`, labelAnchor: "center", labelArrow: "none", nice: true, zero: true, ticks: narrow ? 5 : 9, domain: flat ? [-1, 1] : undefined },
      y: { domain: rows.map((row) => row.name), label: null, axis: null },
      marks: [
        Plot.gridX({ stroke: LINE, strokeOpacity: 1, ticks: narrow ? 5 : 9 }),
        Plot.ruleX([0], { stroke: INK }),
        narrow
          ? Plot.text(rows, { y: "name", text: "name", frameAnchor: "left", dy: -14, fill: INK })
          : Plot.axisY({ tickSize: 0, color: INK, label: null }),
        Plot.dot(single, { y: "name", x: "value", r: 2, fill: MUTED, fillOpacity: 0.5, dy: 7 }),
        Plot.ruleY(rows, { y: "name", x1: "low", x2: "high", stroke: colour, strokeWidth: 2.5 }),
        Plot.dot(rows, { y: "name", x: "mean", r: 5, fill: (row) => (row.stands ? "var(--blue)" : CARD), stroke: colour, strokeWidth: 2 }),
        Plot.tip(rows, Plot.pointerY({ y: "name", x: "mean", title: "text", fill: CARD, stroke: MUTED, fontSize: 12, lineHeight: 1.3 })),
      ],
    });
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Differences in ${metric.label}, with 95 % intervals; see the table below for the figures.`);
    plot.replaceChildren(svg);
  }

  // --- the plane of Mean@n and Pass@k -------------------------------------------------------------------------------

  const { plane, table: beyond } = data.beyond;
  let tries = plane?.tries[0];

  function fillPlane() {
    if (!plane) return;
    document.getElementById("frontier").hidden = false;
    document.getElementById("tries").append(...plane.tries.map((each) => {
      const radio = element("input", { type: "radio", name: "tries", value: each.k, checked: each === tries });
      radio.addEventListener("change", () => { tries = each; drawFrontier(); });
      return element("label", {}, radio, each.label);
    }));
    const cells = (row) => row.cells.map(({ text, interval, clear }) => element("td", { className: clear ? "clear" : "" }, text, element("small", {}, interval)));
    document.getElementById("beyond").append(
      element("thead", {}, element("tr", {}, ...["", "seeds", ...beyond.columns].map((text) => element("th", {}, text)))),
      element("tbody", {}, ...beyond.rows.map((row) => element("tr", {},
        element("th", { scope: "row" }, ...breakable(row.arm), element("small", {}, row.weights)), element("td", {}, String(row.seeds)), ...cells(row)))));
    document.getElementById("beyond-notes").append(...beyond.notes.flatMap((note) => [note, element("br")]));
  }

  function drawFrontier() {
    if (!plane) return;
    const plot = document.getElementById("plane");
    const curves = plane.curves.filter(({ start, arm }) => start || drawn.has(arm))
      .map((curve) => ({ ...curve, colour: curve.start ? "var(--gray)" : colours.get(curve.arm), dash: curve.start ? undefined : dashes.get(curve.arm) }));
    const svg = drawPlane(plane, tries.k, curves, Math.max(280, plot.clientWidth));
    svg.setAttribute("aria-label", `${tries.label} over ${plane.x}: a curve per arm over temperatures, and the hull; see the table for the figures.`);
    plot.replaceChildren(svg);
  }

  // --- curves -------------------------------------------------------------------------------------------------------

  const pointsOf = (arm, chart) => (chart.key === "pass" ? arm.pass : arm.curves[chart.key]) ?? [];
  const shown = data.charts.filter((chart) => data.arms.some((arm) => pointsOf(arm, chart).some(({ mean }) => mean !== 0)));

  function fillCharts() {
    document.getElementById("charts").append(...shown.map((chart) => {
      chart.plot = element("div", { className: "plot" });
      return element("figure", { className: "card" }, element("h3", {}, chart.title), element("p", { className: "note" }, chart.note), chart.plot);
    }));
  }

  function drawCurves() {
    for (const chart of shown) {
      const scale = scaleOf(chart);
      const rows = data.arms.filter((arm) => drawn.has(arm.name)).flatMap((arm) => pointsOf(arm, chart)
        .map(({ x, mean, low, high, text }) => ({ name: arm.name, x, text, mean: scale * mean, low: scale * low, high: scale * high })));
      if (!rows.length) { chart.plot.replaceChildren(element("p", { className: "empty" }, "Select an arm above.")); continue; }
      const [least, most] = d3.extent(rows, (row) => row.x);
      const powers = d3.range(0, Math.log2(most) + 1e-9).map((i) => 2 ** i);
      const x = chart.key === "pass" ? { type: "log", base: 2, ticks: powers, tickFormat: "d" } : { ticks: Math.max(1, Math.min(6, most - least)), tickFormat: "~s" }; // no tick between two steps
      const tips = d3.groups(rows, (row) => row.x).map(([place, at]) => ({ x: place, mean: d3.max(at, (row) => row.mean),
        text: [`${chart.key === "pass" ? "k =" : "step"} ${place}`, ...d3.sort(at, (row) => -row.mean).map((row) => `${row.name}: ${row.text}`)].join("\n") }));
      const svg = Plot.plot({
        width: Math.max(280, chart.plot.clientWidth), height: 260, marginLeft: 44, marginRight: 12, marginBottom: 36, style: STYLE,
        x: { label: chart.x, labelAnchor: "right", labelArrow: "none", ...x },
        y: { label: null, nice: true, ticks: 5, tickSize: 0, tickFormat: chart.share ? (value) => `${value} %` : undefined },
        marks: [
          Plot.gridY({ stroke: LINE, strokeOpacity: 1, ticks: 5 }),
          Plot.areaY(rows, { x: "x", y1: "low", y2: "high", z: "name", fill: (row) => colours.get(row.name), fillOpacity: 0.13 }),
          ...[...new Set(rows.map((row) => row.name))].map((name) => Plot.lineY(rows.filter((row) => row.name === name),
            { x: "x", y: "mean", stroke: colours.get(name), strokeWidth: name === data.baseline ? 2.4 : 1.8, strokeDasharray: dashes.get(name) })),
          ...(chart.dots ? [Plot.dot(rows, { x: "x", y: "mean", fill: (row) => colours.get(row.name), r: 2.5 })] : []),
          Plot.ruleX(tips, Plot.pointerX({ x: "x", stroke: MUTED, strokeOpacity: 0.6 })),
          Plot.tip(tips, Plot.pointerX({ x: "x", y: "mean", title: "text", fill: CARD, stroke: MUTED, fontSize: 12, lineHeight: 1.3 })),
        ],
      });
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", `${chart.title}: ${chart.note}`);
      chart.plot.replaceChildren(svg);
    }
  }

  // --- table --------------------------------------------------------------------------------------------------------

  function fillTable() {
    const head = element("tr", {}, element("th", {}, ""), element("th", {}, "seeds"), ...data.metrics.map((each) => element("th", {}, each.label)));
    const before = element("tr", {}, element("th", { scope: "row" }, "before"), element("td", {}), ...data.metrics.map(({ name }) => element("td", {}, data.before[name] ?? "-")));
    const body = data.arms.map((arm) => element("tr", {}, element("th", { scope: "row" }, ...breakable(arm.name)),
      element("td", {}, String(arm.n)), ...data.metrics.map((each) => cell(arm, each))));
    document.getElementById("table").append(element("thead", {}, head), element("tbody", {}, before, ...body));
  }

  /** An arm's name, with line breaks allowed between its options. */
  const breakable = (name) => name.split(/(?<=[:=,_])/).flatMap((part) => [part, element("wbr")]);

  function cell(arm, { name }) {
    const difference = arm.differences[name];
    const node = element("td", {}, arm.after[name] ?? "-");
    if (difference?.interval) {
      node.append(element("small", {}, `${difference.text} `, element("span", {}, `(${difference.interval})`)), element("small", {}, element("span", {}, `${difference.needed} seeds`)));
      node.classList.toggle("clear", difference.stands);
    }
    return node;
  }

  // --- the page -----------------------------------------------------------------------------------------------------

  fillArms();
  fillMetrics();
  fillPlane();
  fillCharts();
  fillTable();
  const redraw = () => { drawForest(); drawFrontier(); drawCurves(); };
  redraw();
  let pending = 0;
  addEventListener("resize", () => { clearTimeout(pending); pending = setTimeout(redraw, 120); });
  document.documentElement.dataset.drawn = document.querySelectorAll(".plot svg").length;
})();
