// The command palette, keyboard shortcuts, and the tab's title and icon. Every page works without this file.
"use strict";
{
  const palette = document.getElementById("palette");
  const shortcuts = document.getElementById("shortcuts");
  const input = document.getElementById("palette-input");
  const list = document.getElementById("palette-list");
  const status = document.getElementById("palette-status");
  const OFF = "kvops-shortcuts-off";
  let asked = null;
  let timer = 0;

  const options = () => [...list.querySelectorAll("[role=option]")];
  const chosen = () => list.querySelector("[aria-selected=true]");

  function choose(option) {
    chosen()?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) input.setAttribute("aria-activedescendant", option.id);
    else input.removeAttribute("aria-activedescendant");
  }

  function show(answer) {
    const found = answer.querySelector("[data-options]");
    list.replaceChildren(...found.children);
    list.hidden = !list.childElementCount;
    input.setAttribute("aria-expanded", String(!list.hidden));
    status.textContent = answer.querySelector("[data-status]").textContent.replace(/\s+/g, " ").trim();
    choose(input.value ? options()[0] : null);
  }

  // An answer to an older text never replaces a newer one.
  async function ask() {
    asked?.abort();
    const mine = (asked = new AbortController());
    const slow = setTimeout(() => { if (mine === asked) status.textContent = palette.dataset.searching; }, 300);
    const address = `${palette.dataset.results}?q=${encodeURIComponent(input.value)}`;
    try {
      const response = await fetch(address, { signal: mine.signal });
      // The answer was the sign-in: the session is over.
      if (response.redirected) return location.reload();
      if (!response.ok) throw new Error(response.status);
      const text = await response.text();
      if (mine === asked) show(new DOMParser().parseFromString(text, "text/html"));
    } catch (error) {
      if (error.name === "AbortError") return;
      list.hidden = true;
      status.textContent = palette.dataset.failed;
    } finally {
      clearTimeout(slow);
    }
  }

  function open(text = "") {
    if (palette.open) return;
    shortcuts.close();
    input.value = text;
    palette.showModal();
    input.focus();
    ask();
  }

  function step(by) {
    const all = options();
    const at = all.indexOf(chosen());
    choose(all[at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length]);
  }

  if (palette) {
    input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 150); });
    input.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") step(event.key === "ArrowDown" ? 1 : -1);
      else if (event.key === "Enter" && chosen()) chosen().click();
      else return;
      event.preventDefault();
    });
    document.querySelectorAll("[data-palette]").forEach((part) => {
      part.addEventListener("click", (event) => { event.preventDefault(); open(part.value); });
      part.addEventListener("input", (event) => {
        if (event.isComposing) return;
        open(part.value);
        part.value = "";
      });
    });
    document.querySelectorAll("[data-opens]").forEach((button) => {
      button.hidden = false;
      button.addEventListener("click", () => shortcuts.showModal());
    });
    for (const dialog of [palette, shortcuts]) {
      dialog.addEventListener("click", (event) => {
        if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
      });
    }
    const on = document.getElementById("shortcuts-on");
    on.checked = !localStorage.getItem(OFF);
    on.addEventListener("change", () => (on.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1")));

    // A letter after g leads to a page. Single characters do nothing while a person types, or if they are switched off.
    let afterG = false;
    document.addEventListener("keydown", (event) => {
      const command = event.ctrlKey || event.metaKey;
      if (command && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
        event.preventDefault();
        return palette.open ? palette.close() : open();
      }
      const typing = event.target.matches?.("input, textarea, select, [contenteditable]");
      if (command || event.altKey || event.isComposing || typing || !on.checked || palette.open) return;
      if (event.key === "Shift") return;
      const page = afterG && shortcuts.querySelector(`[data-shortcut="${CSS.escape(event.key)}"]`);
      afterG = event.key === "g";
      if (page) page.click();
      else if (event.key === "/") open();
      else if (event.key === "?" && !shortcuts.open) shortcuts.showModal();
      else return;
      event.preventDefault();
    });
  }

  // The menu is scrolled to the entry of the page.
  const here = document.querySelector("#nav [aria-current]");
  const nav = document.getElementById("nav");
  if (here && here.offsetTop > nav.clientHeight - here.offsetHeight) nav.scrollTop = here.offsetTop - nav.clientHeight / 2;

  // The tab of a page about work under way shows its progress; a failure that comes by a swap gives it the red dot.
  const title = document.title.replace(/^\d+ % · /, "");
  document.addEventListener("htmx:after:swap", () => {
    if (!("moving" in document.body.dataset)) return;
    const bar = document.querySelector("main progress[max]");
    document.title = bar ? `${Math.floor((100 * bar.value) / bar.max)} % · ${title}` : title;
    const icon = document.getElementById("favicon");
    if (document.querySelector("main .status-red")) icon.href = icon.dataset.alarm;
  });
}
