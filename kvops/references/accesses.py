"""Where the code of a program reaches keys, or writes texts that can name them. Pure: no Django."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from kvops.references.matching import Matcher
from kvops.references.program import CLASSES, FUNCTIONS, Program, plain
from kvops.references.report import ANY_FAMILY, Access, Certainty
from kvops.references.syntax import Node
from kvops.references.values import (
    ANY_BINDING,
    ELEMENT as _ELEMENT,
    GAP,
    METHODS,
    UNKNOWN,
    Binding,
    Call,
    Evaluator,
    Instance,
    Module,
    Text,
    Thing,
    arguments,
    texts_of,
)

MOST_SITES = 300
"""Calls of one function that are told apart."""

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
_RANK = {"certain": 0, "possible": 1, "unknown": 2}


@dataclass(frozen=True, slots=True)
class Found:
    """One finding: a node and what it can mean."""

    node: Node
    certainty: Certainty
    access: Access
    family: str


class Finder:
    """Finds everything in a program that can be about the families."""

    def __init__(self, program: Program, matcher: Matcher) -> None:
        self.program = program
        self.matcher = matcher
        self.evaluator = Evaluator(program, matcher.by_binding)
        self._best: dict[tuple[Node, Access, str], Certainty] = {}
        self._told: defaultdict[Node, set[str]] = defaultdict(set)
        self._marks: defaultdict[Node, set[tuple[str, Access, Certainty]]] = defaultdict(set)
        self._covered: set[Node] = set()

    def run(self) -> Iterator[Found]:
        """All findings."""
        nodes = [node for source in self.program.sources.values() if source.root for node in source.root.walk()]
        for node in nodes:
            if node.kind == "call_expression":
                self._call(node)
            elif node.kind == "new_expression":
                self._passed(node)
            elif node.kind in {"member_expression", "variable_declarator"}:
                self._method_taken(node)
        for node in nodes:
            if node.kind in _TEXTS and not _is_part(node):
                self._text(node)
        for (node, access, family), certainty in self._best.items():
            yield Found(node, certainty, access, family)

    def _found(self, node: Node, certainty: Certainty, access: Access, family: str) -> None:
        key = (node, access, family)
        if key not in self._best or _RANK[certainty] < _RANK[self._best[key]]:
            self._best[key] = certainty
        self._told[node].add(family)

    # Calls

    def _call(self, node: Node) -> None:
        callee = plain(node.child("function"))
        method = _method(callee, self.evaluator)
        if callee is None or callee.child("object") is None or method is None:
            self._passed(node)
            return
        if method and method not in METHODS:
            self._passed(node)
            return
        reached = False
        for call in self._calls_around(node):
            receivers = self.evaluator.values(callee.child("object"), call)
            names = {one.name for one in receivers if isinstance(one, Binding)}
            reached = reached or bool(names)
            for name in names:
                self._access(node, method, name, call)
        if not reached:
            self._unresolved(node, callee, method)
            self._passed(node)

    def _access(self, node: Node, method: str, binding: str, call: Call | None) -> None:
        """A call on a binding, in one way in which the function around it is called."""
        access: Access = METHODS.get(method, "unknown")  # type: ignore[assignment]
        place, texts = self._keys(node, method, call)
        if binding != ANY_BINDING and binding in self.matcher.by_binding and place is not node:
            self._covered.add(place)
        for text in texts:
            named = self._named(text.shape, binding, method)
            for family, certainty in named.items():
                self._found(place, certainty, access, family)
                for origin in text.origins:
                    self._marks[origin].add((family, access, certainty))
            if text.shape.startswith(GAP) or (method == "list" and not text.shape):
                family = ANY_FAMILY if binding == ANY_BINDING else f"{binding} {ANY_FAMILY}"
                self._found(place, "unknown", access, family)
                self._covered.discard(place)

    def _named(self, shape: str, binding: str, method: str) -> dict[str, Certainty]:
        if binding != ANY_BINDING:
            return self.matcher.named(shape, binding, listing=method == "list")
        found: dict[str, Certainty] = {}
        for name in self.matcher.by_binding:
            found |= dict.fromkeys(self.matcher.named(shape, name, listing=method == "list"), "possible")
        return found

    def _keys(self, node: Node, method: str, call: Call | None) -> tuple[Node, list[Text]]:
        """The place of the key's name in the call, and everything that it can be."""
        given = arguments(node)
        if not given:
            return node, [Text("")] if method == "list" else [Text(GAP)]
        place = given[0]
        values = self.evaluator.values(place, call)
        if method == "list" or not method:
            values, place = self._prefix(place, call) if method else (UNKNOWN, place)
        else:
            lists = frozenset(one for one in values if not isinstance(one, Text))
            if lists:
                values = (values - lists) | self.evaluator.member(lists, _ELEMENT)
        if method == "list" and not values:
            return place, [Text("")]
        return place, texts_of(values)

    def _prefix(self, options: Node, call: Call | None) -> tuple[frozenset[object], Node]:
        """The prefix in the options of a listing. Without one, all keys are listed."""
        written = plain(options)
        if written is not None and written.kind == "object":
            spread = any(child.kind == "spread_element" for child in written.children)
            for child in written.children:
                key = child.child("key")
                if key is not None and key.text.strip("'\"") == "prefix" and (value := child.child("value")):
                    return self.evaluator.values(value, call), value
                if child.kind == "shorthand_property_identifier" and child.text == "prefix":
                    return self.evaluator.values(child, call), child
            if not spread:
                return frozenset(), options
        return self.evaluator.member(self.evaluator.values(options, call), "prefix"), options

    def _calls_around(self, node: Node) -> list[Call | None]:
        """The calls of the function around the node, so that its parameters go together."""
        for function in node.up():
            if function.kind in FUNCTIONS:
                sites, complete = self.evaluator.sites(function)
                if sites and len(sites) <= MOST_SITES:
                    calls: list[Call | None] = [Call(function, site) for site in sites]
                    return calls if complete else [*calls, Call(function, None)]
        return [None]

    def _unresolved(self, node: Node, callee: Node, method: str) -> None:
        """A call with the name of a method of KV, on something that cannot be told."""
        receiver = callee.child("object")
        if receiver is None:
            return
        access: Access = METHODS.get(method, "unknown")  # type: ignore[assignment]
        place, texts = self._keys(node, method, None)
        for text in texts:
            for family in self._named(text.shape, ANY_BINDING, method) if text.shape.strip(GAP) else ():
                for origin in text.origins:
                    self._marks[origin].add((family, access, "possible"))
        values = self.evaluator.values(receiver)
        ours = values and all(isinstance(one, (Thing, Instance, Module)) for one in values)
        if ours or not (method == "getWithMetadata" or self._looks_like_kv(receiver)):
            return
        if any(text.shape.startswith(GAP) or (method == "list" and not text.shape) for text in texts):
            self._found(place, "unknown", access, ANY_FAMILY)

    def _looks_like_kv(self, receiver: Node) -> bool:
        last = plain(receiver)
        name = (last.child("property") or last).text.lstrip("#_").replace("_", "").lower() if last else ""
        known = {binding.replace("_", "").lower() for binding in self.matcher.by_binding}
        return name in known or name.endswith("kv") or name.startswith("kv") or "namespace" in name

    def _method_taken(self, node: Node) -> None:
        """A method of a binding that is not called where it is named, such as `env.SETTINGS.get.bind`."""
        if node.kind == "variable_declarator":
            pattern, value = node.child("name"), node.child("value")
            if pattern is None or value is None or pattern.kind != "object_pattern":
                return
            names = [part.text for part in pattern.children if part.text in METHODS]
            node = value
        else:
            name, value = node.child("property"), node.child("object")
            called = node.field == "function" and node.parent is not None and node.parent.kind == "call_expression"
            names = [name.text] if name is not None and name.text in METHODS and not called else []
        for method in names:
            for one in self.evaluator.values(value):
                if isinstance(one, Binding):
                    self._found(node, "unknown", METHODS[method], _any_of(one))  # type: ignore[arg-type]

    def _passed(self, node: Node) -> None:
        """A binding that is passed to code outside the program."""
        passed = [one for given in arguments(node) for one in _parts(given)]
        bindings = {
            one: {value for value in self.evaluator.values(one) if isinstance(value, Binding)} for one in passed
        }
        if not any(bindings.values()):
            return
        callee = plain(node.child("function") or node.child("constructor"))
        if any(
            isinstance(one, Thing) and one.node.kind in FUNCTIONS | CLASSES for one in self.evaluator.values(callee)
        ):
            return
        for one, found in bindings.items():
            for binding in found:
                self._found(one, "unknown", "unknown", _any_of(binding))

    # Texts

    def _text(self, node: Node) -> None:
        if any(one.kind in _NO_TEXTS and not _is_value(one, node) for one in node.up()):
            return
        if node.kind == "regex":
            shapes = {node.text.lstrip("/^(?:").replace("\\", "")}
            families = {family for shape in shapes for family in self.matcher.mentioned(shape)}
        else:
            values = self.evaluator.values(node)
            families = {f for one in values if isinstance(one, Text) for f in self.matcher.mentioned(one.shape)}
        around = (node, *node.up())
        if any(one in self._covered for one in around):
            return
        told = set[str]().union(*(self._told[one] for one in around if one in self._told))
        for family in families - told:
            marks = {(access, certainty) for named, access, certainty in self._marks[node] if named == family}
            for access, certainty in marks or {("unknown", "possible")}:
                self._found(node, certainty, access, family)  # type: ignore[arg-type]


def _any_of(binding: Binding) -> str:
    return ANY_FAMILY if binding.name == ANY_BINDING else f"{binding.name} {ANY_FAMILY}"


def _method(callee: Node | None, evaluator: Evaluator) -> str | None:
    """The method that is called; empty if it cannot be told, None if no method is called."""
    if callee is None:
        return None
    if callee.kind == "member_expression" and (name := callee.child("property")):
        return name.text
    if callee.kind == "subscript_expression":
        texts = [one for one in evaluator.values(callee.child("index")) if isinstance(one, Text)]
        return texts[0].shape if len(texts) == 1 and GAP not in texts[0].shape else ""
    return None


def _parts(given: Node) -> list[Node]:
    """The expressions of an argument that may be a binding."""
    if given.kind == "object":
        return [
            child.child("value") or child
            for child in given.children
            if child.kind in {"pair", "shorthand_property_identifier"}
        ]
    return [given] if given.kind in {"identifier", "member_expression", "subscript_expression"} else []


def _is_part(node: Node) -> bool:
    """Whether the expression is a part of a larger text, or a call that makes none."""
    if node.kind == "binary_expression" and not _is_sum(node):
        return True
    if node.kind == "call_expression" and not _makes_text(node):
        return True
    parent = node.parent
    while parent is not None and parent.kind == "parenthesized_expression":
        parent = parent.parent
    if parent is None:
        return False
    if parent.kind in {"array", "arguments"} and parent.parent is not None and _makes_text(parent.parent):
        return True
    if parent.kind == "array" and parent.parent is not None and parent.parent.kind == "member_expression":
        return parent.parent.parent is not None and _makes_text(parent.parent.parent)
    if parent.kind == "member_expression" and parent.parent is not None and _makes_text(parent.parent):
        return node.kind in {"string", "template_string"}
    return parent.kind == "binary_expression" and _is_sum(parent)


def _is_sum(node: Node) -> bool:
    operator = node.child("operator")
    return operator is not None and operator.kind == "+"


def _makes_text(node: Node) -> bool:
    """Whether the call is `"a".concat(b)` or `["a", b].join(":")`."""
    callee = node.child("function") if node.kind == "call_expression" else None
    name = callee.child("property") if callee is not None else None
    base = plain(callee.child("object")) if callee is not None else None
    if name is None or base is None:
        return False
    return name.text == "concat" or (name.text == "join" and base.kind == "array")


def _is_value(holder: Node, node: Node) -> bool:
    """Whether the exported thing is a value in which the node stands, not the name of a module."""
    return holder.kind == "export_statement" and node.field != "source"
