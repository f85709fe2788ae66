"""A registration as the form asks for it, with what a test changes."""

import re
from html import unescape

from django.test import Client
from django.utils import translation

from backups.families import requests as family_requests
from kvops.approvals import gate as approval_gate
from kvops.inventory import scan as inventory_scan
from kvops.inventory.registration import FamilyRegistration
from kvops.models import ApprovalRequest, Namespace
from tests import make

FORM: dict[str, str] = {
    "feature": "Sign-in",
    "binding": "SETTINGS",
    "pattern": "session:",
    "category": "cache",
    "owner": "platform",
    "design": "ttl",
    "seconds": "3600",
    "sample_key": "session:5f1c9a0b7e",
    "shape": '{"user": number}',
    "review": "https://wiki.example.com/reviews/12",
    "note": "",
}


def registration(**changes: object) -> FamilyRegistration:
    data: dict[str, object] = {name: value for name, value in FORM.items() if name not in {"design", "seconds"}}
    return FamilyRegistration.read({**data, "exact": False, "expiry": "ttl:3600", **changes})


def asked(people: make.People, **changes: object) -> ApprovalRequest:
    return family_requests.register(registration(**changes), by=people.operator)


def approved(request: ApprovalRequest, people: make.People) -> ApprovalRequest:
    accepted = ["legacy_found"] if '"legacy_found"' in request.evidence else []
    approval_gate.approve(request, by=people.reviewer, shown=request.digest, accepted=accepted)
    request.refresh_from_db()
    return request


def scanned(estate: make.Estate, *names: str, namespace: Namespace | None = None) -> None:
    where = namespace or estate.qa
    for name in names:
        estate.put(where, name)
    inventory_scan.start_scan(where, actor=make.SETUP)
    make.work()


def text_of(client: Client, address: str, language: str = "en") -> str:
    client.cookies["django_language"] = language
    with translation.override(language):
        return re.sub(r"\s+", " ", unescape(client.get(address).content.decode()))
