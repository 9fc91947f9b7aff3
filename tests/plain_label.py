"""A plain, slow decoder of strip method 3, written from FORMAT.md, section "Method 3: label".

It uses nothing of kmq and no NumPy, and raises ValueError for coded bytes that break a rule.
"""

from functools import lru_cache

from plain_mix import REACH, clamp, curves, demand, hashed


def fewest_bytes(n_pixels, n_colors):
    return 0 if n_colors == 1 else max(0, n_pixels // 65536 - 4)


squash_and_stretch = lru_cache(curves)


class Slot:
    def __init__(self, most):
        self.chance = 2**21
        self.count = 0
        self.most = most

    def learn(self, bit):
        goal = 4194303 if bit else 31
        rate = 163840 // (10 * self.count + 16)
        self.chance += (((goal - self.chance) >> 5) * rate) >> 9
        self.count = min(self.count + 1, self.most)


class Coder:
    def __init__(self, coded):
        self.coded = coded
        self.low = 0
        self.high = 2**32 - 1
        self.code = 0
        self.position = 0
        for _ in range(4):
            self.code = 256 * self.code + self.next_byte()

    def next_byte(self):
        self.position += 1
        return self.coded[self.position - 1] if self.position <= len(self.coded) else 0

    def decide(self, chance):
        border = self.low + (((self.high - self.low) * chance) >> 16)
        bit = int(self.code <= border)
        if bit:
            self.high = border
        else:
            self.low = border + 1
        while self.low >> 24 == self.high >> 24:
            self.low = self.low * 256 % 2**32
            self.high = self.high * 256 % 2**32 + 255
            self.code = self.code * 256 % 2**32 + self.next_byte()
        demand(self.position <= len(self.coded) + 4, "coded bytes end too early")
        return bit


class Strip:
    def __init__(self, coded, rows, width, n_colors):
        self.coder = Coder(coded)
        self.width = width
        self.n_colors = n_colors
        self.bits = clamp((rows * width - 1).bit_length(), 8, 16)
        self.tables = [{} for _ in range(5)]  # slots come to be when they are first used
        self.flat = [Slot(255) for _ in range(32)]
        self.plain = {}
        self.weights = {}
        self.highest = 0
        self.rows = []

    def at(self, y, x):
        """What stands at a place, within the strip or not."""
        if x < 0:
            return self.at(y - 1, 0) if y >= 0 else 0
        if y < 0:
            return 0
        return self.rows[y][min(x, self.width - 1)]

    def decode_pixel(self, y, x):
        def near(up, right):
            return self.at(y - up, x + right)

        w, n, ne, nw = near(0, -1), near(1, 0), near(1, 1), near(1, -1)
        others = [(1, 2), (1, -2), (0, -2), (2, 0), (2, 1), (2, -1)]
        flat = all(w == other for other in [n, ne, nw, *(near(*place) for place in others)])
        if flat:
            d = 0
            while d < 31 and near(1, d + 1) == n:
                d += 1
            slot = self.flat[d]
            bit = self.coder.decide(clamp(slot.chance // 64, 24, 65528))
            slot.learn(bit)
            if bit:
                return w

        neighbours = [w, n, ne, nw]

        def roles(*places):
            number = 0
            for place in places:
                index = near(*place)
                role = neighbours.index(index) if index in neighbours else 4
                number = 5 * number + role
            return number

        key = 64 * roles((0, -2), (2, 0), (1, 2)) + (w == n) + 2 * (w == ne) + 4 * (w == nw)
        keys = [key + 8 * (n == ne) + 16 * (n == nw) + 32 * (ne == nw)]
        keys.append(hashed(keys[0], roles((1, -2), (2, -1), (2, 1), (0, -3))))
        wider = roles((2, 2), (1, -3), (3, 0), (1, 3), (2, -2), (3, 1))
        keys.append(hashed(keys[1], wider))
        keys.append(hashed(keys[2], roles((3, 2), (3, -2), (1, 4), (2, 3), (2, -3))))
        keys.append(hashed(7, w, n, ne, nw, near(1, 2)))

        ahead = [near(1, c) for c in range(2, 32) if near(1, c) not in neighbours]
        guesses = [None if flat else w]
        guesses += [None if v in neighbours[:i] else v for i, v in enumerate(neighbours) if i]
        guesses.append(ahead[0] if ahead else None)
        guesses.append(self.highest + 1 if self.highest + 1 < self.n_colors else None)
        for step, guess in enumerate(guesses):
            if guess is not None and self.take_step(keys, step):
                return guess
        return self.plain_index()

    def take_step(self, keys, step):
        squash, stretch = squash_and_stretch()
        slots = []
        for table, key in zip(self.tables, keys, strict=True):
            place = hashed(key, step) * 742039 % 2**32 >> (32 - self.bits)
            slots.append(table.setdefault(place, Slot(127)))
        logits = [stretch[slot.chance // 1024] for slot in slots] + [256]
        known = [(s.count > 0) + (s.count > 3) + (s.count > 15) for s in slots]
        vector = 64 * step + 16 * known[1] + 4 * known[2] + known[3]
        weights = self.weights.setdefault(vector, [24576] * 5 + [0])
        total = sum(logit * weight for logit, weight in zip(logits, weights, strict=True))
        chance = squash[clamp(total >> 16, -REACH, REACH)]
        bit = self.coder.decide(clamp(chance, 24, 65512))
        error = (65535 if bit else 0) - chance
        for i, logit in enumerate(logits):
            changed = weights[i] + ((logit * error + 8192) >> 14)
            weights[i] = clamp(changed, -(2**21), 2**21)
        for slot in slots:
            slot.learn(bit)
        return bit

    def plain_index(self):
        index, node = 0, 1
        for _ in range((self.n_colors - 1).bit_length()):
            if node < 4096:
                slot = self.plain.setdefault(node, Slot(255))
                bit = self.coder.decide(clamp(slot.chance // 64, 24, 65512))
                slot.learn(bit)
            else:
                bit = self.coder.decide(32768)
            index, node = 2 * index + bit, 2 * node + bit
        demand(index < self.n_colors, "index")
        return index


def decode_strip(coded, rows, width, palette, sample_bytes):
    """Return rows of indices."""
    n_colors = len(palette)
    if n_colors == 1:
        demand(coded == b"", "coded bytes for one colour")
        return [[0] * width for _ in range(rows)]
    strip = Strip(coded, rows, width, n_colors)
    for y in range(rows):
        strip.rows.append([])
        for x in range(width):
            # Its own row has no columns to the right yet, and none is asked for.
            index = strip.decode_pixel(y, x)
            strip.rows[y].append(index)
            strip.highest = max(strip.highest, index)
    demand(len(coded) <= strip.coder.position, "bytes are left")
    return strip.rows
