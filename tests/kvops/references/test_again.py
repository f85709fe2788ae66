"""The same code tells the same in each process, whatever Python's hashes are."""

import subprocess
import sys

import pytest

SEARCH = """
from kvops.references.engine.syntax import Source
from kvops.references.engine.values import Binding, Env, Instance, Many, Module, Text, Thing
first, second = Source("a.js", "f(1)").root, Source("b.js", "g(2)").root
values = {Text("a"), Binding("SETTINGS"), Module("a.js"), Thing(first), Thing(second), Instance(first), Env()}
values |= {Many(frozenset({Text("c")})), *(Text(str(number)) for number in range(100))}
print([repr(one) for one in values])
"""


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_values_are_walked_in_the_same_order_in_each_process(seed: str) -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", SEARCH], env={"PYTHONHASHSEED": one}, capture_output=True, check=True, text=True
        ).stdout
        for one in ("0", seed)
    ]
    assert told[0] == told[1] != ""
