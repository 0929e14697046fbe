"""``python -m dreammotion_core``."""

import sys

from dreammotion_core.cli.main import main

sys.exit(main())
