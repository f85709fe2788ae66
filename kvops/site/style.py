"""`/style/`: each component of the pages in both themes, with the way to write it. For the sandbox only."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import Context, Template
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe


@dataclass(frozen=True)
class Component:
    """A component: its name, and the template source that shows it."""

    name: str
    source: str


COMPONENTS = (
    Component("State", '{% state_badge "succeeded" %} {% state_badge "running" %} {% state_badge "failed" %}'),
    Component("Environment", "{% environment_badge production %} {% environment_badge qa %}"),
    Component("Moment", "{% when recently %} · {% when recently exact=True %} · {% when recently seconds=True %}"),
    Component("Key name", '{% key_name "clinic:id:0001" %}{% copy_button "clinic:id:0001" %}'),
    Component("Digest", "{% sha digest %}{% copy_button digest %}"),
    Component("Command", "{% command %}manage.py doctor{% endcommand %}"),
    Component("Number and size", "{{ 1204567|count }} · {{ 5300000|bytes }}"),
    Component("Progress", "{% progress 1200 4000 %}"),
    Component(
        "Table",
        "{% table _('Runs') of=theme %}\n"
        "  <thead><tr><th scope='col'>Run</th><th scope='col' class='num'>Keys</th></tr></thead>\n"
        "  <tbody><tr><td>Scan</td><td class='num'>5,412</td></tr></tbody>\n"
        "{% endtable %}",
    ),
    Component(
        "Facts",
        "{% datagrid %}{% fact 'Owner' %}Team A{% endfact %}\n  {% fact 'Keys' %}1{% endfact %}\n{% enddatagrid %}",
    ),
    Component("Steps", "{% stepper steps %}"),
    Component("Button", '<button type="button" class="btn btn-primary">Delete 462 keys</button>'),
    Component("Button that is off", '{% disabled_button "Delete" "QA comes first." %}'),
    Component("Empty list", '{% empty_state "inbox" "No backup yet" "Take the first one." "/" "Go on" %}'),
    Component("Alert", '<div class="alert alert-warning" role="alert"><div>Nothing was changed.</div></div>'),
)


@dataclass(frozen=True)
class _Step:
    title: str
    state: str
    note: str = ""


THEMES = ("light", "dark")


def shown(component: Component, theme: str) -> SafeString:
    """The component as a page in this theme shows it. What it calls by an id is on the page twice, so it has two."""
    context = {
        "theme": theme,
        "production": {"name": "Production", "production": True},
        "qa": {"name": "QA", "production": False},
        "recently": timezone.now() - timedelta(hours=3),
        "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "steps": [_Step(state.capitalize(), state) for state in ("done", "failed", "current", "todo")],
    }
    made = Template("{% load ui %}" + component.source).render(Context(context))
    return mark_safe(made.replace("why-", f"why-{theme}-"))  # noqa: S308 (as the template made it)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def components(request: HttpRequest) -> HttpResponse:
    """Show all components. Outside the sandbox there is no such page."""
    if not settings.SANDBOX:
        raise Http404
    rows = [(one, [(theme, shown(one, theme)) for theme in THEMES]) for one in COMPONENTS]
    return render(request, "site/style.html", {"components": rows})
