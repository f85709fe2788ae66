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

// Times that lie ahead also in the viewer's own zone, where that shows another hour.
function showLocalTimes(root) {
  root.querySelectorAll("[data-local]").forEach((place) => {
    const text = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "short" }).format(new Date(place.dataset.local));
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const time = place.querySelector("time");
    if (!zone || time.firstChild.data.trim() === text) return;
    time.firstChild.data = `${text} `;
    time.querySelector("small").textContent = zone;
  });
}

function prepare(root) {
  showCopyButtons(root);
  showLocalTimes(root);
  root.querySelectorAll("input[data-confirm]").forEach(updateConfirmation);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.classList.add("copied");
  document.getElementById("announce").textContent = button.dataset.copied;
  setTimeout(() => button.classList.remove("copied"), 1500);
});
document.addEventListener("input", (event) => {
  if (event.target.matches("input[data-confirm]")) updateConfirmation(event.target);
});
// A poll that was sent elsewhere met the end of the session: the whole page goes to the sign-in then.
document.addEventListener("htmx:before:response", (event) => {
  if (!event.detail.ctx.response.raw.redirected) return;
  event.preventDefault();
  location.reload();
});
document.addEventListener("htmx:after:swap", () => prepare(document));
prepare(document);
