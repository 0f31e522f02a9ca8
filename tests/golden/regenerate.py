"""Render the golden images again: ``python tests/golden/regenerate.py``.

Run it when a change of the renderer's output is meant, look at what changed, and commit the files.
"""

import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))


def main() -> None:
    from golden_scenes import CASES, image

    for name in CASES:
        np.save(FOLDER / f"{name}.npy", image(name).astype(np.float16))
        print(f"wrote {name}.npy")


if __name__ == "__main__":
    main()
