"""Ten tasks that people do with a dashboard, each counted from the overview on. `docs/usability.md` has the figures."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from sandbox import environment
from sandbox.environment import PEOPLE
from tests.browser.conftest import Product, signing_in
from tests.browser.job import PHONE, check_all, follow, reload_until, speak
from tests.browser.tally import Tally

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]
_QA, PRODUCTION = environment.accounts()
FOLD = 900
"""Pixels of a page that a screen of 1280 × 900 shows at once."""
CLICKS = 5
"""The most that a task takes."""
BOTH = 8
"""The most clicks of two people to restore a deleted key in production."""
OUTSIDE = "clinic:id:0011"
"""The key that somebody deletes past the product."""


@dataclass
class Desk:
    """A person at a screen, from the overview on."""

    page: Page
    fold: float = FOLD
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.tally.watch(self.page)

    def begin(self) -> Page:
        """Open the overview; what is done from here on counts."""
        self.page.goto("/")
        for counted in (self.tally.clicks, self.tally.fields, self.tally.loads, self.tally.edges):
            counted.clear()
        return self.page

    def palette(self, text: str, environment: str) -> None:
        """Open the palette with the keyboard, type, and choose what is found in this environment."""
        self.tally.press(self.page, "Control+k")
        self.page.fill("#palette-input", text)
        follow(self.page.get_by_role("option").filter(has_text=environment).first)

    @property
    def lowest(self) -> float:
        """The lower edge of the lowest thing that was pressed."""
        return max(self.tally.edges.values(), default=0)


@dataclass
class Table:
    """The figures of all tasks, as `docs/usability.md` shows them."""

    rows: list[str] = field(default_factory=list)

    def enter(self, task: str, *desks: Desk, most: int = CLICKS) -> None:
        """Add the figures of a task, and refuse too many clicks and what lies below the first screen."""
        clicks, fields, loads = (
            [one for desk in desks for one in getattr(desk.tally, name)] for name in ("clicks", "fields", "loads")
        )
        lowest = max(desk.lowest for desk in desks)
        self.rows.append(f"| {task} | {len(clicks)} | {len(fields)} | {len(loads)} | {lowest:.0f} |")
        assert len(clicks) <= most, clicks
        assert {words: edge for desk in desks for words, edge in desk.tally.edges.items() if edge > desk.fold} == {}


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """What was measured; `pytest -rP` shows it."""
    table = Table()
    yield table
    print("| task | clicks | fields | pages | lowest y |", "|---|---|---|---|---|", *table.rows, sep="\n")


@dataclass
class Persons:
    """An operator at a screen, and a reviewer with a phone that speaks Japanese."""

    operator: Desk
    reviewer: Desk
    auditor: Desk


@pytest.fixture(scope="module")
def people(product: Product, browser: Browser) -> Iterator[Persons]:
    """Three people, signed in once for all tasks."""
    screen = {"width": 1280, "height": FOLD}
    with signing_in(product, browser) as sign_in:
        operator, auditor = (Desk(sign_in(who, viewport=screen)) for who in ("operator", "auditor"))
        reviewer = Desk(sign_in("reviewer", viewport=PHONE, has_touch=True), fold=PHONE["height"])
        speak(reviewer.page, "ja")
        yield Persons(operator, reviewer, auditor)


@pytest.fixture
def operator(people: Persons) -> Desk:
    return people.operator


@pytest.fixture(scope="module")
def deleted(product: Product, people: Persons) -> str:
    """A key that the main job deleted in production."""
    page = people.auditor.page
    page.goto("/keys/production/SETTINGS/deleted/")
    expect(page.locator("main tbody tr").first, "The main job has deleted nothing: run the folder.").to_be_visible()
    name = page.locator("main tbody a[href*='?name=master']").first.inner_text().strip()
    assert name not in product.keys(PRODUCTION, "master:")
    return name


def seen(*facts: Locator) -> None:
    """The answer is there, and on the first screen."""
    for fact in facts:
        expect(fact.first).to_be_in_viewport()


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_whole_overview_is_on_the_first_screen(operator: Desk, language: str) -> None:
    speak(operator.page, language)
    cards = operator.begin().locator("main .card")
    operator.page.wait_for_load_state()
    edges = cards.evaluate_all("all => all.map(one => one.getBoundingClientRect().bottom + scrollY)")
    speak(operator.page, "en")
    assert max(edges) <= FOLD


def test_a_who_deleted_a_key_and_from_which_backup_does_it_come_back(
    operator: Desk, table: Table, deleted: str
) -> None:
    page = operator.begin()
    operator.palette(deleted, "Production")
    told = page.locator("main .alert")
    seen(told.get_by_text("Started by operator"), told.get_by_text("approved by reviewer"))
    seen(told.get_by_role("link", name=re.compile(r"Backup \d+")))
    table.enter("(a) who deleted a key, from which backup does it come back", operator)


def test_b_can_master_data_be_restored_as_of_last_tuesday(operator: Desk, table: Table) -> None:
    today = datetime.now(UTC).date()
    page = operator.begin()
    page.fill("[name=as_of]", str(today - timedelta(days=(today.weekday() - 1) % 7 or 7)))
    follow(page.get_by_role("button", name="Show", exact=True))
    row = page.locator("main tr", has_text="master:*")
    expect(row.get_by_text("still exists")).to_have_count(2)
    seen(row.get_by_role("link"))
    table.enter("(b) can master data be restored as of last Tuesday", operator)


def test_c_cache_keys_without_expiry_how_many(operator: Desk, table: Table) -> None:
    page = operator.begin()
    some = page.locator(".overview-families tr td:last-child a", has_text=re.compile("[1-9]")).last
    told = int(some.inner_text().replace(",", ""))
    follow(some)
    seen(page.locator("#matches").get_by_text(f"{told:,} keys match"))
    table.enter("(c) cache keys without expiry, how many", operator)


def test_e_why_is_the_button_off(operator: Desk, table: Table) -> None:
    page = operator.begin()
    follow(page.locator("#nav").get_by_role("link", name=re.compile("^Clean-up")))
    follow(page.locator("main tr", has_text="facility:").get_by_role("link").first)
    off = page.get_by_role("button", name="Prepare Production")
    expect(off).to_be_disabled()
    why = page.locator(f"[id='{off.get_attribute('aria-describedby')}']")
    seen(off, why)
    assert "QA" in why.inner_text()
    table.enter("(e) why is the button off", operator)


def test_f_a_key_by_part_of_its_name(operator: Desk, table: Table) -> None:
    page = operator.begin()
    operator.palette("nic:id:0007", "Production")
    seen(page.get_by_role("heading", name="clinic:id:0007"))
    table.enter("(f) a key by part of its name", operator)


def test_g_what_can_be_deleted_in_14_days_and_pin_one(operator: Desk, table: Table) -> None:
    page = operator.begin()
    follow(page.locator("#nav").get_by_role("link", name="Retention"))
    follow(page.get_by_role("link", name="Backups that can be deleted within 14 days"))
    row = page.locator("main tbody tr", has_text="Can be deleted").first
    row.locator("summary", has_text="Pin").click()
    row.locator("[name=reason]").fill("The audit of December needs it")
    follow(row.get_by_role("button", name="Pin this backup"))
    expect(page.locator("main")).to_contain_text("pinned")
    table.enter("(g) what can be deleted in 14 days, pin one", operator)


def test_h_restore_one_deleted_key_and_d_approve_on_a_phone_in_japanese(
    product: Product, people: Persons, table: Table, deleted: str
) -> None:
    page = people.operator.begin()
    people.operator.palette(deleted, "Production")
    follow(page.get_by_role("button", name="Restore this key"))
    page.fill("form[action$=submit] [name=reason]", "The department was still needed")
    follow(page.get_by_role("button", name="Submit for approval"))
    address = page.get_by_role("link", name="Open the request").get_attribute("href")
    approve(people.reviewer, address or "")
    table.enter("(d) approve on a phone, in Japanese", people.reviewer)
    page.fill("form[action$=start] [name=confirm]", PRODUCTION.namespace_title)
    follow(page.get_by_role("button", name="Restore the keys"))
    expect(page.locator("main")).to_contain_text("Restored keys")
    assert deleted in product.keys(PRODUCTION, "master:")
    table.enter("(h) restore one deleted key, both people", people.operator, people.reviewer, most=BOTH)


def approve(reviewer: Desk, address: str) -> None:
    """The reviewer follows the link of the message, and approves."""
    page = reviewer.begin()
    page.goto(address)
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    check_all(page.locator("[name^=accept_]"))
    page.fill("[name=confirm]", PRODUCTION.namespace_title)
    follow(page.locator("button[value=approve]"))
    page.fill("[name=password]", PEOPLE["reviewer@example.com"][1])
    follow(page.locator("main form").get_by_role("button").first)
    seen(page.locator("main").get_by_text("判断を記録しました"))


def test_i_compare_the_newest_two_backups(operator: Desk, table: Table) -> None:
    page = operator.begin()
    follow(page.locator(".overview-families tr", has_text="master:*").locator("a[href^='/backups/']").first)
    follow(page.get_by_role("button", name="Compare with previous"))
    seen(page.get_by_text(re.compile(r"Nothing differs|keys? differ")))
    table.enter("(i) compare the newest two backups", operator)


def test_j_deletions_outside_kvops(product: Product, people: Persons, table: Table) -> None:
    page = people.operator.page
    product.remove(PRODUCTION, OUTSIDE)
    page.goto("/keys/production/SETTINGS/")
    follow(page.get_by_role("button", name="Scan now"))
    page.goto("/")
    reload_until(page, page.get_by_text("unexplained deletion").count)
    people.operator.begin()
    follow(page.locator("#do-now li", has_text="unexplained deletion").get_by_role("link").last)
    seen(page.get_by_role("link", name=OUTSIDE))
    table.enter("(j) deletions outside KVOps", people.operator)
