"""``python -m kmq`` is the command ``kmq``."""

import sys

from kmq.cli import process

sys.exit(process())
