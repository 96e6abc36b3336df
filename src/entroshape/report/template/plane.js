// Draws the plane of Mean@n and Pass@k with Observable Plot, for comparison.html and report.html: curves from cold to hot
// sampling, points of other steps, and the hull with its band. All text comes from Python and is drawn as text.
"use strict";
const drawPlane = (() => {
  const [INK, MUTED, LINE, CARD] = ["ink", "muted", "line", "card"].map((name) => `var(--${name})`);
  const percent = (value) => `${value} %`;

  /**
   * @param plane {x, hull: {k: [{x, y, low, high, text}]}, ...}: shares from 0 to 1, and lines of text
   * @param k the number of completions, as text
   * @param curves [{colour, dash, line, main, points: [{x, y: {k}, text: {k}}]}]
   */
  return (plane, k, curves, width) => {
    const hull = plane.hull[k].map(({ x, y, low, high, text }) => ({ x: 100 * x, y: 100 * y, low: 100 * low, high: 100 * high, text: text.join("\n") }));
    const rows = curves.map((curve) => ({ ...curve, points: curve.points.map(({ x, y, text }) => ({ x: 100 * x, y: 100 * y[k], text: text[k].join("\n"), colour: curve.colour })) }));
    const dots = (chosen, options) => Plot.dot(rows.filter(chosen).flatMap(({ points }) => points), { x: "x", y: "y", ...options });
    const svg = Plot.plot({
      width, height: Math.max(280, Math.min(460, 0.6 * width)), marginLeft: 52, marginRight: 16, marginBottom: 40,
      style: { fontFamily: "inherit", fontSize: "12px", color: MUTED, background: "none", overflow: "visible" },
      x: { label: plane.x, labelAnchor: "right", labelArrow: "none", nice: true, ticks: width < 560 ? 5 : 9, tickFormat: percent },
      y: { label: null, nice: true, ticks: 6, tickSize: 0, tickFormat: percent },
      marks: [
        Plot.gridX({ stroke: LINE, strokeOpacity: 1, ticks: width < 560 ? 5 : 9 }),
        Plot.gridY({ stroke: LINE, strokeOpacity: 1, ticks: 6 }),
        Plot.areaY(hull, { x: "x", y1: "low", y2: "high", fill: MUTED, fillOpacity: 0.18 }),
        Plot.lineY(hull, { x: "x", y: "y", stroke: MUTED, strokeWidth: 1.6, strokeDasharray: "5 4" }),
        ...rows.filter(({ line }) => line).map(({ points, colour, dash, main }) =>
          Plot.line(points, { x: "x", y: "y", stroke: colour, strokeWidth: main ? 2.2 : 1.2, strokeDasharray: dash, strokeOpacity: main ? 1 : 0.7 })),
        dots(({ line, main }) => line && main, { r: 4, fill: "colour", stroke: CARD }),
        dots(({ line, main }) => line && !main, { r: 2.5, fill: "colour", fillOpacity: 0.8 }),
        dots(({ line }) => !line, { r: 2.5, fill: CARD, stroke: "colour", strokeWidth: 1.2 }),
        Plot.tip([...rows.flatMap(({ points }) => points), ...hull], Plot.pointer({ x: "x", y: "y", title: "text", fill: CARD, stroke: MUTED, fontSize: 12, lineHeight: 1.3 })),
      ],
    });
    svg.setAttribute("role", "img");
    return svg;
  };
})();
