"""What the parser makes of code that its grammars do not know."""

import pytest

from tests.kvops.references.test_search import found


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("a.ts", ['const old = await load<typeof import("@/utils/kv")>();', 'env.SETTINGS.get("master:1");']),
        ("a.ts", ['export type * from "./types";', 'env.SETTINGS.get("master:1");']),
        ("a.tsx", ["const a = <b>Date & Time *</b>;", 'env.SETTINGS.get("master:1");']),
        ("a.jsx", ["const a = <b>a &{' '}</b>;", 'env.SETTINGS.get("master:1");']),
        (
            "a.vue",
            [
                '<script setup lang="ts" generic="T extends Record<string, any>">',
                'env.SETTINGS.get("master:1");</script>',
            ],
        ),
    ],
)
def test_code_that_the_grammar_does_not_know_is_parsed(file: str, lines: list[str]) -> None:
    assert found(*lines, file=file) == ["2 certain read SETTINGS master:*"]
