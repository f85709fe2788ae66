"""The page around every page."""

import pytest
from django.test import Client, RequestFactory

from kvops.site.menu import NavItem, shell
from tests import make


def page(client: Client, address: str = "/nowhere/") -> str:
    return client.get(address).content.decode()


def current(address: str) -> list[str]:
    groups = shell(RequestFactory().get(address))["nav"]
    items: list[NavItem] = [item for group in groups for item in group.items]  # type: ignore[attr-defined]
    return [item.key for item in items if item.current]


def test_the_menu_marks_the_page_one_is_on() -> None:
    assert current("/approvals/12/") == ["approvals"]


def test_only_the_overview_itself_is_the_overview() -> None:
    assert current("/runs/") == ["runs"]


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("/unexplained/3/", "unexplained"),
        ("/expiry/", "expiry"),
        ("/clearing/3/", "clearing"),
        ("/backups/3/", "backups"),
        ("/backups/history/", "history"),
        ("/backups/history/report/", "history"),
        ("/backups/masters/", "masters"),
        ("/investigations/", "investigations"),
        ("/drills/2/", "drills"),
        ("/runbook/todo/", "todos"),
        ("/changes/bulk/3/", "changes"),
        ("/unexplained/settings/3/", "unexplained"),
    ],
)
def test_every_list_is_in_the_menu_and_the_nearest_entry_is_marked(address: str, key: str) -> None:
    assert current(address) == [key]


@pytest.mark.parametrize("theme", ["light", "dark", "auto"])
def test_the_chosen_look_is_remembered_and_rendered(client: Client, theme: str, db: None) -> None:
    answer = client.post("/theme/", {"theme": theme, "next": "/runs/?state=failed"})
    assert answer.headers["Location"] == "/runs/?state=failed"
    assert f'data-bs-theme="{theme}"' in page(client)


@pytest.mark.parametrize("target", ["https://elsewhere.example/", "//elsewhere.example/", "", "javascript:alert(1)"])
def test_the_look_switch_never_leads_elsewhere(client: Client, target: str) -> None:
    assert client.post("/theme/", {"theme": "dark", "next": target}).headers["Location"] == "/"


def test_a_forged_look_cookie_is_ignored(client: Client, db: None) -> None:
    client.cookies["theme"] = "x"
    assert 'data-bs-theme="auto"' in page(client)


def test_the_account_menu_names_the_person_and_the_roles(client: Client, people: make.People) -> None:
    client.force_login(people.reviewer.logins.get())
    text = page(client)
    assert "reviewer@example.com" in text
    assert "reviewer</div>" in text.replace("\n", "").replace("  ", "")


def test_somebody_signed_out_sees_no_menu(client: Client, db: None) -> None:
    text = page(client)
    assert 'id="nav"' not in text
    assert "account-menu" not in text


def test_pages_carry_no_inline_style_or_script(client: Client, people: make.People) -> None:
    client.force_login(people.operator.logins.get())
    for address in ("/nowhere/", "/account/logout/", "/account/password/change/"):
        text = page(client, address)
        assert " style=" not in text
        assert " onclick=" not in text
        assert "<script>" not in text


def test_sign_in_offers_no_sign_up(client: Client, db: None) -> None:
    text = page(client, "/account/login/")
    assert "signup" not in text
    assert "日本語" in text
