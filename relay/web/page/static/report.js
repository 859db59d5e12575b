// The live report: draws the widgets, follows the news, and has the operator's layout kept.
"use strict";
(() => {
  const report = document.getElementById("report");
  const words = JSON.parse(report.dataset.words);
  const address = report.dataset.address;
  const widgets = new Map([...report.children].map((one) => [one.dataset.id, one]));
  const first = [...widgets].map(([id, one]) => ({ id, width: Number(one.dataset.width) }));
  const SLOWLY = 15000; // what no fold tells, such as hits judged anew, comes with this

  // Layout: an ordered list of { id, width }; what is not in it is removed.
  function kept() {
    const found = JSON.parse(report.dataset.layout);
    if (Array.isArray(found)) return found.filter((one) => widgets.has(one.id));
    return first.map((one) => ({ ...one }));
  }
  let layout = kept();

  // One request at a time, so that the last layout is the one that stays.
  let keeping = Promise.resolve();
  function send(text) {
    const form = { csrf: report.dataset.csrf, kind: report.dataset.kind, layout: text };
    keeping = keeping
      .then(() => fetch("/report/layout", {
        method: "POST", body: new URLSearchParams(form), redirect: "error", keepalive: true,
      }))
      .then((answer) => { if (answer.ok) report.dataset.kept = text; })
      .catch(() => { /* not kept, then */ });
  }

  function keep() {
    send(JSON.stringify(layout));
    lay();
  }

  function lay() {
    const shown = new Set();
    for (const { id, width } of layout) {
      const one = widgets.get(id);
      one.hidden = false;
      one.dataset.width = Math.min(Math.max(Number(width) || 1, 1), 4);
      shown.add(id);
      report.append(one);
    }
    const list = document.querySelector("#removed ul");
    list.replaceChildren();
    for (const [id, one] of widgets) {
      if (shown.has(id)) continue;
      one.hidden = true;
      const item = Drawing.make("li");
      const title = one.querySelector("h2").textContent;
      const button = Drawing.make("button", `${words.add}: ${title}`);
      button.type = "button";
      button.dataset.add = id;
      button.addEventListener("click", () => {
        layout.push({ ...first.find((known) => known.id === id) });
        keep();
        draw();
      });
      item.append(button);
      list.append(item);
    }
  }

  function act(id, what) {
    const at = layout.findIndex((one) => one.id === id);
    if (at < 0) return;
    const [one] = layout.splice(at, 1);
    if (what === "earlier") layout.splice(Math.max(at - 1, 0), 0, one);
    else if (what === "later") layout.splice(at + 1, 0, one);
    else if (what === "wider") layout.splice(at, 0, { id, width: Math.min(one.width + 1, 4) });
    else if (what === "narrower") layout.splice(at, 0, { id, width: Math.max(one.width - 1, 1) });
    keep();
    resize();
  }

  for (const [id, one] of widgets) {
    for (const button of one.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => {
        act(id, button.dataset.do);
        if (button.dataset.do !== "remove") button.focus();
      });
    }
    const head = one.querySelector(".head");
    head.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData("text/plain", id);
      event.dataTransfer.effectAllowed = "move";
    });
    const grip = one.querySelector(".grip");
    grip.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      grip.setPointerCapture(event.pointerId);
      const column = one.getBoundingClientRect().width / Number(one.dataset.width);
      const wide = (at) => {
        const left = one.getBoundingClientRect().left;
        return Math.min(Math.max(Math.round((at - left) / column), 1), 4);
      };
      const move = (moved) => { one.dataset.width = wide(moved.clientX); };
      grip.addEventListener("pointermove", move);
      grip.addEventListener("lostpointercapture", () => {
        grip.removeEventListener("pointermove", move);
        const placed = layout.find((known) => known.id === id);
        if (placed) { placed.width = Number(one.dataset.width); keep(); resize(); }
      }, { once: true });
    });
    one.addEventListener("dragover", (event) => event.preventDefault());
    one.addEventListener("drop", (event) => {
      event.preventDefault();
      const moved = layout.findIndex((known) => known.id === event.dataTransfer.getData("text/plain"));
      const to = layout.findIndex((known) => known.id === id);
      if (moved < 0 || to < 0 || moved === to) return;
      const [taken] = layout.splice(moved, 1);
      layout.splice(to, 0, taken);
      keep();
    });
  }
  document.getElementById("reset").addEventListener("click", () => {
    layout = first.map((one) => ({ ...one }));
    send("");
    lay();
    draw();
    resize();
  });

  let answers = {};
  function draw() {
    for (const { id } of layout) {
      const one = widgets.get(id);
      const answer = answers[id];
      if (!answer) continue;
      const body = one.querySelector(".body");
      if (answer.problem) { body.replaceChildren(Drawing.make("p", answer.problem, "hint")); continue; }
      Drawing[one.dataset.drawing](body, JSON.parse(one.dataset.columns), answer.rows ?? answer.items, words);
    }
    report.dataset.drawn = String(Number(report.dataset.drawn || 0) + 1);
  }

  function resize() {
    for (const one of widgets.values()) {
      const body = one.querySelector(".body");
      if (body.plot && !one.hidden) {
        body.plot.setSize({ width: Drawing.room(body), height: 260 });
      }
    }
  }
  addEventListener("resize", resize);
  addEventListener("themed", () => {
    for (const one of widgets.values()) {
      const body = one.querySelector(".body");
      if (body.plot) { body.plot.destroy(); body.plot = null; }
    }
    draw();
  });

  // One question at a time; news that comes meanwhile is asked about afterwards, once.
  let asking = false;
  let again = false;
  async function refresh() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(`/report/data.json?${address}`, { redirect: "error" });
      if (answer.ok) { answers = await answer.json(); draw(); }
    } catch { /* the server is away; the news come back with it */ } finally {
      asking = false;
      if (again) { again = false; setTimeout(refresh, 250); }
    }
  }

  const light = document.getElementById("live");
  function follow() {
    const news = new EventSource(`/report/live?${address}`);
    news.addEventListener("hello", () => {
      light.textContent = light.dataset.on;
      light.className = "on";
      refresh();
    });
    news.addEventListener("news", refresh);
    news.onerror = () => { light.textContent = light.dataset.off; light.className = ""; };
    addEventListener("pagehide", () => news.close());
  }

  lay();
  refresh();
  follow();
  setInterval(() => { if (!document.hidden) refresh(); }, SLOWLY);
})();
