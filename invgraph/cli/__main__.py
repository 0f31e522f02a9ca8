"""``python -m invgraph.cli``, which torchrun starts."""

import sys

from invgraph.cli import main

if __name__ == "__main__":
    sys.exit(main())
