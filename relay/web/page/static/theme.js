// Light or dark: as the system says, until somebody chooses; the choice is kept in this browser.
"use strict";
(() => {
  const key = "waypost-theme";
  const root = document.documentElement;
  const kept = (() => { try { return localStorage.getItem(key); } catch { return null; } })();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark"
        : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      try { localStorage.setItem(key, root.dataset.theme); } catch { /* not kept, then */ }
      dispatchEvent(new Event("themed"));
    });
  });
})();
