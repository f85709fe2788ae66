"""The wrangler files of a checkout: their bindings, and where they differ from environments.toml."""

from kvops.references.wrangler_config import KnownEnvironment, WranglerEnvironment, differences, wrangler_environments

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
  "kv_namespaces": [{ "binding": "SETTINGS", "id": "n//1", }, ], /* a // b */
  "r2_buckets": [{ "binding": "FILES", "bucket_name": "b" }],
}"""


def test_bindings_are_read_from_each_kind_of_file() -> None:
    found, wrong = wrangler_environments(
        [("wrangler.toml", TOML), ("apps/x/wrangler.jsonc", JSONC), ("wrangler.json", "{"), ("other.toml", TOML)]
    )
    assert found == [
        WranglerEnvironment("wrangler.toml", "", {"SETTINGS": "n1"}, {}, {}),
        WranglerEnvironment("wrangler.toml", "qa", {"CONFIG": "n2", "NEW": ""}, {"DB": "d1"}, {}),
        WranglerEnvironment("apps/x/wrangler.jsonc", "", {"SETTINGS": "n//1"}, {}, {"FILES": "b"}),
    ]
    assert wrong == ["wrangler.json cannot be read, so its bindings are not known."]


def test_differences_are_sentences() -> None:
    found, _ = wrangler_environments([("wrangler.toml", TOML)])
    known = [
        KnownEnvironment("production", {"SETTINGS": "n1", "CACHE": "n9"}, {}),
        KnownEnvironment("qa", {"SETTINGS": "n2"}, {}),
    ]
    assert differences(found, known) == [
        "wrangler.toml [env.qa]: the KV namespace n2 is bound as CONFIG, but qa calls it SETTINGS.",
        "wrangler.toml [env.qa]: NEW has no id, so its KV namespace is not known.",
        "wrangler.toml [env.qa]: the D1 database d1 under DB is in no environment.",
        "production/CACHE: no wrangler file binds the KV namespace n9.",
    ]
