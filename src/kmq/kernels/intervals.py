"""The best clusters of numbers: a shortest path over the places where they may be cut.

Clusters of sorted numbers are intervals. With a price for each cluster, the best intervals are a
shortest path from the first number to the last one. Costs obey the quadrangle inequality, so a
start of an interval that once is better than an earlier one stays better. A queue of the starts
that are still to be best takes O(n log n) steps (Galil & Giancarlo 1989); most ends move on by a
few numbers, so that it is about ten costs a number.

Sums are kept as two float64 that add up to them (Dekker 1971): a cost is the difference of sums of
squares, which one float64 loses where there are many clusters, or one number far off.
"""

from __future__ import annotations

from kmq.kernels._jit import fma, inlined, kernel


@inlined
def _plus(a, a_rest, b, b_rest):
    """Return the sum of two numbers of two parts each."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part) + (a_rest + b_rest)


@inlined
def _times(a, b, b_rest):
    """Return a · (b + b_rest) in two parts."""
    product = a * b
    return product, fma(a, b_rest, fma(a, b, -product))


@inlined
def _settled(a, a_rest):
    """Return a number of two parts with as much in the first as it holds."""
    total = a + a_rest
    return total, a_rest - (total - a)


@kernel("f8[:], f8[:], f8[:, :]")
def add_up(values, weights, out_sums):
    """Write Σ weight, Σ weight · x and Σ weight · x² of the first i numbers, in two parts each.

    `out_sums` is (n + 1, 6).
    """
    for c in range(6):
        out_sums[0, c] = 0.0
    for i in range(values.size):
        x, weight = values[i], weights[i]
        product, product_rest = _times(weight, x, 0.0)
        square, square_rest = _times(x, product, product_rest)
        last, now = out_sums[i], out_sums[i + 1]
        now[0], now[1] = _settled(*_plus(last[0], last[1], weight, 0.0))
        now[2], now[3] = _settled(*_plus(last[2], last[3], product, product_rest))
        now[4], now[5] = _settled(*_plus(last[4], last[5], square, square_rest))


@inlined
def _center(sums, sites, grid, scale, first, last):
    """Return the mean of numbers first … last - 1, or the site nearest to it, if there are sites.

    Sites are ascending; `grid` has the highest that is surely not above the nearest, for `scale`
    pieces of a unit each, from the first site on.
    """
    start, end = sums[first], sums[last]
    weight, weight_rest = _plus(end[0], end[1], -start[0], -start[1])
    total, total_rest = _plus(end[2], end[3], -start[2], -start[3])
    mean = (total + total_rest) / (weight + weight_rest)
    if sites.size == 0:
        return mean
    piece = min(max((mean - sites[0]) * scale, 0.0), grid.size - 1.0)
    site = grid[int(piece)]
    while site + 1 < sites.size and sites[site + 1] - mean < mean - sites[site]:
        site += 1
    return sites[site]


@inlined
def _cost(sums, first, last, center):
    """Return Σ weight · (x - center)² of numbers first … last - 1."""
    start, end = sums[first], sums[last]
    weight, weight_rest = _plus(end[0], end[1], -start[0], -start[1])
    total, total_rest = _plus(end[2], end[3], -start[2], -start[3])
    squares, squares_rest = _plus(end[4], end[5], -start[4], -start[5])
    inner, inner_rest = _times(center, weight, weight_rest)
    inner, inner_rest = _plus(inner, inner_rest, -2 * total, -2 * total_rest)
    outer, outer_rest = _times(center, inner, inner_rest)
    cost, cost_rest = _plus(squares, squares_rest, outer, outer_rest)
    return max(cost + cost_rest, 0.0)


@inlined
def _reached(sums, sites, grid, scale, costs, first, last):
    """Return the cost of the way to `last` whose last interval starts at `first`, less its
    price."""
    center = _center(sums, sites, grid, scale, first, last)
    return costs[first] + _cost(sums, first, last, center)


@inlined
def _is_better(sums, sites, grid, scale, costs, one, other, last):
    """Return whether an interval to `last` had better start at `one` than at the `other`."""
    to_one = _reached(sums, sites, grid, scale, costs, one, last)
    return to_one < _reached(sums, sites, grid, scale, costs, other, last)


@inlined
def _first_better(sums, sites, grid, scale, costs, one, other, worse, end):
    """Return the first place after `worse`, where it is not, at which `one` is the better start,
    or end + 1."""
    step = 1
    better = min(worse + step, end)
    while worse < end:
        if _is_better(sums, sites, grid, scale, costs, one, other, better):
            break
        worse = better
        step *= 2
        better = min(worse + step, end)
    if worse == end:
        return end + 1
    while better - worse > 1:
        middle = (worse + better) // 2
        if _is_better(sums, sites, grid, scale, costs, one, other, middle):
            better = middle
        else:
            worse = middle
    return better


@kernel("f8[:, :], f8[:], i4[:], f8, f8[:], i8[:], f8, f8[:], i4[:], i4[:, :], i8[:], f8[:], f8[:]")
def shortest_path(
    sums,
    sites,
    grid,
    scale,
    fixed,
    places,
    price,
    costs,
    origins,
    queue,
    lasts,
    out_centers,
    out_cost,
):
    """Cut numbers into intervals so that Σ weight · (x - center)² + price · intervals is least.

    Numbers may go to one of the `fixed` centers (f,), ascending, in place of an interval; `places`
    (f,) says how many numbers are at most as large as each. Write the centers of the intervals,
    the last first, and the cost without prices; return how many there are.

    `sums` are those of `add_up`; without `sites`, centers are means. `costs` (n + 1,), `origins`
    (n + 1,), `queue` (n + 1, 2) and `lasts` (f + 1,) are scratch.
    """
    n = sums.shape[0] - 1
    way = 0.0
    for part in range(fixed.size + 1):  # from one fixed center to the next
        start = places[part - 1] if part > 0 else 0
        end = places[part] if part < fixed.size else n
        costs[start] = way
        head = tail = 0
        queue[0, 0], queue[0, 1] = start, start + 1
        for j in range(start + 1, end + 1):
            while head < tail and queue[head + 1, 1] <= j:
                head += 1
            origins[j] = queue[head, 0]
            costs[j] = _reached(sums, sites, grid, scale, costs, queue[head, 0], j) + price
            if part > 0:
                alone = way + _cost(sums, start, j, fixed[part - 1])
                if alone <= costs[j]:
                    origins[j], costs[j] = -1, alone
            if j == end:
                break
            place = j + 1
            while tail >= head:
                place = max(queue[tail, 1], j + 1)
                if not _is_better(sums, sites, grid, scale, costs, j, queue[tail, 0], place):
                    break
                tail -= 1
                place = j + 1
            if tail >= head:
                place = _first_better(
                    sums, sites, grid, scale, costs, j, queue[tail, 0], place, end
                )
            if place <= end:
                tail += 1
                queue[tail, 0], queue[tail, 1] = j, place
        way = costs[end]
        lasts[part] = end
        if part < fixed.size:
            for j in range(end, start - 1, -1):
                to_fixed = costs[j] + _cost(sums, j, end, fixed[part])
                if to_fixed < way:
                    way, lasts[part] = to_fixed, j
    count = 0
    out_cost[0] = 0.0
    for part in range(fixed.size, -1, -1):
        start = places[part - 1] if part > 0 else 0
        j = lasts[part]
        if part < fixed.size:
            out_cost[0] += _cost(sums, j, places[part], fixed[part])
        while j > start and origins[j] >= 0:
            out_centers[count] = _center(sums, sites, grid, scale, origins[j], j)
            out_cost[0] += _cost(sums, origins[j], j, out_centers[count])
            count += 1
            j = origins[j]
        if j > start:
            out_cost[0] += _cost(sums, start, j, fixed[part - 1])
    return count
