"""What the names, functions and texts of a source file are, in its tree. Pure: no Django."""

from dataclasses import dataclass
from typing import cast

from kvops.references.engine.syntax import Source, SyntaxNode

FUNCTIONS = frozenset(
    {
        "function_declaration",
        "function_expression",
        "arrow_function",
        "method_definition",
        "generator_function",
        "generator_function_declaration",
    }
)
CLASSES = frozenset({"class_declaration", "class", "abstract_class_declaration"})
PASSING = frozenset(
    {
        "as_expression",
        "await_expression",
        "non_null_expression",
        "parenthesized_expression",
        "satisfies_expression",
        "sequence_expression",
        "type_assertion",
    }
)

ELEMENT = "[]"
"""The step of a path that stands for any element of a list."""

KEY = "{}"
"""The step of a path that stands for any name of a property."""


@dataclass(frozen=True, slots=True, eq=False)
class Param:
    """Whatever a function is called with at this position."""

    function: SyntaxNode
    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Import:
    """What another file exports under this name; `*` is all that it exports."""

    source: Source
    module: str
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Appended:
    """Text that is appended to a variable."""

    target: SyntaxNode
    added: SyntaxNode


@dataclass(frozen=True, slots=True, eq=False)
class Pushed:
    """Something that is added to a list."""

    added: SyntaxNode


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Something stored under a name: the part of its source that the path leads to. Without a source: anything."""

    source: SyntaxNode | Param | Import | Appended | Pushed | None
    path: tuple[str, ...] = ()
    typed: str = ""


type Handle = tuple[int, str]
"""A name in the scope that declares it."""


def declaration_of(node: SyntaxNode) -> tuple[Handle, list[Stored]] | None:
    """The handle of the name of an identifier, and what is stored under it; None for a global."""
    name = node.text
    for scope in (node, *node.up()):
        if scope.names is not None and name in scope.names:
            return (id(scope), name), cast("list[Stored]", scope.names[name])
    return None


def plain(node: SyntaxNode | None) -> SyntaxNode | None:
    """The expression without parentheses, types and `await`, and the last one of a sequence."""
    while node is not None and node.kind in PASSING and node.children:
        node = node.children[-1 if node.kind in {"sequence_expression", "type_assertion"} else 0]
    return node


def named(node: SyntaxNode) -> str:
    """The name of a property."""
    if node.kind == "computed_property_name" and node.children:
        node = node.children[0]
    return text_of(node) if node.kind == "string" else node.text


def type_of(node: SyntaxNode) -> str:
    """The type that is written at a declaration."""
    annotation = next((child for child in node.children if child.kind == "type_annotation"), None)
    return annotation.text.lstrip(": ") if annotation else ""


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}


def text_of(node: SyntaxNode) -> str:
    """The text of a string, with its escapes resolved."""
    return "".join(escaped(child) if child.kind == "escape_sequence" else child.text for child in node.children)


def escaped(node: SyntaxNode) -> str:
    """The character of an escape sequence."""
    body = node.text[1:]
    try:
        if body[:1] in {"x", "u"}:
            return chr(int(body[1:].strip("{}"), 16))
    except (ValueError, OverflowError):
        return ""
    return _ESCAPES.get(body, "" if body[:1] in "\r\n" else body)


def arguments(call: SyntaxNode) -> list[SyntaxNode]:
    """What a call passes."""
    listed = call.child("arguments")
    return listed.children if listed is not None and listed.kind == "arguments" else []


def returned(function: SyntaxNode) -> list[SyntaxNode]:
    """The expressions that a function can return."""
    body = function.child("body")
    if body is None or body.kind != "statement_block":
        return [body] if body is not None else []
    found: list[SyntaxNode] = []
    waiting = [body]
    while waiting:
        node = waiting.pop()
        if node.kind == "return_statement":
            found += node.children[:1]
        elif node.kind not in FUNCTIONS and node.kind not in CLASSES:
            waiting += node.children
    return found


def operator_of(node: SyntaxNode) -> str:
    """The operator of an expression."""
    operator = node.child("operator")
    return operator.kind if operator else ""


def is_handler(param: Param) -> bool:
    """Whether Cloudflare calls the function with the bindings at this position."""
    name = param.function.child("name") or (param.function.parent and param.function.parent.child("key"))
    called = name.text if name else ""
    return param.index == 1 and called in {"fetch", "scheduled", "queue", "email", "tail", "trace", "constructor"}
