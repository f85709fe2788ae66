"""A person who has a keyboard and no mouse: each stop of the Tab key shows itself, and nothing lies above it."""

from dataclasses import dataclass

from playwright.sync_api import Locator, Page

MOST = 250
"""Stops of the Tab key on the longest page."""
TROUBLE = """target => {
  const one = document.activeElement;
  if (!one || one === document.body) return ["nothing has the focus", false];
  const style = getComputedStyle(one);
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none";
  const seen = [...one.getClientRects()].some(box => [.2, .5, .8].some(part => {
    const met = document.elementFromPoint(box.left + Math.min(box.width / 2, 12), box.top + part * box.height);
    return one.contains(met) || one.closest("label")?.contains(met);
  }));
  const told = one.matches(":focus-visible") && ring ? seen ? "" : "is hidden" : "has no ring";
  return [told && `${told}: ${one.outerHTML.slice(0, 200)}`, one === target];
}"""
"""What is wrong with the element that has the focus (WCAG 2.4.7 and 2.4.11), and whether it is the target."""


@dataclass
class Keyboard:
    """The keys of a page."""

    page: Page

    def open(self, address: str) -> None:
        """Open a page anew and skip to its content."""
        self.page.goto(address.partition("#")[0])
        self.skip()

    def skip(self) -> None:
        """Take the first link of the page, past the header and the menu."""
        self.go(self.page.locator("a[href='#main']"))
        self.press("Enter")

    def look(self, target: Locator | None = None) -> bool:
        """Whether the target has the focus. What has it shows that, and is not beneath the header or a bar."""
        trouble, there = self.page.evaluate(TROUBLE, target and target.element_handle())
        assert not trouble, f"{self.page.url}: {trouble}"
        return bool(there)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def go(self, target: Locator, key: str = "Tab") -> None:
        """Press Tab, or another key, until the target has the focus. Each stop on the way is looked at."""
        for _ in range(MOST):
            self.press(key)
            if self.look(target):
                return
        raise AssertionError(f"{key} does not lead to {target}")

    def type(self, target: Locator, text: str) -> None:
        """Go to a field and type."""
        self.go(target)
        self.page.keyboard.type(text)

    def follow(self, target: Locator) -> None:
        """Go to a link or button, press Enter, and wait for the page it leads to."""
        self.go(target)
        with self.page.expect_navigation():
            self.press("Enter")

    def walk(self, key: str = "Tab") -> int:
        """Go around the whole page, from its beginning or its end. Returns the number of stops."""
        self.page.reload()
        for stop in range(MOST):
            self.press(key)
            if stop and self.page.evaluate("document.activeElement === document.body"):
                return stop
            self.look()
        raise AssertionError(f"{self.page.url} has more than {MOST} stops")
