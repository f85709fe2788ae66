"""Cloudflare's own description of its API, as a judge of answers."""

import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import cast

import httpx
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012, Schema, SchemaRegistry

FILES = ("openapi-kv-d1-r2.json", "openapi-workers-pages-audit.json")
FAILURES = {
    "/r2/": "r2_v4_response_failure",
    "/d1/": "d1_api-response-common-failure",
    "/pages/": "pagesApiResponseCommonFailure",
    "/workers/": "workersApiResponseCommonFailure",
    "/logs/": "aaaSchemasApiResponseCommonFailure",
    "/builds/": "workersApiResponseCommonFailure",
}
"""What a refusal looks like, by a part of the path; that of KV for any other."""

type Node = dict[str, "Node"] | list["Node"] | str | float | bool | None


def _as_json_schema(node: Node) -> Node:
    """OpenAPI 3.0's `nullable` in JSON Schema's words.

    `oneOf` is read as `anyOf`: the two shapes of a bulk get overlap whenever a value is null or an
    object, so that the description as written refuses its own examples.
    """
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    schema: dict[str, Node] = {
        "anyOf" if key == "oneOf" else key: _as_json_schema(value) for key, value in node.items() if key != "nullable"
    }
    return {"anyOf": [schema, {"type": "null"}]} if node.get("nullable") is True else schema


class Description:
    """The paths and answers Cloudflare documents."""

    def __init__(self) -> None:
        raw, more = (json.loads(Path(__file__).with_name(name).read_text()) for name in FILES)
        # A slip: it says every result of D1 is an object, while its own operations give arrays.
        del raw["components"]["schemas"]["d1_api-response-common"]["properties"]["result"]
        raw["paths"] |= more["paths"]
        raw["components"]["schemas"] |= more["components"]["schemas"]
        document = cast("dict[str, Node]", _as_json_schema(raw))
        self._paths = cast("dict[str, dict[str, Node]]", document["paths"])
        resource = DRAFT202012.create_resource(cast("Schema", document))
        self._registry: SchemaRegistry = Registry().with_resource("urn:api", resource)

    def check(self, answer: httpx.Response) -> None:
        """Fail unless the answer is one that is documented for its request."""
        answer.read()
        path = "/accounts/" + answer.request.url.raw_path.decode().partition("?")[0].partition("/accounts/")[2]
        template = next(t for t in self._paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", t), path))
        method = answer.request.method.lower()
        assert method in self._paths[template], f"{method} is not documented for {template}"
        kind = answer.headers["content-type"].partition(";")[0]
        if answer.status_code == HTTPStatus.OK:
            schema = f"/paths/{_pointer(template)}/{method}/responses/200/content/{_pointer(kind)}/schema"
        else:
            # For the bulk routes the description wants `success: true` in a failure too: a slip.
            assert answer.is_client_error, f"{answer.status_code} is not documented"
            schema = f"/components/schemas/{_failure(template)}"
        self.validate(schema, json.loads(answer.content) if kind == "application/json" else "bytes")

    def validate(self, pointer: str, value: Node) -> None:
        """Fail unless the value fits the schema at that place of the document."""
        Draft202012Validator({"$ref": f"urn:api#{pointer}"}, registry=self._registry).validate(value)


def _failure(template: str) -> str:
    return next((name for part, name in FAILURES.items() if part in template), "workers-kv_api-response-common-failure")


def _pointer(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
