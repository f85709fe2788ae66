"""The addresses of the pages, deep ones found in the rows of the installation."""

from datetime import timedelta

from django.utils import timezone
from django.utils.http import urlencode

from audit.models import Entry
from backups.models import CleanupStage, Generation, StoredObject
from kvops.models import ApprovalRequest, Family, Key, Namespace, Person, ReferenceSearch, Run, Scan

KEYS = "/keys/production/SETTINGS/"
KEY = "clinic:id:00000000"
ONE = "the installations of the bench have none; `tests/test_queries.py` counts its queries and its bytes"


def of_pages() -> dict[str, str]:
    """Each page by its name."""
    family = Family.objects.get(binding="SETTINGS", pattern="clinic:id:").pk
    cache = Family.objects.get(binding="SETTINGS", pattern="master:").pk
    key = f"/key/production/SETTINGS/?{urlencode({'name': KEY})}"
    stage = CleanupStage.objects.latest("pk")
    generation = Generation.objects.verified().filter(namespace__binding="SETTINGS").latest("pk")
    pending = ApprovalRequest.objects.pending().latest("pk")
    run = Run.objects.filter(kind=Run.Kind.SCAN, state=Run.State.SUCCEEDED, subject__startswith="namespace").latest(
        "pk"
    )
    done = CleanupStage.objects.filter(state=CleanupStage.State.ACCEPTED).latest("pk")
    day = (timezone.localdate() - timedelta(days=400)).isoformat()
    last = Entry.objects.latest("seq").seq
    return {
        "overview": "/",
        "overview as of a day": f"/?as_of={(timezone.localdate() - timedelta(days=7)).isoformat()}",
        "keys": KEYS,
        "keys of a family": f"{KEYS}?family={family}",
        "keys of a category": f"{KEYS}?category=cache",
        "keys under a prefix": f"{KEYS}?prefix=master:",
        "keys with a rare part": f"{KEYS}?part=00000123",
        "keys with a frequent part": f"{KEYS}?part=clinic",
        "keys with a part of a family": f"{KEYS}?family={cache}&part=00000123",
        "keys that expire soon": f"{KEYS}?expiring=soon",
        "keys of a cache that never expire": f"{KEYS}?family={cache}&expiring=none",
        "keys by expiration": f"{KEYS}?sort=expiration",
        "keys by expiration, last first": f"{KEYS}?sort=-expiration",
        "keys deep in the list": f"{KEYS}?{urlencode({'after': _middle()})}",
        "keys, deleted": f"{KEYS}deleted/",
        "keys, deleted, with a part": f"{KEYS}deleted/?part=old5",
        "keys side by side": f"{KEYS}compare/qa/",
        "key": key,
        "key that no backup holds": f"/key/production/SETTINGS/?{urlencode({'name': 'tmp:00000007'})}",
        "backups": "/backups/",
        "backups deep in the list": f"/backups/?after={Generation.objects.count() // 2}",
        "backups of an environment and status": "/backups/?environment=production&status=verified",
        "backup": f"/backups/{generation.pk}/",
        "history of backups": "/backups/history/",
        "history of backups of a year": "/backups/history/?days=365",
        "history of backups, by family": f"/backups/history/?{urlencode({'family': 'SETTINGS/clinic:id:*'})}",
        "report of backups": "/backups/history/report/",
        "retention": "/retention/",
        "prune requests": "/retention/prunes/",
        "storage": "/storage/",
        "approvals": "/approvals/",
        "approval": f"/approvals/{pending.pk}/",
        "clean-ups": "/cleanup/",
        "clean-up": f"/cleanup/{stage.request_id}/",
        "stage": f"/cleanup/stages/{stage.pk}/",
        "runs": "/runs/",
        "runs, failed": "/runs/?state=failed",
        "runs, of a kind": "/runs/?kind=check",
        "runs, of a rare kind": "/runs/?kind=delete",
        "runs, by text": "/runs/?text=namespace:1",
        "run": f"/runs/{run.pk}/",
        "audit": "/audit/",
        "audit, deep": f"/audit/?after={last // 2}",
        "audit, by person": f"/audit/?{urlencode({'actor': 'Colleague07 <colleague07@example.com>'})}",
        "audit, by environment and action": "/audit/?environment=qa&action=generation.pinned",
        "audit, by key": f"/audit/?{urlencode({'key': KEY})}",
        "audit, containing": "/audit/?text=clinic",
        "audit, containing what is nowhere": "/audit/?text=nowhere-at-all",
        "audit, until a day": f"/audit/?until={day}",
        "audit, under a clean-up": f"/audit/?subject=cleanup:{stage.request_id}&tree=on",
        "audit, entry": f"/audit/{last}/",
        "expiry": "/expiry/",
        "expiry of a family": f"/expiry/?family={cache}",
        "expiry of a year": "/expiry/?days=365",
        "unexplained": "/unexplained/",
        "unexplained, a scan": f"/unexplained/{Scan.objects.odd().latest('pk').pk}/",
        "search": "/search/?q=clinic",
        "palette": "/search/palette?q=0000000",
        "palette, a number": "/search/palette?q=100",
        "schedules": "/schedules/",
        "notifications": "/notifications/",
        "runbook": "/runbook/",
        "categories": "/categories/",
        "namespaces": "/keys/",
        "integrity": "/integrity/",
        "people": "/people/",
        "environments": "/environments/",
        "keys of a year": "/keys/?days=365",
        "requests to Cloudflare of a year": "/environments/?days=365",
        "restores": "/restores/",
        "changes": "/changes/",
        "bulk changes": "/changes/bulk/",
        "drills": "/drills/",
        "to-dos": "/runbook/todo/",
        "certificate": f"/cleanup/{done.request_id}/certificate/",
        "code references of a stage": f"/cleanup/stages/{stage.pk}/references/",
        **_of_forms(generation),
        **_of_settings(),
    }


def _of_forms(backup: Generation) -> dict[str, str]:
    """The forms that begin something, and the pages on which rules are tried."""
    staff = Family.objects.get(binding="SETTINGS", pattern="staff:").pk
    return {
        "a new backup": "/backups/new/?env=production&binding=SETTINGS&prefix=clinic:id:",
        "a new clean-up": "/cleanup/new/",
        "a new clean-up of a family": "/cleanup/new/?binding=SETTINGS&prefix=master:",
        "a new change": f"/changes/new/production/SETTINGS/?{urlencode({'name': KEY})}",
        "a new bulk change": "/changes/bulk/new/production/SETTINGS/?prefix=master:&scope=none&operation=expiration",
        "a new rule of clearing": "/clearing/new/",
        "a new investigation": "/investigations/new/",
        "a new family": "/categories/new/?binding=SETTINGS&pattern=tmp:&sample_key=tmp:00000007&category=cache",
        "a name among the rules": "/categories/?binding=SETTINGS&name=tmp:00000007",
        "a tried pattern": "/categories/?binding=SETTINGS&pattern=master:type2&category=settings",
        "shapes of names": "/categories/shapes/",
        "a tried rule of retention": f"/retention/?family={staff}&days=30",
        "an operation by hand": "/runbook/by-hand/new/",
        "a new restore": f"/backups/{backup.pk}/restores/new/",
        "a pin": f"/backups/{backup.pk}/pin",
        "comparisons of a backup": f"/backups/{backup.pk}/compare/",
        "object in the bucket": f"/storage/objects/{StoredObject.objects.latest('pk').pk}/",
        "an invitation": "/people/invite/",
    }


def _of_settings() -> dict[str, str]:
    """Pages about settings, code, people and words."""
    return {
        "masters and clinics": "/backups/masters/",
        "settings in 1Password": "/backups/vault/",
        "settings changed outside": "/unexplained/settings/",
        "code references": "/references/",
        "code references of an environment": "/references/qa/",
        "deployed code": "/references/qa/deployed/",
        "a search of the code": f"/references/qa/{ReferenceSearch.objects.latest('pk').pk}/",
        "investigations": "/investigations/",
        "person": f"/people/{Person.objects.get(name='Operator').pk}/",
        "preferences": "/account/preferences/",
        "procedures": "/runbook/procedures/",
        "help": "/help/",
    }


NOT_ASKED = {
    "backups:bulk_change": ONE,
    "backups:change": ONE,
    "backups:check": ONE,
    "backups:check_history": ONE,
    "backups:clearing": ONE,
    "backups:comparison": ONE,
    "backups:dataset_check": ONE,
    "backups:drill": ONE,
    "backups:investigation": ONE,
    "backups:outside": ONE,
    "backups:prune": ONE,
    "backups:restore": ONE,
    "runbook-entry": ONE,
    "schedule": ONE,
    "doctor": "it asks the services",
}
"""Pages that the bench does not ask for, each with the reason."""


def _middle() -> str:
    """A name in the middle of the keys of production."""
    place = Namespace.objects.get(environment__slug="production", binding="SETTINGS")
    return str(Key.objects.filter(namespace=place, name__gte="master:type20").order_by("name")[0].name)
