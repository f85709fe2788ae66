"""The wrangler files of a checkout: their bindings."""

import pytest

from kvops.references.wrangler_config import WranglerEnvironment, wrangler_environments

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
  "kv_namespaces": [{ "binding": "SETTINGS", "id": "n1", }, ], /* a // b */
  "name": "a // b",
  "r2_buckets": [{ "binding": "FILES", "bucket_name": "b" }],
}"""


def test_bindings_are_read_from_each_kind_of_file() -> None:
    found, unread = wrangler_environments(
        [("wrangler.toml", TOML), ("apps/x/wrangler.jsonc", JSONC), ("wrangler.json", "{"), ("other.toml", TOML)]
    )
    assert found == [
        WranglerEnvironment("wrangler.toml", "", {"SETTINGS": "n1"}, {}, {}),
        WranglerEnvironment("wrangler.toml", "qa", {"CONFIG": "n2", "NEW": ""}, {"DB": "d1"}, {}),
        WranglerEnvironment("apps/x/wrangler.jsonc", "", {"SETTINGS": "n1"}, {}, {"FILES": "b"}),
    ]
    assert unread == ["wrangler.json"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"env": []}',
        '{"env": {"a b": {}}}',
        '{"kv_namespaces": [{"binding": "A B", "id": "n1"}]}',
        '{"kv_namespaces": [{"binding": "A", "id": "a secret"}]}',
        "[" * 100_000,
    ],
    ids=range(6),
)
def test_a_file_with_names_that_are_none_cannot_be_read(text: str) -> None:
    assert wrangler_environments([("wrangler.json", text)]) == ([], ["wrangler.json"])
