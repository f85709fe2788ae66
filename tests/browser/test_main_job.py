"""The main job on Cloudflare's own runtime, judged by what KV itself lists afterwards."""

import re

import pytest
from playwright.sync_api import Page, expect

from sandbox import environment
from tests.browser.conftest import Product, SignIn
from tests.browser.job import BrowserJob, follow, speak
from tests.browser.tally import Tally

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]
QA, PRODUCTION = environment.accounts()

CLICKS, LOADS = 18, 18
"""The most that the main job takes of both people, with their passwords; the search of the code is there before."""
FOLD = 900
"""Pixels of a page that a screen of 1280 × 900 shows at once."""
POINTS = 7.5
"""The smallest type on paper that an auditor can read without a glass."""


@pytest.fixture
def job(sign_in: SignIn) -> BrowserJob:
    """An operator and a reviewer, signed in."""
    screen = {"width": 1280, "height": FOLD}
    return BrowserJob(sign_in("operator", viewport=screen), sign_in("reviewer", viewport=screen))


def test_master_keys_are_cleaned_up_in_qa_and_then_in_production(
    product: Product, job: BrowserJob, sign_in: SignIn
) -> None:
    tally = Tally()
    for page in (job.operator, job.reviewer):
        tally.watch(page)
    job.operator.goto("/")
    tally.loads.clear()
    follow(job.operator.locator(".overview-families tr", has_text="master:*").locator("[href^='/keys/qa/']").first)
    job.ask_for_these()
    for account, then in ((QA, "Record it, and prepare Production"), (PRODUCTION, "Application works: record it")):
        job.prepare(account.namespace_title)
        job.approve(account.namespace_title)
        job.delete(account.namespace_title)
        if account is PRODUCTION:
            job.click(account.namespace_title, "Delete the other", exact=False)
        job.accept(account.namespace_title, "Opened the department list and saved one; it works.", then=then)
        assert product.keys(account, "master:") == set()
    assert len(tally.clicks) <= CLICKS, tally.clicks
    assert len(tally.loads) <= LOADS, tally.loads
    assert len(tally.nexts) == 8, tally.nexts
    below = [words.partition(" ")[2] for words, edge in tally.edges.items() if edge > FOLD]
    assert below == ["kind", "Record it for all 6 places without an answer"]  # they stand below the places
    assert product.keys(PRODUCTION, "mastercache:")
    auditor = sign_in("auditor")
    auditor.goto("/audit/?action=stage.confirmed")
    expect(auditor.locator("main tbody tr")).to_have_count(2)
    for language in ("en", "ja"):
        speak(auditor, language)
        auditor.goto(f"{job.address}certificate/")
        assert _sheets(auditor) == 1, language
        assert _smallest(auditor) >= POINTS, language


def test_nothing_goes_without_qa_and_an_approval_by_another_person(
    product: Product, job: BrowserJob, sign_in: SignIn
) -> None:
    product.also_reviews("operator2@example.com")
    job.operator = sign_in("operator2")
    before = product.keys(QA, "facility:"), product.keys(PRODUCTION, "facility:")
    job.search_code("facility:")
    job.ask("facility:")
    page, production = job.operator, job.stage(PRODUCTION.namespace_title)
    expect(production.get_by_role("button", name="Prepare Production")).to_be_disabled()
    expect(production).to_contain_text("QA")
    job.prepare(QA.namespace_title)
    expect(job.stage(QA.namespace_title).get_by_role("button", name="Delete")).to_have_count(0)
    follow(page.get_by_role("link", name="Open the request").first)
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    expect(page.locator("main")).to_contain_text("You asked for this yourself")
    assert (product.keys(QA, "facility:"), product.keys(PRODUCTION, "facility:")) == before


def test_a_value_that_changes_after_the_backup_survives(product: Product, job: BrowserJob) -> None:
    changed = sorted(product.keys(QA, "staff:"))[7]
    job.search_code("staff:")
    job.ask("staff:")
    job.prepare(QA.namespace_title)
    product.write(QA, changed, b'{"written": "after the backup"}')
    job.approve(QA.namespace_title)
    job.delete(QA.namespace_title)
    job.wait(QA.namespace_title, "Explain the leftover keys")
    assert product.keys(QA, "staff:") == {changed}
    assert product.read(QA, changed) == b'{"written": "after the backup"}'


def _sheets(page: Page) -> int:
    """The number of sheets of paper that the page is printed on."""
    return len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True)))


def _smallest(page: Page) -> float:
    """The smallest type of the printed page, in points."""
    page.emulate_media(media="print")
    sizes: list[float] = page.locator("main *").evaluate_all(
        "all => all.filter(one => one.getClientRects().length && one.textContent.trim())"
        ".map(one => parseFloat(getComputedStyle(one).fontSize) * one.currentCSSZoom)"
    )
    return min(sizes) * 72 / 96
