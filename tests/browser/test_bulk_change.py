"""Keys of a cache get an expiration under four eyes, and others a mark. The outcome is read past the product."""

import re
import time

import pytest
from playwright.sync_api import Page

from sandbox import environment
from tests.browser.conftest import Product, SignIn
from tests.browser.job import decide, follow, load_again, until_there

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(900)]
QA, _PRODUCTION = environment.accounts()
DAY = 86_400


def approve_and_write(page: Page, reviewer: Page) -> None:
    """Submit the change on its page, let the reviewer approve it, write it and wait for the result."""
    page.wait_for_url(re.compile(r"/changes/bulk/\d+/$"))
    until_there(page, "Submit for approval")
    page.fill("form[action$=submit] [name=reason]", "An old release wrote them without their TTL")
    follow(page.get_by_role("button", name="Submit for approval"))
    reviewer.goto(page.get_by_role("link", name="Open the request").get_attribute("href") or "")
    decide(reviewer, QA.namespace_title)
    load_again(page)
    page.fill("form[action$=start] [name=confirm]", QA.namespace_title)
    follow(page.get_by_role("button", name="Write the keys"))
    until_there(page, "Application works: record it")
    page.fill("[name=note]", "The pages load")
    follow(page.get_by_role("button", name="Application works: record it"))


def test_forgotten_keys_get_an_expiration(product: Product, sign_in: SignIn) -> None:
    page, reviewer = sign_in("operator"), sign_in("reviewer")
    prefix = "mastercache:v1:page:1"
    before = product.beside(QA, prefix)
    values = {name: product.read(QA, name) for name in before}
    assert {expiration for expiration, _ in before.values()} == {None}
    page.goto(f"/keys/qa/SETTINGS/?prefix={prefix}&expiring=none")
    follow(page.get_by_role("link", name="Set an expiration"))
    page.fill("[name=hours]", "24")
    follow(page.get_by_role("button", name="Fix the list and back it up"))
    approve_and_write(page, reviewer)
    after = product.beside(QA, prefix)
    [at] = {expiration for expiration, _ in after.values()}
    assert at is not None
    assert 0 < at - time.time() <= DAY
    assert {name: metadata for name, (_, metadata) in after.items()} == {
        name: kept for name, (_, kept) in before.items()
    }
    assert {name: product.read(QA, name) for name in after} == values


def test_keys_that_lack_their_mark_get_it(product: Product, sign_in: SignIn) -> None:
    page, reviewer = sign_in("operator"), sign_in("reviewer")
    before = product.beside(QA, "facility-skills:")
    lacking = {name for name, (_, metadata) in before.items() if metadata is None}
    assert lacking
    page.goto("/changes/bulk/new/qa/SETTINGS/?prefix=facility-skills:&scope=lacking&operation=mark")
    page.fill("[name=value]", "tonight")
    follow(page.get_by_role("button", name="Fix the list and back it up"))
    approve_and_write(page, reviewer)
    after = product.beside(QA, "facility-skills:")
    assert {name: after[name] for name in lacking} == {name: (None, {"regenerate": "tonight"}) for name in lacking}
    assert {name: after[name] for name in after.keys() - lacking} == {
        name: before[name] for name in before.keys() - lacking
    }
    page.goto("/changes/bulk/new/qa/SETTINGS/?prefix=mastercache:v1:page:2&scope=none&operation=expiration")
    page.fill("[name=hours]", "24")
    follow(page.get_by_role("button", name="Fix the list and back it up"))
    until_there(page, "Submit for approval")
