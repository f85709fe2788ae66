"""`python -m kvops.references lint --path DIR --policy FILE`, without Django."""

import sys

from kvops.references.lint import main

sys.exit(main(sys.argv[1:]))
