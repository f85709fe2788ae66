"""The mutants of a module, and putting one in the place of what it mutates.

mutmut knows how code is broken; here a mutant is the code of one function, put into the function object that is
imported already. So nothing is written or imported anew for it.
"""

import ast
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from inspect import unwrap
from types import CodeType, FunctionType

import libcst as cst
from libcst import matchers
from mutmut.mutation.file_mutation import create_mutations, deep_replace

from bench.place import ROOT


def _is_for_people(name: str) -> bool:
    return name in {"_", "gettext_noop", "say", "english"} or name.endswith(("Refused", "Lost", "Error"))


SAYING = matchers.OneOf(
    matchers.Call(func=matchers.Name(matchers.MatchIfTrue(_is_for_people))),
    matchers.Call(func=matchers.Attribute(attr=matchers.Name(matchers.MatchIfTrue(_is_for_people)))),
    matchers.Call(func=matchers.Attribute(value=matchers.Name("logger"))),
)
"""Calls whose arguments are words for people."""


@dataclass(frozen=True)
class Mutant:
    """One function with one change. `says`: only what people read is another."""

    module: str
    function: str
    before: str
    after: str
    says: bool

    @cached_property
    def diff(self) -> str:
        """The lines that differ."""
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=0)
        return "\n".join(" ".join(line.split()) for line in list(lines)[2:] if not line.startswith("@@"))

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.module}.{self.function}: {self.diff}"

    def take_its_place(self) -> None:
        """Let the function do what the mutant does, from now on in this process."""
        of = function(self.module, self.function)
        of.__code__ = _code(self.after, self.function)
        args = _named(ast.parse(self.after), self.function).args
        if ast.dump(args) != ast.dump(_named(ast.parse(self.before), self.function).args):
            of.__defaults__ = tuple(_value(default, of) for default in args.defaults)
            keywords = zip(args.kwonlyargs, args.kw_defaults, strict=True)
            of.__kwdefaults__ = {arg.arg: _value(default, of) for arg, default in keywords if default}


def function(module: str, name: str) -> FunctionType:
    """The function, or the method, without what decorates it."""
    found: object = import_module(module)
    for part in name.split("."):
        found = vars(found)[part]
    for wrapping in ("fget", "__func__", "func"):
        found = getattr(found, wrapping, None) or found
    found = unwrap(found)  # type: ignore[arg-type]
    assert isinstance(found, FunctionType)
    return found


def mutants(module: str, names: Sequence[str]) -> Iterator[Mutant]:
    """All mutants of these functions of a module, or of all its functions."""
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8")
    bare = cst.parse_module(source).visit(_Undecorated())
    tree, mutations, _, _ = create_mutations(module, bare.code)
    said = {id(inner) for call in matchers.findall(tree, SAYING) for inner in _inside(call)}
    seen = set()
    for mutation in mutations:
        within = mutation.contained_by_top_level_function
        if not isinstance(within, cst.FunctionDef):
            continue
        of = _class_of(tree, within)
        name = f"{of.name.value}.{within.name.value}" if of else within.name.value
        if names and name not in names:
            continue
        changed = cst.ensure_type(deep_replace(within, mutation.original_node, mutation.mutated_node), cst.FunctionDef)
        one = Mutant(module, name, _alone(within, of), _alone(changed, of), id(mutation.original_node) in said)
        if one.key not in seen:
            seen.add(one.key)
            yield one


def _alone(node: cst.FunctionDef, of: cst.ClassDef | None) -> str:
    """The source of the function alone, within its class."""
    if of is None:
        return cst.Module([node]).code
    return cst.Module(
        [of.with_changes(bases=[], keywords=[], decorators=[], type_parameters=None, body=cst.IndentedBlock([node]))]
    ).code


def _class_of(tree: cst.Module, node: cst.FunctionDef) -> cst.ClassDef | None:
    classes = [one for one in tree.body if isinstance(one, cst.ClassDef)]
    return next((one for one in classes if any(inner is node for inner in one.body.body)), None)


def _inside(call: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield call
    for child in call.children:
        yield from _inside(child)


class _Undecorated(cst.CSTTransformer):
    """mutmut leaves decorated functions alone."""

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:  # noqa: N802
        """Without decorators."""
        return updated_node.with_changes(decorators=[])


def _named(tree: ast.Module, name: str) -> ast.FunctionDef:
    body: Sequence[ast.AST] = tree.body
    for part in name.split("."):
        found = next(one for one in body if isinstance(one, ast.FunctionDef | ast.ClassDef) and one.name == part)
        body = found.body
    assert isinstance(found, ast.FunctionDef)
    return found


def _code(source: str, name: str) -> CodeType:
    """The code object of a function of a module's source."""
    code = compile(source, f"<mutant of {name}>", "exec")
    for part in name.split("."):
        code = next(one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == part)
    return code


def _value(default: ast.expr, of: FunctionType) -> object:
    """The value of an argument's default."""
    return eval(compile(ast.Expression(default), "<default>", "eval"), of.__globals__)
