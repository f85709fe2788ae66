"""Where the code of a program reaches keys, or writes texts that can name them. Pure: no Django."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from kvops.references.engine.evaluator import Evaluator
from kvops.references.engine.handed import Handing
from kvops.references.engine.matching import Matcher
from kvops.references.engine.nodes import CLASSES, ELEMENT, FUNCTIONS, PASSING, arguments, plain
from kvops.references.engine.program import Program
from kvops.references.engine.syntax import SyntaxNode
from kvops.references.engine.texts import PAST_BINDINGS, is_whole_text
from kvops.references.engine.values import (
    ANY_BINDING,
    GAP,
    METHODS,
    NOTHING,
    UNKNOWN,
    Binding,
    Call,
    Env,
    Instance,
    Module,
    Text,
    Thing,
    Values,
    texts_of,
)
from kvops.references.report import ANY_FAMILY, Access, Certainty

MOST_SITES = 40
"""Calls of one function that are told apart."""

_RANK = {"certain": 0, "possible": 1, "unknown": 2}


@dataclass(frozen=True, slots=True)
class Sighting:
    """One finding: a node and what it can mean."""

    node: SyntaxNode
    certainty: Certainty
    access: Access
    family: str


class Finder:
    """Finds everything in a program that can be about the families."""

    def __init__(self, program: Program, matcher: Matcher) -> None:
        self.program = program
        self.matcher = matcher
        self.evaluator = Evaluator(program, matcher.by_binding)
        self.strangers: dict[tuple[SyntaxNode, str], Access] = {}
        """Keys that are accessed and belong to no family: the place, and the binding with the beginning of the name."""
        self._best: dict[tuple[SyntaxNode, Access, str], Certainty] = {}
        self._told: defaultdict[SyntaxNode, set[str]] = defaultdict(set)
        self._marks: defaultdict[SyntaxNode, set[tuple[str, Access, Certainty]]] = defaultdict(set)
        self._covered: set[SyntaxNode] = set()
        self._outside: list[SyntaxNode] = []
        """Calls of anything but a method of a binding."""

    def run(self) -> Iterator[Sighting]:
        """All findings."""
        nodes = [node for source in self.program.sources.values() if source.root for node in source.root.walk()]
        for node in nodes:
            self._visit(node)
        for node in nodes:
            if is_whole_text(node):
                self._text(node)
        handing = Handing(self.program, self.evaluator)  # last, because everything else needs fewer steps
        for node in self._outside:
            for place, what in handing.handed(node):
                self._found(place, "unknown", "unknown", _any_of(what))
        for (node, access, family), certainty in self._best.items():
            yield Sighting(node, certainty, access, family)

    def _visit(self, node: SyntaxNode) -> None:
        if node.kind == "call_expression":
            self._call(node)
        elif node.kind == "new_expression":
            self._passed(node)
        elif node.kind in {"member_expression", "variable_declarator"}:
            self._method_taken(node)
        if node.kind == "member_expression" and node.text.endswith("kv.namespaces"):
            self._found(node, "unknown", "unknown", ANY_FAMILY)

    def _found(self, node: SyntaxNode, certainty: Certainty, access: Access, family: str) -> None:
        key = (node, access, family)
        if key not in self._best or _RANK[certainty] < _RANK[self._best[key]]:
            self._best[key] = certainty
        self._told[node].add(family)

    # Calls

    def _call(self, node: SyntaxNode) -> None:
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

    def _access(self, node: SyntaxNode, method: str, binding: str, call: Call | None) -> None:
        """A call on a binding, in one way in which the function around it is called."""
        access: Access = METHODS.get(method, "unknown")
        place, texts = self._keys(node, method, call)
        if binding != ANY_BINDING and binding in self.matcher.by_binding and place is not node:
            self._covered.add(place)
        for text in texts:
            named = self._named(text.shape, binding, method)
            for family, certainty in named.items():
                self._found(place, certainty, access, family)
                for origin in text.origins:
                    self._marks[origin].add((family, access, certainty))
            head = text.shape.partition(GAP)[0]
            if head and not named and binding != ANY_BINDING:
                self.strangers[place, f"{binding} {head}"] = access
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

    def _keys(self, node: SyntaxNode, method: str, call: Call | None) -> tuple[SyntaxNode, list[Text]]:
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
                values = (values - lists) | self.evaluator.member(lists, ELEMENT)
        if method == "list" and not values:
            return place, [Text("")]
        return place, texts_of(values)

    def _prefix(self, options: SyntaxNode, call: Call | None) -> tuple[Values, SyntaxNode]:
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
                return NOTHING, options
        return self.evaluator.member(self.evaluator.values(options, call), "prefix"), options

    def _calls_around(self, node: SyntaxNode) -> list[Call | None]:
        """The calls of the function around the node, so that its parameters go together."""
        for function in node.up():
            if function.kind in FUNCTIONS:
                sites, complete = self.evaluator.callers.sites(function)
                if sites and len(sites) <= MOST_SITES and not self.evaluator.is_hurried:
                    calls: list[Call | None] = [Call(function, site) for site in sites]
                    return calls if complete else [*calls, Call(function, None)]
        return [None]

    def _unresolved(self, node: SyntaxNode, callee: SyntaxNode, method: str) -> None:
        """A call with the name of a method of KV, on something that cannot be told."""
        receiver = callee.child("object")
        if receiver is None:
            return
        access: Access = METHODS.get(method, "unknown")
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

    def _looks_like_kv(self, receiver: SyntaxNode) -> bool:
        last = plain(receiver)
        name = (last.child("property") or last).text.lstrip("#_").replace("_", "").lower() if last else ""
        known = {binding.replace("_", "").lower() for binding in self.matcher.by_binding}
        return name in known or name.endswith("kv") or name.startswith("kv") or "namespace" in name

    def _method_taken(self, node: SyntaxNode) -> None:
        """A method of a binding that is not called where it is named, such as `env.SETTINGS.get.bind`."""
        if node.kind == "variable_declarator":
            pattern, value = node.child("name"), node.child("value")
            if pattern is None or value is None or pattern.kind != "object_pattern":
                return
            names = [part.text for part in pattern.children if part.text in METHODS]
            node = value
        else:
            name, value = node.child("property"), node.child("object")
            above = next(
                (one for one in (node, *node.up()) if one.parent is None or one.parent.kind not in PASSING), node
            )
            called = above.field == "function" and above.parent is not None and above.parent.kind == "call_expression"
            names = [name.text] if name is not None and name.text in METHODS and not called else []
        for method in names:
            for one in self.evaluator.values(value):
                if isinstance(one, Binding):
                    self._found(node, "unknown", METHODS[method], _any_of(one))

    def _passed(self, node: SyntaxNode) -> None:
        """A binding that is passed to code outside the program."""
        self._outside.append(node)
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

    def _text(self, node: SyntaxNode) -> None:
        if node.kind == "regex":
            shapes = {node.text.lstrip("/^(?:").replace("\\", "")}
            families = {family for shape in shapes for family in self.matcher.mentioned(shape)}
        else:
            values = self.evaluator.values(node)
            families = {f for one in values if isinstance(one, Text) for f in self.matcher.mentioned(one.shape)}
            past = [one for one in values if isinstance(one, Text) and PAST_BINDINGS.search(one.shape)]
            families = families.union(*(self.matcher.inside(one.shape) for one in past))
            if past and not families:
                self._found(node, "unknown", "unknown", ANY_FAMILY)
        around = (node, *node.up())
        if any(one in self._covered for one in around):
            return
        told = set[str]().union(*(self._told[one] for one in around if one in self._told))
        for family in families - told:
            marks = {(access, certainty) for named, access, certainty in self._marks[node] if named == family}
            for access, certainty in marks or {("unknown", "possible")}:
                self._found(node, certainty, access, family)


def _any_of(binding: Binding | Env) -> str:
    return ANY_FAMILY if isinstance(binding, Env) or binding.name == ANY_BINDING else f"{binding.name} {ANY_FAMILY}"


def _method(callee: SyntaxNode | None, evaluator: Evaluator) -> str | None:
    """The method that is called; empty if it cannot be told, None if no method is called."""
    if callee is None:
        return None
    if callee.kind == "member_expression" and (name := callee.child("property")):
        return name.text
    if callee.kind == "subscript_expression":
        texts = [one for one in evaluator.values(callee.child("index")) if isinstance(one, Text)]
        return texts[0].shape if len(texts) == 1 and GAP not in texts[0].shape else ""
    return None


def _parts(given: SyntaxNode) -> list[SyntaxNode]:
    """The expressions of an argument that may be a binding."""
    if given.kind == "object":
        return [
            child.child("value") or child
            for child in given.children
            if child.kind in {"pair", "shorthand_property_identifier"}
        ]
    return [given] if given.kind in {"identifier", "member_expression", "subscript_expression"} else []
