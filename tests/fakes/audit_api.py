"""What the documented route of the account's audit log does, over the entries in memory."""

import json
from datetime import UTC, datetime

from tests.fakes.cloudflare_api import Api, ApiProblem, Context, success
from tests.fakes.code import FakeAudited
from tests.fakes.http import Reply

PAGE = 2
"""Entries on a page, however many are asked for, so that tests have pages."""


def list_entries(api: Api, context: Context) -> Reply:
    try:
        since, before = (datetime.fromisoformat(context.query(name, "")).timestamp() for name in ("since", "before"))
    except ValueError as error:
        raise ApiProblem(400, 10001, "since and before are required") from error
    found = [one for one in api.code_of(context).audited if since <= one.at <= before]
    start = int(context.query("cursor", "0"))
    cursor = str(start + PAGE) if start + PAGE < len(found) else ""
    info = json.dumps({"count": str(len(found)), "cursor": cursor})
    return success(json.dumps([_entry(one) for one in found[start : start + PAGE]]), result_info=info)


def _entry(one: FakeAudited) -> dict[str, object]:
    time = datetime.fromtimestamp(one.at, UTC).isoformat().replace("+00:00", "Z")
    return {
        "id": f"entry-{one.at}",
        "action": {"type": "delete", "result": "success", "time": time},
        "actor": one.actor,
        "raw": {"method": one.method, "uri": one.uri, "status_code": 200},
        "resource": {"product": "kv", "type": "namespace", "scope": "accounts"},
    }
