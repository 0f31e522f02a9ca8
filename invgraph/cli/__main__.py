"""``python -m invgraph.cli``, which torchrun starts."""

from invgraph.cli import program

if __name__ == "__main__":
    program()
