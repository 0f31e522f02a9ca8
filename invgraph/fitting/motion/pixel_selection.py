"""The best pixels of a picture, spread over it evenly."""

import numpy as np
from jaxtyping import Float


def best_of_cells(
    scores: Float[np.ndarray, "h w"], cell: int, least: float, taken: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, "m 2"]:
    """(u, v) of the best pixel of every square cell, where it is good and the cell is free.

    Args:
        scores: larger is better.
        cell: pixels.
        least: scores up to it are not good.
        taken: (u, v); their cells are not free.
    """
    rows, columns = (side // cell for side in scores.shape)
    cells = scores[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    cells = cells.transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    good = cells.max(2) > least
    place = (taken // cell).astype(np.int64)
    place = place[(place[:, 0] < columns) & (place[:, 1] < rows)]
    good[place[:, 1], place[:, 0]] = False
    row, column = np.nonzero(good)
    offset = cells.argmax(2)[row, column]
    u = column * cell + offset % cell
    v = row * cell + offset // cell
    return np.stack((u, v), 1) + 0.5
