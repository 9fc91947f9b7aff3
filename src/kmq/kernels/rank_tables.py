"""Method "rank": trees and tables of shares as bits, and back: FORMAT.md, "Layout"."""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel

TOP_CODE = 31
TRUNCATED, BAD_TABLES = -1, -2  # as in `rank`


@inlined
def _write(stream, at, value, bits):
    """Append `bits` bits of `value`, highest first; return the next bit's number."""
    for bit in range(bits - 1, -1, -1):
        if (value >> bit) & 1:
            stream[at >> 3] |= 0x80 >> (at & 7)
        at += 1
    return at


@inlined
def _read(stream, at, bits):
    """Read `bits` bits, highest first; bits beyond the end are 0."""
    value = np.int64(0)
    for bit in range(at, at + bits):
        value <<= 1
        if bit >> 3 < len(stream):
            value |= (np.int64(stream[bit >> 3]) >> (7 - (bit & 7))) & 1
    return value


@inlined
def _width(span):
    """Bits of a number from 0 to `span`."""
    bits = 0
    while span >> bits:
        bits += 1
    return bits


@inlined
def _rice(total, count):
    """Parameter for numbers whose `count` predecessors sum to `total`."""
    parameter = 0
    while count << parameter < total:
        parameter += 1
    return parameter


@inlined
def _code_of(count, largest, weights):
    """Return the code whose weight is nearest to 65,536 · count / largest."""
    if count == 0:
        return 0
    wanted = count * weights[TOP_CODE] // largest
    code = 1
    while code < TOP_CODE and wanted * 2 > weights[code] + weights[code + 1]:
        code += 1
    return code


@kernel("i8[:, :], i8[:, :], i8[:], i8[:], b1, i8, i8[:], u1[:]")
def write_tables(nodes, tables, radices, weights, smooth, at, sums, out_stream):
    """Write tree and tables of one alphabet from bit `at` on; return the next bit's number.

    `sums` (symbols,) int64 is scratch.
    """
    n_variables = len(radices)
    n_nodes = len(nodes)
    n_symbols = tables.shape[1]
    for node in range(n_nodes):
        variable = nodes[node, 0]
        at = _write(out_stream, at, np.int64(variable >= 0), 1)
        if variable >= 0:
            at = _write(out_stream, at, variable, _width(n_variables - 1))
            at = _write(out_stream, at, nodes[node, 1], _width(radices[variable] - 2))
    for symbol in range(n_symbols):
        sums[symbol] = 0
    for leaf in range((n_nodes + 1) // 2):
        largest = np.int64(1)
        for symbol in range(n_symbols):
            largest = max(largest, tables[leaf, symbol])
        before = TOP_CODE
        for symbol in range(n_symbols):
            code = _code_of(tables[leaf, symbol], largest, weights)
            at = _write(out_stream, at, np.int64(code > 0), 1)
            if code == 0:
                continue
            value = TOP_CODE - code
            if smooth:
                value = 2 * (before - code) if code <= before else 2 * (code - before) - 1
                before = code
            parameter = _rice(sums[symbol] + 16, leaf + 2)
            for _ in range(value >> parameter):
                at = _write(out_stream, at, np.int64(1), 1)
            at = _write(out_stream, at, np.int64(0), 1)
            at = _write(out_stream, at, value & ((1 << parameter) - 1), parameter)
            sums[symbol] += value
    return at


@kernel("u1[:], i8, i8[:], i8[:], b1, i8, i8[:, :, :], i8[:], i8[:], u1[:], i4[:, :], u1[:, :]")
def read_tables(
    stream, at, radices, weights, smooth, scale_bits, spans, digits, sums, out_leaves, out_bounds,
    out_symbols,
):  # fmt: skip
    """Read what `write_tables` wrote; return the next bit's number, or a negative status.

    `out_leaves`: for each context its leaf; `out_bounds` (most leaves, symbols + 1): where each
    symbol's share of 2^scale_bits begins; `out_symbols` (most leaves, 2^scale_bits), or empty:
    whose share each value belongs to. Any bytes give tables that hold, or a status.

    `spans` (2, most leaves + 1, variables), `digits` (variables,) and `sums` (symbols,), int64, are
    scratch.
    """
    n_variables = len(radices)
    max_leaves = len(out_bounds)
    n_symbols = out_bounds.shape[1] - 1
    lows, highs = spans[0], spans[1]
    for variable in range(n_variables):
        lows[0, variable] = 0
        highs[0, variable] = radices[variable] - 1
    depth = 1
    n_leaves = 0
    while depth:
        depth -= 1
        split = _read(stream, at, 1)
        at += 1
        if split:
            variable = _read(stream, at, _width(n_variables - 1))
            at += _width(n_variables - 1)
            if variable >= n_variables or n_leaves + depth + 2 > max_leaves:
                return BAD_TABLES
            threshold = _read(stream, at, _width(radices[variable] - 2))
            at += _width(radices[variable] - 2)
            if threshold < lows[depth, variable] or threshold >= highs[depth, variable]:
                return BAD_TABLES
            for other in range(n_variables):
                lows[depth + 1, other] = lows[depth, other]
                highs[depth + 1, other] = highs[depth, other]
            highs[depth + 1, variable] = threshold
            lows[depth, variable] = threshold + 1
            depth += 2
            continue
        for variable in range(n_variables):
            digits[variable] = lows[depth, variable]
        last = n_variables - 1  # those after it have all their values, and contexts are in a row
        size = np.int64(1)
        while last > 0 and highs[depth, last] - lows[depth, last] == radices[last] - 1:
            size *= radices[last]
            last -= 1
        size *= highs[depth, last] - lows[depth, last] + 1
        digit = 0
        while digit >= 0:
            context = np.int64(0)
            for variable in range(n_variables):
                context = context * radices[variable] + digits[variable]
            for step in range(size):  # unsigned: one memset
                out_leaves[np.uint64(context + step)] = n_leaves
            digit = last - 1
            while digit >= 0 and digits[digit] == highs[depth, digit]:
                digits[digit] = lows[depth, digit]
                digit -= 1
            if digit >= 0:
                digits[digit] += 1
        n_leaves += 1
    for symbol in range(n_symbols):
        sums[symbol] = 0
    for leaf in range(n_leaves):
        before = TOP_CODE
        total = np.int64(0)
        favourite = 0
        for symbol in range(n_symbols):
            code = np.int64(0)
            if _read(stream, at, 1):
                parameter = _rice(sums[symbol] + 16, leaf + 2)
                value = np.int64(0)
                at += 1
                while _read(stream, at, 1):
                    value += 1
                    at += 1
                    if value > 2 * TOP_CODE:
                        return BAD_TABLES
                value = value << parameter | _read(stream, at + 1, parameter)
                at += parameter
                sums[symbol] += value
                code = TOP_CODE - value
                if smooth:
                    code = before - (value >> 1) if value & 1 == 0 else before + (value + 1 >> 1)
                    before = code
                if code < 1 or code > TOP_CODE:
                    return BAD_TABLES
            at += 1
            out_bounds[leaf, symbol + 1] = weights[code]
            total += weights[code]
            if weights[code] > out_bounds[leaf, favourite + 1]:
                favourite = symbol
        spread = (1 << scale_bits) - n_symbols
        rest = spread
        for symbol in range(n_symbols):
            share = np.int64(0)
            if total:
                share = np.int64(out_bounds[leaf, symbol + 1]) * spread // total
            out_bounds[leaf, symbol + 1] = share + 1
            rest -= share
        out_bounds[leaf, favourite + 1] += rest
        out_bounds[leaf, 0] = 0
        for symbol in range(n_symbols):
            start = out_bounds[leaf, symbol]
            out_bounds[leaf, symbol + 1] += start
            if len(out_symbols):
                for value in range(start, out_bounds[leaf, symbol + 1]):
                    out_symbols[leaf, value] = symbol
    return at if at <= 8 * len(stream) else TRUNCATED
