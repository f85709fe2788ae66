"""A table of D1 read one page ahead: paid before, counted, and never longer than its block."""

import threading

import pytest

from backups.datasets import paging as dataset_paging, registry as dataset_registry
from backups.datasets.paging import Beginning, TableReader
from backups.models import Dataset
from kvops.cloudflare import ApiError, Cell, RateLimited
from kvops.connections.budget import SharedBudget
from kvops.models import BudgetSpend
from tests import make
from tests.backups.generations.helpers import dataset, rows


@pytest.fixture
def masters(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> make.Estate:
    """Seven rows in D1, on pages of three rows."""
    monkeypatch.setattr(dataset_paging, "FIRST_ROWS", 3)
    monkeypatch.setattr(dataset_paging, "MOST_ROWS", 3)
    dataset()
    rows(estate, *(("shop", str(number), "x") for number in range(7)))
    return estate


def reader(estate: make.Estate) -> TableReader:
    made, environment = Dataset.objects.get(), estate.qa.environment
    database = dataset_registry.environment_database(environment, made)
    return TableReader(environment, database.database_id, dataset_registry.correspondence(made), Beginning())


def calls(estate: make.Estate) -> int:
    return len(estate.cloudflare.calls("query"))


def spent() -> int:
    return sum(BudgetSpend.objects.values_list("calls", flat=True))


def test_every_row_comes_once_and_every_call_is_counted_and_paid(masters: make.Estate) -> None:
    found, counted, last = [], 0, False
    with reader(masters) as table:
        while not last:
            page, last = table.take()
            counted += table.spent()[0]
            found += [row["c1"] for row in page]
            if not last:
                table.ask()
    assert found == [str(number) for number in range(7)]
    assert counted == spent() == calls(masters) == 4


def test_a_page_is_asked_for_once_and_arrives_while_its_caller_works(masters: make.Estate) -> None:
    answered = threading.Event()
    masters.cloudflare.hook("query", lambda _request: answered.set())
    with reader(masters) as table:
        table.ask()
        table.ask()
        assert answered.wait(10)
        assert len(table.take()[0]) == 2
    assert calls(masters) == 1


def test_a_page_that_nobody_takes_is_waited_for_and_paid(masters: make.Estate) -> None:
    before = set(threading.enumerate())
    with reader(masters) as table:
        table.ask()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)  # one of the fake ends once its connection does
        assert not thread.is_alive()
    assert spent() == calls(masters) == 1


def test_an_error_of_d1_reaches_the_caller(masters: make.Estate) -> None:
    masters.cloudflare.fault("query", "error", nth=1, times=dataset_paging.ATTEMPTS)
    with reader(masters) as table:
        table.ask()
        with pytest.raises(ApiError):
            table.take()
    assert spent() == calls(masters) > 1


def test_without_room_in_the_request_limit_no_page_is_asked_for(masters: make.Estate) -> None:
    budget = SharedBudget.of(masters.qa.environment)
    budget.take(budget.left().calls)
    with reader(masters) as table:
        assert table.ask() > 0
        with pytest.raises(RateLimited):
            table.take()
    assert calls(masters) == 0


def test_the_rows_of_a_page_are_known_while_it_is_on_its_way(masters: make.Estate) -> None:
    with reader(masters) as table:
        table.ask()
        first = table.asked_for
        page, last = table.take()
    assert (len(page), first, last) == (2, 2, False)


@pytest.mark.parametrize("cells", [["a", "東京"], ["a", None, 1.5, [1, 2]], []])
def test_the_characters_of_a_page_are_those_of_its_cells(cells: list[Cell]) -> None:
    rows = [{f"c{at}": cell for at, cell in enumerate(cells)}] * 3
    assert dataset_paging._size(rows) == 3 * sum(len(str(cell)) for cell in cells)
