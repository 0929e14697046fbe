"""``python -m dreammotion_core``."""

import sys

from dreammotion_core.cli import main

sys.exit(main())
