"""The main job as three people do it with a browser: nothing here asks the database or decides by itself."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from playwright.sync_api import FilePayload, Locator, Page, expect

from kvops.references.report import Hit, Report, dumps
from sandbox.environment import CODE_COMMIT, PEOPLE

POLL = 500
"""Milliseconds until a page is loaded again, to see whether a run has ended."""


def follow(link: Locator) -> None:
    """Press a link or a button, and wait for the page it leads to: a click alone returns before that page is there."""
    with link.page.expect_navigation():
        link.click()


def speak(page: Page, language: str) -> None:
    """Show the next pages in this language."""
    page.context.add_cookies([{"name": "django_language", "value": language, "url": page.url}])


def check_all(boxes: Locator) -> None:
    """Tick every box of a page that has come."""
    for box in boxes.all():
        box.check()


def decide(page: Page, title: str) -> None:
    """The reviewer accepts the named risks, types the title, and the password where it is asked once more."""
    page.fill("[name=confirm]", title)
    check_all(page.locator("[name^=accept_]"))
    follow(page.locator("button[value=approve]"))
    password = page.locator("[name=password]")
    if password.is_visible():
        password.fill(PEOPLE["reviewer@example.com"][1])
        follow(page.locator("main form").get_by_role("button").first)
    expect(page.locator("main").get_by_text("Your decision is recorded.").first).to_be_visible()


@dataclass
class BrowserJob:
    """A clean-up on its page, with the person at the keyboard and the one who decides."""

    operator: Page
    reviewer: Page
    address: str = ""

    def ask(self, prefix: str) -> None:
        """Ask for a clean-up, and bring the report of a search of the code of each environment."""
        page = self.operator
        page.goto(f"/cleanup/new/?binding=SETTINGS&prefix={prefix}")
        page.fill("[name=reason]", "Migrated to D1; nothing reads these keys any more.")
        follow(page.locator("button:has-text('Request the clean-up')"))
        page.wait_for_url(re.compile(r"/cleanup/\d+/$"))
        self.address = page.url
        for slug in ("qa", "production"):
            page.goto(f"/references/{slug}/")
            report = FilePayload(name="hits.json", mimeType="application/json", buffer=self._report(prefix))
            page.set_input_files("[name=report]", report)
            follow(page.get_by_role("button", name="Store this search"))
            page.wait_for_url(re.compile(rf"/references/{slug}/\d+/$"))
        page.goto(self.address)

    def _report(self, prefix: str) -> bytes:
        """Two places in the code that use the keys: one writes them, one may read them."""
        context = ("const key = name;", "use(key);", "}")
        used = f"SETTINGS {prefix}*"
        writer = Hit("functions/old.ts", 7, 3, "certain", "write", used, "use(key)", context)
        reader = Hit("functions/api.ts", 9, 1, "possible", "read", used, "use(key)", context)
        return dumps(Report(CODE_COMMIT, 3, datetime.now(UTC), (reader, writer), ()))

    def answer(self) -> None:
        """Answer every place of the list, and go on to the next step."""
        page = self.operator
        page.check("[name=kind][value=falls_back]")
        page.fill("[name=reason]", "It reads D1 first.")
        check_all(page.locator("[name=hits]"))
        follow(page.get_by_role("button", name="Record the answer"))
        follow(page.get_by_role("link", name="Next step:"))

    def stage(self, title: str) -> Locator:
        """The card of the stage whose namespace has this title."""
        return self.operator.locator("[id^=stage-]", has_text=title)

    def click(self, title: str, label: str, *, exact: bool = True) -> None:
        """Press the stage's button once it is there; the page is loaded again until it is."""
        button = self.stage(title).get_by_role("button", name=label, exact=exact)
        self._until(lambda: button.is_visible() and button.is_enabled())
        follow(button)

    def wait(self, title: str, words: str) -> None:
        """Until the stage says so."""
        self._until(lambda: words in self.stage(title).inner_text())

    def _until(self, true: Callable[[], bool]) -> None:
        page = self.operator
        page.goto(self.address)
        while not true():
            page.wait_for_timeout(POLL)
            page.goto(self.address)

    def prepare(self, title: str) -> None:
        """Freeze, back up, verify and check; then submit."""
        self.click(title, "Fix the list of keys")
        self.click(title, "Back up and verify")
        places = self.stage(title).get_by_role("link", name="Answer the code references", exact=True)
        button = self.stage(title).get_by_role("button", name="Record how the backup was shared", exact=True)
        self._until(lambda: places.is_visible() or (button.is_visible() and button.is_enabled()))
        if places.is_visible():
            follow(places)
            self.answer()
        self.stage(title).locator("[name=place]").fill("#kv-cleanup on Slack, with the reviewer")
        follow(button)
        self.click(title, "Submit for approval")

    def approve(self, title: str) -> None:
        """The reviewer reads the evidence, types the title and gives the password again."""
        self.wait(title, "Open the request")
        page, request = self.reviewer, self.stage(title).get_by_role("link", name="Open the request")
        page.goto("/approvals/")
        follow(page.locator(f"main a[href='{request.get_attribute('href')}']").first)
        expect(page.locator("main")).to_contain_text(CODE_COMMIT)
        decide(page, title)

    def delete(self, title: str) -> None:
        """Type the title and start; in production let the run go on after its first keys."""
        page = self.operator
        self.wait(title, "Delete ")
        page.fill("[name=confirm]", title)
        follow(self.stage(title).get_by_role("button", name=re.compile(r"Delete [\d,]+ keys?")))

    def accept(self, title: str, note: str) -> None:
        """Note what was tried, and accept."""
        button = self.stage(title).get_by_role("button", name="Application works: record it", exact=True)
        self._until(lambda: button.is_visible() and button.is_enabled())
        self.stage(title).locator("[name=note]").fill(note)
        follow(button)
        self.wait(title, "Accepted")
