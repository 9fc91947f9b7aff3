"""``python -m kmq`` is the command ``kmq``."""

import sys

from kmq.cli import main

sys.exit(main())
