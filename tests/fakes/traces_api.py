"""What the documented route of the telemetry query does, over the spans in memory."""

import json
import re
from collections import defaultdict

from tests.fakes.cloudflare_api import Api, ApiProblem, Context, success
from tests.fakes.code import FakeSpan
from tests.fakes.http import Reply

FIELDS = {
    "cloudflare.script_name": "script",
    "cloudflare.script_version.id": "version",
    "cloudflare.binding.name": "binding",
    "$metadata.spanName": "name",
    "cloudflare.kv.query.keys": "keys",
    "cloudflare.kv.query.prefix": "prefix",
}


def query(api: Api, context: Context) -> Reply:
    asked = json.loads(context.request.body)
    parameters, times = asked["parameters"], asked["timeframe"]
    found = [
        span
        for span in api.code_of(context).spans
        if times["from"] <= span.at * 1000 <= times["to"] and all(_passes(span, one) for one in parameters["filters"])
    ]
    groups: dict[tuple[tuple[str, str], ...], list[FakeSpan]] = defaultdict(list)
    for span in found:
        shown = [(one["value"], str(getattr(span, FIELDS[one["value"]]))) for one in parameters["groupBys"]]
        groups[tuple((name, value) for name, value in shown if value)].append(span)
    calculations = [
        {
            "alias": one["alias"],
            "calculation": one["operator"],
            "series": [],
            "aggregates": [
                {
                    "count": len(spans),
                    "value": len(spans) if one["operator"] == "count" else max(span.at for span in spans) * 1000,
                    "interval": 1,
                    "sampleInterval": 1,
                    "groups": [{"key": name, "value": value} for name, value in group],
                }
                for group, spans in groups.items()
            ],
        }
        for one in parameters["calculations"]
    ]
    statistics = {"elapsed": 0.1, "rows_read": len(found), "bytes_read": 1}
    run = {
        "id": "run",
        "query": {
            "id": asked["queryId"],
            "name": "adhoc",
            "description": "",
            "adhoc": True,
            "parameters": {},
            "created": "",
            "createdBy": "",
            "updated": "",
            "updatedBy": "",
        },
        "accountId": context.account,
        "timeframe": times,
        "userId": "user",
        "status": "COMPLETED",
        "granularity": 1,
        "dry": asked["dry"],
    }
    return success(json.dumps({"run": run, "statistics": statistics, "calculations": calculations}))


def _passes(span: FakeSpan, condition: dict[str, str]) -> bool:
    value = str(getattr(span, FIELDS[condition["key"]]))
    match condition["operation"]:
        case "in":
            return value in condition["value"].split(",")
        case "regex":
            return re.search(condition["value"], value) is not None
    raise ApiProblem(400, 10001, f"unknown operation {condition['operation']}")
