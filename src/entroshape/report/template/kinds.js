// Kinds of tokens: charts over the steps; in the credit viewer, a filter and a table of the step's entropy and credit.
"use strict";

/** One chart per quantity and outcome, with one line per kind of token. */
function kindCharts(metrics, colours) {
  const names = metrics.filter((name) => name.startsWith("kind/"));
  const parts = (name) => { const [, outcome, quantity, ...kind] = name.split("/"); return { outcome, quantity, kind: kind.join("/") }; };
  const kinds = [...new Set(names.map((name) => parts(name).kind))];
  const quantities = {
    share: ["Share of tokens", "Share of the outcome's tokens."], entropy: ["Entropy", "In nats per token."],
    weight: ["Weight", "Mean weight; 1 is the mean of all tokens."], advantage: ["Advantage", "Mean advantage."],
  };
  return Object.entries(quantities).flatMap(([quantity, [title, note]]) => ["success", "failure"].map((outcome) => ({
    title: `${title} by kind, ${outcome === "success" ? "successes" : "failures"}`, note,
    from0: quantity !== "advantage",
    series: Object.fromEntries(names.filter((name) => parts(name).outcome === outcome && parts(name).quantity === quantity).map((name) => {
      const place = kinds.indexOf(parts(name).kind);
      return [name, [visible(parts(name).kind), colours[place % colours.length], place < colours.length ? "" : "dashed"]];
    })),
  })));
}

(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent).credit;
  const viewer = document.getElementById("viewer");
  if (!data || !data.kinds.length) return;
  const [select, table] = ["kind", "kinds"].map((id) => document.getElementById(id));
  const element = (name, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  };

  /** Tokens of other kinds than the chosen one fade. */
  function filter() {
    const chosen = select.value;
    document.querySelectorAll("#tokens td[data-kind]").forEach((cell) => cell.classList.toggle("faded", chosen !== "" && cell.dataset.kind !== chosen));
    table.querySelectorAll("tr[data-kind]").forEach((row) => row.classList.toggle("chosen", row.dataset.kind === chosen));
  }

  function choose(kind) { select.value = select.value === kind ? "" : kind; filter(); }

  function drawTable(rows) {
    const body = [true, false].flatMap((success) => {
      const own = rows.filter((row) => row.success === success);
      if (!own.length) return [];
      const title = element("tr", {}, element("th", { scope: "rowgroup", colSpan: data.headings.length + 1, className: success ? "success" : "failure" }, success ? "successes" : "failures"));
      return [title, ...own.map(({ kind, summary, texts }) => {
        const row = element("tr", { className: summary ? "summary" : "" }, element("th", { scope: "row" }, element("bdi", {}, visible(kind))), ...texts.map((text) => element("td", {}, text)));
        if (!summary) { row.dataset.kind = data.kinds.indexOf(kind); row.addEventListener("click", () => choose(row.dataset.kind)); }
        return row;
      })];
    });
    const head = element("tr", {}, element("th", { scope: "col" }, "kind"), ...data.headings.map((heading) => element("th", { scope: "col" }, heading)));
    table.replaceChildren(element("h4", {}, "The whole step by kind of token"), element("table", { className: "plain" }, element("thead", {}, head), element("tbody", {}, ...body)));
  }

  select.append(element("option", { value: "" }, "all"), ...data.kinds.map((kind, i) => element("option", { value: i }, visible(kind))));
  select.closest("label").hidden = false;
  select.addEventListener("change", filter);
  viewer.addEventListener("drawn", ({ detail }) => { drawTable(data.steps[detail.step].kinds); filter(); });
})();
