"""A settings value is changed; its age begins anew with the next backup. The page never shows the value."""

import pytest
from playwright.sync_api import Locator, Page, expect

from sandbox import environment
from tests.browser.conftest import Product, SignIn
from tests.browser.job import POLL
from tests.browser.test_outside_changes import back_up

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]
QA, _PRODUCTION = environment.accounts()
KEY = "mail:sender"


def row(page: Page) -> Locator:
    """The row of the key in QA, among the keys of its family."""
    page.goto("/backups/rotation/?environment=qa")
    page.select_option("[name=family]", label="SETTINGS mail:*")
    page.locator("main form").get_by_role("button", name="Show").click()
    page.wait_for_url("**family=*")
    return page.locator("main tbody tr", has_text=KEY)


def test_the_age_of_a_value_begins_anew_when_it_changes(product: Product, sign_in: SignIn) -> None:
    page = sign_in("operator")
    expect(row(page)).to_contain_text("since at least")
    expect(row(page)).to_contain_text("within 30 days")
    product.write(QA, KEY, b'{"from": "rotated@example.com"}')
    back_up(page)
    while "changed on" not in row(page).inner_text():
        page.wait_for_timeout(POLL)
    assert "rotated@example.com" not in page.content()
