"""Reading the account's audit log (v2): who changed a KV namespace past KVOps, as Cloudflare states it.

Cloudflare records calls of its REST API by tokens, wrangler and the dashboard, minutes later, and keeps them for 18
months. It records nothing of a Worker's binding and of expirations, and of a bulk call neither names nor numbers.
"""

from dataclasses import dataclass
from datetime import datetime

from kvops.cloudflare import _json
from kvops.cloudflare._http import ApiClient, Route, checked_id

AUDIT = "/logs/audit"
PAGE = 1_000
PAGES = 20
CHANGING = ("DELETE", "PATCH", "POST", "PUT")

AUDIT_ROUTES = (Route("audit_log", "GET", AUDIT, repeatable=True),)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One call that Cloudflare recorded. What it does not tell is empty."""

    at: datetime
    actor: str
    token: str
    context: str
    address: str
    method: str
    path: str


class AuditReads(ApiClient):
    """The call about the audit log. It needs the permission "Account Settings Read"."""

    def changes_of_namespace(
        self, namespace_id: str, since: datetime, before: datetime
    ) -> tuple[list[AuditEntry], bool]:
        """The recorded calls that changed the namespace, oldest first, and whether the log of the time was longer."""
        inside = f"/storage/kv/namespaces/{checked_id(namespace_id)}"
        query = {
            "since": since.isoformat().replace("+00:00", "Z"),
            "before": before.isoformat().replace("+00:00", "Z"),
            "direction": "asc",
            "limit": str(PAGE),
        }
        found: list[AuditEntry] = []
        for _page in range(PAGES):
            entries, cursor = self._transport.json("GET", AUDIT, query=query, read=_read_page)
            found += [one for one in entries if one.method in CHANGING and inside in one.path]
            if not cursor or not entries:
                return found, False
            query["cursor"] = cursor
        return found, True


def _read_page(envelope: _json.Object) -> tuple[list[AuditEntry], str]:
    entries = [_read_entry(_json.as_object(item)) for item in _json.as_list(envelope.get("result"))]
    info = envelope.get("result_info")
    return entries, "" if info is None else _told(_json.as_object(info), "cursor")


def _read_entry(item: _json.Object) -> AuditEntry:
    action, actor, raw = (_json.as_object(item.get(part, {})) for part in ("action", "actor", "raw"))
    return AuditEntry(
        at=_json.as_moment(action.get("time")),
        actor=_told(actor, "email") or _told(actor, "id") or _told(actor, "type"),
        token=_told(actor, "token_name") or _told(actor, "token_id"),
        context=_told(actor, "context"),
        address=_told(actor, "ip_address"),
        method=_told(raw, "method"),
        path=_told(raw, "uri"),
    )


def _told(part: _json.Object, name: str) -> str:
    value = part.get(name)
    return "" if value is None else _json.as_text(value)
