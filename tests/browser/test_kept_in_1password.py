"""A settings backup is kept in 1Password by a click. A fake of the SDK stands in for the account."""

import re

import pytest
from playwright.sync_api import expect

from sandbox import environment
from tests.browser.conftest import Product, SignIn
from tests.browser.job import follow, reload_until

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]
QA, _PRODUCTION = environment.accounts()


def test_a_settings_backup_is_kept_in_1password(product: Product, sign_in: SignIn) -> None:
    product.names_a_vault(QA, "Operations")
    page, auditor = sign_in("operator"), sign_in("auditor")
    page.goto("/backups/vault/")
    follow(page.locator("main tbody a[href$='#vault']").first)
    follow(page.get_by_role("button", name="Keep in 1Password"))
    card = page.locator("#vault")
    reload_until(page, lambda: "Kept in 1Password" in card.inner_text())
    reference = re.search(r"op://Operations/item-\d+", card.inner_text())
    assert reference
    expect(card.get_by_role("button", name="Keep in 1Password")).to_have_count(0)
    auditor.goto("/backups/vault/")
    expect(auditor.locator("main tbody")).to_contain_text(reference[0])
    assert "AGE-SECRET" not in auditor.content()
