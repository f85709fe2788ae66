"""How much there is to hold in the head. A number that grows is a decision: it is changed here, with its reason."""

from pathlib import Path

from django.apps import apps
from django.urls import get_resolver

from audit.actions import Action
from kvops.models import ApprovalRequest, Run
from tests.test_doors import addresses
from tests.test_layout import PRODUCT, ROOT, files
from tests.translations import CATALOGUE, messages

MOST = {
    # Features describe themselves (`operation.py`): 26 modules and 600 lines more, for nine tables that are gone.
    "lines of the product": 81_060,
    "modules of the product": 704,
    "lines of templates": 16_150,
    "sentences": 5_064,
    "lines of tests": 95_300,
    "addresses": 245,
    "tables": 82,
    "audit actions": 183,
    "kinds of run": 27,
    "kinds of request": 13,
}
"""Without migrations and the texts of the help."""


def lines(paths: list[Path]) -> int:
    return sum(len(path.read_text("utf-8").splitlines()) for path in paths)


def counted() -> dict[str, int]:
    product, templates = files(*PRODUCT), [path for path in (ROOT / "templates").rglob("*") if path.is_file()]
    ours = [model for model in apps.get_models(include_auto_created=True) if model._meta.app_label in PRODUCT]
    return {
        "lines of the product": lines(product),
        "modules of the product": len(product),
        "lines of templates": lines(templates),
        "sentences": len(messages(CATALOGUE.read_text("utf-8"))),
        "lines of tests": lines(files("tests")),
        "addresses": sum(1 for _ in addresses(get_resolver().url_patterns)),
        "tables": len({model._meta.db_table for model in ours if model._meta.managed}),
        "audit actions": len(Action),
        "kinds of run": len(Run.Kind),
        "kinds of request": len(ApprovalRequest.Kind),
    }


def test_nothing_grows_unnoticed() -> None:
    found = counted()
    assert {name: number for name, number in found.items() if number > MOST[name]} == {}


def test_the_numbers_follow_what_goes() -> None:
    found = counted()
    loose = {name: found[name] for name, most in MOST.items() if found[name] < 0.97 * most}
    assert loose == {}, "so much is left: write these numbers above"
