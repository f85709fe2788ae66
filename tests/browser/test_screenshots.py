"""Every page; none breaks a rule of accessibility or of the CSP.

`make test` opens each page in two looks. `make screenshots` opens it in all six, and takes a picture of each in
`.screenshots/`. Both run the whole folder, so that the main job has left something to see on each page.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import resolve
from playwright.sync_api import Browser, ConsoleMessage, Page

from tests.browser.conftest import Product, SignIn, signing_in
from tests.browser.job import BrowserJob, speak
from tests.test_doors import DOORS, NO_PAGE, VISITORS

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(2400)]  # the first opens all pages
FOLDER = Path(__file__).parents[2] / ".screenshots"
PHONE = {"width": 390, "height": 844}
PICTURED = "KVOPS_SCREENSHOTS" in os.environ
ALL_LOOKS: dict[str, dict[str, object]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "japanese": {"color_scheme": "light"},
    "phone": {"color_scheme": "light", "viewport": PHONE},
    "dark-phone": {"color_scheme": "dark", "viewport": PHONE},
    "japanese-phone": {"color_scheme": "light", "viewport": PHONE},
}
LOOKS = {name: look for name, look in ALL_LOOKS.items() if PICTURED or name in {"light", "japanese-phone"}}
"""Those of this run. The two of `make test` differ in everything that the others differ in, but for the colours."""
BY_LANGUAGE = {
    "en": [look for look in LOOKS if not look.startswith("japanese")],
    "ja": [look for look in LOOKS if look.startswith("japanese")],
}
"""A page is the same in all looks of a language: it is opened once, and shown in each.

Japanese words have the colours of the English ones, so that they are not looked at in the dark.
"""
WINDOW = {"width": 1280, "height": 720}
WORDS_APART = """[...document.querySelectorAll("main *")].filter(one => one.checkVisibility()
    && [...one.childNodes].some(part => part.nodeType === 3 && /[\u3040-\u30ff]/.test(part.data))
    && getComputedStyle(one).wordBreak !== "auto-phrase").map(one => one.outerHTML.slice(0, 160))"""
"""Japanese text whose lines may end within a word."""
ZOOMED = {200: {"width": 640, "height": 360}, 400: {"width": 320, "height": 180}}
"""What a window has of CSS pixels at so many percent. WCAG 2.2 asks for 400 % (1.4.10)."""
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
UNFOLD = """[...document.querySelectorAll("main details")].flatMap((one, at) => {
    if (one.open) return [];
    one.open = true;
    return at;
})"""
"""Opens what is folded, and says which of all these were."""
FOLD = "opened => document.querySelectorAll('main details').forEach((one, at) => {one.open &&= !opened.includes(at)})"
MOVING = """[...document.querySelectorAll("body *:not(svg *)")].filter(one => ["", "::before", "::after"].some(part => {
    const style = getComputedStyle(one, part), lasts = text => text.split(",").some(parseFloat);
    return lasts(style.transitionDuration) || style.animationName !== "none" && lasts(style.animationDuration);
})).map(one => one.outerHTML.slice(0, 160))"""
"""What moves although the reader asked for less motion."""
PRESSED = """[...document.querySelectorAll("button, .btn, .topbar, .sidebar, .filters, .shell-foot")].filter(one =>
    one.checkVisibility() && one.getBoundingClientRect().height > 1).map(one => one.outerHTML.slice(0, 160))"""
"""What is on paper although it can only be pressed."""
SETTLED = """Promise.race([
    Promise.allSettled(document.getAnimations().filter(one => one instanceof CSSTransition).map(one => one.finished)),
    new Promise(done => setTimeout(done, 5000))])"""
"""Colours that fade into others have become these. A page that draws no frames never says so: it is not waited for."""
TOO_WIDE = """[...document.querySelectorAll('.table-responsive')]
    .filter(one => one.clientWidth && one.scrollWidth > one.clientWidth + 1).map(one => one.ariaLabel)"""
"""The tables whose last columns are out of sight."""
MENU_AWAY = """[...document.querySelectorAll(".sidebar")].filter(one => one.checkVisibility()).some(one =>
    Math.abs(one.getBoundingClientRect().top - document.querySelector(".shell-head").getBoundingClientRect().bottom) > 2
)"""
"""Whether the menu beside the page, where there is one, does not stand below the head.

It stands a pixel over the head's border, and half a pixel higher at the end of a page whose height is no whole number.
"""
COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules of axe that depend on colours."""
EACH_COLOUR_ONCE = """() => {
    const prototype = axe.commons.color.Color.prototype, parse = prototype.parseString, known = new Map();
    prototype.parseString = function (text) {
        if (!known.has(text)) known.set(text, parse.call(new axe.commons.color.Color(), text));
        const {r, g, b, alpha} = known.get(text);
        return Object.assign(this, {r, g, b, alpha});
    };
}"""
"""Lets axe read each colour once. It reads the few of a page thousands of times, a third of all that it does."""
PAGES = {
    "overview": "/",
    "overview-as-of": "/?as_of=2026-11-20",
    "namespaces": "/keys/?days=30",
    "keys": "/keys/production/SETTINGS/",
    "keys-prefix": "/keys/qa/SETTINGS/?prefix=mastercache:",
    "keys-sorted": "/keys/qa/SETTINGS/?prefix=mastercache:&sort=-expiration",
    "keys-wrong": "/keys/qa/SETTINGS/?part=ma",
    "keys-compare": "/keys/qa/SETTINGS/compare/production/",
    "keys-compare-differing": "/keys/qa/SETTINGS/compare/production/?show=differing",
    "keys-empty": "/keys/qa/SETTINGS/?prefix=nothing-like-this",
    "keys-deleted": "/keys/qa/SETTINGS/deleted/",
    "key": "/key/production/SETTINGS/?name=clinic:id:0001",
    "key-settings": "/key/production/SETTINGS/?name=system-root",
    "changes": "/changes/",
    "changes-empty": "/changes/?environment=production&state=ended",
    "bulk-changes": "/changes/bulk/",
    "bulk-changes-empty": "/changes/bulk/?environment=production&state=ended",
    "bulk-new": "/changes/bulk/new/qa/SETTINGS/?prefix=mastercache:v1:&scope=none&operation=expiration",
    "bulk-new-refused": "/changes/bulk/new/qa/SETTINGS/?prefix=clinic:id:",
    "change-new": "/changes/new/qa/SETTINGS/?name=mail:bounce",
    "categories": "/categories/",
    "family-new": "/categories/new/?binding=SETTINGS&pattern=session:&sample_key=session:5f1c9a0b7e&category=cache",
    "categories-tried": "/categories/?binding=SETTINGS&name=clinic:id:0001&pattern=clinic:id:0&category=settings",
    "family-shapes": "/categories/shapes/",
    "environments": "/environments/?days=30",
    "doctor": "/environments/doctor/",
    "people": "/people/",
    "person": "/people/1/",
    "person-invite": "/people/invite/",
    "preferences": "/account/preferences/",
    "backups": "/backups/",
    "backup-new": "/backups/new/?env=qa&binding=SETTINGS&prefix=clinic:id:",
    "backup-new-encrypted": "/backups/new/?env=qa&binding=SETTINGS&prefix=mail:",
    "masters": "/backups/masters/?environment=qa&source=d1",
    "history": "/backups/history/",
    "history-family": "/backups/history/?family=SETTINGS/master:*&lane=verified",
    "history-empty": "/backups/history/?since=2020-01-01&until=2020-02-01",
    "history-report": "/backups/history/report/",
    "retention": "/retention/",
    "prunes": "/retention/prunes/",
    "retention-try": "/retention/?family=1&days=14",
    "storage": "/storage/",
    "storage-wrong": "/storage/?environment=qa&status=wrong",
    "drills": "/drills/",
    "investigations": "/investigations/",
    "investigation-new": "/investigations/new/",
    "restores": "/restores/",
    "restores-empty": "/restores/?state=ended",
    "integrity": "/integrity/",
    "integrity-history": "/integrity/datasets/masters/",
    "integrity-one-key": "/integrity/service-codes/production/",
    "integrity-too-many": "/integrity/masters/production/",
    "references": "/references/",
    "references-environment": "/references/qa/",
    "references-search": "/references/qa/1/",
    "cleanups": "/cleanup/",
    "cleanup-new": "/cleanup/new/",
    "clearings": "/clearing/",
    "vault": "/backups/vault/",
    "clearing-new": "/clearing/new/",
    "cleanup-new-key": "/cleanup/new/?binding=SETTINGS&prefix=mail:bounce&exact=1",
    "approvals": "/approvals/",
    "expiry": "/expiry/",
    "expiry-family": "/expiry/?family=4",
    "unexplained": "/unexplained/",
    "unexplained-settings": "/unexplained/settings/",
    "unexplained-settings-empty": "/unexplained/settings/?environment=production&state=done",
    "runbook": "/runbook/",
    "runbook-empty": "/runbook/?part=nothing-like-this",
    "runbook-by-hand": "/runbook/by-hand/new/",
    "help": "/help/",
    "style": "/style/",
    "runbook-procedures": "/runbook/procedures/",
    "runbook-todos": "/runbook/todo/",
    "runs": "/runs/",
    "schedules": "/schedules/",
    "notifications": "/notifications/",
    "search": "/search/?q=clinic:id:000",
    "search-empty": "/search/?q=nothing-like-this",
    "audit": "/audit/",
    "audit-wrong": "/audit/?environment=" + "x" * 300,
    "missing": "/backups/999999/",
    "deployed-code": "/references/qa/deployed/",
    "password-change": "/account/password/change/",
    "logout": "/account/logout/",
}
SIGNED_OUT = {
    "sign-in": "/account/login/",
    "password-reset": "/account/password/reset/",
    "password-reset-sent": "/account/password/reset/done/",
}
OF_A_REVIEWER = {"approvals-to-decide": "/approvals/", "password": "/account/reauthenticate/"}
CLINICS = "/backups/?environment=qa&purpose=routine&prefix=clinic:id:"
STAGE = r"/cleanup/stages/\d+/"
DECIDED = r"table /approvals/\d+/"
"""Of the table of decided requests: a filter leaves the waiting ones above it as they are."""
LINKED: dict[str, tuple[str, ...]] = {
    "backup": ("/backups/", r"/backups/\d+/"),
    "change": ("/changes/?state=done", r"/changes/\d+/"),
    "change-open": ("/changes/?state=open", r"/changes/\d+/"),
    "bulk-change": ("/changes/bulk/?state=done", r"/changes/bulk/\d+/"),
    "bulk-change-open": ("/changes/bulk/?state=open", r"/changes/bulk/\d+/"),
    "approval-bulk": ("/approvals/?kind=bulk_change", DECIDED),
    "approval-change": ("/approvals/?kind=put_key", DECIDED),
    "pin": ("/backups/", r"/backups/\d+/pin"),
    "restore-new": (CLINICS, r"/backups/\d+/", r"/backups/\d+/restores/new/"),
    "restore": ("/restores/?state=done", r"/restores/\d+/"),
    "restore-open": ("/restores/?state=open", r"/restores/\d+/"),
    "comparisons": (CLINICS, r"/backups/\d+/", r"/backups/\d+/compare/"),
    "comparison": (CLINICS, r"/backups/\d+/", r"/backups/\d+/compare/", r"/backups/\d+/compare/\d+/"),
    "check": ("/integrity/", r"/integrity/\d+/"),
    "check-failed": ("/integrity/", r"/integrity/\d+/#what-now"),
    "cleanup": ("/cleanup/?state=completed", r"/cleanup/\d+/"),
    "certificate": ("/cleanup/?state=completed", r"/cleanup/\d+/certificate/"),
    "certificate-open": ("/cleanup/?state=open", r"/cleanup/\d+/certificate/"),
    "cleanup-open": ("/cleanup/?state=open", r"/cleanup/\d+/"),
    "stage": ("/cleanup/1/", r"/cleanup/stages/\d+/"),
    "stage-references": ("/cleanup/1/", r"/cleanup/stages/\d+/references/"),
    "stage-references-open": ("/cleanup/?state=open", r"/cleanup/\d+/", STAGE, STAGE + r"references/"),
    "approval": ("/approvals/?kind=delete_keys", DECIDED),
    "approval-restore": ("/approvals/?kind=restore", DECIDED),
    "approval-policy": ("/categories/", r"/approvals/\d+/"),
    "investigation": ("/investigations/", r"/investigations/\d+/"),
    "approval-investigation": ("/investigations/", r"/approvals/\d+/"),
    "clearing": ("/clearing/", r"/clearing/2/"),
    "clearing-qa": ("/clearing/", r"/clearing/1/"),
    "clearing-waiting": ("/clearing/", r"/clearing/3/"),
    "clearing-stage": ("/clearing/", r"/clearing/2/", STAGE),
    "clearing-schedule": ("/clearing/", r"/clearing/2/", r"/schedules/\d+/"),
    "unexplained-setting": ("/unexplained/settings/", r"/unexplained/settings/\d+/"),
    "unexplained-setting-open": ("/unexplained/settings/?state=open", r"/unexplained/settings/\d+/"),
    "backup-kept": ("/backups/vault/", r"/backups/\d+/#vault"),
    "approval-clearing": ("/approvals/?kind=clearing", DECIDED),
    "schedule": ("/schedules/", r"/schedules/\d+/"),
    "runbook-entry": ("/runbook/?procedure=cleanup", r"/runbook/\d+/"),
    "run": ("/runs/", r"/runs/\d+/"),
    "run-approved": ("/runs/?kind=delete", r"/runs/\d+/"),
    "drill": ("/drills/", r"/drills/\d+/"),
    "object": ("/storage/", r"/storage/objects/\d+/"),
    "unexplained-scan": ("/unexplained/", r"/unexplained/\d+/"),
    "key-deleted": ("/keys/qa/SETTINGS/deleted/", r"/key/qa/SETTINGS/\?name=.+"),
    "audit-tree": ("/cleanup/?state=completed", r"/cleanup/\d+/", r"/audit/\?subject=cleanup:\d+&tree=on"),
    "entry": ("/audit/", r"/audit/\d+/"),
}
"""Pages of one thing each: the list to start from, and what a link to one looks like, page after page."""
NOT_SHOWN = {
    "backups:prune": "the sample has no backup that is old enough",
    "account_confirm_email": "it needs the key of a mail",
    "account_email_verification_sent": "nobody signs up",
    "account_inactive": "a deactivated person sees it",
    "account_reset_password_from_key": "it needs the key of a mail",
    "account_reset_password_from_key_done": "it follows the key of a mail",
}
"""Pages that are not looked at, each with the reason."""


@pytest.fixture(params=LOOKS)
def page(request: pytest.FixtureRequest, sign_in: SignIn, product: Product) -> Iterator[Page]:
    """An operator's page in one look; what the browser complains about fails the test."""
    page = sign_in("operator", **LOOKS[request.param])
    speak(page, "ja" if request.param in BY_LANGUAGE["ja"] else "en")
    complaints: list[str] = []
    _listen(page, complaints)
    yield page
    assert complaints == []


@pytest.fixture(scope="module")
def problems(product: Product, browser: Browser) -> dict[str, list[str]]:
    """The mistakes of the pages, by look. A complaint of the browser counts in all looks of its language."""
    found: dict[str, list[str]] = {}
    addresses: dict[str, str] = {}
    product.asks_for_another_policy()
    family = product.registers_a_family("session:5")
    with signing_in(product, browser) as sign_in:
        job = BrowserJob(sign_in("operator"), sign_in("reviewer"))
        job.ask("mastercache:")  # it has no place in the newest search
        answered = job.address
        job.ask("clinic:summary:")
        for language, looks in BY_LANGUAGE.items():
            page, complaints = sign_in("operator"), list[str]()
            speak(page, language)
            _listen(page, complaints)
            found |= {look: [] for look in looks}
            addresses = addresses or {**PAGES, **_linked(page, answered), "approval-family": family}
            found["missing"] = [name for name in LINKED if name not in addresses]
            _look_at(page, addresses, looks, found)
            reviewer = sign_in("reviewer")
            speak(reviewer, language)
            _listen(reviewer, complaints)
            _look_at(reviewer, {**OF_A_REVIEWER, "approval-to-decide": family}, looks, found)
            reviewer.context.clear_cookies()
            speak(reviewer, language)
            _look_at(reviewer, SIGNED_OUT, looks, found)
            for look in looks:
                found[look] += complaints
    return found


def _look_at(page: Page, addresses: Mapping[str, str], looks: Sequence[str], found: dict[str, list[str]]) -> None:
    """Add the mistakes of these pages in each look."""
    for name, address in addresses.items():
        found[looks[0]] += [f"{name}: {problem}" for problem in _opened(page, address)]
        for look in looks:
            _change(page, look)
            found[look] += [f"{name}: {problem}" for problem in _pictured(page, look, name)]
        found[looks[0]] += [f"{name}: {problem}" for problem in _adapted(page)]
        _change(page, looks[0])


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_can_be_shown(problems: dict[str, list[str]], look: str) -> None:
    assert problems[look] == []


def test_no_page_is_left_out(problems: dict[str, list[str]]) -> None:
    assert problems["missing"] == [], "Nothing leads to these: run the whole folder."
    ways = (way[-1].rpartition(" ")[2].replace(r"\d+", "1") for way in LINKED.values())
    looked_at = (*PAGES.values(), *OF_A_REVIEWER.values(), *SIGNED_OUT.values(), *ways)
    seen = {resolve(re.split(r"\\?[?#]", address)[0]).view_name for address in looked_at}
    pages = {name for name, door in DOORS.items() if door.get[VISITORS.index("operator")] == 200}
    assert {name for name in pages - seen if not NO_PAGE.search(name)} == NOT_SHOWN.keys()


def test_both_sides_of_a_key_can_be_shown(page: Page, request: pytest.FixtureRequest) -> None:
    look = request.node.callspec.params["page"]
    address = _followed(page, *LINKED["comparison"])
    assert address, "Nothing was compared: run the whole folder."
    page.goto(address)
    with page.expect_navigation():
        page.locator("#names tbody form button").first.click()
    assert list(_pictured(page, look, "comparison-value")) == []


@pytest.fixture(scope="module")
def alarmed(product: Product) -> None:
    """Everything stands still from here on; nothing of this sandbox is used after it."""
    product.alarm()


@pytest.mark.usefixtures("alarmed")
def test_what_makes_everything_stand_still_can_be_shown(page: Page, request: pytest.FixtureRequest) -> None:
    look = request.node.callspec.params["page"]
    assert list(_shown(page, look, "standstill", "/environments/")) == []
    assert page.locator(".alert-important").count() == 2


def _linked(page: Page, answered: str) -> dict[str, str]:
    done = (answered, STAGE, STAGE + r"references/")
    followed = {name: _followed(page, *steps) for name, steps in {**LINKED, "stage-references-done": done}.items()}
    return {name: address for name, address in followed.items() if address}


def _followed(page: Page, address: str, *patterns: str) -> str:
    """Where the links lead to, each the first of its page, or of its tables, that looks so; empty if there is none."""
    for step in patterns:
        page.goto(address)
        within, _, pattern = step.rpartition(" ")
        links = [link.get_attribute("href") or "" for link in page.locator(f"main {within} a").all()]
        address = next((link for link in links if re.fullmatch(pattern, link)), "")
        if not address:
            break
    return address


def _shown(page: Page, look: str, name: str, address: str) -> Iterator[str]:
    yield from _opened(page, address)
    yield from _pictured(page, look, name)


def _opened(page: Page, address: str) -> Iterator[str]:
    answer = page.goto(address)
    if answer is None or answer.status not in {200, 404}:
        yield f"answered {answer.status if answer else 'nothing'}"


def _listen(page: Page, complaints: list[str]) -> None:
    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "404" not in message.text:
            complaints.append(message.text)

    page.on("console", heard)


def _change(page: Page, look: str) -> None:
    """Another look for a page that is open."""
    page.emulate_media(color_scheme=LOOKS[look]["color_scheme"])  # type: ignore[arg-type]
    page.set_viewport_size(LOOKS[look].get("viewport", WINDOW))  # type: ignore[arg-type]
    page.evaluate(SETTLED)


def _pictured(page: Page, look: str, name: str) -> Iterator[str]:
    if PICTURED:
        (FOLDER / look).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=FOLDER / look / f"{name}.png", full_page=True)
    if page.evaluate(WIDE):
        yield "is wider than the window"
    yield from (
        f"has a table wider than its place: {name}" for name in page.evaluate(TOO_WIDE) if look in {"light", "dark"}
    )
    if look in BY_LANGUAGE["ja"]:
        yield from (f"breaks lines within words: {one}" for one in page.evaluate(WORDS_APART))
    for violation in _violations(page, look):
        yield f"{violation['id']}: {violation['nodes'][0]['html'][:160]}"
    yield from _scrolled(page)


def _adapted(page: Page) -> Iterator[str]:
    """The unfolded page on a phone, zoomed, with less motion, and on paper. The next look sets the window again."""
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    folded = page.evaluate(UNFOLD)
    if page.evaluate(WIDE):
        yield "is wider than a phone when it is unfolded"
    page.evaluate(FOLD, folded)
    for percent, size in ZOOMED.items():
        page.set_viewport_size(size)  # type: ignore[arg-type]
        if page.evaluate(WIDE):
            yield f"is wider than the window at {percent} %"
    page.emulate_media(reduced_motion="reduce")
    yield from (f"moves: {one}" for one in page.evaluate(MOVING))
    page.emulate_media(reduced_motion="no-preference", media="print")
    yield from (f"is printed: {one}" for one in page.evaluate(PRESSED))
    page.emulate_media(media="screen")


def _violations(page: Page, look: str) -> list[dict[str, Any]]:
    """The broken rules of accessibility. The dark page is the light one in other colours: the rules about them run.

    The Japanese page is the light one in other words: its contrast is not measured again. Whether a link is told from
    the text around it depends on the length of the text.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
        page.evaluate(EACH_COLOUR_ONCE)
    rules = {"target-size": {"enabled": True}}
    rules["color-contrast"] = {"enabled": look not in BY_LANGUAGE["ja"]}
    chosen = {"runOnly": COLOURS} if look in {"dark", "dark-phone"} else {"rules": rules}
    options = {"resultTypes": ["violations"], **chosen}
    found: list[dict[str, Any]] = page.evaluate("async options => (await axe.run(options)).violations", options)
    return found


def _scrolled(page: Page) -> Iterator[str]:
    """The band and the menu stay where they are, and long names break in Japanese too, where words are kept together.

    The page is then as it was, for its next look.
    """
    language = page.evaluate("document.documentElement.lang")
    page.evaluate("window.scrollTo({top: 1500, behavior: 'instant'})")
    band = page.locator(".env-band")
    if band.count() and page.evaluate("document.querySelector('.env-band').getBoundingClientRect().top"):
        yield "loses its band when it is scrolled"
    if page.evaluate(MENU_AWAY):
        yield "loses its menu when it is scrolled"
    page.evaluate("document.documentElement.lang = 'ja'")
    if page.evaluate(WIDE):
        yield "is wider than the window in Japanese"
    page.evaluate("language => { document.documentElement.lang = language }", language)
    page.evaluate("window.scrollTo({top: 0, behavior: 'instant'})")
