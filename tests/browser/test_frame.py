"""The frame of every page with a keyboard alone, without a script, and on a phone."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn

pytestmark = [pytest.mark.browser, pytest.mark.sandbox]


def focused(page: Page) -> str:
    """The id of the element that has the focus."""
    found: str = page.evaluate("document.activeElement.id")
    return found


def test_escape_closes_the_palette_and_the_focus_returns(sign_in: SignIn) -> None:
    page = sign_in("auditor")
    page.locator(".stop-button").focus()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option").first).to_be_visible()
    assert focused(page) == "palette-input"
    page.keyboard.type("runs")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    expect(page.locator(".stop-button")).to_be_focused()


def test_a_text_that_is_typed_into_the_header_goes_on_in_the_palette(sign_in: SignIn) -> None:
    page = sign_in("auditor")
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    page.locator(".topbar-search input").focus()
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.type("reviewer@", delay=1)
    expect(page.locator("#palette-input")).to_have_value("reviewer@")
    expect(page.get_by_role("option", name="reviewer Person")).to_be_visible()


def test_letters_lead_to_pages_until_they_are_switched_off(sign_in: SignIn) -> None:
    page = sign_in("auditor")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs/")
    page.keyboard.press("?")
    page.get_by_label("Shortcuts of single characters are on").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("?")
    page.keyboard.press("/")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()


def test_without_a_script_the_header_searches_and_offers_the_stop(sign_in: SignIn) -> None:
    page = sign_in("auditor", java_script_enabled=False)
    page.locator(".stop-button").click()
    expect(page.get_by_role("button", name="Stop Production")).to_be_visible()
    page.keyboard.press("Escape")
    page.fill(".topbar-search input", "clinic:id:0001")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search/?q=clinic%3Aid%3A0001")
    expect(page.get_by_role("link", name="clinic:id:0001", exact=True)).to_have_count(2)
    expect(page.get_by_role("button", name="Keyboard shortcuts")).to_be_hidden()


def swapped(page: Page, part: str) -> None:
    """Let htmx put this into the live part of the page, as the answer of a poll."""
    page.unroute("**/live")
    page.route("**/live", lambda route: route.fulfill(body=f'<div id="live">{part}</div>', content_type="text/html"))
    page.evaluate("htmx.ajax('GET', location.pathname + 'live', { target: '#live', swap: 'outerHTML' })")


def test_the_tab_of_a_page_under_way_shows_its_progress_and_then_its_failure(sign_in: SignIn) -> None:
    page = sign_in("auditor")
    page.goto("/runs/")
    page.locator("main tbody a[href^='/runs/']").first.click()
    page.wait_for_url(re.compile(r"/runs/\d+/$"))
    title = page.title()
    expect(page.locator("body[data-moving]")).to_have_count(0)
    page.evaluate("document.body.dataset.moving = ''")  # as if the run were open
    swapped(page, '<progress max="4" value="1"></progress>')
    expect(page).to_have_title(f"25 % · {title}")
    swapped(page, '<span class="status status-red">failed</span>')
    expect(page).to_have_title(title)
    expect(page.locator("#favicon")).to_have_attribute("href", re.compile("favicon-alarm"))


def test_the_stop_is_on_the_first_screen_of_a_phone(sign_in: SignIn) -> None:
    page = sign_in("auditor", viewport={"width": 390, "height": 844})
    page.goto("/keys/production/SETTINGS/")
    page.locator(".stop-button").click()
    box = page.get_by_role("button", name="Stop Production").bounding_box()
    assert box
    assert box["y"] + box["height"] < 844
    assert box["x"] + box["width"] <= 390


@pytest.mark.parametrize(("address", "chosen"), [("/runs/", "?state=done"), ("/audit/", "?text=operator")])
def test_filters_are_folded_on_a_phone_until_one_is_set(sign_in: SignIn, address: str, chosen: str) -> None:
    page = sign_in("auditor", viewport={"width": 390, "height": 844})
    page.goto(address)
    expect(page.locator("main form.card .filters")).to_be_hidden()
    page.locator("main form.card summary").click()
    expect(page.locator("main form.card .filters")).to_be_visible()
    page.goto(address + chosen)
    expect(page.locator("main form.card .filters")).to_be_visible()
    page.goto(address)
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(page.locator("main form.card .filters")).to_be_visible()
    expect(page.locator("main form.card summary")).to_be_hidden()


def test_the_menu_of_a_phone_opens_without_a_script(sign_in: SignIn) -> None:
    page = sign_in("auditor", viewport={"width": 390, "height": 844}, java_script_enabled=False)
    page.get_by_role("button", name="Menu").click()
    page.locator("#nav").get_by_role("link", name="Storage").click()
    page.wait_for_url("**/storage/")


def test_a_button_that_is_pressed_twice_sends_once(sign_in: SignIn) -> None:
    page = sign_in("auditor")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Dark").dblclick()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    assert len(sent) == 1
