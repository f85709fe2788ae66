"""Does only the product's work: `python -m bench.work STEP …` prints what each step measured, as JSON.

`BENCH_CALLS` and `BENCH_WINDOW` set the request budget; without them it is lifted.
"""

import json
import os
import resource
import sys

import django

from kvops import timing

# What is measured is the product, not the limit of Cloudflare, which more than 960 calls would meet.
timing.BUDGET_CALLS = int(os.environ.get("BENCH_CALLS", "1000000"))
timing.BUDGET_WINDOW = float(os.environ.get("BENCH_WINDOW", timing.BUDGET_WINDOW))
django.setup()

from bench import steps  # noqa: E402  (needs Django)

measured = {name: steps.STEPS[name]() for name in sys.argv[1:]}
used = resource.getrusage(resource.RUSAGE_SELF)
process = {"peak_kib": used.ru_maxrss, "processor": used.ru_utime + used.ru_stime}
print(json.dumps({**measured, "process": process}))
