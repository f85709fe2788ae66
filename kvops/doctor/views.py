"""The doctor's page, for operators. A click asks the services too."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from kvops.doctor.examination import examine
from kvops.doctor.findings import Examined, Health


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show the findings about the web server and the database; after a click, about the services too."""
    outside = request.method == "POST"
    found = list(examine(Examined(web=True), outside=outside))
    wrong = sum(finding.health == Health.WRONG for finding in found)
    return render(request, "environments/doctor.html", {"found": found, "wrong": wrong, "outside": outside})
