// The chart of the data statistics: one line for each measure, or with groups one for each group.
"use strict";
(() => {
  const place = document.getElementById("chart");
  if (!place) return;
  const MOST = 7;
  const rows = JSON.parse(place.dataset.rows);
  let columns = JSON.parse(place.dataset.columns);
  let drawn = rows;
  const split = place.dataset.split;
  if (split) {
    const sums = new Map();
    for (const row of rows) {
      const name = row.group[split];
      sums.set(name, (sums.get(name) || 0) + (row.values.delivered || 0));
    }
    const names = [...sums].sort((a, b) => b[1] - a[1]).slice(0, MOST).map(([name]) => name);
    const times = new Map();
    for (const row of rows) {
      const at = names.indexOf(row.group[split]);
      if (!times.has(row.start)) times.set(row.start, { start: row.start, values: {} });
      if (at >= 0) times.get(row.start).values[at] = row.values.delivered;
    }
    const delivered = columns.find(([name]) => name === "delivered")[1];
    columns = names.map((name, at) => [String(at), `${delivered}: ${name || "-"}`]);
    drawn = [...times.values()].sort((a, b) => Date.parse(a.start) - Date.parse(b.start));
  }
  const draw = () => Drawing.chart(place, columns, drawn, { none: "", time: place.dataset.time });
  draw();
  addEventListener("themed", () => { place.plot.destroy(); place.plot = null; draw(); });
  addEventListener("resize", () => {
    if (place.plot) place.plot.setSize({ width: Drawing.room(place), height: 260 });
  });
})();
