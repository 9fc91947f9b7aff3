"""A plain, slow decoder of strips coded by method 1, written from FORMAT.md alone.

It follows the section "Method 1: rank" paragraph by paragraph, uses nothing of kmq and no NumPy,
and raises ValueError for anything that breaks a rule.
"""

from functools import lru_cache

FIRST_VALUES = [22, 5, 2, 2, 2, 2, 2, 2, 8]
SECOND_VALUES = [8, 8]
WEIGHTS = [0, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448, 2048, 2896, 4096]
WEIGHTS += [5793, 8192, 11585, 16384, 23170, 32768, 46341, 65536, 92682, 131072, 185364, 262144]
WEIGHTS += [370728, 524288]


def demand(condition, message):
    if not condition:
        raise ValueError(message)


def decode_strip(coded, height, width, palette, sample_bytes=1):
    """Return rows of indices; the palette is a list of tuples of samples."""
    demand(len(palette) <= 256, "palette too large")
    demand(len(coded) >= fewest_bytes(height * width), "coded indices too short")
    bits = Bits(coded)
    first = Tables(bits, FIRST_VALUES, 4, [5, 2, 0, 0, 0, 0, 0, 0, 3], 255, 14, 6, False)
    n_tokens = token_of(len(palette) - 2) + 1 if len(palette) > 1 else 1
    second = Tables(bits, SECOND_VALUES, 1, [3, 3], 32, 12, n_tokens, True)
    demand(bits.take(-bits.position % 8) == 0, "filling bits")
    symbols = Symbols(coded[bits.position // 8 :])
    rows = Strip(height, width, palette, sample_bytes, first, second, symbols).decode()
    symbols.end()
    return rows


def fewest_bytes(n_pixels):
    return 10 + 2 * max(0, -(-n_pixels // 46400) - 2)


def token_of(rank):
    """Invert the rule that says which ranks a token stands for."""
    if rank <= 15:
        return rank
    for token in range(16, 24):
        n = (token - 10) // 2
        if (2 + token % 2) * 2**n <= rank < (2 + token % 2) * 2**n + 2**n:
            return token
    raise ValueError("rank too large")


class Bits:
    def __init__(self, coded):
        self.coded = coded
        self.position = 0

    def take(self, count):
        number = 0
        for _ in range(count):
            demand(self.position < 8 * len(self.coded), "tables end early")
            byte = self.coded[self.position // 8]
            number = 2 * number + byte // 2 ** (7 - self.position % 8) % 2
            self.position += 1
        return number


class Tables:
    """Tree and shares of one alphabet."""

    def __init__(
        self, bits, values, variable_bits, threshold_bits, most, scale, n_symbols, differences
    ):
        self.n_leaves = 0

        def node(ranges):
            if bits.take(1) == 0:
                self.n_leaves += 1
                demand(self.n_leaves <= most, "too many leaves")
                return self.n_leaves - 1
            variable = bits.take(variable_bits)
            demand(variable < len(values), "no such variable")
            threshold = bits.take(threshold_bits[variable])
            low, high = ranges[variable]
            demand(low <= threshold and threshold + 1 <= high, "threshold out of range")
            lower = node({**ranges, variable: (low, threshold)})
            upper = node({**ranges, variable: (threshold + 1, high)})
            return variable, threshold, lower, upper

        self.tree = node({number: (0, count - 1) for number, count in enumerate(values)})
        self.scale = scale
        self.shares = []
        sums = [0] * n_symbols
        for leaf in range(self.n_leaves):
            codes = []
            last = 31
            for symbol in range(n_symbols):
                code = 0
                if bits.take(1) == 1:
                    r = 0
                    while (leaf + 2) * 2**r < 16 + sums[symbol]:
                        r += 1
                    q = 0
                    while bits.take(1) == 1:
                        q += 1
                        demand(q <= 62, "q too large")
                    v = q * 2**r + bits.take(r)
                    sums[symbol] += v
                    if not differences:
                        code = 31 - v
                    elif v % 2 == 0:
                        code = last - v // 2
                    else:
                        code = last + (v + 1) // 2
                    demand(1 <= code <= 31, "code out of range")
                    last = code
                codes.append(code)
            self.shares.append(shares_of(codes, scale))

    def of(self, context):
        """Return the shares for a context."""
        node = self.tree
        while isinstance(node, tuple):
            variable, threshold, lower, upper = node
            node = lower if context[variable] <= threshold else upper
        return self.shares[node]


def shares_of(codes, scale):
    weights = [WEIGHTS[code] for code in codes]
    total = sum(weights)
    shares = [1] * len(codes)
    if total > 0:
        shares = [1 + weight * (2**scale - len(codes)) // total for weight in weights]
    shares[weights.index(max(weights))] += 2**scale - sum(shares)
    return shares


class Symbols:
    """The two states and the words."""

    def __init__(self, coded):
        demand(len(coded) >= 8 and len(coded) % 2 == 0, "states or words end early")
        self.states = [int.from_bytes(coded[at : at + 4], "little") for at in (0, 4)]
        demand(min(self.states) >= 65536, "state too small")
        self.words = [
            int.from_bytes(coded[at : at + 2], "little") for at in range(8, len(coded), 2)
        ]
        self.words.reverse()
        self.turn = 0

    def take(self, shares, scale):
        x = self.states[self.turn]
        v = x % 2**scale
        start = 0
        symbol = 0
        while v >= start + shares[symbol]:
            start += shares[symbol]
            symbol += 1
        x = shares[symbol] * (x // 2**scale) + v - start
        if x < 65536:
            demand(self.words, "words end early")
            x = x * 65536 + self.words.pop()
        self.states[self.turn] = x
        self.turn = 1 - self.turn
        return symbol

    def end(self):
        demand(not self.words and self.states == [65536, 65536], "words do not end with the pixels")


class Colors:
    """The entries of a palette: how far they are from each other, and each one's list."""

    def __init__(self, palette, sample_bytes):
        self.samples = [[s // 256 if sample_bytes == 2 else s for s in entry] for entry in palette]
        self.lists = {}
        self.distances = {}

    def distance(self, a, b):
        if (a, b) not in self.distances:
            one, other = self.samples[a], self.samples[b]
            total = sum(abs(p - q) for p, q in zip(one, other, strict=True))
            self.distances[a, b] = 3 * total // len(one)
        return self.distances[a, b]

    def others(self, a):
        if a not in self.lists:
            others = (b for b in range(len(self.samples)) if b != a)
            self.lists[a] = sorted(others, key=lambda b: (self.distance(a, b), b))
        return self.lists[a]


colors_of = lru_cache(maxsize=4)(Colors)  # strips of a file have one palette


class Strip:
    def __init__(self, height, width, palette, sample_bytes, first, second, symbols):
        self.height, self.width = height, width
        self.first, self.second, self.symbols = first, second, symbols
        self.colors = colors_of(tuple(palette), sample_bytes)
        self.lists = {}
        self.rows = []

    def level(self, a, b):
        return sum(bound <= self.colors.distance(a, b) for bound in (11, 20, 34, 59, 102, 178, 300))

    def at(self, y, x):
        if y < 0:
            return 0
        if x < 0:
            return self.at(y - 1, 0)
        return self.rows[y][min(x, self.width - 1)]

    def decode(self):
        b = min(16, max(8, (self.height * self.width - 1).bit_length()))
        narrow_memory, wide_memory, pairs = {}, {}, {}  # slot: [check, index, trust]
        missed = 0
        for y in range(self.height):
            self.rows.append([])
            for x in range(self.width):
                at = self.at
                w, ww, www = at(y, x - 1), at(y, x - 2), at(y, x - 3)
                nww, nw, n = at(y - 1, x - 2), at(y - 1, x - 1), at(y - 1, x)
                ne, nee = at(y - 1, x + 1), at(y - 1, x + 2)
                nnw, nn, nne, nnee = (at(y - 2, x + step) for step in (-1, 0, 1, 2))
                narrow_key = (
                    (256 * nw + n) * 0x9E3779B1
                    + (256 * ne + nee) * 0x85EBCA77
                    + (256 * nn + nne) * 0xC2B2AE3D
                    + (256 * ww + w) * 0x27D4EB2F
                )
                wide_key = (
                    narrow_key
                    + nnw * 0x165667B1
                    + nnee * 0xD3A2646D
                    + (256 * www + nww) * 0xFD7046C5
                )
                assert wide_key < 2**53
                slots = []
                for memory, key in ((wide_memory, wide_key), (narrow_memory, narrow_key)):
                    number = key // 2 ** (32 - b) % 2**b
                    check = key // 2 ** (24 - b) % 256
                    slots.append((memory.setdefault(number, [0, 0, 0]), check))
                slots.append((pairs.setdefault((w, n), [0, 0, 0]), 0))
                guess, trusted = w, 0
                for (slot, check), more in zip(slots, (14, 0, 7), strict=True):
                    if slot[2] > 0 and slot[0] == check:
                        guess, trusted = slot[1], slot[2] + more
                        break
                activity = max(self.level(w, n), self.level(n, ne), self.level(w, nw))
                source = next((i for i, entry in enumerate((w, n, ne, nw), 1) if entry == guess), 0)
                context = [trusted, source, w == n, n == ne, w == nw, w == ne, ne == nee, missed]
                shares = self.first.of([*context, activity])
                symbol = self.symbols.take(shares, self.first.scale)
                if symbol == 0:
                    index = guess
                else:
                    index = self.other(symbol, w, n, ne, nw, ww, nn, guess, activity)
                missed = int(symbol != 0)
                for slot, check in slots:
                    learn(slot, check, index)
                self.rows[y].append(index)
        return self.rows

    def other(self, symbol, w, n, ne, nw, ww, nn, guess, activity):
        """Return the index of a pixel that is not the guess, and move it up its list."""
        distance = self.colors.distance
        across = distance(w, nw) + distance(n, nn)
        along = distance(w, ww) + distance(n, nw)
        anchor = n if across < along else w
        if anchor not in self.lists:
            self.lists[anchor] = list(self.colors.others(anchor))
        entries = self.lists[anchor]
        if symbol < 5:
            index = (w, n, ne, nw)[symbol - 1]
        else:
            places = [entries.index(entry) for entry in (w, n, ne, nw) if entry != anchor]
            crowd = max(places, default=0)
            level = sum(bound <= crowd for bound in (2, 4, 7, 11, 17, 26, 51))
            rank = self.symbols.take(self.second.of([activity, level]), 12)
            if rank > 15:
                count = (rank - 10) // 2
                plain = self.symbols.take([2 ** (12 - count)] * 2**count, 12)
                rank = (2 + rank % 2) * 2**count + plain
            left = [entry for entry in entries if entry not in (w, n, ne, nw, guess)]
            demand(rank < len(left), "rank beyond the list")
            index = left[rank]
        if index != anchor:
            place = entries.index(index)
            other = 7 * place // 8
            entries[place], entries[other] = entries[other], entries[place]
        return index


def learn(slot, check, index):
    if slot[2] == 0 or slot[0] != check:
        slot[:] = [check, index, 1]
    elif slot[1] == index:
        slot[2] = min(7, slot[2] + 1)
    elif slot[2] > 1:
        slot[2] //= 2
    else:
        slot[1] = index
