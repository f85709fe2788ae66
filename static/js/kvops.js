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
  await navigator.clipboard.writeText(button.dataset.copy);
  button.classList.add("copied");
  announce(button.dataset.copied);
  setTimeout(() => button.classList.remove("copied"), 1500);
});
document.addEventListener("input", (event) => {
  if (event.target.matches("input[data-confirm]")) updateConfirmation(event.target);
});

// What a run comes to is announced, and the focus stays where it was, also when the page is loaded again.
const LEFT = "kvops-left";
const words = (part) => (part ? part.textContent.replace(/\s+/g, " ").trim() : "");
const states = (part) => [...part.querySelectorAll(".status")].map(words).join(", ");

function placeOf(element) {
  if (element === document.body) return "";
  if (element.id) return `#${CSS.escape(element.id)}`;
  const name = element.form ? "action" : "href";
  const value = CSS.escape((element.form || element).getAttribute(name) || "");
  return element.form ? `form[action="${value}"] ${element.localName}` : `${element.localName}[href="${value}"]`;
}

function focusAgain(place, otherwise) {
  if (!place) return;
  const found = document.querySelector(place) || otherwise;
  if (found === otherwise) found.tabIndex = -1;
  found.focus({ preventScroll: true });
}

let before = null;
document.addEventListener("htmx:before:swap", (event) => {
  before = { id: event.target.id, states: states(event.target), place: placeOf(document.activeElement) };
});
document.addEventListener("htmx:after:swap", () => {
  prepare(document);
  const part = before && document.getElementById(before.id);
  if (!part) return;
  if (states(part) !== before.states) announce(`${words(part.querySelector("h2"))} ${states(part)}`);
  if (document.activeElement === document.body) focusAgain(before.place, part);
});
document.addEventListener("htmx:before:response", (event) => {
  const context = event.detail.ctx;
  if (context.hx.refresh === "true") {
    sessionStorage.setItem(LEFT, JSON.stringify({ path: location.pathname, place: placeOf(document.activeElement) }));
  }
  // A poll that was sent elsewhere met the end of the session: the whole page goes to the sign-in then.
  if (!context.response.raw.redirected) return;
  event.preventDefault();
  location.reload();
});

function comeBack() {
  const left = JSON.parse(sessionStorage.getItem(LEFT) || "null");
  sessionStorage.removeItem(LEFT);
  if (!left || left.path !== location.pathname) return;
  const main = document.getElementById("main");
  focusAgain(left.place, main);
  // A screen reader hears only what changes after the page is there.
  setTimeout(() => announce(`${words(main.querySelector("h1"))} ${states(document.getElementById("live") || main)}`), 500);
}

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

prepare(document);
comeBack();
