"""Who calls the functions of a program. Pure: no Django."""

from kvops.references.engine.nodes import (
    CLASSES,
    ELEMENT,
    PASSING,
    Handle,
    Param,
    arguments,
    declaration_of,
    is_handler,
    plain,
)
from kvops.references.engine.program import Program
from kvops.references.engine.syntax import SyntaxNode
from kvops.references.engine.values import (
    HOLE,
    NOTHING,
    UNKNOWN,
    Binding,
    Call,
    Env,
    Evaluates,
    Instance,
    Thing,
    Value,
    Values,
)

_ITERATING = frozenset({"map", "forEach", "filter", "flatMap", "some", "every", "find", "findIndex", "findLast"})
_TESTS = frozenset({"test", "tests", "__tests__", "spec", "e2e"})


class Callers:
    """Finds the calls of functions."""

    def __init__(self, program: Program, evaluator: Evaluates) -> None:
        self.program = program
        self.evaluator = evaluator
        self._sites: dict[SyntaxNode, tuple[list[SyntaxNode], bool]] = {}
        self._looking: set[SyntaxNode] = set()

    def sites(self, function: SyntaxNode) -> tuple[list[SyntaxNode], bool]:
        """The calls of a function, and whether they are all. Tests alone are never all."""
        if function in self._sites:
            return self._sites[function]
        if function in self._looking:
            self.evaluator.cuts += 1
            return [], False
        self._looking.add(function)
        before = self.evaluator.cuts
        handles = self._handles(function)
        found = {one: None for handle in handles for one in self.program.calls.get(handle, ())}
        calls = [one for one in found if self._calls(one, function)]
        complete = any(not is_test(one.source.file) for one in calls) and not any(
            isinstance(handle, tuple) or self._refers(one, function)
            for handle in handles
            for one in self.program.loose.get(handle, ())
        )
        self._looking.discard(function)
        if self.evaluator.cuts == before or not self._looking:
            self._sites[function] = (calls, complete)
        return calls, complete

    def parameter(self, param: Param, call: Call | None) -> Values:
        """Everything that a function is called with at this position, by this call or by all."""
        at = call
        while at is not None and at.function is not param.function:
            at = at.within
        if at is not None and at.call is not None:
            return self._argument(at.call, param.index, at.within)
        if at is not None:
            return UNKNOWN | {Env()} if is_handler(param) else UNKNOWN
        sites, complete = self.sites(param.function)
        if listed := self._iterated(param.function):
            return listed if param.index == 0 else UNKNOWN
        found: set[Value] = set() if complete else {HOLE}
        for site in sites:
            found |= self._argument(site, param.index, None)
        if HOLE in found and is_handler(param):
            found.add(Env())
        return frozenset(found)

    def _argument(self, call: SyntaxNode, index: int, within: Call | None) -> Values:
        given = arguments(call)
        tagged = (passed := call.child("arguments")) is not None and passed.kind != "arguments"
        if tagged or any(one.kind == "spread_element" for one in given[: index + 1]):
            return UNKNOWN
        return self.evaluator.values(given[index], within) if index < len(given) else NOTHING

    def _iterated(self, function: SyntaxNode) -> Values:
        """The elements that a list's method calls the function with."""
        listed = function.parent
        call = listed.parent if listed is not None and listed.kind == "arguments" else None
        callee = plain(call.child("function")) if call is not None else None
        if callee is None or callee.kind != "member_expression":
            return NOTHING
        name = callee.child("property")
        if name is None or name.text not in _ITERATING:
            return NOTHING
        return self.evaluator.member(self.evaluator.values(callee.child("object")), ELEMENT)

    def _refers(self, node: SyntaxNode, function: SyntaxNode) -> bool:
        """Whether an expression other than a call may mean the function."""
        things = [one.node for one in self.evaluator.values(node) if isinstance(one, Thing)]
        return function in things or not things

    def _handles(self, function: SyntaxNode) -> list[Handle | str]:
        name = function.child("name")
        if function.kind == "method_definition" and name is not None and name.text == "constructor":
            made = self._made(function)
            return [handle for one in made for handle in self._names(one)] + ["super"]
        return self._names(function)

    def _made(self, constructor: SyntaxNode) -> list[SyntaxNode]:
        """The class of a constructor, and the classes that inherit it."""
        holder = next((one for one in constructor.up() if one.kind in CLASSES), constructor)
        heirs = [one for one in self.evaluator.heirs(holder) if "constructor" not in self.program.own[one]]
        return [holder, *heirs]

    def _names(self, node: SyntaxNode) -> list[Handle | str]:
        """The names that a function or a class goes by."""
        name = node.child("name")
        parent = node.parent
        while parent is not None and parent.kind in PASSING:
            parent = parent.parent
        if name is None and parent is not None:
            name = parent.child("name") or parent.child("key") or parent.child("property") or parent.child("left")
        if name is None:
            return ["default"]
        if name.kind == "member_expression":
            name = name.child("property") or name
        declared = declaration_of(name)
        return [name.text, "default", *([declared[0]] if declared else [])]

    def _calls(self, call: SyntaxNode, function: SyntaxNode) -> bool:
        """Whether the call may call the function."""
        callee = plain(call.child("function") or call.child("constructor"))
        if callee is None:
            return False
        targets = self.evaluator.values(callee)
        name = function.child("name")
        made = self._made(function) if name is not None and name.text == "constructor" else []
        if any(isinstance(one, Thing) and one.node in {function, *made} for one in targets):
            return True
        if callee.kind != "member_expression" or any(isinstance(one, Thing) for one in targets):
            return False
        base = self.evaluator.values(callee.child("object"))
        return not any(isinstance(one, (Binding, Instance)) for one in base)


def is_test(file: str) -> bool:
    """Whether the file looks like a test."""
    parts = file.lower().split("/")
    return any(part in _TESTS for part in parts) or any(f".{word}." in parts[-1] for word in _TESTS)
