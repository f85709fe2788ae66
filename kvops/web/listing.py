"""Lists of a page, declared by their columns.

    {% listing run in runs label=_("Runs, newest first") after=after %}
      {% column _("Run") %}<a href="…">{{ run.pk }}</a>{% endcolumn %}
      {% column _("Keys") class="num" %}{{ run.done|count }}{% endcolumn %}
      {% empty %}{% empty_state "activity" _("No run yet") _("Start a scan.") %}
    {% endlisting %}

The table scrolls in itself. On a phone each row is a block, and each cell a line with the heading of its column.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.template import Context, Node, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, TextNode, Token, token_kwargs
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from kvops.wording import labelled

STYLE = "table-vcenter card-table"
_NOTHING = re.compile(r"(?:(?:<span[^>]*>)?–(?:</span>)?)?")
"""A cell with nothing or a mere dash: a phone has no room for it."""
_OF_LISTING = {"label", "of", "style", "after", "order"}
_OF_COLUMN = {"class", "cell", "when", "hidden", "sort"}

type Options = Mapping[str, FilterExpression]


@dataclass(frozen=True)
class ListColumn:
    """One column. `class` is of heading and cells, `cell` of the cells alone.

    Without a true `when` the column is left out. The heading of a `hidden` one is only read out: its cells hold
    buttons, which name themselves. The heading of one with `sort` is a link that sorts by this index: the page has
    `?sort=` and gives the listing its `order`, with a minus if it descends.
    """

    heading: FilterExpression
    options: Options
    cell: NodeList

    def shown(self, context: Context) -> bool:
        """Whether the page has the column."""
        return "when" not in self.options or bool(self.options["when"].resolve(context))


class Listing(Node):
    """A table of rows with the pager of a keyset list, or what stands in its place without a row."""

    def __init__(
        self,
        names: Sequence[str],
        rows: FilterExpression,
        options: Options,
        columns: Sequence[ListColumn],
        empty: NodeList,
    ) -> None:
        self.names, self.rows, self.options, self.columns, self.empty = names, rows, options, columns, empty

    def render(self, context: Context) -> SafeString:
        """The table as HTML, each value escaped as the template does it."""
        rows = self.rows.resolve(context, ignore_failures=True)
        rows = list(rows) if rows else []
        body = self._table(context, rows) if rows or not self.empty else self.empty.render(context)
        return mark_safe(body + self._pager(context))  # noqa: S308  (both are escaped)

    def _table(self, context: Context, rows: Iterable[object]) -> SafeString:
        columns = [column for column in self.columns if column.shown(context)]
        cells, heads = list[tuple[str, str, NodeList]](), list[str]()
        for number, column in enumerate(columns):
            heading = conditional_escape(column.heading.resolve(context))
            hidden, style = "hidden" in column.options, self._value(column.options, context, "class")
            cell = " ".join(filter(None, [style, self._value(column.options, context, "cell")]))
            heads.append(self._head(context, column, _read_out(heading) if hidden else heading, style))
            # The first cell is the title of its row on a phone.
            label = format_html(' data-label="{}"', heading) if number and not hidden else ""
            cells.append((f"<td{_classed(cell)}", f"{label}>", column.cell))
        body = "".join(f"<tr>{''.join(self._row(context, row, cells))}</tr>\n" for row in rows)
        label, of = self._value(self.options, context, "label"), self._value(self.options, context, "of")
        return format_html(
            '<div class="table-responsive" tabindex="0" role="region" aria-label="{}">'
            '<table class="table table-fold {}">'
            "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>",
            labelled(label, of) if of else label,
            self._value(self.options, context, "style") or STYLE,
            mark_safe("".join(heads)),  # noqa: S308  (escaped above)
            mark_safe(body),  # noqa: S308  (the template escaped it)
        )

    def _head(self, context: Context, column: ListColumn, heading: str, style: str) -> str:
        if "sort" not in column.options:
            return f'<th scope="col"{_classed(style)}>{heading}</th>'
        sort, order = self._value(column.options, context, "sort"), self._value(self.options, context, "order")
        sorted_ = {sort: ' aria-sort="ascending"', f"-{sort}": ' aria-sort="descending"'}.get(order, "")
        query = context["request"].GET.copy()
        query.pop("after", None)
        query["sort"] = f"-{sort}" if sort and order == sort else sort
        if not query["sort"]:
            del query["sort"]
        link = format_html('<a class="text-reset" href="?{}">{}</a>', query.urlencode(), heading)
        return f'<th scope="col"{_classed(style)}{sorted_}>{link}</th>'

    def _row(self, context: Context, row: object, cells: Iterable[tuple[str, str, NodeList]]) -> Iterable[str]:
        values = list(row) if len(self.names) > 1 else [row]  # type: ignore[call-overload]  # as {% for %} unpacks it
        with context.push(**dict(zip(self.names, values, strict=True))):
            for start, end, nodes in cells:
                text = nodes.render(context).strip()
                yield f"{start}{' data-none' if _NOTHING.fullmatch(text) else ''}{end}{text}</td>\n"

    def _pager(self, context: Context) -> str:
        if "after" not in self.options or context.template is None:
            return ""
        values = {"request": context["request"], "after": self.options["after"].resolve(context)}
        return context.template.engine.get_template("includes/pager.html").render(context.new(values))

    @staticmethod
    def _value(options: Options, context: Context, name: str) -> str:
        return options[name].resolve(context) if name in options else ""


def listing(parser: Parser, token: Token) -> Listing:
    """Compile `{% listing … %}`. Raises TemplateSyntaxError for an option that there is not, or for no column."""
    _tag, *bits = token.split_contents()
    if "in" not in bits[:-1]:
        raise TemplateSyntaxError("A listing begins with the name of a row, `in` and the rows.")
    at = bits.index("in")
    names = " ".join(bits[:at]).replace(",", " ").split()
    rows, options = parser.compile_filter(bits[at + 1]), _options(parser, bits[at + 2 :], _OF_LISTING)
    if "label" not in options:
        raise TemplateSyntaxError("A listing has a label: it names the table to screen readers.")
    columns, empty = list[ListColumn](), NodeList()
    while True:
        before = parser.parse(("column", "empty", "endlisting"))
        if any(not isinstance(node, TextNode) or node.s.strip() for node in before):
            raise TemplateSyntaxError("A listing has columns and what stands for no rows, nothing else.")
        found = parser.next_token()
        if found.contents.startswith("column"):
            columns.append(_column(parser, found))
            continue
        if found.contents == "empty":
            empty = parser.parse(("endlisting",))
            parser.delete_first_token()
        break
    if not columns:
        raise TemplateSyntaxError("A listing has a column at least.")
    return Listing(names, rows, options, columns, empty)


def _column(parser: Parser, token: Token) -> ListColumn:
    _tag, heading, *bits = token.split_contents()
    cell = parser.parse(("endcolumn",))
    parser.delete_first_token()
    return ListColumn(parser.compile_filter(heading), _options(parser, bits, _OF_COLUMN), cell)


def _options(parser: Parser, bits: list[str], known: set[str]) -> Options:
    options = token_kwargs(bits, parser)
    if bits or options.keys() - known:
        raise TemplateSyntaxError(f"There is no option {', '.join([*bits, *sorted(options.keys() - known)])}.")
    return options


def _classed(style: str) -> str:
    return format_html(' class="{}"', style) if style else ""


def _read_out(heading: str) -> str:
    return format_html('<span class="visually-hidden">{}</span>', heading)
