// How answers of the API become figures, tables and charts. Texts are only ever set as text.
"use strict";
const Drawing = (() => {
  const language = document.documentElement.lang;
  const whole = new Intl.NumberFormat(language);
  const share = new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: 2 });
  const seconds = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
  const colours = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7"];

  function make(tag, text, name) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function figure(name, value) {
    if (value === null || value === undefined) return "-";
    if (name.endsWith("_rate")) return share.format(value);
    if (name.endsWith("_ms")) return `${seconds.format(value / 1000)} s`;
    return whole.format(value);
  }

  function figures(body, columns, rows, words) {
    const values = rows.length ? rows[0].values : {};
    const list = make("dl", undefined, "figures");
    for (const [name, label] of columns) {
      const box = make("div");
      box.dataset.measure = name;
      box.append(make("dt", label), make("dd", figure(name, values[name] ?? 0)));
      list.append(box);
    }
    body.replaceChildren(list);
  }

  function progress(body, columns, rows, words) {
    const v = rows.length ? rows[0].values : {};
    const total = v.accepted || 0;
    const done = Math.min((v.sent || 0) + (v.failed || 0), total);
    const bar = make("progress");
    bar.max = total || 1;
    bar.value = done;
    bar.id = "progress-bar";
    const text = words.progress.replace("{done}", whole.format(done))
      .replace("{total}", whole.format(total)).replace("{waiting}", whole.format(total - done));
    const label = make("label", text);
    label.htmlFor = bar.id;
    body.replaceChildren(bar, label);
  }

  function table(body, columns, rows, words) {
    if (!rows.length) { body.replaceChildren(make("p", words.none, "hint")); return; }
    const made = make("table");
    const head = make("tr");
    columns.forEach(([name, label], at) => {
      const cell = make("th", label, at ? "n" : "");
      cell.scope = "col";
      head.append(cell);
    });
    const top = make("thead");
    top.append(head);
    const inner = make("tbody");
    for (const row of rows) {
      const line = make("tr");
      columns.forEach(([name], at) => {
        if (at === 0) {
          const cell = make("th", row.group[name] || words.name);
          cell.scope = "row";
          line.append(cell);
        } else line.append(make("td", figure(name, row.values[name]), "n"));
      });
      inner.append(line);
    }
    made.append(top, inner);
    body.replaceChildren(made);
  }

  function messages(body, columns, items, words) {
    if (!items.length) { body.replaceChildren(make("p", words.none, "hint")); return; }
    const made = make("table");
    const head = make("tr");
    const texts = ["subject", "campaign", "template", "requested_at"];
    const labels = [...texts.map((name) => words.labels[name]), ...columns.map(([, label]) => label)];
    labels.forEach((label, at) => {
      const cell = make("th", label, at < texts.length ? "" : "n");
      cell.scope = "col";
      head.append(cell);
    });
    const top = make("thead");
    top.append(head);
    const inner = make("tbody");
    for (const one of items) {
      const line = make("tr");
      const first = make("th", undefined, "remote");
      first.scope = "row";
      first.dir = "auto";
      const link = make("a", one.subject || words.name);
      link.href = `/messages?message=${encodeURIComponent(one.message)}`;
      first.append(link);
      line.append(first, make("td", one.campaign, "remote"), make("td", one.template, "remote"));
      line.append(make("td", (one.requested_at || "").slice(0, 16).replace("T", " ")));
      for (const [name] of columns) line.append(make("td", figure(name, one[name]), "n"));
      inner.append(line);
    }
    made.append(top, inner);
    body.replaceChildren(made);
  }

  function room(body) {
    const style = getComputedStyle(body);
    const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
    return Math.max(Math.floor(body.clientWidth - padding), 200);
  }

  function chart(body, columns, rows, words) {
    if (!rows.length) { body.replaceChildren(make("p", words.none, "hint")); return null; }
    const times = rows.map((row) => Date.parse(row.start) / 1000);
    const data = [times, ...columns.map(([name]) => rows.map((row) => row.values[name] ?? 0))];
    const old = body.plot;
    if (old && old.shape === String(columns)) { old.setData(data); return old; }
    if (old) old.destroy();
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    const line = style.getPropertyValue("--line").trim();
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const options = {
      width: room(body),
      height: 260,
      series: [{ label: words.time }, ...columns.map(([, label], at) => ({
        label,
        stroke: style.getPropertyValue(colours[at % colours.length]).trim(),
        width: 2,
        points: { show: rows.length < 40 },
      }))],
      axes: [axis, { ...axis, size: 60, values: (_, all) => all.map((v) => whole.format(v)) }],
      scales: { x: { range: (_, low, high) => low === high ? [low - 43200, high + 43200] : [low, high] }, y: { range: (_, low, high) => [0, Math.max(high, 1)] } },
    };
    body.replaceChildren();
    const plot = new uPlot(options, data, body);
    plot.shape = String(columns);
    plot.root.setAttribute("role", "img");
    plot.root.setAttribute("aria-label", columns.map(([, label]) => label).join(", "));
    body.plot = plot;
    return plot;
  }

  return { figures, progress, table, messages, chart, make, room };
})();
