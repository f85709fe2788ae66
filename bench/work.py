"""Does only the product's work: `python -m bench.work STEP …` prints what each step measured, as JSON."""

import json
import resource
import sys

import django

from kvops import timing

# What is measured is the product, not the limit of Cloudflare, which more than 960 calls would meet.
timing.BUDGET_CALLS = 1_000_000
django.setup()

from bench import steps  # noqa: E402  (needs Django)

measured = {name: steps.STEPS[name]() for name in sys.argv[1:]}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({**measured, "process": {"peak_kib": peak}}))
