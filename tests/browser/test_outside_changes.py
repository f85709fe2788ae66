"""A setting that is put with wrangler is on the overview after the next backup, and a person explains it."""

import re

import pytest
from playwright.sync_api import Page, expect

from sandbox import environment
from tests.browser.conftest import Product, SignIn
from tests.browser.job import follow, says

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(900)]
QA, _PRODUCTION = environment.accounts()
KEY = "mail:bounce"
VALUE = b'{"password": "put-with-wrangler"}'
FOUND = "1 setting changed outside KVOps"


def back_up(page: Page) -> None:
    """A backup of the settings, by hand, until it is verified."""
    page.goto("/backups/new/?namespace=qa/SETTINGS&prefix=mail:")
    follow(page.get_by_role("button", name="Start the backup"))
    page.wait_for_url(re.compile(r"/backups/\d+/$"))
    says(page, "verified")


def test_a_value_put_with_wrangler_is_found_explained_and_compared(product: Product, sign_in: SignIn) -> None:
    page, before = sign_in("operator"), product.read(QA, KEY)
    back_up(page)
    product.write(QA, KEY, VALUE)
    page.goto(f"/key/qa/SETTINGS/?name={KEY}")
    follow(page.get_by_role("button", name="Compare with the last backup"))
    says(page, "differs from the last backup", where="#compared")
    back_up(page)
    page.goto("/")
    says(page, FOUND, where="body")
    expect(page.locator("body")).to_contain_text(f"Changed: {KEY}")
    expect(page.locator("body")).not_to_contain_text("put-with-wrangler")
    page.goto("/unexplained/settings/?state=open")
    follow(page.locator("main table a[href*='/unexplained/settings/']").first)
    page.fill("[name=note]", "Jane moved the mail server, with wrangler")
    follow(page.get_by_role("button", name="Record the explanation"))
    expect(page.locator("main")).to_contain_text("Jane moved the mail server")
    page.goto("/")
    expect(page.locator("body")).not_to_contain_text(FOUND)
    product.write(QA, KEY, before)
    back_up(page)  # and finds that change too, which stays open for the pictures
