"""Reading the traces of Workers: how often and when last a Worker used keys, by version and kind of call.

A trace has a span for each call of a KV binding, with the names of the keys (a long list is cut at 512 characters).
The names of the spans' fields are those of Cloudflare's beta. A span whose fields have other names is not found, so
the absence of a span proves something only beside spans of the same Worker that were found.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from kvops.cloudflare import _json
from kvops.cloudflare._http import ApiClient, Route
from kvops.refusals import Sentence as _

TELEMETRY = "/workers/observability/telemetry/query"
MOST_GROUPS = 2_000
"""Groups in one answer. An answer with as many may lack others, and is refused."""
SCRIPT, VERSION = "cloudflare.script_name", "cloudflare.script_version.id"
BINDING, SPAN = "cloudflare.binding.name", "$metadata.spanName"
KEYS, PREFIX = "cloudflare.kv.query.keys", "cloudflare.kv.query.prefix"
GROUPS = (SCRIPT, VERSION, BINDING, SPAN, PREFIX)
SPANS = ("kv_get", "kv_getWithMetadata", "kv_put", "kv_delete", "kv_list")

TRACE_ROUTES = (Route("telemetry", "POST", TELEMETRY, repeatable=True),)


@dataclass(frozen=True, slots=True)
class KvSpans:
    """Calls of one kind by one version of a Worker. `span` is one of `SPANS`, `prefix` that of a listing.

    `count` may be an estimate; `last` is in seconds since 1970.
    """

    script: str
    version: str
    binding: str
    span: str
    prefix: str
    count: int
    last: float


class TraceReads(ApiClient):
    """The call about traces. It needs the permission "Workers Observability"."""

    def kv_spans(
        self, scripts: Collection[str], since: datetime, until: datetime, *, prefix: str = ""
    ) -> list[KvSpans]:
        """The traced KV calls of these Workers. With `prefix`, only calls on keys whose names begin with it."""
        filters = [_filter(SCRIPT, "in", ",".join(sorted(scripts))), _filter(SPAN, "in", ",".join(SPANS))]
        if prefix:
            filters.append(_filter(KEYS, "regex", rf'(^|[\s,"\[]){_quoted(prefix)}'))
        query = {
            "queryId": "kvops",
            "dry": True,
            "view": "calculations",
            "ignoreSeries": True,
            "limit": MOST_GROUPS,
            "timeframe": {"from": int(since.timestamp() * 1000), "to": int(until.timestamp() * 1000)},
            "parameters": {
                "datasets": ["cloudflare-workers"],
                "filterCombination": "and",
                "filters": filters,
                "groupBys": [{"type": "string", "value": name} for name in GROUPS],
                "calculations": [
                    {"operator": "count", "alias": "calls"},
                    {"operator": "max", "key": "timestamp", "keyType": "number", "alias": "last"},
                ],
            },
        }
        return self._transport.json("POST", TELEMETRY, body=json.dumps(query).encode(), read=_read_spans)


def _filter(key: str, operation: str, value: str) -> dict[str, str]:
    return {"key": key, "operation": operation, "type": "string", "value": value}


def _quoted(prefix: str) -> str:
    """The prefix as an expression of RE2, which knows fewer escapes than Python."""
    return re.sub(r"([^0-9A-Za-z_\s\x80-\U0010ffff])", r"\\\1", prefix)


def _read_spans(envelope: _json.Object) -> list[KvSpans]:
    result = _json.as_object(envelope.get("result"))
    if _json.as_object(result.get("run")).get("status") != "COMPLETED":
        raise _json.Malformed(_("the query was not completed"))
    found = {
        _json.as_text(one.get("alias")): _values(one)
        for one in map(_json.as_object, _json.as_list(result.get("calculations")))
    }
    if set(found) != {"calls", "last"} or found["calls"].keys() != found["last"].keys():
        raise _json.Malformed(_("the calculations are not the ones asked for"))
    return [KvSpans(*group, int(calls), found["last"][group] / 1000) for group, calls in found["calls"].items()]


def _values(calculation: _json.Object) -> dict[tuple[str, str, str, str, str], float]:
    aggregates = [_json.as_object(item) for item in _json.as_list(calculation.get("aggregates"))]
    if len(aggregates) >= MOST_GROUPS:
        raise _json.Malformed(_("more groups than fit in one answer"))
    return {_group(item): _number(item.get("value")) for item in aggregates}


def _group(aggregate: _json.Object) -> tuple[str, str, str, str, str]:
    """The values of the group. Only a prefix may be missing, because only a listing has one."""
    told = {
        _json.as_text(one.get("key")): _json.as_text(one.get("value"))
        for one in map(_json.as_object, _json.as_list(aggregate.get("groups")))
    }
    script, version, binding, span = (told.get(name) for name in GROUPS[:4])
    if not (script and version and binding and span in SPANS):
        raise _json.Malformed(_("a group of spans without its names"))
    return script, version, binding, span, told.get(PREFIX, "")


def _number(value: _json.Value) -> float:
    if not isinstance(value, _json.SpelledNumber):
        raise _json.Malformed(_("a number was expected"))
    return float(value.lexeme)
