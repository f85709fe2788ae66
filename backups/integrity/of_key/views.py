"""The page of a key beside its row of D1, on request."""

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from backups.integrity.of_key import now
from kvops.inventory.forms import KeyForm
from kvops.inventory.views import named
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def compare(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """Show a key and its row of D1 as they are now. The values are in this answer and nowhere else."""
    namespace, form = named(environment, binding), KeyForm(request.GET)
    if not form.is_valid():
        raise Http404
    name: str = form.cleaned_data["name"]
    page = f"{reverse('key', args=[environment, binding])}?{urlencode({'name': name})}"
    with refusals_shown(request, On(namespace.environment, f"namespace:{namespace.pk}", str(namespace))):
        found = now.compare_now(namespace, name, by=person_of(request))
        context = {
            "found": found,
            "namespace": namespace,
            "environment": namespace.environment,
            "name": name,
            "page": page,
        }
        return render(request, "integrity/of_key.html", context)
    return redirect(page)
