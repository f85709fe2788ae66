"""The exports of files, and the imports that reach them. Pure: no Django."""

from kvops.references.engine.nodes import Import
from kvops.references.engine.program import Program
from kvops.references.engine.values import NOTHING, UNKNOWN, Env, Evaluates, Module, Value, Values


class Exports:
    """Follows imports to exports, re-exports too."""

    def __init__(self, program: Program, evaluator: Evaluates) -> None:
        self._program = program
        self._evaluator = evaluator

    def imported(self, source: Import) -> Values:
        """Everything that the import can stand for."""
        files = self._program.modules(source.source, source.module)
        if source.name == "env" and source.module == "cloudflare:workers":
            return frozenset({Env()})
        if not files:
            return UNKNOWN
        if source.name == "*":
            return frozenset(Module(file) for file in files)
        found: set[Value] = set()
        for file in files:
            found |= self.exported(file, source.name)
        return frozenset(found) or UNKNOWN

    def exported(self, file: str, name: str) -> Values:
        """Everything that the file exports under the name."""
        key = ("export", file, name)
        if key in self._evaluator.open:
            self._evaluator.cuts += 1
            return NOTHING
        self._evaluator.open.add(key)
        try:
            found: set[Value] = set()
            for store in self._program.exports[file].get(name, ()):
                found |= self._evaluator.stored(store)
            for store in self._program.exports[file].get("*", ()):
                found |= self._evaluator.member(self._evaluator.stored(store), name) - UNKNOWN
            for module in self._program.starred[file]:
                for other in self._program.modules(self._program.sources[file], module):
                    found |= self.exported(other, name)
            return frozenset(found)
        finally:
            self._evaluator.open.discard(key)
