"""`python -m audiocnn_cli`: the command as a module, for launchers such as `torchrun -m audiocnn_cli train`."""

from __future__ import annotations

import sys

from audiocnn_cli.entry import start

if __name__ == "__main__":
    sys.exit(start())
