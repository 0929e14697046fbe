"""``python -m dreammotion_core``."""

import signal
import sys

# Whoever else ends the program gets what Ctrl-C gives: what is done is kept. `nohup` is left alone.
for name in ("SIGTERM", "SIGHUP"):
    number = getattr(signal, name, None)  # Windows has not both.
    if number is not None and signal.getsignal(number) is signal.SIG_DFL:
        signal.signal(number, signal.default_int_handler)

try:
    from dreammotion_core.cli.main import main

    code = main()
except KeyboardInterrupt:  # before the command began
    print("Stopped.", file=sys.stderr)  # noqa: T201
    code = 130
sys.exit(code)
