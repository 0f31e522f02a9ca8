"""Signed distances of a block of voxels from depth maps, in compiled code."""

import numpy as np

from invgraph.kernels.threads import finish_and_take, kernel, take, wait


@kernel
def integrate(team, origin, voxel, reach, depths, weights, sizes, matrices, distance, total):
    """Average truncated signed distances along the optical axes.

    Args:
        origin: world position of the first voxel.
        voxel: spacing.
        reach: distance at which values are cut off; nothing is known further behind a surface.
        depths: ``n h w``, padded to a common size.
        weights: ``n h w``; 0 where a depth does not count.
        sizes: ``n 2``, true height and width.
        matrices: ``n 3 4``, world to homogeneous pixels.
        distance: ``a b c``, zeros; receives distances over ``reach``, positive in front.
        total: ``a b c``, zeros; receives the sum of weights.
    """
    units = distance.shape[0]
    unit = take(team, 0, units)
    while unit >= 0:
        px = origin[0] + unit * voxel
        for j in range(distance.shape[1]):
            py = origin[1] + j * voxel
            for k in range(distance.shape[2]):
                pz = origin[2] + k * voxel
                value, weight = np.float32(0), np.float32(0)
                for n in range(len(depths)):
                    m = matrices[n]
                    z = m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]
                    if z <= 0:
                        continue
                    x = (m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]) / z
                    y = (m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]) / z
                    if not (0 <= x < sizes[n, 1] and 0 <= y < sizes[n, 0]):
                        continue
                    w = weights[n, int(y), int(x)]
                    gap = np.float32((depths[n, int(y), int(x)] - z) / reach)
                    if w > 0 and gap > -1:
                        value += w * min(gap, np.float32(1))
                        weight += w
                total[unit, j, k] = weight
                distance[unit, j, k] = value / weight if weight > 0 else np.float32(1)
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)
