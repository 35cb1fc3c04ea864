"""Tests of all packages; the folders mirror theirs."""

import os

# Several test processes share the processors: threads of numerical libraries would spin while they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
