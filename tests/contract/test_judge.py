"""The judge of the other tests refuses what is not documented."""

import httpx
import pytest
from jsonschema import ValidationError

from tests.contract.target import DESCRIPTION

KV = "http://127.0.0.1/client/v4/accounts/a/storage/kv/namespaces/n"
GOOD = {"success": True, "errors": [], "messages": []}


def answer(method: str, path: str, body: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body, request=httpx.Request(method, KV + path))


def test_a_documented_answer_passes() -> None:
    DESCRIPTION.check(answer("GET", "/keys", GOOD | {"result": [{"name": "k", "metadata": {"a": [None]}}]}))
    DESCRIPTION.check(
        answer("POST", "/bulk/get", GOOD | {"result": {"values": {"k": None, "l": {"value": "v", "metadata": None}}}})
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/keys", {"result": []}, 200),
        ("GET", "/keys", GOOD | {"result": [{"title": "no name"}]}, 200),
        ("GET", "/keys", GOOD | {"result": [{"name": "k", "expiration": "soon"}]}, 200),
        ("POST", "/bulk/delete", GOOD | {"result": {"successful_key_count": "1"}}, 200),
        ("POST", "/bulk/delete", GOOD | {"result": None}, 403),
    ],
)
def test_an_undocumented_answer_fails(method: str, path: str, body: object, status: int) -> None:
    with pytest.raises(ValidationError):
        DESCRIPTION.check(answer(method, path, body, status))


def test_an_undocumented_call_fails() -> None:
    with pytest.raises(AssertionError, match="not documented"):
        DESCRIPTION.check(answer("PATCH", "/keys", GOOD))
