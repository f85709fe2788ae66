"""Which expressions of a program write a text. Pure: no Django."""

import re

from kvops.references.engine.nodes import PASSING, plain
from kvops.references.engine.syntax import SyntaxNode

_TEXTS = frozenset({"string", "template_string", "binary_expression", "call_expression", "regex"})
_NO_TEXTS = frozenset(
    {
        "export_statement",
        "import_statement",
        "interface_declaration",
        "literal_type",
        "template_literal_type",
        "type_alias_declaration",
        "type_annotation",
    }
)

PAST_BINDINGS = re.compile(r"storage/kv/namespaces|\bkv[: ](?:key|bulk)\b|\bkv\.namespaces\b")
"""What reaches keys without a binding writes: the address of the API, a command of wrangler, a call of a client."""


def is_whole_text(node: SyntaxNode) -> bool:
    """Whether the expression writes a text that is no part of a larger one, no type and no name of a module."""
    if node.kind not in _TEXTS or _is_part(node):
        return False
    return not any(one.kind in _NO_TEXTS and not _is_value(one, node) for one in node.up())


def _is_part(node: SyntaxNode) -> bool:
    """Whether the expression is a part of a larger text, or a call that makes none."""
    if node.kind == "binary_expression" and not _is_sum(node):
        return True
    if node.kind == "call_expression" and not _makes_text(node):
        return True
    parent = node.parent
    while parent is not None and parent.kind in PASSING:
        parent = parent.parent
    if parent is None or (parent.kind == "binary_expression" and _is_sum(parent)):
        return parent is not None
    if parent.kind == "array" and parent.field == "object" and parent.parent is not None:  # ["a", b].join(":")
        parent = parent.parent
    above = parent.parent
    return parent.kind in {"arguments", "member_expression"} and above is not None and _makes_text(above)


def _is_sum(node: SyntaxNode) -> bool:
    operator = node.child("operator")
    return operator is not None and operator.kind == "+"


def _makes_text(node: SyntaxNode) -> bool:
    """Whether the call is `"a".concat(b)` or `["a", b].join(":")`."""
    callee = node.child("function") if node.kind == "call_expression" else None
    name = callee.child("property") if callee is not None else None
    base = plain(callee.child("object")) if callee is not None else None
    if name is None or base is None:
        return False
    return name.text == "concat" or (name.text == "join" and base.kind == "array")


def _is_value(holder: SyntaxNode, node: SyntaxNode) -> bool:
    """Whether the exported thing is a value in which the node stands, not the name of a module."""
    return holder.kind == "export_statement" and node.field != "source"
