"""Ratios against what a user would pick instead, measured in one run on one machine: `make bench`."""

import os

# NumPy's products and the tokenizers' own threads can be set only before they are imported. torch's are set by whom
# they concern: see `ratios.threads`.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
