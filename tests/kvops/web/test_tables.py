"""Each cell of a table carries the heading of its column, and each table folds on a phone."""

from kvops.web import tables

HEAD = '<thead><tr><th scope="col">Name</th><th>Size <small>in "KiB"</small></th><th class="num">Keys</th></tr></thead>'


def labelled(rows: str, head: str = HEAD) -> str:
    return tables.labelled(head + rows).removeprefix(head)


def test_each_cell_but_the_first_carries_its_heading() -> None:
    rows = labelled('<tr><td>a</td><td class="num">1</td><td>2</td></tr>')
    assert 'class="num" data-label="Size in &quot;KiB&quot;">1' in rows
    assert "<td>a</td>" in rows
    assert '<td data-label="Keys">2' in rows


def test_each_row_begins_anew() -> None:
    assert labelled("<tr><th>a</th><td>1</td></tr>" * 2).count("data-label") == 2


def test_a_cell_over_several_columns_has_no_label_and_counts_as_them() -> None:
    rows = labelled('<tr><td>a</td><td colspan="1">1</td><td>2</td></tr><tr><td colspan="2">all</td><td>3</td></tr>')
    assert '<td colspan="2">all</td><td data-label="Keys">3' in rows


def test_a_hidden_heading_is_no_label() -> None:
    head = '<thead><tr><th>Name</th><th><span class="visually-hidden">Actions</span></th></tr></thead>'
    assert labelled("<tr><td>a</td><td>Open</td></tr>", head) == "<tr><td>a</td><td>Open</td></tr>"


def test_a_cell_with_nothing_or_a_mere_dash_is_marked() -> None:
    rows = labelled(
        '<tr><td>a</td><td><span class="text-secondary">–</span></td><td class="num"> – </td><td> </td></tr>'
    )
    assert (rows.count(" data-none"), labelled("<tr><td>a</td><td>1–2</td></tr>").count(" data-none")) == (3, 0)
