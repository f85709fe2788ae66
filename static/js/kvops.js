// Small comforts. Every page works without this file.
"use strict";

// Copy buttons exist only where copying works.
function showCopyButtons(root) {
  if (navigator.clipboard) root.querySelectorAll("[data-copy]").forEach((button) => { button.hidden = false; });
}

// A button that needs a confirmation waits until the target's name was typed. The server checks it too.
function updateConfirmation(input) {
  const matches = input.value === input.dataset.confirm;
  input.form.querySelectorAll("[data-needs-confirm]").forEach((button) => { button.disabled = !matches; });
}

function announce(text) {
  document.getElementById("announce").textContent = text;
}

function prepare(root) {
  showCopyButtons(root);
  root.querySelectorAll("input[data-confirm]").forEach(updateConfirmation);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy || button.previousElementSibling.textContent);
  button.classList.add("copied");
  announce(button.dataset.copied);
  setTimeout(() => button.classList.remove("copied"), 1500);
});
document.addEventListener("input", (event) => {
  const input = event.target;
  if (input.matches("input[data-confirm]")) updateConfirmation(input);
  // A new value is typed: the box that leaves the old one as it is goes off.
  if (input.dataset.unticks && input.value) input.form.elements[input.dataset.unticks].checked = false;
});

document.addEventListener("change", (event) => {
  const folded = document.getElementById(event.target.dataset.unfolds);
  if (folded) folded.open = true;
});

// What a run comes to is announced, and the focus stays where it was, also when the page is loaded again.
const LEFT = "kvops-left";
const words = (part) => (part ? part.textContent.replace(/\s+/g, " ").trim() : "");
const states = (part) => [...part.querySelectorAll(".status")].map(words).join(", ");

// The menu has links of the content, too, so a place in the content is looked for there.
function placeOf(element) {
  if (element === document.body) return "";
  if (element.id) return `#${CSS.escape(element.id)}`;
  const within = element.closest("main") ? "main " : "";
  const name = element.form ? "action" : "href";
  const value = CSS.escape((element.form || element).getAttribute(name) || "");
  const own = element.form ? `form[action="${value}"] ${element.localName}` : `${element.localName}[href="${value}"]`;
  return within + own;
}

function focusAgain(place, otherwise) {
  if (!place) return;
  const found = document.querySelector(place) || otherwise;
  if (found === otherwise) found.tabIndex = -1;
  found.focus({ preventScroll: true });
}

function remember(element, y) {
  sessionStorage.setItem(LEFT, JSON.stringify({ path: location.pathname, hash: location.hash, place: placeOf(element), y }));
}

// A form that leads back to its page leaves the reader where they were. A button that is pressed twice sends once.
let sent = {};
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  const button = event.submitter || document.activeElement;
  if (button === sent.button && Date.now() - sent.at < 5000) {
    event.preventDefault();
    return;
  }
  sent = { button, at: Date.now() };
  remember(button, scrollY);
});

// A pressed button shows that its answer is under way.
const isBusy = (button, busy) => {
  button.classList.toggle("btn-loading", busy && button.matches(".btn"));
  button.ariaBusy = busy ? "true" : null;
  button.style.pointerEvents = busy ? "auto" : "";
};
document.addEventListener("submit", (event) => { if (event.submitter) isBusy(event.submitter, true); });
const rest = (part) => part.querySelectorAll("[aria-busy=true]").forEach((one) => isBusy(one, false));
addEventListener("pageshow", () => rest(document));
document.addEventListener("htmx:finally:request", (event) => rest(event.target));

let before = null;
document.addEventListener("htmx:before:swap", (event) => {
  const open = [...document.querySelectorAll("main details[open]")];
  before = { id: event.target.id, states: states(event.target), place: placeOf(document.activeElement), open };
});
document.addEventListener("htmx:after:swap", () => {
  prepare(document);
  const part = before && document.getElementById(before.id);
  if (!part) return;
  before.open.forEach((folded) => { folded.open = true; });
  if (states(part) !== before.states) announce(`${words(part.querySelector("h2"))} ${states(part)}`);
  if (document.activeElement === document.body) focusAgain(before.place, part);
});
document.addEventListener("htmx:before:response", (event) => {
  const context = event.detail.ctx;
  if (context.hx.refresh === "true") remember(document.activeElement);
  // A poll that was sent elsewhere met the end of the session: the whole page goes to the sign-in then.
  if (!context.response.raw.redirected) return;
  event.preventDefault();
  location.reload();
});

// The message of a form is at the top. It stays in sight until the next key or click.
function keepInSight(message) {
  message.classList.add("stays");
  const end = () => message.classList.remove("stays");
  addEventListener("pointerdown", end, { once: true });
  addEventListener("keydown", end, { once: true });
}

function comeBack() {
  const left = JSON.parse(sessionStorage.getItem(LEFT) || "null");
  sessionStorage.removeItem(LEFT);
  // The address of another part, or a mistake that has the focus, says better where to go on.
  const there = left && left.path === location.pathname && left.hash === location.hash;
  if (!there || document.querySelector("[autofocus]")) return;
  const main = document.getElementById("main");
  const message = left.y === undefined ? null : document.querySelector("[data-message]");
  if (left.y) scrollTo({ top: left.y, behavior: "instant" });
  if (left.y && message) keepInSight(message);
  focusAgain(left.place, main);
  // A screen reader hears only what changes after the page is there.
  const said = words(message) || `${words(main.querySelector("h1"))} ${states(document.getElementById("live") || main)}`;
  setTimeout(() => announce(said), 500);
}

// Words for moments stay true while the page is open, by the clock of the server.
const clock = document.querySelector("meta[name=now]");
const ahead = clock ? Date.now() - 1000 * clock.content : 0;
const distance = new Intl.RelativeTimeFormat(document.documentElement.lang);
setInterval(() => document.querySelectorAll("time.when").forEach((time) => {
  const seconds = (new Date(time.dateTime) - Date.now() + ahead) / 1000;
  const size = Math.abs(seconds);
  const [unit, length] = size < 3600 ? ["minute", 60] : size < 172800 ? ["hour", 3600] : ["day", 86400];
  if (size >= 60) time.firstElementChild.textContent = distance.format(Math.trunc(seconds / length), unit);
}), 60000);

// Whether all moments are in full is this browser's choice.
const full = document.getElementById("full-times");
if (full) {
  full.checked = localStorage.getItem("kvops-full-times") === "1";
  full.addEventListener("change", () => localStorage.setItem("kvops-full-times", full.checked ? "1" : "0"));
}

// On a phone the filters of a list are folded, unless one is set.
const wide = matchMedia("(min-width: 992px)");
const fold = () => document.querySelectorAll("[data-folds]").forEach((filters) => { filters.open = wide.matches; });
wide.addEventListener("change", fold);
fold();

// A revealed value leaves the page after its time. The header Refresh does the same where no script runs.
const revealed = document.querySelector("[data-hide-after]");
function hideRevealed() {
  revealed.replaceChildren();
  location.replace(revealed.dataset.hideTo);
}
if (revealed) {
  setTimeout(hideRevealed, 1000 * revealed.dataset.hideAfter);
  // A page that the browser keeps for "back" does not show it either.
  addEventListener("pagehide", () => revealed.replaceChildren());
}

// Keys: shift and a click tick a range, and the box of the bar ticks the page. The bar tells their number, and stays
// in sight while there are any.
let lastTick = null;
document.addEventListener("click", (event) => {
  const box = event.target.closest("[data-tick], [data-tick-all]");
  if (!box) return;
  const all = [...box.form.querySelectorAll("[data-tick]")];
  const between = "tickAll" in box.dataset ? [0, all.length]
    : event.shiftKey && lastTick ? [all.indexOf(lastTick), all.indexOf(box)].sort((a, b) => a - b) : [0, -1];
  all.slice(between[0], between[1] + 1).forEach((one) => { one.checked = box.checked; });
  if ("tick" in box.dataset) lastTick = box;
  const ticked = all.filter((one) => one.checked).length;
  box.form.querySelector("[data-ticked]").textContent = ticked;
  box.form.querySelector("[data-ticked-bar]").classList.toggle("decision", ticked > 0);
});
document.querySelectorAll("[data-scripted]").forEach((box) => { box.hidden = false; });

prepare(document);
comeBack();
