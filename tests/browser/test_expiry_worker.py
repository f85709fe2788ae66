"""The rule of an expiry Worker is approved; a round of it is reported and accepted. The calls are signed as its own."""

import json
import re
import time
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Page, expect

from backups.worker_expiry import signing
from sandbox import environment
from tests.browser.conftest import WORKER_KEY, Product, SignIn
from tests.browser.job import decide, follow, load_again, reload_until

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]
QA, _PRODUCTION = environment.accounts()
MONTH = 30 * 86_400


def call(product: Product, number: str, what: str, **body: object) -> str:
    """A signed call of the Worker, and its answer."""
    path, sent, nonce = f"/hooks/expiry/{number}/{what}", json.dumps(body), str(uuid4())
    at = str(int(time.time()))
    headers = {"X-Kvops-Timestamp": at, "X-Kvops-Nonce": nonce, "Content-Type": "application/json"}
    headers["X-Kvops-Signature"] = signing.sign(WORKER_KEY, "POST", path, at, nonce, sent)
    answer = httpx.post(f"{product.url}{path}", content=sent, headers=headers, trust_env=False, timeout=30)
    return str(answer.raise_for_status().json()["answer"])


def approved(page: Page, reviewer: Page) -> tuple[str, int]:
    """Make the rule and have it approved. Returns the numbers of the rule and of its approval."""
    page.goto("/clearing/worker/new/")
    page.select_option("[name=environment]", "qa")
    page.select_option("[name=family]", label="SETTINGS mastercache:*")
    page.fill("[name=hours]", "720")
    page.locator("main form [name=reason]").fill("An old release wrote these pages without their TTL.")
    follow(page.get_by_role("button", name="Make the rule"))
    page.wait_for_url(re.compile(r"/clearing/worker/\d+/$"))
    follow(page.get_by_role("button", name="Ask for the approval"))
    address = page.get_by_role("link", name="Approval", exact=False).last.get_attribute("href") or ""
    reviewer.goto(address)
    expect(reviewer.locator("main")).to_contain_text("A value written at the same moment is lost")
    decide(reviewer, QA.namespace_title)
    load_again(page)
    return page.url.rstrip("/").rpartition("/")[2], int(address.strip("/").rpartition("/")[2])


def test_a_round_of_a_worker_is_reported_followed_and_accepted(product: Product, sign_in: SignIn) -> None:
    page = sign_in("operator")
    rule, approval = approved(page, sign_in("reviewer"))
    script = page.request.get(f"/clearing/worker/{rule}/worker.js").text()
    digest = re.search(r'"digest":\s*"([0-9a-f]{64})"', script)
    assert digest
    name = min(name for name, (at, _) in product.beside(QA, "mastercache:v1:").items() if at is None)
    mine = {"round": str(uuid4()), "approval": approval}
    assert call(product, rule, "ask", **mine, rule=digest[1]) == "yes"
    product.let_expire(QA, name, MONTH)
    counts = {"listed": 1, "given": 1, "skipped": 0, "failed": 0}
    told = {"part": 0, "given": [name], "failed": [], "ended": "complete", "counts": counts}
    assert call(product, rule, "report", **mine, **told) == "kept"
    reload_until(page, page.get_by_text("Application works: record it").count)
    page.get_by_text("Application works: record it").click()
    page.locator("main form[action$=accept] [name=note]").fill("Opened the lists; they load.")
    follow(page.get_by_role("button", name="Accept the round"))
    expect(page.locator("main")).to_contain_text("Opened the lists; they load.")
    other = {"round": str(uuid4()), "approval": approval, "rule": "0" * 64}
    assert call(product, rule, "ask", **other) == "no"
    load_again(page)
    expect(page.locator("main")).to_contain_text("carries another rule than the approved one")
    # As the scan before this test listed it, so that the others find the inventory true.
    product.write(QA, name, product.read(QA, name))
