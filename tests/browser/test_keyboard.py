"""The work of each day with a keyboard alone: each stop of the Tab key shows itself, and nothing lies above it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from sandbox.environment import PEOPLE
from tests.browser.conftest import Product, signing_in
from tests.browser.job import PHONE
from tests.browser.keyboard import Keyboard

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]
SHORT = ViewportSize(width=1280, height=600)
"""A window in which the header and the bar of a decision leave little room."""


@dataclass
class Keyboards:
    """Three people with a keyboard each. Nothing moves for them, so that a place is looked at once it is reached."""

    operator: Keyboard
    reviewer: Keyboard
    auditor: Keyboard


@pytest.fixture(scope="module")
def people(product: Product, browser: Browser) -> Iterator[Keyboards]:
    """Three people, signed in once for all tests."""
    with signing_in(product, browser) as sign_in:

        def opened(who: str) -> Keyboard:
            return Keyboard(sign_in(who, viewport=SHORT, reduced_motion="reduce"))

        yield Keyboards(opened("operator"), opened("reviewer"), opened("auditor"))


def test_a_person_signs_in_and_skips_to_the_content(product: Product, browser: Browser) -> None:
    with browser.new_context(base_url=product.url, locale="en", viewport=SHORT, reduced_motion="reduce") as context:
        page = context.new_page()
        keyboard = Keyboard(page)
        page.goto("/account/login/?next=/runs/")
        keyboard.type(page.locator("#id_login"), "auditor@example.com")
        keyboard.type(page.locator("#id_password"), PEOPLE["auditor@example.com"][1])
        keyboard.follow(page.get_by_role("button", name="Sign In", exact=True))
        expect(page).to_have_url(f"{product.url}/runs/")
        keyboard.skip()
        keyboard.press("Tab")
        keyboard.look()
        expect(page.locator("main :focus")).to_have_count(1)


def test_the_palette_leads_to_a_key_by_part_of_its_name(people: Keyboards) -> None:
    keyboard, page = people.auditor, people.auditor.page
    keyboard.press("Control+k")
    page.keyboard.type("nic:id:0001")
    expect(page.get_by_role("option", selected=True)).to_contain_text("clinic:id:0001")
    keyboard.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).to_contain_text("Production")
    assert page.locator("#palette-input").get_attribute("aria-activedescendant")
    keyboard.look()
    keyboard.press("Enter")
    page.wait_for_url("**/key/production/SETTINGS/?name=clinic%3Aid%3A0001")


def test_the_emergency_stop_is_opened_and_left(people: Keyboards) -> None:
    keyboard, page = people.auditor, people.auditor.page
    page.goto("/help/")
    keyboard.go(page.locator(".stop-button"))
    keyboard.press("Enter")
    keyboard.type(page.locator("#stop-menu [name=reason]"), "The list looks wrong.")
    keyboard.go(page.get_by_role("button", name="Stop Production"))
    keyboard.press("Escape")
    expect(page.locator("#stop-menu")).to_be_hidden()
    expect(page.locator(".stop-button")).to_be_focused()
    keyboard.look()


def test_the_menu_of_a_phone_is_opened_left_and_leads_on(people: Keyboards) -> None:
    keyboard, page = people.auditor, people.auditor.page
    page.set_viewport_size(PHONE)
    page.goto("/help/")
    keyboard.go(page.get_by_role("button", name="Menu"))
    keyboard.press("Enter", "Escape")
    expect(page.locator("#nav")).to_be_hidden()
    keyboard.look()
    keyboard.press("Enter")
    keyboard.follow(page.locator("#nav").get_by_role("link", name="Overview"))
    expect(page).to_have_url(re.compile(r"\d/$"))


def test_a_reviewer_reads_approves_and_gives_the_password(product: Product, people: Keyboards) -> None:
    address = product.registers_a_family("session:7")
    keyboard, page = people.reviewer, people.reviewer.page
    keyboard.open("/approvals/")
    keyboard.follow(page.locator(f"main a[href='{address}']").first)
    assert keyboard.walk("Shift+Tab") > 20
    keyboard.open(address)
    for box in page.locator("[name^=accept_]").all():
        keyboard.go(box)
        keyboard.press("Space")
    folded = page.locator("main details", has_text="exactly as it is digested")
    keyboard.go(folded.locator("summary"))
    for key, shown in (("Enter", True), ("Space", False)):
        keyboard.press(key)
        expect(folded.locator("pre")).to_be_visible(visible=shown)
        keyboard.look()
    title = page.locator("input[data-confirm]")
    keyboard.type(title, title.get_attribute("data-confirm") or "")
    keyboard.follow(page.locator("button[value=approve]"))
    keyboard.type(page.locator("[name=password]"), PEOPLE["reviewer@example.com"][1])
    keyboard.follow(page.get_by_role("button", name="Approve"))
    expect(page.locator("main")).to_contain_text("Your decision is recorded.")


def test_keys_are_filtered_sorted_and_ticked(people: Keyboards) -> None:
    keyboard, page = people.operator, people.operator.page
    keyboard.open("/keys/qa/SETTINGS/")
    keyboard.type(page.locator("[name=prefix]"), "mail:")
    keyboard.press("Enter")
    page.wait_for_url("**prefix=mail%3A**")
    assert keyboard.walk() > 20
    keyboard.open(page.url)
    keyboard.follow(page.locator("th a", has_text="Expiration"))
    page.wait_for_url("**sort=expiration**")
    keyboard.open(page.url)
    keyboard.go(page.locator("[data-tick]").nth(1))
    keyboard.press("Space")
    expect(page.locator("[data-ticked]")).to_have_text("1")
    keyboard.follow(page.get_by_role("button", name="Back up…"))
    page.wait_for_url("**/backups/new/**")


def test_a_run_is_heard_when_it_ends_and_leaves_the_focus_on_the_page(people: Keyboards) -> None:
    keyboard, page = people.operator, people.operator.page
    keyboard.open("/backups/new/?env=qa&binding=SETTINGS&prefix=clinic:id:")
    keyboard.follow(page.get_by_role("button", name="Start the backup"))
    keyboard.skip()
    keyboard.press("Tab")
    keyboard.look()
    link = page.locator("main :focus").evaluate("one => one.outerHTML")  # the menu has one to the same page
    expect(page.locator("#announce")).not_to_be_empty()
    expect(page.locator("#live:not([hx-get])")).to_have_count(1)
    expect(page.locator("main :focus")).to_have_count(1)
    assert page.locator("main :focus").evaluate("one => one.outerHTML") == link
