"""The main job of one environment without a script: every step is a link or a form, and pages are loaded again."""

import pytest
from playwright.sync_api import Locator, ViewportSize, expect

from sandbox import environment
from tests.browser.conftest import Product, SignIn
from tests.browser.job import PHONE, BrowserJob, follow, reload_until

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]
QA, _PRODUCTION = environment.accounts()
DESK = ViewportSize(width=1280, height=720)
KEY = "service-codes"
"""The smallest family of the sample data: one key, which holds the 60 rows of a table."""


class ReloadedJob(BrowserJob):
    """People whose browsers run no script: they load the page again to see how far the work is."""

    def come(self, part: Locator) -> None:
        """Load the page again until a part of the card can be used."""
        reload_until(part.page, lambda: part.first.is_visible() and part.first.is_enabled())


@pytest.fixture
def job(sign_in: SignIn) -> ReloadedJob:
    """An operator and a reviewer, signed in."""
    return ReloadedJob(sign_in("operator", java_script_enabled=False), sign_in("reviewer", java_script_enabled=False))


def below_its_top(card: Locator, part: Locator) -> float:
    """Pixels from the top of a card to the end of a part of it."""
    top, box = card.bounding_box(), part.bounding_box()
    assert top
    assert box
    return box["y"] + box["height"] - top["y"]


def test_a_key_is_cleaned_up_in_qa_without_a_script(product: Product, job: ReloadedJob) -> None:
    page, title = job.operator, QA.namespace_title
    job.search_code(KEY)
    page.goto(f"/key/qa/SETTINGS/?name={KEY}")
    follow(page.get_by_role("link", name="Ask to delete this key"))
    page.fill("[name=reason]", "Migrated to D1; nothing reads this key any more.")
    follow(page.get_by_role("button", name="Request it and prepare"))
    job.answer()
    job.prepare(title)
    job.approve(title)
    page.reload()
    job.delete(title)
    for label in ("Stop", "Restore the 1 deleted key"):
        button = job.stage(title).get_by_role("button", name=label, exact=True)
        job.come(button)
        page.set_viewport_size(PHONE)
        assert below_its_top(job.stage(title), button) <= PHONE["height"], label
        page.set_viewport_size(DESK)
    job.accept(title, "Opened a receipt; its codes are there.")
    assert product.keys(QA, KEY) == set()
    expect(job.stage(title)).to_contain_text("Accepted")
