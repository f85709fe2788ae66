"""What code hands to code that is not searched, and keys that are reached without a binding."""

import pytest

from tests.kvops.references.test_search import found

ADAPTER = 'import { adapter } from "kv-adapter";\n'
BINDING = ["2 unknown unknown SETTINGS *"]
ALL = ["2 unknown unknown *"]


@pytest.mark.parametrize(
    "call",
    [
        "adapter(env.SETTINGS as KVNamespace)",
        "adapter(env.SETTINGS!)",
        "adapter({ storage: { kv: env.SETTINGS } })",
        "adapter([env.SETTINGS])",
        "adapter(flag ? env.SETTINGS : null)",
        "adapter(env.SETTINGS ?? null)",
        "const stores = { kv: env.SETTINGS }; adapter(stores)",
        "function store(env) { return env.SETTINGS } adapter(await store(env))",
        'adapter({ binding: "SETTINGS", prefix })',
        'const NAME = "SETTINGS"; new (adapter.Store)({ binding: NAME })',
        'export default defineConfig({ storage: { kv: { binding: "SETTINGS" } } })',
    ],
)
def test_a_binding_that_a_package_gets_is_found_in_whatever_form_it_has(call: str) -> None:
    assert found(ADAPTER + call) == BINDING


@pytest.mark.parametrize(
    "call",
    [
        "adapter(request, env)",
        "adapter.fetch(request, { ...env })",
        "const made = new adapter.App(); made.fetch(request, this.env, ctx)",
        'import { env as all } from "cloudflare:workers"; adapter({}, all)',
        "adapter(options)(request, context.env)",
    ],
)
def test_a_package_that_gets_all_bindings_is_a_hit(call: str) -> None:
    assert found(ADAPTER + call) == ALL


@pytest.mark.parametrize(
    "call",
    [
        "function own(env) {} own(env)",
        "console.log(env)",
        "adapter({ env: process.env })",
        'function own(name) {} own("SETTINGS")',
        'import { own } from "./own"; own(env)',
        "const make = () => 1; make()(env)",
    ],
)
def test_code_of_the_program_that_gets_all_bindings_is_no_hit(call: str) -> None:
    assert found(ADAPTER + call, own="export function own(env) {}") == []


def test_a_test_that_hands_on_its_bindings_is_no_hit() -> None:
    assert found(f"{ADAPTER}adapter.request(path, env)", file="a.test.ts") == []


@pytest.mark.parametrize(
    ("code", "hits"),
    [
        ("fetch(`${api}/storage/kv/namespaces/${id}/values/${key}`)", ["1 unknown unknown *"]),
        ("client.kv.namespaces.values.update(id, key, {})", ["1 unknown unknown *"]),
        ("exec(`wrangler kv key delete ${key}`)", ["1 unknown unknown *"]),
        (
            "fetch(`${api}/storage/kv/namespaces/${id}/values/master:1`)",
            ["1 possible unknown SETTINGS master:*"],
        ),
        ("exec(`wrangler kv namespace list`)", []),
    ],
)
def test_keys_that_are_reached_without_a_binding_are_found(code: str, hits: list[str]) -> None:
    assert found(code) == hits


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("a.py", 'requests.put(f"{api}/storage/kv/namespaces/{id}/values/{key}")'),
        ("a.sh", 'wrangler kv:key put "$KEY"'),
    ],
)
def test_scripts_in_other_languages_that_reach_keys_are_found(file: str, line: str) -> None:
    assert found(line, file=file, a="f()") == ["1 unknown unknown *"]


def test_a_typed_call_of_a_binding_is_found_once() -> None:
    assert found('await env.SETTINGS.get<Row>("master:1", "json")') == ["1 certain read SETTINGS master:*"]
