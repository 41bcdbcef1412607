"""``python -m composer``."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the module without its enums

if __name__ == "__main__":
    # Who interrupts while modules are imported gets no traceback; `main` has a handler of its own.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from composer.cli.main import main

if __name__ == "__main__":
    main()
