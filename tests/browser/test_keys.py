"""The list of keys in a browser: one line per key, ticks over a range, and what becomes of all matches."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import SignIn

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(900)]
LIST = "/keys/qa/SETTINGS/?prefix=mastercache:"
HIGHEST = 36
"""Pixels of a row, at a window of 1280."""


@pytest.fixture
def page(sign_in: SignIn) -> Page:
    return sign_in("operator", viewport={"width": 1280, "height": 900})


@pytest.mark.parametrize("address", [LIST, "/keys/qa/SETTINGS/", "/keys/qa/SETTINGS/compare/production/"])
def test_a_key_takes_one_line(page: Page, address: str) -> None:
    page.goto(address)
    rows = page.locator("table.keys tbody tr")
    heights = rows.evaluate_all("rows => rows.map(row => row.getBoundingClientRect().height)")
    assert len(heights) == 50
    assert max(heights) <= HIGHEST


def test_shift_and_a_click_tick_a_range(page: Page) -> None:
    page.goto(LIST)
    boxes, number = page.locator("[data-tick]"), page.locator("[data-ticked]")
    boxes.nth(2).click()
    boxes.nth(6).click(modifiers=["Shift"])
    expect(number).to_have_text("5")
    boxes.nth(9).click()
    boxes.nth(8).click(modifiers=["Shift"])
    expect(number).to_have_text("7")
    page.get_by_label("Tick all keys of this page").check()
    expect(number).to_have_text("50")


def test_the_buttons_for_the_ticked_keys_stay_in_sight(page: Page) -> None:
    page.goto(LIST)
    button = page.get_by_role("button", name="Clean up…")
    expect(button).not_to_be_in_viewport()
    page.locator("[data-tick]").first.click()
    expect(button).to_be_in_viewport()
    page.locator("[data-tick]").first.click()
    expect(button).not_to_be_in_viewport()


def test_a_pressed_button_shows_that_its_answer_is_under_way(page: Page) -> None:
    page.goto(LIST)
    page.locator("table.keys tbody a").first.click()
    pressed = """button => {
      button.click();
      const during = [button.ariaBusy, button.matches(".btn-loading"), getComputedStyle(button).pointerEvents];
      dispatchEvent(new PageTransitionEvent("pageshow"));
      return [...during, button.ariaBusy, button.matches(".btn-loading")];
    }"""
    button = page.get_by_role("button", name="Show the value")
    assert button.evaluate(pressed) == ["true", True, "auto", None, False]
    page.wait_for_url(re.compile(r"/value\?name="))


def test_the_palette_says_that_it_searches_while_the_answer_is_slow(page: Page) -> None:
    held = list[Route]()
    page.route("**/search/palette?*", lambda route: held.append(route))  # noqa: PLW0108  # Playwright marks the function
    page.keyboard.press("Control+k")
    expect(page.locator("#palette-status")).to_have_text("Searching…")
    held[-1].continue_()
    expect(page.get_by_role("option").first).to_be_visible()
    expect(page.locator("#palette-status")).not_to_have_text("Searching…")


def test_the_list_stays_where_it_was_after_a_form(page: Page) -> None:
    page.goto(LIST)
    page.evaluate("scrollTo({ top: 300, behavior: 'instant' })")
    page.get_by_role("button", name="Scan now").evaluate("button => button.click()")
    expect(page.get_by_text("The scan has started.")).to_be_visible()
    page.wait_for_function("scrollY > 0")
    assert page.evaluate("scrollY") == 300


def test_a_copy_button_copies_and_says_so(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(LIST)
    page.locator("table.keys tbody a").first.click()
    button = page.locator("main [data-copy]").first
    button.click()
    expect(page.locator("#announce")).to_have_text("Copied")
    expect(button).to_have_class(re.compile(r"\bcopied\b"))
    copied = button.get_attribute("data-copy") or button.evaluate("one => one.previousElementSibling.textContent")
    assert page.evaluate("navigator.clipboard.readText()") == copied
