"""What a program hands to code outside it: bindings, their names, and the object with all of them. Pure: no Django."""

from collections.abc import Iterator
from typing import cast

from kvops.references.engine.callers import is_test
from kvops.references.engine.evaluator import Evaluator
from kvops.references.engine.nodes import (
    CLASSES,
    FUNCTIONS,
    Import,
    arguments,
    declaration_of,
    operator_of,
    plain,
    returned,
)
from kvops.references.engine.program import Program
from kvops.references.engine.syntax import SyntaxNode
from kvops.references.engine.values import ANY_BINDING, CONTEXTS, Binding, Env, Text, Thing

_TELLING = frozenset(
    {
        "call_expression",
        "identifier",
        "member_expression",
        "shorthand_property_identifier",
        "string",
        "subscript_expression",
    }
)
"""Expressions that can stand for a binding, or for the name of one."""

_TELLING_PEOPLE = frozenset({"console", "JSON"})
"""Objects that only write down what they are given."""


class Handing:
    """Finds what calls hand to code outside a program."""

    def __init__(self, program: Program, evaluator: Evaluator) -> None:
        self.program = program
        self.evaluator = evaluator
        self._held: dict[SyntaxNode, frozenset[Binding | Text]] = {}

    def handed(self, call: SyntaxNode) -> Iterator[tuple[SyntaxNode, Binding | Env]]:
        """What a call hands to code outside the program, each with its place.

        The object with all bindings, and a name of one as text, count only if a package of others gets them. In a
        test the object has the bindings of a simulation and does not count.
        """
        callee = plain(call.child("function") or call.child("constructor"))
        parts = [one for given in arguments(call) for one in _parts(given)]
        packaged = bool(parts) and self._is_packaged(callee)
        found = [(one, what) for one in parts for what in self._named(one)]
        if found and not any(self._functions(callee)):
            yield from ((one, what) for one, what in found if isinstance(what, Binding))
        if packaged:
            yield from ((one, Binding(what.shape)) for one, what in found if isinstance(what, Text))
        if packaged and not is_test(call.source.file):
            yield from ((one, Env()) for one in parts if _is_env(one))

    def _functions(self, callee: SyntaxNode | None) -> Iterator[SyntaxNode]:
        """The functions and classes of the program that a call may reach, where what is handed is followed."""
        for one in self.evaluator.values(callee):
            if isinstance(one, Thing) and one.node.kind in FUNCTIONS | CLASSES:
                yield one.node

    def _is_packaged(self, callee: SyntaxNode | None, depth: int = 4) -> bool:
        """Whether the call is one of a package that is not in the program, or of something that a package made."""
        while callee is not None and callee.kind in {"member_expression", "call_expression", "new_expression"}:
            callee = plain(callee.child("object") or callee.child("function") or callee.child("constructor"))
        if callee is None or callee.kind != "identifier":
            return False
        declared = declaration_of(callee)
        if declared is None:
            return callee.text not in _TELLING_PEOPLE
        return any(self._is_made(store.source, depth) for store in declared[1])

    def _is_made(self, source: object, depth: int) -> bool:
        """Whether a name stands for something of a package."""
        if isinstance(source, Import):
            return not self.program.modules(source.source, source.module)
        calls = isinstance(source, SyntaxNode) and source.kind in {"call_expression", "new_expression"}
        return bool(calls and depth and self._is_packaged(cast("SyntaxNode", source), depth - 1))

    def _named(self, node: SyntaxNode) -> Iterator[Binding | Text]:
        """The bindings that an expression stands for, names, or holds in an object or a list."""
        if node.kind == "call_expression":
            for function in self._functions(plain(node.child("function"))):
                yield from self._holding(function)
            return
        for one in self.evaluator.values(node):
            if isinstance(one, Thing) and one.node.kind in {"object", "array"}:
                yield from self._holding(one.node)
            elif (isinstance(one, Binding) and one.name != ANY_BINDING) or (
                isinstance(one, Text) and one.shape in self.evaluator.bindings
            ):
                yield one

    def _holding(self, holder: SyntaxNode) -> frozenset[Binding | Text]:
        """What an object, a list, or the result of a function holds."""
        if holder not in self._held:
            self._held[holder] = frozenset()  # it may hold itself
            written = returned(holder) if holder.kind in FUNCTIONS else [holder] if holder.kind not in CLASSES else []
            parts = (part for one in written for part in _parts(one))
            self._held[holder] = frozenset(what for part in parts for what in self._named(part))
        return self._held[holder]


def _is_env(node: SyntaxNode) -> bool:
    """Whether the expression is written as the object with all bindings. `process.env` has none."""
    if node.kind == "member_expression":
        name = node.child("property")
        return name is not None and name.text in CONTEXTS and node.text != "process.env"
    declared = declaration_of(node) if "identifier" in node.kind else None
    imported = [one.source for one in declared[1] if isinstance(one.source, Import)] if declared else []
    return any(one.module == "cloudflare:workers" and one.name == "env" for one in imported) or node.text in CONTEXTS


def _parts(given: SyntaxNode) -> Iterator[SyntaxNode]:
    """The expressions of an argument that tell what is handed on."""
    waiting = [given]
    while waiting:
        node = plain(waiting.pop())
        if node is None:
            continue
        if node.kind in {"object", "array", "spread_element"}:
            waiting += [child.child("value") or child for child in node.children]
        elif node.kind == "ternary_expression":
            waiting += node.children[1:]
        elif node.kind == "binary_expression" and operator_of(node) in {"||", "??", "&&"}:
            waiting += [side for side in (node.child("left"), node.child("right")) if side]
        elif node.kind in _TELLING:
            yield node
