"""Method "rank": trees that put contexts together whose symbols are spread alike."""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel


@inlined
def _information(count, logarithms):
    """count · log2(count) in units of 2^-16 bit; `logarithms` are those of 1 to 4,096."""
    shift = np.int64(0)
    while count >> shift > 4095:
        shift += 1
    at = count >> shift
    low = np.int64(logarithms[at])
    if shift:
        rest = count - (at << shift)
        low += (shift << 16) + ((np.int64(logarithms[at + 1]) - low) * rest >> shift)
    return count * low


@inlined
def _best_split(tally, radices, logarithms, least, totals, below):
    """Return the variable and threshold that save most bits above `least`, and what they save.

    The variable is -1 if none does. `totals` and `below` are memory to work in.
    """
    n_symbols = len(totals)
    for symbol in range(n_symbols):
        totals[symbol] = 0
        for row in range(radices[0]):
            totals[symbol] += tally[row, symbol]
    total = np.int64(0)
    base = np.int64(0)
    for symbol in range(n_symbols):
        total += totals[symbol]
        base -= _information(totals[symbol], logarithms)
    base += _information(total, logarithms)
    most = np.int64(least)
    best_variable = -1
    best_threshold = 0
    if base <= least:
        return best_variable, best_threshold, most
    row = 0
    for variable in range(len(radices)):
        passed = np.int64(0)
        for value in range(radices[variable]):
            before = passed
            for symbol in range(n_symbols):
                count = tally[row, symbol]
                passed += count
                below[symbol] = count + below[symbol] if value else count
            row += 1
            if passed in (before, total):
                continue
            saved = base - _information(passed, logarithms)
            saved -= _information(total - passed, logarithms)
            for symbol in range(n_symbols):
                saved += _information(below[symbol], logarithms)
                saved += _information(totals[symbol] - below[symbol], logarithms)
            if saved > most:
                most = saved
                best_variable = variable
                best_threshold = value
    return best_variable, best_threshold, most


def tree_scratch(
    n_contexts: int, n_symbols: int, radices: list[int], max_leaves: int
) -> tuple[tuple[tuple[int, ...], type], ...]:
    """Return shapes and types of the arrays that `grow_tree` works in."""
    width = sum(radices)
    return (
        ((max_leaves, width, n_symbols), np.int64),
        ((width, n_symbols), np.int64),
        ((n_contexts,), np.int64),
        ((n_contexts,), np.int64),
        ((n_contexts, len(radices)), np.uint8),
        ((2, n_symbols), np.int64),
        ((6, max_leaves), np.int64),
        ((2 * max_leaves, 3), np.int64),
    )


@kernel(
    "u4[:, :], u1[:], i8[:], i8[:], i8, scratch, i8[:, :], i8[:, :]",
    scratch="(i8[:, :, :], i8[:, :], i8[:], i8[:], u1[:, :], i8[:, :], i8[:, :], i8[:, :])",
)
def grow_tree(counts, seen, radices, logarithms, price, scratch, out_nodes, out_tables):
    """Split contexts (n, symbols) by the digits of their numbers as long as that saves bits.

    The split that saves most comes first, until none saves more than `price` (in 2^-16 bit) or
    there are as many leaves as `out_tables` (leaves, symbols) takes counts of. `out_nodes`
    (2 · leaves, 2): variable and threshold of each node in preorder, variable -1 for a leaf.
    Returns the number of nodes. A leaf has a tally: the counts of each value of each variable. It
    is the parent's less the sibling's, so that only the smaller sibling is counted.

    Of contexts that are not `seen` there are no counts. At the end there are none of any, as before
    the first strip. `scratch` is arrays as `tree_scratch` says.
    """
    n_contexts, n_symbols = counts.shape
    n_variables = len(radices)
    max_leaves = len(out_tables)
    # `contexts` are those that occur, each leaf's side by side; `rows` those of the tally that a
    # context counts in. A leaf: its contexts, its node, and the split it would like. A node:
    # variable and threshold, and its lower child (the upper is next) or its leaf.
    tallies, part, contexts, spare, rows, sums, leaves, nodes = scratch
    totals, below = sums[0], sums[1]
    begins, ends, homes = leaves[0], leaves[1], leaves[2]
    variables, thresholds, savings = leaves[3], leaves[4], leaves[5]
    width = len(part)
    for row in range(width):
        for symbol in range(n_symbols):
            tallies[0, row, symbol] = 0
    n_occurring = 0
    for context in range(n_contexts):
        if not seen[context]:
            continue
        seen[context] = 0
        contexts[n_occurring] = context
        n_occurring += 1
        rest = context
        row = width
        for variable in range(n_variables - 1, -1, -1):
            row -= radices[variable]
            rows[context, variable] = row + rest % radices[variable]
            rest //= radices[variable]
            for symbol in range(n_symbols):
                tallies[0, rows[context, variable], symbol] += counts[context, symbol]
    for node in range(2 * max_leaves):
        nodes[node, 0] = -1
        nodes[node, 1] = -1
    begins[0] = 0
    homes[0] = 0
    nodes[0, 2] = 0
    ends[0] = n_occurring
    n_nodes = 1
    n_leaves = 1
    fresh = 0
    while True:
        for leaf in (fresh, n_leaves - 1):
            variables[leaf], thresholds[leaf], savings[leaf] = _best_split(
                tallies[leaf], radices, logarithms, price, totals, below
            )
        fresh = -1
        for leaf in range(n_leaves):
            if variables[leaf] >= 0 and (fresh < 0 or savings[leaf] > savings[fresh]):
                fresh = leaf
        if fresh < 0 or n_leaves == max_leaves:
            break
        home = homes[fresh]
        nodes[home, 0] = variables[fresh]
        nodes[home, 1] = thresholds[fresh]
        nodes[home, 2] = n_nodes
        nodes[n_nodes, 2] = n_leaves
        nodes[n_nodes + 1, 2] = fresh
        homes[n_leaves] = n_nodes
        homes[fresh] = n_nodes + 1
        n_nodes += 2
        row = thresholds[fresh]
        for variable in range(variables[fresh]):
            row += radices[variable]
        begin = begins[fresh]
        end = ends[fresh]
        middle = begin
        n_spare = 0
        for at in range(begin, end):
            context = contexts[at]
            if rows[context, variables[fresh]] <= row:
                contexts[middle] = context
                middle += 1
            else:
                spare[n_spare] = context
                n_spare += 1
        for at in range(n_spare):
            contexts[middle + at] = spare[at]
        begins[n_leaves] = begin
        ends[n_leaves] = middle
        begins[fresh] = middle
        lower_counts = middle - begin <= n_spare
        for row in range(width):
            for symbol in range(n_symbols):
                part[row, symbol] = 0
        for at in range(begin if lower_counts else middle, middle if lower_counts else end):
            context = contexts[at]
            for variable in range(n_variables):
                for symbol in range(n_symbols):
                    part[rows[context, variable], symbol] += counts[context, symbol]
        for row in range(width):
            for symbol in range(n_symbols):
                rest = tallies[fresh, row, symbol] - part[row, symbol]
                tallies[n_leaves, row, symbol] = part[row, symbol] if lower_counts else rest
                tallies[fresh, row, symbol] = rest if lower_counts else part[row, symbol]
        n_leaves += 1
    for at in range(n_occurring):
        for symbol in range(n_symbols):
            counts[contexts[at], symbol] = 0
    # In preorder; `ends` serves as the stack.
    ends[0] = 0
    depth = 1
    n_leaves = 0
    for place in range(n_nodes):
        depth -= 1
        node = ends[depth]
        out_nodes[place, 0] = nodes[node, 0]
        out_nodes[place, 1] = nodes[node, 1]
        if nodes[node, 0] >= 0:
            ends[depth] = nodes[node, 2] + 1
            ends[depth + 1] = nodes[node, 2]
            depth += 2
            continue
        for symbol in range(n_symbols):
            out_tables[n_leaves, symbol] = 0
            for row in range(radices[0]):
                out_tables[n_leaves, symbol] += tallies[nodes[node, 2], row, symbol]
        n_leaves += 1
    return n_nodes
