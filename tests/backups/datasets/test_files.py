"""The rows of a dataset file, however they arrive: those read in a row equal those read one by one."""

import io
import json

from hypothesis import given, strategies as st

from backups.datasets import files as dataset_files
from backups.datasets.canonical import JSON
from backups.datasets.files import _JsonFileReader
from tests.backups.datasets.test_at_once import ODD

SPACES = ("", " ", "\n", "\r\n\t ")
VALUES = (*ODD, "[]", "{}", "[{},{}]", '{"a":[{"b":"},"},{}]}', '"},"', '"],["', "12345", "NaN", "tru", '{"a"', "")
"""Also some that are no JSON."""


def outcome(text: str, chunk: int, *, one_by_one: bool) -> tuple[list[JSON], str, str]:
    """The values of an array, the error that ended them, and what follows."""
    before, dataset_files.CHUNK = dataset_files.CHUNK, chunk
    values: list[JSON] = []
    try:
        reader = _JsonFileReader(io.StringIO(text))
        if one_by_one:
            for _position in reader.members("[", "]"):
                values.append(reader.value())
        else:
            values.extend(reader.elements())
        return values, "", reader.peek()
    except ValueError as error:
        return values, type(error).__name__, ""
    finally:
        dataset_files.CHUNK = before


@given(
    st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(SPACES), st.sampled_from(SPACES)), max_size=8),
    st.sampled_from(("]", ",]", "", "] ,", "]]")),
    st.integers(1, 64),
)
def test_values_are_read_in_a_row_as_one_by_one(found: list[tuple[str, str, str]], end: str, chunk: int) -> None:
    text = "[" + ",".join(before + value + after for value, before, after in found) + end
    one_by_one, in_a_row = (outcome(text, chunk, one_by_one=way) for way in (True, False))
    assert in_a_row[1:] == one_by_one[1:]
    assert json.dumps(in_a_row[0]) == json.dumps(one_by_one[0])
    assert [*map(type, in_a_row[0])] == [*map(type, one_by_one[0])]
