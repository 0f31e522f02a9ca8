"""Triangles that share an edge: the compiled search."""

from invgraph.kernels.threads import kernel


@kernel
def neighbours(faces, vertices, heads, after, out):
    """``out[f, k]``: the face across the edge opposite corner k, -1 if none or more than one.

    ``heads`` has one place per vertex, ``after`` one per corner of a face: lists of the half-edges
    that have their lower vertex in common.
    """
    heads[:] = -1
    out[:] = -1
    for f in range(faces.shape[0]):
        for k in range(3):
            i, j = faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
            low, high = min(i, j), max(i, j)
            if low < 0 or high >= vertices or low == high:
                continue
            half = heads[low]
            partners, partner = 0, -1
            while half >= 0:
                g, m = half // 3, half % 3
                if max(faces[g, (m + 1) % 3], faces[g, (m + 2) % 3]) == high:
                    partners += 1
                    partner = half
                half = after[half]
            if partners == 1:
                g, m = partner // 3, partner % 3
                out[g, m], out[f, k] = f, g
            elif partners == 2:  # the third face of an edge: it belongs to none of them
                half = heads[low]
                while half >= 0:
                    g, m = half // 3, half % 3
                    if max(faces[g, (m + 1) % 3], faces[g, (m + 2) % 3]) == high:
                        out[g, m] = -1
                    half = after[half]
            after[3 * f + k] = heads[low]
            heads[low] = 3 * f + k
