"""The command `penult`, also as `python -m apps`."""

import sys

from apps.command.cli import main

if __name__ == "__main__":
    sys.exit(main())
