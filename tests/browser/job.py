"""The main job as three people do it with a browser: nothing here asks the database or decides by itself."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin

from playwright.sync_api import (
    Error as NotLoaded,
    FilePayload,
    Locator,
    Page,
    TimeoutError as NothingCame,
    ViewportSize,
    expect,
)

from kvops.references.report import Hit, Report, dumps
from sandbox.environment import CODE_COMMIT, PEOPLE

PHONE = ViewportSize(width=390, height=844)
TALLEST = 1340
"""Pixels. The page of an approval with one risk and all of its evidence folded, in a window of 1280 pixels."""
POLL = 500
"""Milliseconds until a page is loaded again, to see whether a run has ended."""


def follow(link: Locator) -> None:
    """Press a link or a button, and wait for the page it leads to: a click alone returns before that page is there.

    A click that the browser never delivered is given again. One that arrived and led nowhere is a failure.
    """
    expect(link).to_be_enabled()
    link.evaluate("one => one.addEventListener('click', () => { window.arrived = true }, {once: true})")
    try:
        with link.page.expect_navigation(timeout=60_000):
            link.click()
    except NothingCame:
        if link.page.evaluate("Boolean(window.arrived)") or not link.is_visible():
            raise
        with link.page.expect_navigation():
            link.click()


def load_again(page: Page) -> None:
    """Load the page again. A page whose work just ended does so by itself, and then aborts the load asked for here."""
    try:
        page.reload()
    except NotLoaded as aborted:
        if not re.search("ERR_ABORTED|interrupted by another", aborted.message):
            raise
        page.wait_for_load_state()


def reload_until(page: Page, true: Callable[[], object]) -> None:
    """Load the page again until it is so. The time limit of the test ends one that never is."""
    while not true():
        page.wait_for_timeout(POLL)
        load_again(page)


def says(page: Page, words: str, *, where: str = "main") -> None:
    """Load the page again until it says so there."""
    reload_until(page, lambda: words in page.locator(where).inner_text())


def until_there(page: Page, label: str) -> None:
    """Load the page again until it has this button, and the button can be pressed."""
    button = page.get_by_role("button", name=label)
    reload_until(page, lambda: button.is_visible() and button.is_enabled())


def speak(page: Page, language: str) -> None:
    """Show the next pages in this language."""
    page.context.add_cookies([{"name": "django_language", "value": language, "url": urljoin(page.url, "/")}])


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
    recorded = page.locator("main").get_by_text("Your decision is recorded.")
    expect(password.or_(recorded).first).to_be_visible()
    if password.is_visible():
        password.fill(PEOPLE["reviewer@example.com"][1])
        follow(page.locator("main form").get_by_role("button").first)
    expect(recorded.first).to_be_visible()


@dataclass
class BrowserJob:
    """A clean-up on its page, with the person at the keyboard and the one who decides."""

    operator: Page
    reviewer: Page
    address: str = ""

    def search_code(self, prefix: str) -> None:
        """Bring the report of a search of the code of each environment."""
        page = self.operator
        for slug in ("qa", "production"):
            page.goto(f"/references/{slug}/")
            report = FilePayload(name="hits.json", mimeType="application/json", buffer=self._report(prefix))
            page.set_input_files("[name=report]", report)
            follow(page.get_by_role("button", name="Store this search"))
            page.wait_for_url(re.compile(rf"/references/{slug}/\d+/$"))

    def ask(self, prefix: str) -> None:
        """Ask for a clean-up on the page of the keys, let QA be prepared at once, and answer the places in the code."""
        self.operator.goto(f"/keys/qa/SETTINGS/?prefix={prefix}")
        self.ask_for_these()

    def ask_for_these(self) -> None:
        """The same from a list of the keys on."""
        page = self.operator
        follow(page.get_by_role("link", name="Request a clean-up").first)
        page.fill("[name=reason]", "Migrated to D1; nothing reads these keys any more.")
        follow(page.get_by_role("button", name="Request it and prepare"))
        if page.url.endswith("/references/"):
            self.answer()
        self.address = page.url

    def _report(self, prefix: str) -> bytes:
        """Two places in the code that use the keys: one writes them, one may read them."""
        context = ("const key = name;", "use(key);", "}")
        used = f"SETTINGS {prefix}*"
        writer = Hit("functions/old.ts", 7, 3, "certain", "write", used, "use(key)", context)
        reader = Hit("functions/api.ts", 9, 1, "possible", "read", used, "use(key)", context)
        return dumps(Report(CODE_COMMIT, 3, datetime.now(UTC), (reader, writer), (), repository="site"))

    def answer(self) -> None:
        """Answer every place of the list; the page of the next step follows."""
        page = self.operator
        page.check("[name=kind][value=falls_back]")
        page.fill("[name=reason]", "It reads D1 first.")
        follow(page.get_by_role("button", name=re.compile("^Record it for all")))

    def come(self, part: Locator) -> None:
        """Until a part of the card can be used; the card follows the work by itself."""
        expect(part).to_be_enabled()

    def stage(self, title: str) -> Locator:
        """The card of the stage whose namespace has this title."""
        return self.operator.locator("[id^=stage-]", has_text=title)

    def click(self, title: str, label: str, *, exact: bool = True) -> None:
        """Press the stage's button once it is there."""
        button = self.stage(title).get_by_role("button", name=label, exact=exact)
        self.come(button)
        follow(button)

    def wait(self, title: str, words: str) -> None:
        """Until the stage says so."""
        self.come(self.stage(title).filter(has_text=words))

    def prepare(self, title: str) -> None:
        """Wait for the preparation, answer the places in the code, share the backup and submit."""
        places = self.stage(title).get_by_role("link", name="Answer the code references", exact=True)
        submit = self.stage(title).get_by_role("button", name=re.compile("submit for approval", re.IGNORECASE))
        self.come(places.or_(submit).first)
        if places.is_visible():
            follow(places)
            self.answer()
            self.come(submit)
        place = self.stage(title).locator("[name=place]")
        if place.count() and not place.input_value():  # no field if Slack already told the team
            place.fill("#kv-cleanup on Slack, with the reviewer")
        check_all(self.stage(title).locator("[name=ticked]"))
        follow(submit)

    def approve(self, title: str) -> None:
        """The reviewer follows the link of the message, decides in the bar, and gives the password again."""
        self.wait(title, "Open the request")
        page, request = self.reviewer, self.stage(title).get_by_role("link", name="Open the request")
        page.goto(request.get_attribute("href") or "")
        expect(page.locator("main")).to_contain_text(CODE_COMMIT)
        assert page.evaluate("document.documentElement.scrollHeight") <= TALLEST
        for window in (PHONE, page.viewport_size or PHONE):
            page.set_viewport_size(window)
            expect(page.locator("button[value=approve]")).to_be_in_viewport()
        decide(page, title)

    def delete(self, title: str) -> None:
        """Type the title and start; in production let the run go on after its first keys."""
        page = self.operator
        self.come(page.locator("[name=confirm]"))
        page.fill("[name=confirm]", title)
        follow(self.stage(title).get_by_role("button", name=re.compile(r"Delete (the first \d+ of )?[\d,]+ keys?")))

    def accept(self, title: str, note: str, *, then: str = "Application works: record it") -> None:
        """Note what was tried, and accept; with another button, go on with the next environment."""
        button = self.stage(title).get_by_role("button", name=then, exact=True)
        field = self.stage(title).locator("[name=note]")
        self.come(button)
        self.come(field)
        expect(self.operator.locator("main [data-message]")).to_have_count(0)  # the whole page followed the work
        field.fill(note)
        follow(button)
        self.wait(title, "Accepted")
