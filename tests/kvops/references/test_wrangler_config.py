"""The wrangler files of a checkout: their KV bindings."""

import pytest

from kvops.references.wrangler_config import kv_bindings

TOML = """
name = "a"
kv_namespaces = [{ binding = "SETTINGS", id = "n1" }]
[env.qa]
kv_namespaces = [{ binding = "CONFIG", id = "n2" }, { binding = "NEW" }]
[[env.qa.d1_databases]]
binding = "DB"
database_id = "d1"
"""
JSONC = """{
  // the bindings, see https://example.com
  "kv_namespaces": [{ "binding": "CACHE", "id": "n1", }, ], /* a // b */
  "name": "a // b",
  "r2_buckets": [{ "binding": "FILES", "bucket_name": "b" }],
}"""


def test_bindings_are_read_from_each_kind_of_file() -> None:
    files = [("wrangler.toml", TOML), ("apps/x/wrangler.jsonc", JSONC), ("wrangler.json", "{"), ("other.toml", TOML)]
    assert kv_bindings(files) == ["CACHE", "CONFIG", "NEW", "SETTINGS"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"env": []}',
        '{"env": {"qa": []}}',
        '{"kv_namespaces": {}}',
        '{"kv_namespaces": [1, {"binding": 1}, {}]}',
        "[" * 100_000,
    ],
    ids=range(6),
)
def test_a_file_of_another_shape_has_no_bindings(text: str) -> None:
    assert kv_bindings([("wrangler.json", text)]) == []
