"""``python -m entroshape`` is the ``entroshape`` command."""

import sys

from entroshape.cli import main

if __name__ == "__main__":
    sys.exit(main())
