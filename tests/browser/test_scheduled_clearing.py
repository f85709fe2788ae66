"""A rule clears a cache in QA, is accepted there, and then clears it in production. KV itself tells what is left."""

import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from sandbox import environment
from sandbox.environment import SandboxAccount
from tests.browser.conftest import Product, SignIn
from tests.browser.job import decide, follow, load_again, reload_until

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(900)]
QA, PRODUCTION = environment.accounts()
OLD = "mastercache:v1:"
"""The keys that an old release wrote without an expiration."""


@dataclass
class ClearingJob:
    """The rule of an environment on its page, with the operator at the keyboard and the reviewer who decides."""

    operator: Page
    reviewer: Page
    account: SandboxAccount

    def make(self, prefix: str) -> None:
        """Make a rule of the keys of `mastercache:` under the prefix that never expire."""
        page = self.operator
        page.goto("/clearing/")
        follow(page.get_by_role("link", name="Make a rule").first)
        page.select_option("[name=environment]", self.account.slug)
        page.select_option("[name=family]", label="SETTINGS mastercache:*")
        page.fill("[name=prefix]", prefix)
        page.check("[name=without_expiration]")
        page.fill("[name=cap]", "100")
        page.locator("main form [name=reason]").fill("An old release wrote these pages without their TTL.")
        follow(page.get_by_role("button", name="Make the rule"))
        page.wait_for_url(re.compile(r"/clearing/\d+/$"))

    def approve(self) -> str:
        """Ask for the standing approval. The reviewer reads the rule and approves it. Returns its digest."""
        page, reviewer = self.operator, self.reviewer
        follow(page.get_by_role("button", name="Ask for the approval"))
        reviewer.goto(page.get_by_role("link", name="Approval", exact=False).last.get_attribute("href") or "")
        expect(reviewer.locator("main")).to_contain_text("At most 100 keys in a round")
        digest = reviewer.locator("main [data-copy]").last.get_attribute("data-copy") or ""
        decide(reviewer, self.account.namespace_title)
        load_again(page)
        return digest

    def clear(self) -> None:
        """Start a round, and wait for its proof."""
        page = self.operator
        page.fill("[name=confirm]", self.account.namespace_title)
        follow(page.get_by_role("button", name="Start a round now"))
        reload_until(page, lambda: page.get_by_text("keys deleted").count() and page.get_by_text("Cleared").count())


def only_deletion(auditor: Page, rule: str, digest: str) -> None:
    """The audit log has one deletion of the rule, under the approval with this digest."""
    auditor.goto(f"/audit/?subject=clearing:{rule}&tree=on&action=stage.deleting")
    expect(auditor.locator("main tbody tr")).to_have_count(1)
    follow(auditor.locator("main tbody a[href^='/audit/']").first)
    expect(auditor.locator(f"[data-copy='{digest}']")).to_have_count(1)


def test_a_rule_clears_qa_is_accepted_there_and_clears_production(product: Product, sign_in: SignIn) -> None:
    operator, reviewer, auditor = sign_in("operator"), sign_in("reviewer"), sign_in("auditor")
    for account in (QA, PRODUCTION):
        before = product.keys(account, "")
        forgotten = {name for name, (expiration, _) in product.beside(account, OLD).items() if expiration is None}
        assert forgotten
        job = ClearingJob(operator, reviewer, account)
        job.make(OLD)
        expect(operator.locator("main")).to_contain_text(f"{len(forgotten)} keys. The cap is 100.")
        digest = job.approve()
        assert product.keys(account, "") == before
        job.clear()
        assert before - product.keys(account, "") == forgotten
        operator.get_by_text("Application works: record it").click()
        operator.locator("main form[action$=accept] [name=note]").fill("Opened the lists; they are built anew.")
        follow(operator.get_by_role("button", name="Accept the round"))
        expect(operator.locator("main")).to_contain_text("Opened the lists; they are built anew.")
        only_deletion(auditor, operator.url.rstrip("/").rpartition("/")[2], digest)


def test_production_waits_until_the_same_rule_is_accepted_in_qa(product: Product, sign_in: SignIn) -> None:
    before = product.keys(PRODUCTION, "")
    job = ClearingJob(sign_in("operator"), sign_in("reviewer"), PRODUCTION)
    job.make("mastercache:note:")
    expect(job.operator.locator("main")).to_contain_text("The same rule is not accepted in QA.")
    expect(job.operator.get_by_role("button", name="Ask for the approval")).to_be_disabled()
    expect(job.operator.get_by_role("button", name="Start a round now")).to_have_count(0)
    assert product.keys(PRODUCTION, "") == before
