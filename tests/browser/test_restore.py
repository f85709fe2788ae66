"""Keys that were lost and changed are put back and compared, as two people do it with a browser."""

import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from sandbox import environment
from tests.browser.conftest import Product, SignIn
from tests.browser.job import decide, follow, load_again, reload_until, says

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]
QA, _PRODUCTION = environment.accounts()
LOST, CHANGED, KEPT = "clinic:id:0003", "clinic:id:0005", "clinic:id:0007"


@dataclass
class RestorePage:
    """A restore on its page, with the operator at the keyboard and the reviewer who decides."""

    operator: Page
    reviewer: Page

    def backup(self) -> str:
        """A verified copy of the clinics; its address."""
        page = self.operator
        page.goto("/backups/new/?env=qa&binding=SETTINGS&prefix=clinic:id:")
        page.locator("main form[method=post]").get_by_role("button").last.click()
        page.wait_for_url(re.compile(r"/backups/\d+/$"))
        reload_until(page, lambda: page.locator("h1").get_by_text("Verified").count() > 0)
        return page.url

    def prepare(self, backup: str, *names: str) -> None:
        """Paste the names and have them compared with KV."""
        page = self.operator
        page.goto(f"{backup}restores/new/")
        page.fill("[name=names]", "\n".join(names))
        follow(page.get_by_role("button", name="Compare with KV"))
        page.wait_for_url(re.compile(r"/restores/\d+/$"))
        says(self.operator, "Submit for approval")

    def approve(self) -> None:
        """The reviewer types the title and gives the password again."""
        page, request = self.reviewer, self.operator.get_by_role("link", name="Open the request")
        page.goto(request.get_attribute("href") or "")
        decide(page, QA.namespace_title)


@pytest.fixture
def job(sign_in: SignIn) -> RestorePage:
    return RestorePage(sign_in("operator"), sign_in("reviewer"))


def test_what_was_lost_is_restored_and_what_changed_is_shown(product: Product, job: RestorePage) -> None:
    backup, page, before = job.backup(), job.operator, product.read(QA, LOST)
    product.remove(QA, LOST)
    product.write(QA, CHANGED, b'{"written": "since the copy"}')
    job.prepare(backup, LOST, CHANGED, KEPT)
    page.fill("[name=reason]", "Deleted by a script that should not have run.")
    follow(page.get_by_role("button", name="Submit for approval"))
    job.approve()
    load_again(page)
    page.fill("[name=confirm]", QA.namespace_title)
    follow(page.get_by_role("button", name="Restore the keys"))
    says(job.operator, "Restored keys")
    assert product.read(QA, LOST) == before
    follow(page.get_by_role("button", name="Compare with KV now"))
    says(job.operator, "1 key differs")
    job.prepare(backup, CHANGED)  # and left there: how one looks before it is submitted


def test_a_backup_is_compared_with_kv(job: RestorePage) -> None:
    page = job.operator
    page.goto("/backups/?environment=qa&purpose=routine&prefix=clinic:id:")
    page.locator("main tbody a[href^='/backups/']").first.click()
    follow(page.get_by_role("link", name="Compare…"))
    page.select_option("[name=against]", label=f"KV now · QA · SETTINGS ({QA.namespace_title})")
    follow(page.get_by_role("button", name="Compare", exact=True))
    says(job.operator, "1 key differs")
    page.get_by_role("button", name="Show both").click()
    expect(page.locator(".difference")).to_contain_text("since the copy")
