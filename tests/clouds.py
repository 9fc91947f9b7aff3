"""Points (n, d), and centroids, that are hard to compare in floats."""


def colors(random, n, d, levels=20):
    """Points of whole numbers, and centroids halfway between some, two of them equal: many ties."""
    centroids = random.integers(0, 2 * levels, (77, d)) / 2
    centroids[50] = centroids[3]
    return random.integers(0, levels, (n, d)), centroids


def normal(random, n, d):
    """Points of a normal distribution, some of which are centroids."""
    points = random.normal(size=(n, d))
    return points, points[:200]


def far_off(random, n, d, k=64):
    """Points far from the origin, where floats are coarse."""
    points = random.normal(size=(n, d)) + 3000
    return points, points[:k]
