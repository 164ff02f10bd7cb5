// Draws the charts of a page with Vega, and makes its tables sortable. Without it the page shows static figures.
//
// {"kind": "curves", "title", "x", "y" (words of the axes), "log", "names" (of categories; null: x are numbers), "lines": [{"y", "text"}],
//  "curves": [{"label", "points": [{"x", "y", "low", "high", "say"}]}], "joined" (whether lines join points)}
// {"kind": "bars", "title", "x", "y", "names" (of bins), "groups": [{"label", "counts"}]}; counts stand on a scale that is even up to 1 and logarithmic above
// {"kind": "map", "title", "left", "columns", "top", "rows", "axes" (words of both), "sides" (least and largest of a place, pixels), "unit", "most", "ask" (what a click tells), "what" (of a mark, "core"), "cores": [{"id", "x", "y", "side", "loss", "text", "say", "bare" (whether the text stands there without the id), "detail": [[heading, [line, …]], …]}]}
"use strict";
(() => {
  const SHAPES = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "triangle-right"];
  const DASHES = [[], [7, 3], [7, 3, 2, 3], [2, 2]];
  const make = (tag, fields, ...inside) => { const made = Object.assign(document.createElement(tag), fields); made.append(...inside); return made; };
  const colour = (index) => `var(--c${index % 7})`;
  const words = { labelColor: "var(--ink)", titleColor: "var(--ink)", domainColor: "var(--quiet)", tickColor: "var(--quiet)", gridColor: "var(--soft)", labelFontSize: 12, titleFontSize: 12, labelOverlap: true };

  async function render(place, spec, selector, chosen) {
    const stage = make("div", { className: "stage" });
    const tip = make("div", { className: "tip", hidden: true });
    tip.setAttribute("aria-hidden", "true");  // the mark that it belongs to says the same as its label
    place.append(stage, tip);
    const { view } = await vegaEmbed(stage, spec, { mode: "vega", renderer: "svg", actions: false, tooltip: false, defaultStyle: false });
    const marks = () => [...stage.querySelectorAll(selector)];
    const show = (mark) => {
      tip.textContent = mark.getAttribute("aria-label");
      tip.hidden = false;
      const box = mark.getBoundingClientRect(), outer = place.getBoundingClientRect();
      tip.style.left = `${Math.max(0, Math.min(box.right - outer.left + 8, outer.width - tip.offsetWidth))}px`;
      const above = box.top - outer.top - tip.offsetHeight - 8;
      tip.style.top = `${above > 0 ? above : box.bottom - outer.top + 8}px`;
    };
    const hide = () => { tip.hidden = true; };
    const tabbed = (mark) => { marks().forEach((each) => { each.tabIndex = each === mark ? 0 : -1; }); };
    stage.addEventListener("pointerover", (event) => { const mark = event.target.closest(selector); if (mark) show(mark); else hide(); });
    stage.addEventListener("pointerleave", hide);
    stage.addEventListener("focusin", (event) => { const mark = event.target.closest(selector); if (mark) { tabbed(mark); show(mark); } });
    stage.addEventListener("focusout", hide);
    stage.addEventListener("click", (event) => { const mark = event.target.closest(selector); if (mark) { mark.focus(); chosen?.(mark); } });
    stage.addEventListener("keydown", (event) => {
      const mark = event.target.closest(selector), all = marks();
      if (!mark) return;
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) all[(all.indexOf(mark) + step + all.length) % all.length].focus();
      else if (event.key === "Home") all[0].focus();
      else if (event.key === "End") all[all.length - 1].focus();
      else if (event.key === "Escape") hide();
      else if ((event.key === "Enter" || event.key === " ") && chosen) chosen(mark);
      else return;
      event.preventDefault();
    });
    const run = () => view.runAsync().then(() => {
      hide();
      const all = marks();
      if (all.length && !all.some((mark) => mark.tabIndex === 0)) tabbed(all[0]);
    });
    return { view, run, stage };
  }

  async function curves(place, chart) {
    const numeric = chart.names === null, on = chart.curves.map(() => true);
    const rows = () => chart.curves.flatMap((curve, c) => on[c] ? curve.points.map((point) => ({ ...point, c, at: numeric ? point.x : chart.names[point.x] })) : []);
    const all = rows(), ys = [...all.flatMap((row) => [row.low, row.high]), ...chart.lines.map((line) => line.y)];
    const known = numeric ? [...new Set(all.map((row) => row.x))] : [];
    const padded = (low, high, log, least) => {
      if (log) return [low / 1.3, high * 1.3];
      const flat = high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high)), room = flat ? least ?? (Math.abs(high) * .05 || 1) : (high - low) * .06;
      return [low - room, high + room];
    };
    const whole = { x: numeric ? padded(Math.min(...all.map((row) => row.x)), Math.max(...all.map((row) => row.x)), chart.log) : null, y: padded(Math.min(...ys), Math.max(...ys), false, chart.y.endsWith("(%)") ? 1 : null) };
    const width = () => Math.max(240, Math.min(place.clientWidth, 880));
    const shift = numeric ? { value: 0 } : { signal: `(datum.c - ${(chart.curves.length - 1) / 2}) * width / ${chart.names.length * (chart.curves.length + 1)}` };
    const x = { scale: "x", field: "at", offset: shift }, pick = (list) => ({ signal: `${JSON.stringify(list)}[datum.c % ${list.length}]` });
    const tone = { signal: "'var(--c' + datum.c % 7 + ')'" };
    const spec = {
      $schema: "https://vega.github.io/schema/vega/v6.json", description: chart.title, width: width(), height: 330, autosize: { type: "fit", contains: "padding" }, padding: 4,
      signals: [{ name: "xs", value: whole.x }, { name: "ys", value: whole.y }],
      data: [{ name: "rows", values: rows() }],
      scales: [
        numeric ? { name: "x", type: chart.log ? "log" : "linear", domain: { signal: "xs" }, range: "width", zero: false, nice: false } : { name: "x", type: "point", padding: .5, domain: chart.names, range: "width" },
        { name: "y", type: "linear", domain: { signal: "ys" }, range: "height", zero: false, nice: false },
      ],
      axes: [
        { orient: "bottom", scale: "x", title: chart.x, tickCount: 6, ...(known.length <= 12 && known.every(Number.isInteger) ? { values: known, format: "d" } : {}), ...words, ...(numeric ? {} : { labelLimit: 110 }) },
        { orient: "left", scale: "y", title: chart.y, grid: true, tickCount: 6, ...words },
      ],
      marks: [
        { type: "group", clip: true, encode: { update: { width: { signal: "width" }, height: { signal: "height" } } }, marks: [
          ...chart.lines.flatMap((line, index) => [
            { type: "rule", aria: false, encode: { update: { x: { value: 0 }, x2: { signal: "width" }, y: { scale: "y", value: line.y }, stroke: { value: "var(--quiet)" }, strokeDash: { value: index ? [2, 3] : [8, 3] } } } },
            { type: "text", aria: false, encode: { update: { x: { signal: "width - 4" }, y: { scale: "y", value: line.y, offset: -4 }, align: { value: "right" }, text: { value: line.text }, fill: { value: "var(--quiet)" }, fontSize: { value: 12 } } } },
          ]),
          { type: "group", from: { facet: { name: "own", data: "rows", groupby: "c" } }, marks: chart.joined && numeric ? [
            { type: "area", aria: false, interactive: false, from: { data: "own" }, encode: { update: { x, y: { scale: "y", field: "low" }, y2: { scale: "y", field: "high" }, fill: tone, fillOpacity: { value: .16 } } } },
            { type: "line", aria: false, interactive: false, from: { data: "own" }, encode: { update: { x, y: { scale: "y", field: "y" }, stroke: tone, strokeWidth: { value: 2 }, strokeDash: pick(DASHES) } } },
          ] : [] },
          { type: "rule", aria: false, interactive: false, from: { data: "rows" }, encode: { update: { x, y: { scale: "y", field: "low" }, y2: { scale: "y", field: "high" }, stroke: tone, strokeWidth: { value: numeric ? 0 : 2 } } } },
          { type: "symbol", name: "points", from: { data: "rows" }, encode: { update: { x, y: { scale: "y", field: "y" }, shape: pick(SHAPES), fill: tone, stroke: { value: "var(--page)" }, strokeWidth: { value: 1 }, size: { value: 110 }, description: { field: "say" } } } },
        ] },
      ],
    };
    const tools = make("div", { className: "tools" });
    const legend = make("ul", { className: "legend" });
    place.append(legend, tools);
    const { view, run, stage } = await render(place, spec, ".points path");
    const now = { x: whole.x, y: whole.y };
    const set = (xs, ys) => { now.x = xs; now.y = ys; view.signal("xs", xs).signal("ys", ys); return run(); };
    const zoomed = ([low, high], by, at, log) => {
      if (log) return zoomed([Math.log(low), Math.log(high)], by, at, false).map(Math.exp);
      const middle = low + (high - low) * at;
      return [middle + (low - middle) * by, middle + (high - middle) * by];
    };
    const zoom = (by, x = .5, y = .5) => set(now.x && zoomed(now.x, by, x, chart.log), zoomed(now.y, by, y, false));
    for (const [name, act] of [["Zoom in", () => zoom(1 / 1.5)], ["Zoom out", () => zoom(1.5)], ["Show all", () => set(whole.x, whole.y)]]) tools.append(make("button", { type: "button", onclick: act }, name));
    tools.append(make("span", { className: "quiet" }, "Ctrl and wheel zooms, dragging moves; Tab, then arrows, goes from point to point."));
    const where = (event) => {
      const [left, top] = view.origin(), box = stage.querySelector("svg").getBoundingClientRect();
      return [(event.clientX - box.left - left) / view.width(), 1 - (event.clientY - box.top - top) / view.height()];
    };
    stage.addEventListener("wheel", (event) => { if (event.ctrlKey) { event.preventDefault(); zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, ...where(event)); } }, { passive: false });
    stage.addEventListener("dblclick", (event) => zoom(1 / 1.5, ...where(event)));
    let from = null;
    stage.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse" && event.button === 0 && !event.target.closest(".points path")) { event.preventDefault(); from = { at: where(event), x: now.x, y: now.y }; } });
    window.addEventListener("pointerup", () => { from = null; });
    window.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [x, y] = where(event);
      const moved = ([low, high], by, log) => log ? [low * (high / low) ** by, high * (high / low) ** by] : [low + (high - low) * by, high + (high - low) * by];
      set(from.x && moved(from.x, from.at[0] - x, chart.log), moved(from.y, from.at[1] - y, false));
    });
    chart.curves.forEach((curve, c) => {
      const box = make("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => { on[c] = box.checked; view.data("rows", rows()); run(); });
      const swatch = swatchOf(c, chart.joined && numeric);
      legend.append(make("li", {}, make("label", {}, box, swatch, make("span", {}, curve.label))));
    });
    window.addEventListener("resize", () => { view.width(width()); run(); });
    return run();
  }

  function swatchOf(c, joined, square = false) {
    const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", "0 0 36 14");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(space, "path");
    line.setAttribute("d", "M0 7H36");
    line.setAttribute("style", `stroke:${colour(c)};stroke-width:2;stroke-dasharray:${DASHES[c % 4].join(" ")}`);
    const mark = document.createElementNS(space, "path");
    mark.setAttribute("d", square ? "M12 1h12v12h-12z" : ["M12 7a6 6 0 1 0 12 0a6 6 0 1 0 -12 0", "M13 2h10v10h-10z", "M18 1l6 6l-6 6l-6 -6z", "M18 1l6 11h-12z", "M18 13l6 -11h-12z", "M16 1h4v4h4v4h-4v4h-4v-4h-4v-4h4z", "M24 7l-11 -6v12z"][c % 7]);
    mark.setAttribute("style", `fill:${colour(c)}`);
    svg.append(...(joined ? [line, mark] : [mark]));
    return svg;
  }

  async function map(place, chart) {
    const [least, largest] = chart.sides, width = () => Math.max(240, Math.min(place.clientWidth, Math.max(320, largest * chart.columns + 90)));
    const height = () => Math.max(least, Math.min(largest, (width() - 90) / chart.columns)) * chart.rows;
    const spec = {
      $schema: "https://vega.github.io/schema/vega/v6.json", description: chart.title, width: width(), height: height() + 110, autosize: { type: "fit", contains: "padding" }, padding: 4,
      data: [{ name: "places", values: chart.cores.map(({ detail, ...core }, index) => ({ ...core, index })) }],
      scales: [
        { name: "x", type: "linear", domain: [chart.left, chart.left + chart.columns], range: "width", zero: false, nice: false }, { name: "y", type: "linear", domain: [chart.top, chart.top + chart.rows], range: [0, { signal: "height" }], zero: false, nice: false },
        { name: "shade", type: "linear", domain: [0, chart.most || 1], range: { scheme: "cividis" }, reverse: true, clamp: true },
      ],
      axes: [{ orient: "bottom", scale: "x", title: chart.axes[0], values: Array.from({ length: chart.columns }, (_, k) => chart.left + k + .5), format: "d", encode: { labels: { update: { text: { signal: "floor(datum.value)" } } } }, ...words },
        { orient: "left", scale: "y", title: chart.axes[1], values: Array.from({ length: chart.rows }, (_, k) => chart.top + k + .5), encode: { labels: { update: { text: { signal: "floor(datum.value)" } } } }, ...words }],
      legends: [{ fill: "shade", title: chart.unit, orient: "top", direction: "horizontal", type: "gradient", gradientLength: { signal: "min(200, width)" }, labelColor: "var(--ink)", titleColor: "var(--ink)", titleFontSize: 12, titleLimit: 300, labelFontSize: 12 }],
      marks: [
        { type: "rect", name: "cores", from: { data: "places" }, encode: { update: {
          x: { scale: "x", field: "x" }, x2: { scale: "x", signal: "datum.x + datum.side" }, y: { scale: "y", field: "y" }, y2: { scale: "y", signal: "datum.y + datum.side" },
          fill: [{ test: "datum.loss === null", value: "var(--head)" }, { scale: "shade", field: "loss" }], stroke: { value: "var(--quiet)" }, strokeDash: { signal: "datum.loss === null ? [3, 3] : []" }, description: { field: "say" }, cornerRadius: { value: 2 } } } },
        { type: "text", aria: false, interactive: false, from: { data: "places" }, encode: { update: {
          x: { scale: "x", signal: "datum.x + datum.side / 2" }, y: { scale: "y", signal: "datum.y + datum.side / 2" }, align: { value: "center" }, baseline: { value: "middle" }, fontSize: { value: 12 },
          text: { signal: `(scale('x', datum.side) - scale('x', 0)) < 22 ? '' : datum.bare ? datum.text : (scale('x', datum.side) - scale('x', 0)) < 34 || datum.loss === null ? '' + datum.id : [datum.id + '', datum.text]` }, lineHeight: { value: 13 }, dy: { signal: "datum.bare || datum.loss === null || (scale('x', datum.side) - scale('x', 0)) < 34 ? 0 : -6" },
          fill: [{ test: "datum.loss === null", value: "var(--ink)" }, { test: `luminance(scale('shade', datum.loss)) > 0.22`, value: "#000" }, { value: "#fff" }] } } },
      ],
    };
    const detail = make("div", { className: "detail" });
    detail.setAttribute("aria-live", "polite");
    detail.append(make("p", { className: "quiet" }, `Click a ${chart.what}, or reach it with Tab and the arrows and press Enter: ${chart.ask}.`));
    const { view, run, stage } = await render(place, spec, ".cores path", (mark) => {
      const core = chart.cores[[...stage.querySelectorAll(".cores path")].indexOf(mark)];
      detail.replaceChildren(make("h3", {}, `${chart.what[0].toUpperCase()}${chart.what.slice(1)} ${core.id}`), ...core.detail.flatMap(([head, lines]) => [
        make("p", {}, make("strong", {}, head)), make("ul", {}, ...lines.map((line) => make("li", {}, line)))]));
    });
    place.append(detail);
    window.addEventListener("resize", () => { view.width(width()).height(height() + 110); run(); });
    return run();
  }

  async function bars(place, chart) {
    const width = () => Math.max(240, Math.min(place.clientWidth, 880)), most = Math.max(1, ...chart.groups.flatMap((group) => group.counts));
    const values = chart.groups.flatMap((group, c) => group.counts.map((count, at) => ({ c, at: chart.names[at], count, say: `${group.label}\n${chart.x}: ${chart.names[at]}\n${count.toLocaleString("en")} ${chart.y}` })));
    const ticks = [0, ...Array.from({ length: 1 + Math.ceil(Math.log10(most)) }, (_, k) => 10 ** k)].filter((tick) => tick <= most);
    const tone = { signal: "'var(--c' + datum.c % 7 + ')'" };
    const spec = {
      $schema: "https://vega.github.io/schema/vega/v6.json", description: chart.title, width: width(), height: 300, autosize: { type: "fit", contains: "padding" }, padding: 4,
      data: [{ name: "rows", values }],
      scales: [
        { name: "x", type: "band", domain: chart.names, range: "width", paddingInner: .25, paddingOuter: .1 },
        { name: "y", type: "symlog", domain: [0, most], range: "height", nice: false },
      ],
      axes: [{ orient: "bottom", scale: "x", title: chart.x, ...words }, { orient: "left", scale: "y", title: chart.y, grid: true, values: ticks, format: ",d", ...words }],
      marks: [{ type: "rect", name: "points", from: { data: "rows" }, encode: { update: {
        x: { scale: "x", field: "at", offset: { signal: `datum.c * bandwidth('x') / ${chart.groups.length}` } }, width: { signal: `max(1, bandwidth('x') / ${chart.groups.length})` },
        y: { scale: "y", field: "count" }, y2: { scale: "y", value: 0 }, fill: tone, description: { field: "say" } } } }],
    };
    const legend = make("ul", { className: "legend" });
    chart.groups.forEach((group, c) => legend.append(make("li", {}, swatchOf(c, false, true), make("span", {}, group.label))));
    place.append(legend);
    const { view, run } = await render(place, spec, ".points path");
    window.addEventListener("resize", () => { view.width(width()); run(); });
    return run();
  }

  function tables() {
    document.querySelectorAll("table").forEach((table) => {
      const head = table.tHead, body = table.tBodies[0];
      if (!head || !body) return;
      const first = [...body.rows], value = (row, column) => {
        const text = row.cells[column].textContent.trim(), found = text.replace(/,/g, "").match(/-?−?\d+(\.\d+)?(e[-+]?\d+)?/i);
        const number = text === "–" ? null : found && column > 0 && !row.cells[column].classList.contains("text") ? Number(found[0].replace("−", "-")) : NaN;
        return [text, number];
      };
      [...head.rows[0].cells].forEach((cell, column) => {
        const button = make("button", { type: "button" }, ...cell.childNodes);
        cell.append(button);
        button.addEventListener("click", () => {
          const up = cell.getAttribute("aria-sort") !== "ascending";
          [...head.rows[0].cells].forEach((each) => each.removeAttribute("aria-sort"));
          cell.setAttribute("aria-sort", up ? "ascending" : "descending");
          body.append(...first.map((row) => [row, ...value(row, column)]).sort(([, s, a], [, t, b]) => {
            if (a === null || b === null) return (a === null) - (b === null);
            const order = Number.isNaN(a) || Number.isNaN(b) ? s.localeCompare(t, "en", { numeric: true }) : a - b;
            return up ? order : -order;
          }).map(([row]) => row));
        });
      });
      const count = make("span", { className: "quiet" });
      count.setAttribute("aria-live", "polite");
      const search = make("input", { type: "search", placeholder: "words that a row must have" });
      search.addEventListener("input", () => {
        const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean);
        first.forEach((row) => { const text = row.textContent.toLowerCase(); row.hidden = !asked.every((word) => text.includes(word)); });
        count.textContent = asked.length ? ` ${first.filter((row) => !row.hidden).length} of ${first.length} rows` : "";
      });
      table.closest(".scroll").before(make("label", { className: "filter" }, "Filter: ", search, count));
    });
  }

  tables();
  const charts = JSON.parse(document.getElementById("charts").textContent);
  Promise.all(Object.entries(charts).map(([id, chart]) => {
    const place = document.getElementById(id);
    place.hidden = false;
    return { map, curves, bars }[chart.kind](place, chart).then(() => {
      document.querySelectorAll(`[data-drawn-by="${id}"]`).forEach((each) => { each.hidden = true; });
    });
  })).then(() => { document.documentElement.dataset.ready = "yes"; });
})();
