// Draws the figures that analysis/report/figure.h describes, interactively, with d3 (version 3). The page's data is one
// JSON object: {runs: [{name, color}], groups: [{name, runs}] with seeds, palettes: {name: [colours]}, figures: [...]}.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const hidden = new Set();
  const drawn = [];  // one redraw function a figure

  // ---- small helpers ----
  const make = (tag, className, parent) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (parent) parent.appendChild(node);
    return node;
  };
  const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
  const ink = "currentColor";
  const runColor = (index) => (index < 0 ? ink : data.runs[index].color);
  const visible = (index) => index < 0 || !hidden.has(index);
  const known = (value) => value !== null && value !== undefined;

  function format(value) {
    if (!known(value)) return "–";
    const size = Math.abs(value);
    if (value === 0) return "0";
    if (size >= 999950) return withUnit(value, 4);
    if (size >= 1000) return d3.format(",.0f")(value);
    if (size < 1e-3) return value.toExponential(2);
    return String(Number(value.toPrecision(4)));
  }
  // In words, the unit chosen after rounding: 999,960 is 1 M.
  function withUnit(value, digits) {
    const rounded = +value.toPrecision(digits);
    for (const [unit, name] of [[1e12, " T"], [1e9, " B"], [1e6, " M"]]) {
      if (Math.abs(rounded) >= unit) return +(rounded / unit).toPrecision(digits) + name;
    }
    return +(rounded / 1e3).toPrecision(digits) + " k";
  }
  // `step`: to the next tick, which must not read alike.
  function tickLabel(value, step) {
    const size = Math.abs(value);
    if (size >= 1e4) return withUnit(value, 3);
    if (size !== 0 && size < 1e-3) return value.toExponential(0);
    const apart = size === 0 ? 0 : Math.ceil(Math.log10(size / step)) + 1;
    return String(+value.toPrecision(Math.min(15, Math.max(4, apart))));
  }

  // ---- the read-out ----
  const tip = make("div", "tip", document.body);
  function showTip(event, html) {
    tip.innerHTML = html;
    const box = tip.getBoundingClientRect();
    const right = event.clientX + 16 + box.width < window.innerWidth;
    tip.style.left = (right ? event.clientX + 14 : Math.max(4, event.clientX - box.width - 14)) + "px";
    tip.style.top = Math.min(event.clientY + 14, window.innerHeight - box.height - 6) + "px";
    tip.style.opacity = 1;
  }
  const hideTip = () => { tip.style.opacity = 0; };
  const dot = (color) => `<i class="dot" style="background:${color}"></i>`;

  // ---- scales ----
  const shownSeries = (panel) => (panel.series || []).filter((s) => visible(s.color));
  function extent(panels, pick, log) {
    const values = [];
    panels.forEach((panel) => pick(panel).forEach((v) => { if (known(v) && (!log || v > 0)) values.push(v); }));
    return values.length ? d3.extent(values) : (log ? [1, 10] : [0, 1]);
  }
  function xScale(panels, width) {
    const log = panels[0].x.log;
    let [low, high] = extent(panels, (p) => [].concat(...shownSeries(p).map((s) => s.x || [])), log);
    if (low === high) { low = log ? low / 2 : low - 0.5; high = log ? high * 2 : high + 0.5; }
    return (log ? d3.scale.log() : d3.scale.linear()).domain([low, high]).range([0, width]);
  }
  function yScale(panels, height) {
    const log = panels[0].y.log;
    const bars = panels[0].kind === "bars";
    let [low, high] = extent(panels, (p) => [].concat(...shownSeries(p).map((s) => s.y.concat(s.low || [], s.high || [])), p.band ? [p.band.low, p.band.high] : [], ...(p.rules || []).map((r) => (log ? [r.value, r.value * 1.5] : [r.value]))), log);  // room for its label
    if (log) {
      if (bars) low /= 2;
      low = Math.pow(10, Math.floor(Math.log10(low) * 2 + 1e-9) / 2);
      high = Math.pow(10, Math.ceil(Math.log10(high) * 2 - 1e-9) / 2);
      if (high <= low) high = low * 10;
      return d3.scale.log().domain([low, high]).range([height, 0]);
    }
    if (bars) low = Math.min(0, low);
    if (low === high) { low = low >= 0 ? Math.max(0, low - 0.5) : low - 0.5; high += 0.5; }
    return d3.scale.linear().domain([low, high]).nice(5).range([height, 0]);
  }
  function logTicks(domain) {
    const out = [];
    const decades = Math.log10(domain[1] / domain[0]);
    const stride = Math.max(1, Math.ceil(decades / 6));
    const first = Math.floor(Math.log10(domain[0]));
    for (let power = first; power <= Math.ceil(Math.log10(domain[1])); ++power) {
      for (const digit of [1, 2, 5]) {
        const value = digit * Math.pow(10, power);
        if (value < domain[0] * 0.999 || value > domain[1] * 1.001) continue;
        const named = digit === 1 ? (power - first) % stride === 0 : decades < 1.6;
        if (named || digit === 1) out.push({ value: value, label: named ? tickLabel(value, value) : "" });
      }
    }
    return out;
  }
  function ticksOf(scale, axis, count) {
    if (axis.log) return logTicks(scale.domain());
    let values = scale.ticks(count);
    if (axis.whole) values = values.filter((v) => v === Math.round(v));
    const step = values.length > 1 ? values[1] - values[0] : 1;
    return values.map((v) => ({ value: v, label: tickLabel(v, step) }));
  }

  // ---- lines and bars ----
  const dashes = { dashed: "6 3", dotted: "1.5 3.5", dash_dotted: "7 3 1.5 3" };
  const margin = { left: 54, right: 10, top: 8, bottom: 38 };

  function frame(node, panel, height) {
    const width = Math.max(180, node.clientWidth - margin.left - margin.right);
    const svg = d3.select(node).append("svg").attr("height", height + margin.top + margin.bottom);
    const g = svg.append("g").attr("transform", `translate(${margin.left},${margin.top})`);
    g.append("text").attr("x", width / 2).attr("y", height + 33).attr("text-anchor", "middle").text(panel.x.label);
    g.append("text").attr("transform", `translate(-43,${height / 2}) rotate(-90)`).attr("text-anchor", "middle").text(panel.y.label);
    return { g: g, width: width, height: height };
  }
  function yAxis(g, panel, y, width) {
    ticksOf(y, panel.y, 5).forEach((tick) => {
      g.append("line").attr("class", "grid").attr({ x1: 0, x2: width, y1: y(tick.value), y2: y(tick.value) });
      g.append("text").attr({ x: -7, y: y(tick.value) + 3.6, "text-anchor": "end" }).text(tick.label);
    });
  }
  function rules(g, panel, y, width) {
    (panel.rules || []).forEach((rule) => {
      g.append("line").attr("class", "rule").attr({ x1: 0, x2: width, y1: y(rule.value), y2: y(rule.value) });
      g.append("text").attr("class", "rule-name").attr({ x: 4, y: y(rule.value) - 4 }).text(rule.label);
    });
  }

  function drawLines(node, panel, scope, height) {
    const { g, width } = frame(node, panel, height);
    const x = xScale(scope, width);
    const y = yScale(scope, height);
    yAxis(g, panel, y, width);
    ticksOf(x, panel.x, Math.max(3, Math.floor(width / 75))).forEach((tick) => {
      g.append("line").attr("class", "axis").attr({ x1: x(tick.value), x2: x(tick.value), y1: height, y2: height + 4 });
      g.append("text").attr({ x: x(tick.value), y: height + 17, "text-anchor": "middle" }).text(tick.label);
    });
    g.append("line").attr("class", "axis").attr({ x1: 0, x2: width, y1: height, y2: height });
    rules(g, panel, y, width);
    const shows = (v) => known(v) && (!panel.y.log || v > 0);
    const series = shownSeries(panel);
    series.filter((s) => s.low).forEach((s) => g.append("path").datum(s.y.map((_, i) => ({ x: s.x[i], low: s.low[i], high: s.high[i] })))
      .attr("d", d3.svg.area().defined((p) => shows(p.low) && shows(p.high)).x((p) => x(p.x)).y0((p) => y(p.low)).y1((p) => y(p.high)))
      .attr({ fill: runColor(s.color), opacity: 0.16 }));
    series.forEach((s) => {
      const points = s.y.map((v, i) => ({ x: s.x[i], y: v }));
      if (s.stroke !== "points") {
        g.append("path").datum(points)
          .attr("d", d3.svg.line().defined((p) => shows(p.y)).x((p) => x(p.x)).y((p) => y(p.y)))
          .attr({ fill: "none", stroke: runColor(s.color), "stroke-width": 2, "stroke-linejoin": "round", opacity: s.opacity })
          .attr("stroke-dasharray", dashes[s.stroke] || null).attr("stroke-linecap", s.stroke === "dotted" ? "round" : null);
      }
      if (s.stroke === "points" || points.length <= 40) {
        points.filter((p) => shows(p.y)).forEach((p) => g.append("circle")
          .attr({ cx: x(p.x), cy: y(p.y), r: s.stroke === "points" ? 3.4 : 2.6, fill: runColor(s.color), opacity: s.opacity }));
      }
    });
    // Hover: every series' value at the nearest abscissa that any of them has.
    const cursor = g.append("line").attr("class", "cursor").attr({ y1: 0, y2: height }).style("display", "none");
    const places = Array.from(new Set([].concat(...series.map((s) => s.x)))).sort((a, b) => a - b);
    g.append("rect").attr({ width: width, height: height, fill: "none", "pointer-events": "all" })
      .on("mousemove", function () {
        if (!places.length) return;
        const at = x.invert(d3.mouse(this)[0]);
        const i = d3.bisectLeft(places, at);
        const place = i > 0 && (i === places.length || at - places[i - 1] < places[i] - at) ? places[i - 1] : places[i];
        cursor.style("display", null).attr({ x1: x(place), x2: x(place) });
        const rows = [];
        series.forEach((s) => {
          // Curves sampled at other places show their nearest point within a pixel or two of the cursor.
          let best = -1;
          s.x.forEach((v, k) => { if (best < 0 || Math.abs(v - place) < Math.abs(s.x[best] - place)) best = k; });
          if (best < 0 || Math.abs(x(s.x[best]) - x(place)) > 4 || !known(s.y[best])) return;
          rows.push({ value: s.y[best], html: `<tr><td>${dot(runColor(s.color))}${escape(s.name)}</td><td class="number"><b>${format(s.y[best])}</b></td><td>${escape((s.notes || [])[best] || "")}</td></tr>` });
        });
        if (panel.color < 0) rows.sort((a, b) => b.value - a.value);
        showTip(d3.event, `${escape(panel.x.label)} <b>${format(place)}</b><table>${rows.map((r) => r.html).join("")}</table>`);
      })
      .on("mouseout", () => { cursor.style("display", "none"); hideTip(); });
  }

  function drawBars(node, panel, scope, height) {
    const { g, width } = frame(node, panel, height);
    const y = yScale(scope, height);
    yAxis(g, panel, y, width);
    const series = shownSeries(panel);
    const group = width / panel.x.categories.length;
    const bar = group * 0.8 / Math.max(1, series.length);
    panel.x.categories.forEach((name, c) => {
      g.append("text").attr({ x: group * (c + 0.5), y: height + 17, "text-anchor": "middle" }).text(name);
    });
    series.forEach((s, k) => s.y.forEach((value, c) => {
      if (!known(value) || (panel.y.log && value <= 0)) return;
      g.append("rect").attr({ x: group * (c + 0.1) + bar * k, y: y(value), width: bar * 0.92, height: Math.max(0, height - y(value)), rx: 1.5, fill: runColor(s.color) })
        .on("mousemove", () => showTip(d3.event, `${dot(runColor(s.color))}${escape(s.name)}<br>${escape(panel.x.categories[c])}: <b>${format(value)}</b> ${escape((s.notes || [])[c] || "")}`))
        .on("mouseout", hideTip);
      if (!s.low || !known(s.low[c]) || (panel.y.log && s.low[c] <= 0)) return;
      const middle = group * (c + 0.1) + bar * (k + 0.46);
      g.append("line").attr("class", "whisker").attr({ x1: middle, x2: middle, y1: y(s.low[c]), y2: y(s.high[c]) });
    }));
    g.append("line").attr("class", "axis").attr({ x1: 0, x2: width, y1: height, y2: height });
    rules(g, panel, y, width);
  }

  // On their side: categories downwards, single values below their mean and its whisker.
  function drawIntervals(node, panel) {
    const rows = panel.x.categories;
    const row = 26;
    const left = Math.min(150, textWidth(rows) + 14);
    const width = Math.max(140, node.clientWidth - left - 14);
    const height = rows.length * row;
    const g = d3.select(node).append("svg").attr("height", height + 46).append("g").attr("transform", `translate(${left},6)`);
    const value = yScale([panel], 1);
    const at = value.copy().range([0, width]);
    const shows = (v) => known(v) && (!panel.y.log || v > 0);
    if (panel.band && shows(panel.band.low) && shows(panel.band.high)) {
      const wide = at(panel.band.high) - at(panel.band.low);  // without width it is a line
      g.append("rect").attr("class", "band").attr({ x: at(panel.band.low), width: Math.max(1, wide), height: height }).style("opacity", wide < 1 ? 0.6 : null);
    }
    ticksOf(at, panel.y, Math.max(2, Math.floor(width / 70))).forEach((tick) => {
      g.append("line").attr("class", "grid").attr({ x1: at(tick.value), x2: at(tick.value), y2: height });
      g.append("text").attr({ x: at(tick.value), y: height + 16, "text-anchor": "middle" }).text(tick.label);
    });
    g.append("line").attr("class", "axis").attr({ x2: width, y1: height, y2: height });
    g.append("text").attr({ x: width / 2, y: height + 34, "text-anchor": "middle" }).text(panel.y.label);
    rows.forEach((name, r) => g.append("text").attr({ x: -8, y: row * (r + 0.5) + 3.6, "text-anchor": "end" }).text(name));
    shownSeries(panel).forEach((s) => s.y.forEach((v, i) => {
      const single = s.stroke === "points";
      // Single values below their mean's whisker; a series by itself in the middle.
      const y = row * (s.x[i] + 0.5) + (panel.series.length === 1 ? 0 : single ? 6 : -4);
      const mark = g.append("g");
      if (s.low && shows(s.low[i]) && shows(s.high[i])) {
        mark.append("line").attr({ x1: at(s.low[i]), x2: at(s.high[i]), y1: y, y2: y, stroke: runColor(s.color), "stroke-width": 2.6, "stroke-linecap": "round" });
      }
      if (shows(v)) mark.append("circle").attr({ cx: at(v), cy: y, r: single ? 2.8 : 4.4, fill: runColor(s.color), opacity: s.opacity });
      const range = s.low && known(s.low[i]) ? ` (${format(s.low[i])} – ${format(s.high[i])})` : "";
      mark.on("mousemove", () => showTip(d3.event, `${dot(runColor(s.color))}${escape(rows[s.x[i]])}<br><b>${format(v)}</b>${range}<br>${escape((s.notes || [])[i] || "")}`))
        .on("mouseout", hideTip);
    }));
  }

  // ---- heat maps ----
  const palettes = {};
  Object.keys(data.palettes).forEach((name) => {
    const stops = data.palettes[name];
    palettes[name] = d3.scale.linear().domain(d3.range(stops.length).map((i) => i / (stops.length - 1))).range(stops).clamp(true);
  });
  function positionOn(scale, value) {
    if (!known(value)) return null;
    if (!scale.log) return (value - scale.low) / (scale.high - scale.low);
    return value > 0 ? Math.log(value / scale.low) / Math.log(scale.high / scale.low) : null;
  }
  function paint(canvas, panel) {
    const columns = panel.x.categories.length;
    const rows = panel.y.categories.length;
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    panel.cells.forEach((value, i) => {
      const place = positionOn(panel.scale, value);
      if (place === null) return;
      const color = d3.rgb(palettes[panel.scale.palette](place));
      image.data.set([color.r, color.g, color.b, 255], 4 * i);
    });
    context.putImageData(image, 0, 0);
  }
  function colorBar(g, scale, x, height) {
    g.append("text").attr("transform", `translate(${x + 64},${height / 2}) rotate(-90)`).attr("text-anchor", "middle").text(scale.label);
    const id = "gradient-" + (colorBar.count = (colorBar.count || 0) + 1);
    const stops = data.palettes[scale.palette];
    const gradient = g.append("linearGradient").attr({ id: id, x1: 0, x2: 0, y1: 1, y2: 0 });
    stops.forEach((color, i) => gradient.append("stop").attr({ offset: i / (stops.length - 1), "stop-color": color }));
    g.append("rect").attr({ x: x, y: 0, width: 10, height: height, fill: `url(#${id})`, rx: 2 });
    const axis = (scale.log ? d3.scale.log() : d3.scale.linear()).domain([scale.low, scale.high]).range([height, 0]);
    ticksOf(axis, scale, 4).filter((t) => t.label).forEach((tick) => {
      g.append("text").attr({ x: x + 15, y: axis(tick.value) + 3.6 }).text(tick.label);
    });
  }
  const textWidth = (names) => 6.2 * d3.max(names, (n) => n.length);

  function drawHeat(node, panel, rowHeight) {
    const columns = panel.x.categories;
    const rows = panel.y.categories;
    const left = Math.max(34, Math.min(130, textWidth(rows) + 14)) + (panel.y.label ? 20 : 0);
    const right = 82;
    const width = Math.max(120, node.clientWidth - left - right);
    // A map of many keys by as many queries is square, its labels thinned out.
    const square = rows.length === columns.length && rows.length > 24;
    const height = square ? width : Math.max(96, rows.length * rowHeight);
    const svg = d3.select(node).append("svg").attr("height", height + 46);
    const g = svg.append("g").attr("transform", `translate(${left},6)`);
    g.append("rect").attr({ width: width, height: height, fill: "var(--empty)" });
    const canvas = document.createElement("canvas");
    paint(canvas, panel);
    g.append("image").attr({ width: width, height: height, preserveAspectRatio: "none" })
      .attr("href", canvas.toDataURL()).style("image-rendering", "pixelated");
    const cellWidth = width / columns.length;
    const cellHeight = height / rows.length;
    const every = Math.max(1, Math.ceil((textWidth(columns) + 9) / cellWidth));
    columns.forEach((name, c) => {
      if (c % every === 0) g.append("text").attr({ x: cellWidth * (c + 0.5), y: height + 15, "text-anchor": "middle" }).text(name);
    });
    const everyRow = Math.max(1, Math.ceil(12 / cellHeight));
    rows.forEach((name, r) => {
      if (r % everyRow) return;
      const text = name.length * 6.2 > 116 ? name.slice(0, 17) + "…" : name;
      g.append("text").attr({ x: -6, y: cellHeight * (r + 0.5) + 3.6, "text-anchor": "end" }).text(text);
    });
    g.append("text").attr({ x: width / 2, y: height + 33, "text-anchor": "middle" }).text(panel.x.label);
    if (panel.y.label) g.append("text").attr("transform", `translate(${12 - left},${height / 2}) rotate(-90)`).attr("text-anchor", "middle").text(panel.y.label);
    colorBar(g, panel.scale, width + 12, height);
    const outline = g.append("rect").attr("class", "outline").attr({ width: cellWidth, height: cellHeight }).style("display", "none");
    g.append("rect").attr({ width: width, height: height, fill: "none", "pointer-events": "all" })
      .on("mousemove", function () {
        const [mx, my] = d3.mouse(this);
        const c = Math.min(columns.length - 1, Math.max(0, Math.floor(mx / cellWidth)));
        const r = Math.min(rows.length - 1, Math.max(0, Math.floor(my / cellHeight)));
        outline.style("display", null).attr({ x: c * cellWidth, y: r * cellHeight });
        showTip(d3.event, cellWords(panel, r, c));
      })
      .on("mouseout", () => { outline.style("display", "none"); hideTip(); });
  }
  function cellWords(panel, r, c) {
    const value = panel.cells[r * panel.x.categories.length + c];
    return `${escape(panel.title)}<br>${escape(panel.y.label)} <b>${escape(panel.y.categories[r])}</b> · ` +
      `${escape(panel.x.label)} <b>${escape(panel.x.categories[c])}</b><br>${escape(panel.scale.label)} <b>${format(value)}</b>`;
  }

  // ---- many small maps, one of them enlarged ----
  function drawTiles(node, view, state) {
    const box = make("div", "maps", node);
    const tiles = make("div", "tiles", box);
    const large = make("div", "panel", box);
    tiles.style.gridTemplateColumns = `auto repeat(${view.columns}, minmax(0, 66px))`;
    make("span", "", tiles);
    for (let c = 0; c < view.columns; ++c) make("span", "column", tiles).textContent = c === 0 ? "head 0" : c;
    let chosen = null;
    function enlarge(index, canvas) {
      if (chosen) chosen.classList.remove("chosen");
      chosen = canvas;
      canvas.classList.add("chosen");
      state.tile = index;
      large.textContent = "";
      const panel = view.panels[index];
      make("div", "name", large).textContent = panel.title;
      drawHeat(large, panel, Math.max(13, Math.min(26, 400 / panel.y.categories.length)));
    }
    view.panels.forEach((panel, i) => {
      if (i % view.columns === 0) make("span", "row", tiles).textContent = panel.title.split(" head")[0];
      const canvas = make("canvas", "", tiles);
      paint(canvas, panel);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", panel.title);
      canvas.addEventListener("click", () => enlarge(i, canvas));
      canvas.addEventListener("mousemove", (event) => {
        const columns = panel.x.categories.length;
        const rows = panel.y.categories.length;
        const area = canvas.getBoundingClientRect();
        const c = Math.min(columns - 1, Math.max(0, Math.floor((event.clientX - area.left) / area.width * columns)));
        const r = Math.min(rows - 1, Math.max(0, Math.floor((event.clientY - area.top) / area.height * rows)));
        showTip(event, cellWords(panel, r, c));
      });
      canvas.addEventListener("mouseleave", hideTip);
    });
    const canvases = tiles.querySelectorAll("canvas");
    const first = Math.min(state.tile === undefined ? brightest(view.panels) : state.tile, canvases.length - 1);
    enlarge(first, canvases[first]);
  }
  // The map whose first key draws the most attention.
  function brightest(panels) {
    const mass = panels.map((p) => d3.mean(p.y.categories.map((_, r) => (r ? p.cells[r * p.x.categories.length] : null)).filter(known)) || 0);
    return mass.indexOf(d3.max(mass));
  }

  // ---- figures ----
  function drawLegend(node, panels) {
    const seen = new Set();
    const items = [];
    panels.forEach((panel) => shownSeries(panel).forEach((s) => {
      const color = panel.color >= 0 ? ink : runColor(s.color);
      const key = [s.name, color, s.stroke].join("|");
      if (!s.unlisted && !seen.has(key)) { seen.add(key); items.push({ name: s.name, color: color, s: s, bars: panel.kind === "bars" }); }
    }));
    if (items.length < 2) return;
    const legend = make("div", "legend", node);
    items.forEach(({ name, color, s, bars }) => {
      const item = make("span", "", legend);
      item.innerHTML = s.stroke === "points" || bars ? `<i class="dot" style="background:${color};margin:0"></i>`
        : `<svg width="24" height="8"><line x1="1" x2="23" y1="4" y2="4" stroke="${color}" stroke-width="2.4" opacity="${s.opacity}" stroke-dasharray="${dashes[s.stroke] || ""}"/></svg>`;
      item.appendChild(document.createTextNode(name));
    });
  }
  function drawView(body, view, state) {
    body.textContent = "";
    const panels = view ? view.panels.filter((p) => visible(p.color) && (p.kind === "heat" || shownSeries(p).length)) : [];
    if (!panels.length) {
      make("p", "empty", body).textContent = view && view.panels.length ? "The runs it shows are switched off." : "This run has nothing to show for this choice.";
      return;
    }
    if (view.note) make("p", "note", body).textContent = view.note + ".";
    if (view.tiles) return drawTiles(body, view, state);
    drawLegend(body, panels);
    const grid = make("div", "panels", body);
    const columns = Math.min(view.columns, panels.length);
    grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    const nodes = panels.map((panel) => {
      const node = make("div", "panel", grid);
      if (panels.length > 1 || panel.color >= 0) {
        const name = make("div", "name", node);
        name.innerHTML = (panel.color >= 0 ? dot(runColor(panel.color)) : "") + escape(panel.title);
      }
      return node;
    });
    panels.forEach((panel, i) => {
      const scope = view.shared ? panels : [panel];
      if (panel.kind === "lines") drawLines(nodes[i], panel, scope, columns > 1 ? 190 : 300);
      if (panel.kind === "bars") drawBars(nodes[i], panel, scope, 260);
      if (panel.kind === "intervals") drawIntervals(nodes[i], panel);
      if (panel.kind === "heat") drawHeat(nodes[i], panel, columns > 1 ? 17 : 20);
    });
  }
  function setUp(figure) {
    const node = document.getElementById("figure-" + figure.id);
    const bar = node.querySelector(".bar");
    const body = node.querySelector(".body");
    const state = {};
    const selects = figure.selectors.map((selector) => {
      const label = make("label", "", bar);
      label.textContent = selector.name + " ";
      const select = make("select", "", label);
      selector.options.forEach((option, i) => { const o = make("option", "", select); o.value = i; o.textContent = option; });
      select.value = selector.initial;
      if (selector.options.length < 2) label.style.display = "none";
      select.addEventListener("change", redraw);
      return select;
    });
    const link = make("a", "svg", bar);
    link.textContent = "SVG";
    function redraw() {
      const index = figure.selectors.reduce((at, selector, i) => at * selector.options.length + Number(selects[i].value), 0);
      const view = figure.views[index];
      link.style.display = view && view.svg && view.panels.length ? "" : "none";
      if (view && view.svg) link.href = "figures/" + view.svg + ".svg";
      drawView(body, view, state);
    }
    drawn.push(redraw);
    setTimeout(redraw, 0);  // figure by figure, so that the page can be read meanwhile
  }

  // ---- switches for runs ----
  const chips = document.querySelector("nav .runs");
  const switches = data.groups || data.runs.map((run, i) => ({ name: run.name, runs: [i] }));
  if (switches.length > 1) {
    switches.forEach((one) => {
      const chip = make("button", "chip", chips);
      chip.innerHTML = dot(runColor(one.runs[0])) + escape(one.name);
      chip.title = "show or hide in all figures";
      chip.setAttribute("aria-pressed", "true");
      chip.addEventListener("click", () => {
        one.runs.forEach((run) => { if (!hidden.delete(run)) hidden.add(run); });
        chip.setAttribute("aria-pressed", String(!hidden.has(one.runs[0])));
        drawn.forEach((redraw) => redraw());
      });
    });
  }
  data.figures.forEach(setUp);
  let width = window.innerWidth;
  let timer = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(timer);
    timer = setTimeout(() => drawn.forEach((redraw) => redraw()), 120);
  });
})();
