"""A masked value is revealed and hidden again. A settings key is changed under four eyes, and changed back."""

import re

import pytest
from playwright.sync_api import Page, expect

from sandbox import environment
from sandbox.environment import PEOPLE
from tests.browser.conftest import Product, SignIn
from tests.browser.job import decide, follow, load_again, says, until_there

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(900)]
QA, _PRODUCTION = environment.accounts()
KEY = "mail:bounce"


def give_password(page: Page, who: str = "operator@example.com") -> None:
    """Type the password where it is asked for again."""
    password = page.locator("[name=password]")
    if password.is_visible():
        password.fill(PEOPLE[who][1])
        follow(page.locator("main form").get_by_role("button").first)


def test_a_masked_value_is_revealed_and_hidden_again(product: Product, sign_in: SignIn) -> None:
    page = sign_in("operator")
    page.clock.install()
    held = product.read(QA, KEY).decode()
    page.goto(f"/key/qa/SETTINGS/?name={KEY}")
    page.fill("[name=reason]", "Mails do not arrive")
    follow(page.get_by_role("button", name="Reveal the value", exact=True))
    give_password(page)
    shown = page.locator("[data-hide-after]")
    expect(shown).to_contain_text(held[:20])
    with page.expect_navigation():
        page.clock.fast_forward(61_000)
    page.wait_for_url(re.compile(r"/key/qa/SETTINGS/\?name="))
    expect(page.locator("main")).not_to_contain_text(held[:20])


def test_a_key_is_changed_under_four_eyes_and_the_change_is_reversed(product: Product, sign_in: SignIn) -> None:
    page, reviewer = sign_in("operator"), sign_in("reviewer")
    before = product.read(QA, KEY)
    page.goto(f"/key/qa/SETTINGS/?name={KEY}")
    follow(page.get_by_role("link", name="Change this key"))
    page.fill("form[action$=load] [name=reason]", "To edit it")
    follow(page.get_by_role("button", name="Reveal it in the editor"))
    give_password(page)
    assert page.input_value("[name=value]").encode() == before
    page.fill("[name=value]", '{"enabled": false}')
    follow(page.get_by_role("button", name="Propose the change"))
    page.wait_for_url(re.compile(r"/changes/\d+/$"))
    approve_and_write(page, reviewer)
    assert product.read(QA, KEY) == b'{"enabled": false}'
    page.fill("[name=note]", "Bounces are ignored")
    follow(page.get_by_role("button", name="Application works: record it"))
    follow(page.get_by_role("button", name="Prepare the reverse change"))
    follow(page.locator("dl a[href^='/changes/']").last)
    approve_and_write(page, reviewer)
    assert product.read(QA, KEY) == before
    page.goto(f"/changes/new/qa/SETTINGS/?name={KEY}")
    expect(page.locator("[name=keep_value]")).to_be_checked()
    page.fill("[name=value]", '{"enabled": 1}')
    expect(page.locator("[name=keep_value]")).not_to_be_checked()
    expect(page.locator("[name=keep_metadata]")).to_be_checked()
    follow(page.get_by_role("button", name="Propose the change"))
    says(page, "Submit for approval")


def approve_and_write(page: Page, reviewer: Page) -> None:
    """Submit the change on the page, let the reviewer see the difference and approve, and write it."""
    until_there(page, "Submit for approval")
    page.locator("form[action$=submit] [name=reason]").fill("Bounces are handled elsewhere")
    follow(page.get_by_role("button", name="Submit for approval"))
    address = page.get_by_role("link", name="Open the request").get_attribute("href") or ""
    reviewer.goto(address)
    expect(reviewer.locator("main")).to_contain_text("Paths that change in the value")
    decide(reviewer, QA.namespace_title)
    load_again(page)
    page.locator("form[action$=start] [name=confirm]").fill(QA.namespace_title)
    follow(page.get_by_role("button", name="Write the key"))
    says(page, "Written and read back")
