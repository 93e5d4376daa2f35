"""How much memory each request leaves behind: a robust line through what was sampled."""

from collections.abc import Sequence
from itertools import combinations
from statistics import median


def slope(samples: Sequence[tuple[int, int]]) -> float:
    """Bytes per request, of (requests so far, bytes resident): the median of the slopes between all pairs
    (Theil-Sen), which a few jumps of the allocator do not move.
    """
    return median((b - a) / (n - m) for (m, a), (n, b) in combinations(samples, 2))
