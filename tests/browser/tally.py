"""Counts the work of people on pages: clicks, fields, page loads, and the places of all that they press."""

from dataclasses import dataclass, field

from playwright.sync_api import Page

LISTENING = """
addEventListener("click", (event) => {
  const pressed = event.target.closest("a, button, summary, input, label");
  if (!event.isTrusted || !pressed || pressed.localName === "label") return;
  const next = Boolean(pressed.closest(".next-box"));
  const words = pressed.textContent.trim().replace(/\\s+/g, " ") || pressed.name;
  const bar = pressed.closest("dialog, .decision");
  const stays = bar && (bar.localName === "dialog" || getComputedStyle(bar).position === "sticky");
  window.tallied({what: "click", words, next, bottom: pressed.getBoundingClientRect().bottom + (stays ? 0 : scrollY)});
}, true);
const typed = new WeakSet();
addEventListener("input", (event) => {
  if (typed.has(event.target) || event.target.matches("[type=radio], [type=checkbox]")) return;
  typed.add(event.target);
  window.tallied({what: "field", words: event.target.name});
}, true);
"""


@dataclass
class Tally:
    """The clicks by their words, the fields by their names, the addresses of the loads, and the buttons of *Next*."""

    clicks: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    nexts: dict[str, float] = field(default_factory=dict)
    """The lower edge of each, in pixels from the top of its page."""
    edges: dict[str, float] = field(default_factory=dict)
    """The lower edge of all that was clicked. A bar or dialog that stays in sight counts from the top of the window."""

    def watch(self, page: Page) -> None:
        """Count on this page from its next load on."""
        page.expose_binding("tallied", lambda _source, told: self._note(told))
        page.add_init_script(LISTENING)
        page.on("domcontentloaded", lambda loaded: self.loads.append(loaded.url))

    def press(self, page: Page, key: str) -> None:
        """Press a key that does something, which counts as a click."""
        self.clicks.append(key)
        page.keyboard.press(key)

    def _note(self, told: dict[str, str | float]) -> None:
        if told["what"] == "field":
            self.fields.append(str(told["words"]))
            return
        self.clicks.append(str(told["words"]))
        pressed = f"{len(self.clicks)} {told['words']}"
        self.edges[pressed] = float(told["bottom"])
        if told["next"]:
            self.nexts[pressed] = self.edges[pressed]
