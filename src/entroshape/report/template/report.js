// Draws the report's charts with Observable Plot from the JSON in the page. Charts without metrics are left out; a chart
// with a metric that never changes becomes a line of text.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const [INK, MUTED] = ["var(--ink)", "var(--muted)"];
  const [BLUE, VERMILLION, GREEN, ORANGE, PURPLE, GRAY] =
    ["blue", "vermillion", "green", "orange", "purple", "gray"].map((name) => `var(--${name})`);
  const WINDOW = Math.max(1, 2 * Math.round(data.steps.length / 24) + 1);

  // Figures come as text, in Python's words and digits; only the ticks of axes are formatted here.
  const word = (metric) => data.words[metric]?.label ?? metric;
  const isShare = (metric) => data.words[metric]?.share ?? false;

  // --- what is shown ------------------------------------------------------------------------------------------------

  // series: metric -> [label, colour]. from0: whether the axis starts at 0.
  const CHARTS = {
    outcome: [{
      title: "Pass@k on held-out problems",
      note: "Share of problems that at least one of k completions solves, with 95 % bands over problems.",
      axis: "%", series: {}, draw: drawPassCurves, curves: passCurves, present: data.evaluations.some((e) => e.samples > 1),
    }, {
      title: "Mean and Pass@k over temperatures",
      note: "From hot to cold sampling, before and after training. Open dots are earlier steps, thin lines are means and mixtures of weights. The dashed line is the hull: the highest Pass@k of a coin between two temperatures of the start. What lies below it needs no training.",
      series: {}, draw: drawRunPlane, controls: planeControls, curves: planeLegend, present: Boolean(data.plane),
    }],
    learning: [
      { title: word("success_rate"), note: "Share of successes among the completions sampled in training, and among those of held-out problems.",
        from0: true, heldOut: true, series: { success_rate: ["training", BLUE] } },
      // The table already shows two evaluations (before and after); a chart needs a third.
      { title: "Held-out problems", note: "At every evaluation: the share of completions that are successes, and the share of problems that at least one of n completions solves, with 95 % bands over problems.",
        axis: "%", series: {}, draw: drawHeldOut, curves: heldOutCurves, present: data.evaluations.length > 2 },
      { title: word("reward"), note: "Mean over the sampled completions.", series: { reward: ["reward", BLUE] }, present: !rewardIsSuccess() },
      { title: word("entropy"), note: "Entropy of the sampling policy, in nats per token: in successes, in failures, and in all completions.",
        from0: true, series: { entropy_success: ["successes", BLUE], entropy_failure: ["failures", VERMILLION], entropy: ["all", INK, "dashed"] } },
      { title: word("completion_length"), note: "Tokens per completion, including the end-of-sequence token.", series: { completion_length: ["length", BLUE] } },
      { title: word("share_cut"), note: "Share of completions that reached the length limit without ending.", from0: true, series: { share_cut: ["cut", VERMILLION] } },
    ],
    credit: [
      { title: "Groups without credit", note: "Groups whose completions all succeed or all fail teach nothing. Shown: the rounds of fresh prompts drawn to replace them, and the groups that remained and were gated.",
        from0: true, series: { gated_groups: ["gated groups", VERMILLION], refills: ["refill rounds", BLUE] } },
      { title: "Credit against the outcome", note: "Share of tokens in successes with a negative advantage, and of tokens in failures with a positive one.",
        from0: true, series: { negative_success_share: ["negative in successes", BLUE], positive_failure_share: ["positive in failures", VERMILLION] } },
      { title: "Spread of the shaped rewards", note: "Standard deviation within successes and within failures: how strongly the method distinguishes tokens, or completions, with the same outcome.",
        from0: true, series: { shaped_spread: ["spread", GREEN] } },
    ],
    kinds: [
      { title: "Credit on decisions", note: "Share of the bonus of successes and of the penalty of failures that falls on tokens at which the policy decides. Dashed: the share of tokens, which equal weights would give.",
        from0: true, series: { bonus_on_decisions: ["bonus", BLUE], penalty_on_decisions: ["penalty", VERMILLION], decisions_in_successes: ["tokens of successes", BLUE, "dashed"], decisions_in_failures: ["tokens of failures", VERMILLION, "dashed"] } },
      { title: "Penalty on the first false token", note: "Share of the penalty of failures that falls on the first false token of each. Dashed: its share of the tokens, which equal weights would give.",
        from0: true, series: { penalty_on_first_error: ["penalty", VERMILLION], first_error_share: ["tokens", GRAY, "dashed"] } },
      ...kindCharts(Object.keys(data.metrics), [BLUE, VERMILLION, GREEN, ORANGE, PURPLE, GRAY]),
    ],
    updates: [
      { title: "Clipped tokens", note: "Share of importance ratios that the surrogate clips at its lower and upper bound.",
        from0: true, series: { clip_low: ["low", BLUE], clip_high: ["high", VERMILLION] } },
      { title: "Gradient norm", note: "Before gradient clipping.", from0: true, series: { grad_norm: ["norm", PURPLE] } },
      { title: "Loss", note: "The value of the surrogate. It does not measure progress: see the success rate.", series: { loss: ["loss", GRAY] } },
      { title: "Learning rate", note: "At the last update of each step.", axis: "~e", from0: true, smooth: false, series: { learning_rate: ["rate", GRAY] } },
      { title: "Seconds per step", note: "Where the time of a step goes.", draw: drawPhases,
        series: { seconds_sampling: ["sampling", BLUE], seconds_scoring: ["scoring", ORANGE], seconds_shaping: ["shaping", VERMILLION], seconds_updating: ["updating", GREEN] } },
      { title: "Throughput", note: "Sampled tokens per second, over the whole step.", axis: "~s", from0: true, series: { tokens_per_second: ["tokens per second", GREEN] } },
    ],
  };

  function rewardIsSuccess() {
    const { reward, success_rate: success } = data.metrics;
    return reward !== undefined && success !== undefined && reward.every((value, i) => value === success[i]);
  }

  // --- data ---------------------------------------------------------------------------------------------------------

  const known = (metric) => (data.metrics[metric] ?? []).filter((value) => value !== null);

  /** The series of a chart that this run has: [{metric, label, colour, dashed}]. */
  const seriesOf = (chart) => Object.entries(chart.series)
    .filter(([metric]) => known(metric).length > 0)
    .map(([metric, [label, colour, style]]) => ({ metric, label, colour, dashed: style === "dashed" }));

  /** One row per step and series: {step, label, value}. */
  const longRows = (series) => series.flatMap(({ metric, label }) =>
    data.steps.map((step, i) => ({ step, label, value: data.metrics[metric][i] })).filter((row) => row.value !== null));

  /** One row per step, with the text of its tooltip. */
  const tipRows = (series) => data.steps.map((step, i) => {
    const present = series.filter(({ metric }) => data.metrics[metric][i] !== null);
    const lines = present.map(({ metric, label }) => `${label}: ${data.texts[metric][i]}`);
    return { step, value: present.length ? data.metrics[present[0].metric][i] : null, text: [`step ${step}`, ...lines].join("\n") };
  }).filter((row) => row.value !== null);

  /** The text of a value that all steps share; undefined: they differ. */
  const constantText = (series) => {
    const values = series.flatMap(({ metric }) => known(metric));
    if (!values.length || values.some((value) => value !== values[0])) return undefined;
    return data.texts[series[0].metric].find((text) => text !== null);
  };

  const axisOf = (chart) => chart.axis ?? (Object.keys(chart.series).some(isShare) ? "%" : undefined);

  // --- drawing ------------------------------------------------------------------------------------------------------

  /** The steps' axis, the same in every chart, with no tick between two steps. */
  const stepAxis = (width) => {
    const domain = d3.extent([...data.steps, ...data.evaluations.map(({ step }) => step)]);
    return { domain, label: "step", ticks: Math.max(1, Math.min(Math.floor(width / 60), domain[1] - domain[0])), tickFormat: "~s" };
  };

  const frame = (width, chart, y, marks, { height = 240, ...x } = stepAxis(width)) => Plot.plot({
    width, height, marginLeft: 48, marginRight: 12, marginBottom: 36,
    style: { fontFamily: "inherit", fontSize: "12px", color: MUTED, background: "none", overflow: "visible" },
    x: { labelAnchor: "right", labelArrow: "none", ...x },
    y: { label: null, nice: true, ticks: 5, tickFormat: axisOf(chart), tickSize: 0, ...y },
    marks: [Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }), ...marks],
  });

  const tip = (rows, x) => [
    Plot.ruleX(rows, Plot.pointerX({ x, stroke: MUTED, strokeOpacity: 0.6 })),
    Plot.tip(rows, Plot.pointerX({ x, y: "value", title: "text", fill: "var(--card)", stroke: MUTED, fontSize: 12, lineHeight: 1.3 })),
  ];

  function drawLines(chart, series, width) {
    const smooth = chart.smooth !== false && WINDOW > 1;
    const marks = chart.from0 ? [Plot.ruleY([0], { stroke: "var(--line)" })] : [];
    const lines = [];
    for (const { metric, label, colour, dashed } of series) {
      const rows = longRows([{ metric, label }]);
      const line = { x: "step", y: "value", stroke: colour, strokeWidth: dashed ? 1.4 : 2.2, strokeDasharray: dashed ? "4 3" : undefined };
      if (smooth || rows.length < 3) marks.push(Plot.dot(rows, { x: "step", y: "value", fill: colour, fillOpacity: rows.length < 3 ? 1 : dashed ? 0.12 : 0.3, r: rows.length < 3 ? 4 : data.steps.length > 300 ? 1.2 : 2 }));
      lines.push(Plot.lineY(rows, smooth ? Plot.windowY({ k: WINDOW, anchor: "middle", reduce: "mean" }, line) : line));
    }
    marks.push(...lines);
    if (chart.heldOut) marks.push(...heldOutMarks());
    return frame(width, chart, chart.from0 ? { zero: true } : {}, [...marks, ...tip(tipRows(series), "step")]);
  }

  /** Mean@n of each evaluation with its interval. */
  function heldOutMarks() {
    const points = data.evaluations.map(({ step, curve }) => ({ step, ...curve[0] }));
    return [
      Plot.ruleX(points, { x: "step", y1: "low", y2: "high", stroke: VERMILLION, strokeWidth: 2 }),
      Plot.dot(points, { x: "step", y: "value", r: 4.5, fill: VERMILLION, stroke: "var(--card)", strokeWidth: 1.5 }),
    ];
  }

  function drawPhases(chart, series, width) {
    const colours = new Map(series.map(({ label, colour }) => [label, colour]));
    const order = [...colours.keys()];
    const rows = longRows(series);
    const tips = tipRows(series);
    const total = d3.rollup(rows, (group) => d3.sum(group, (row) => row.value), (row) => row.step);
    for (const row of tips) row.value = total.get(row.step);
    const stack = { x: "step", y: "value", z: "label", order, fill: (row) => colours.get(row.label), fillOpacity: 0.85 };
    const areas = data.steps.length > 1
      ? Plot.areaY(rows, Plot.stackY(Plot.windowY({ k: WINDOW, anchor: "middle", reduce: "mean" }, stack)))
      : Plot.barY(rows, Plot.stackY(stack));
    return frame(width, chart, { zero: true }, [areas, ...tip(tips, "step")]);
  }

  function passCurves() {
    const [first, last] = [data.evaluations[0], data.evaluations.at(-1)];
    const curves = [{ label: first === last ? `step ${first.step}` : "before", colour: GRAY, points: first.curve }];
    if (last !== first) curves.push({ label: "after", colour: BLUE, points: last.curve });
    return curves;
  }

  /** Mean@n and Pass@n of each evaluation. If the numbers of samples differ, n is the smallest, the same for all. */
  function heldOutCurves() {
    const n = d3.min(data.evaluations, ({ samples }) => samples);
    const curve = (k, label, colour) => ({ label, colour, points: data.evaluations.map(({ step, curve }) => ({ ...curve[k - 1], step })) });
    return [curve(1, `Mean@${n}`, VERMILLION), ...(n > 1 ? [curve(n, `Pass@${n}`, BLUE)] : [])];
  }

  function drawHeldOut(chart, series, width) {
    const curves = heldOutCurves();
    return frame(width, chart, { zero: true }, [...bands(curves, "step"), ...tip(bandTips(curves, "step", "step"), "step")]);
  }

  /** Each curve with its band, and dots at the points for which `dotted` says so. */
  const bands = (curves, x, dotted = () => true) => curves.flatMap(({ points, colour }) => [
    Plot.areaY(points, { x, y1: "low", y2: "high", fill: colour, fillOpacity: 0.2 }),
    Plot.lineY(points, { x, y: "value", stroke: colour, strokeWidth: 2.2 }),
    Plot.dot(points.filter(dotted), { x, y: "value", fill: colour, r: 3 }),
  ]);

  /** One row per place on the x axis, with the values of all curves that reach it. */
  const bandTips = (curves, x, name) => d3.groups(curves.flatMap(({ label, points }) => points.map((point) => ({ label, ...point }))), (point) => point[x])
    .map(([place, points]) => {
      const lines = points.map(({ label, text }) => `${label}: ${text}`);
      return { [x]: place, value: points.at(-1).value, text: [`${name} ${place}`, ...lines].join("\n") };
    });

  function drawPassCurves(chart, series, width) {
    const curves = passCurves();
    const most = d3.max(curves, ({ points }) => points.length);
    const ticks = d3.range(0, Math.log2(most) + 1e-9).map((i) => 2 ** i);
    const x = { type: "log", base: 2, label: "k (completions)", ticks, tickFormat: "d", domain: [1, most], height: 330 };
    const marks = bands(curves, "k", ({ k }, i, points) => Number.isInteger(Math.log2(k)) || k === points.length);
    return frame(width, chart, { zero: true }, [...marks, ...tip(bandTips(curves, "k", "k ="), "k")], x);
  }

  // --- the plane of Mean@n and Pass@k -------------------------------------------------------------------------------

  let tries = data.plane?.tries[0];

  function planeControls(redraw) {
    const field = element("fieldset", { className: "tries" }, element("legend", {}, "Vertical"));
    field.append(...data.plane.tries.map((each) => {
      const radio = element("input", { type: "radio", name: "tries", value: each.k, checked: each === tries });
      radio.addEventListener("change", () => { tries = each; redraw(); });
      return element("label", {}, radio, each.label);
    }));
    return field;
  }

  function planeLegend() {
    return [{ label: "before", colour: GRAY }, { label: "after", colour: BLUE }, { label: "hull of the start", colour: MUTED, dashed: true }];
  }

  function drawRunPlane(chart, series, width) {
    const curves = data.plane.curves.map((curve) => ({ ...curve, colour: curve.start ? GRAY : BLUE }));
    return drawPlane(data.plane, tries.k, curves, width);
  }

  // --- the page -----------------------------------------------------------------------------------------------------

  const element = (name, properties, ...children) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  };

  function legend(chart, series) {
    const entries = chart.curves ? chart.curves() : series.map(({ label, colour, dashed }) => ({ label, colour, dashed }));
    if (chart.heldOut && data.evaluations.length) entries.push({ label: "held-out, 95 % interval", colour: VERMILLION });
    if (entries.length < 2) return [];
    return [element("ul", { className: "legend" }, ...entries.map(({ label, colour, dashed }) => {
      const item = element("li", { className: dashed ? "dashed" : "" }, label);
      item.style.setProperty("--key", colour);
      return item;
    }))];
  }

  const drawn = [];

  function addChart(container, chart, series) {
    const plot = element("div", { className: "plot" });
    const card = element("figure", { className: "card" },
      element("h3", {}, chart.title), element("p", { className: "note" }, chart.note), ...legend(chart, series), ...(chart.controls ? [chart.controls(() => draw())] : []), plot);
    container.append(card);
    const draw = () => {
      const width = Math.max(280, plot.clientWidth);
      const svg = (chart.draw ?? drawLines)(chart, series, width);
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", `${chart.title}: ${chart.note}`);
      plot.replaceChildren(svg);
    };
    drawn.push(draw);
  }

  function fill(container) {
    const constants = [];
    for (const chart of CHARTS[container.dataset.charts]) {
      const series = seriesOf(chart);
      if (chart.present === false || (!series.length && !chart.draw) || (!series.length && chart.draw === drawPhases)) continue;
      const constant = constantText(series);
      if (constant !== undefined && !chart.heldOut) constants.push(`${chart.title.toLowerCase()} ${constant}`);
      else addChart(container, chart, series);
    }
    if (constants.length) container.after(element("p", { className: "constant" }, `${data.steps.length > 1 ? "The same at every step" : "So far"}: ${constants.join("; ")}.`));
    const section = container.closest("section");
    if (section.id !== "outcome" && !container.childElementCount && !constants.length) section.hidden = true;
  }

  document.querySelectorAll("[data-charts]").forEach(fill);
  const redraw = () => drawn.forEach((draw) => draw());
  redraw();
  let pending = 0;
  addEventListener("resize", () => { clearTimeout(pending); pending = setTimeout(redraw, 120); });

  const averaged = data.stretch > 1 ? ` Each dot is the mean of ${data.stretch} steps.` : "";
  document.getElementById("smoothing").textContent = WINDOW > 1 ? `Dots are single values; lines are their moving average over ${WINDOW} values.${averaged}` : averaged.trim();
  document.getElementById("no-steps").hidden = data.steps.length > 0;
  document.documentElement.dataset.drawn = document.querySelectorAll(".plot svg").length;
})();
