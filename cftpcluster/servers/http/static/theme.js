// Loaded before anything is shown: no page may flash in the wrong colours.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch {
    // Where nothing may be kept the system's choice holds.
  }
})();
