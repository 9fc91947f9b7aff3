"""A plain, slow decoder of palette method 2, written from FORMAT.md, section "P: palette".

It uses nothing of kmq and no NumPy, and raises ValueError for anything that breaks a rule.
"""

ORDERS = {1: [0], 2: [1, 0], 3: [1, 0, 2], 4: [3, 1, 0, 2]}


class RangeDecoder:
    def __init__(self, coded):
        self.coded = coded
        self.taken = 0
        self.range = 2**32
        self.code = 0
        for _ in range(4):
            self.code = 256 * self.code + self.next_byte()

    def next_byte(self):
        self.taken += 1
        return self.coded[self.taken - 1] if self.taken <= len(self.coded) else 0

    def refill(self):
        while self.range < 2**24:
            self.range *= 256
            self.code = 256 * self.code + self.next_byte()

    def choose(self, counts):
        border = self.range // sum(counts) * counts[0]
        if self.code < border:
            outcome = 0
            self.range = border
        else:
            outcome = 1
            self.code -= border
            self.range -= border
        self.refill()
        counts[outcome] += 1
        if sum(counts) > 255:
            counts[:] = [(count + 1) // 2 for count in counts]
        return outcome

    def equal_values(self, m):
        share = self.range // m
        value = min(self.code // share, m - 1)
        self.code -= value * share
        self.range = self.range - value * share if value == m - 1 else share
        self.refill()
        return value


class Tree:
    def __init__(self, coded, channels, sample_size):
        self.decoder = RangeDecoder(coded)
        self.order = ORDERS[channels]
        self.key_bits = 8 * sample_size * channels
        self.lead = 1 if channels >= 3 else 0
        self.by_size = {}
        self.by_guess = {}
        self.keys = []

    def bits_of(self, prefix, channel):
        """Return the bits of a channel that a prefix, a list of bits, has so far."""
        return prefix[self.order.index(channel) :: len(self.order)]

    def guess(self, prefix):
        """Return 0, 1 or "none" as the guess of the bit after the prefix, or None for no guess."""
        place = len(prefix) % len(self.order)
        channel = self.order[place]
        lead_place = self.order.index(self.lead)
        own, leading = self.bits_of(prefix, channel), self.bits_of(prefix, self.lead)
        if place > lead_place:
            return leading[-1] if own == leading[:-1] else None
        if place == lead_place:
            return None
        if not own:
            return "none"
        return own[0] if len(set(own)) == 1 else None

    def decode_node(self, prefix, n):
        if len(prefix) == self.key_bits:
            self.keys += [prefix] * n
            return
        guess = self.guess(prefix)
        if n >= 2:
            counts = self.by_size.setdefault((min(n, 4), guess is None), [2, 4])
            if self.decoder.choose(counts) == 1:
                with_zero = self.decoder.equal_values(n - 1) + 1
                self.decode_node([*prefix, 0], with_zero)
                self.decode_node([*prefix, 1], n - with_zero)
                return
        if guess is None:
            bit = self.decoder.equal_values(2)
        else:
            channel = self.order[len(prefix) % len(self.order)]
            bit = self.decoder.choose(self.by_guess.setdefault((channel, guess), [2, 2]))
        self.decode_node([*prefix, bit], n)


def decode_entries(coded, n_colors, channels, sample_size):
    """Return the entries as tuples of samples."""
    tree = Tree(coded, channels, sample_size)
    tree.decode_node([], n_colors)
    if tree.decoder.taken < len(coded):
        raise ValueError("bytes after the palette")
    entries = []
    for key in tree.keys:
        columns = [tree.bits_of(key, channel) for channel in range(channels)]
        entries.append(tuple(int("".join(map(str, column)), 2) for column in columns))
    return entries
