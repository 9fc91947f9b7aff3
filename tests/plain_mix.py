"""A plain, slow decoder of strip method 2, written from FORMAT.md, section "Method 2: mix".

It uses nothing of kmq and no NumPy, and raises ValueError for coded bytes that break a rule.
"""

from functools import lru_cache
from operator import mul

REACH = 2815
LANES = 16
MASK = 2**32 - 1


def demand(condition, message):
    if not condition:
        raise ValueError(message)


def clamp(value, low, high):
    return low if value < low else high if value > high else value


def hashed(first, *values):
    for value in values:
        mixed = (first + value) % 2**32 * 648117
        assert mixed < 2**53
        first = mixed % 2**32
        first ^= first >> 15
    return first


def curves():
    falling = [2**26]
    for _ in range(REACH):
        falling.append((falling[-1] * 16711808 + 2**23) >> 24)
    upper = [(2**42 + (2**26 + e) // 2) // (2**26 + e) for e in falling]
    squash = {j: upper[j] if j >= 0 else 65536 - upper[-j] for j in range(-REACH, REACH + 1)}
    stretch = []
    j = -REACH
    for i in range(4096):
        while j < REACH and squash[j] < 16 * i + 8:
            j += 1
        stretch.append(j)
    stretch[2048] = 0
    return squash, stretch


def rate(count, is_hashed):
    return 512 if is_hashed and count == 15 else 163840 // (10 * count + 16)


class Tree:
    def __init__(self, palette, sample_bytes):
        self.k = len(palette)
        self.shades = []
        for entry in palette:
            shade = [sample * 16 if sample_bytes == 1 else sample // 16 for sample in entry]
            self.shades.append(shade + [0] * (4 - len(shade)))
        self.leaves = list(range(self.k))
        self.children = {}
        self.depths = {0: 0}
        self.planes = {0: ([0] * 4, 0)}
        self.root = (self.k + 1) // 2
        segments = [(0, self.k, 0)]
        while segments:
            first, end, depth = segments.pop()
            middle = first + (end - first + 1) // 2
            colors = self.along_longest_axis(sorted(self.leaves[first:end]))
            self.leaves[first:end] = colors
            self.depths[middle] = depth
            self.planes[middle] = self.plane(colors, middle - first)
            for lower, upper in ((first, middle), (middle, end)):
                if upper - lower > 1:
                    segments.append((lower, upper, depth + 1))
            self.children[middle] = (
                self.child(first, middle),
                self.child(middle, end),
            )
        self.ranks = [0] * self.k
        for leaf, color in enumerate(self.leaves):
            self.ranks[color] = leaf

    def child(self, first, end):
        """A node, or None and a leaf."""
        return (None, first) if end - first == 1 else (first + (end - first + 1) // 2, None)

    def along_longest_axis(self, colors):
        columns = list(zip(*(self.shades[c] for c in colors), strict=True))
        means = [sum(column) // len(colors) for column in columns]
        offsets = [[s - m for s in column] for column, m in zip(columns, means, strict=True)]
        matrix = [[sum(map(mul, one, other)) for other in offsets] for one in offsets]
        bits = max(max(max(row) for row in matrix).bit_length() - 20, 0)
        matrix = [[entry >> bits for entry in row] for row in matrix]
        widest = max(range(4), key=lambda i: matrix[i][i])
        vector = matrix[widest]
        for _ in range(8):
            vector = shortened(vector)
            vector = [sum(map(mul, row, vector)) for row in matrix]
        axis = shortened(vector)
        keys = [sum(map(mul, offset, axis)) for offset in zip(*offsets, strict=True)]
        return [c for _, c in sorted(zip(keys, colors, strict=True))]

    def plane(self, colors, half):
        left, right = colors[:half], colors[half:]
        shade = self.shades.__getitem__
        sides = [
            [16 * sum(column) // len(side) for column in zip(*map(shade, side), strict=True)]
            for side in (left, right)
        ]
        across = [b - a for a, b in zip(*sides, strict=True)]
        square = max(sum(a * a for a in across), 1)
        slopes = [clamp(a * 2**21 // square, -16383, 16383) for a in across]
        both = [a + b for a, b in zip(*sides, strict=True)]
        return slopes, -(sum(map(mul, slopes, both)) >> 5)

    def rows(self, own):
        nodes = sorted((depth, node) for node, depth in self.depths.items() if node)
        rows = {0: 0}
        shallow = [node for depth, node in nodes if depth < own]
        for number, node in enumerate(shallow):
            rows[node] = number + 1
        for depth, node in nodes:
            if depth >= own:
                rows[node] = len(shallow) + 1 + depth - own
        return rows


tree_of = lru_cache(maxsize=4)(Tree)  # strips of a file have one palette


def shortened(vector):
    bits = max(max(map(abs, vector)).bit_length() - 12, 0)
    return [entry >> bits for entry in vector]


SQUASH, STRETCH = curves()
SHIFTS = (2, 2, 1, 0, 2, 2)
OFFSETS = (8, 8, 32, 64, 8, 8)
TOPS = (15, 15, 63, 127, 15, 15)


def fewest_bytes(n_pixels, n_colors):
    return max(0, n_pixels // 16384 - 4) if n_colors > 1 else 0


def decode_strip(coded, height, width, palette, sample_bytes):
    """Return rows of indices; palette: tuples of samples of 1 or 2 bytes."""
    if len(palette) == 1:
        demand(not coded, "coded bytes of one colour")
        return [[0] * width for _ in range(height)]
    return _Strip(coded, height, width, tree_of(tuple(palette), sample_bytes)).decode()


class _Strip:
    def __init__(self, coded, height, width, tree):
        self.coded, self.height, self.width, self.tree = coded, height, width, tree
        bits = (tree.k - 1).bit_length()
        pixel_bits = (height * width - 1).bit_length()
        demand(len(coded) >= fewest_bytes(height * width, tree.k), "too few coded bytes")
        groups = -(-bits // 4)
        self.group = -(-bits // groups)
        self.line_bits = clamp(pixel_bits - 3, 4, 16)
        self.rows = tree.rows(clamp(pixel_bits - 10, 1, 7))
        self.lines = {}  # (lane, line): [check, {slot: [p, n]}]
        self.dense = {}
        self.runs = {}
        self.weights = {}
        self.shares = {}
        self.refinements = {}
        self.trail = [0] * 4
        self.low, self.high = 0, MASK
        self.code = 0
        self.position = 0
        for _ in range(4):
            self.code = self.code * 256 + self.next_byte()

    def next_byte(self):
        self.position += 1
        return self.coded[self.position - 1] if self.position <= len(self.coded) else 0

    def decode(self):
        self.indices = []
        for y in range(self.height):
            self.indices.append([])
            for x in range(self.width):
                self.indices[y].append(self.pixel(y, x))
        demand(len(self.coded) <= self.position, "coded bytes after the last pixel")
        return self.indices

    def at(self, up, right, y, x, otherwise):
        if up > y:
            return otherwise
        return self.indices[y - up][clamp(x + right, 0, self.width - 1)]

    def pixel(self, y, x):
        row = self.indices[y]
        above = self.indices[y - 1][x] if y > 0 else 0
        w = row[x - 1] if x > 0 else above
        n, nw, ne, nww, nee, nwww = (self.at(1, j, y, x, w) for j in (0, -1, 1, -2, 2, -3))
        nn, nnw, nne, nnee = (self.at(2, j, y, x, n) for j in (0, -1, 1, 2))
        nnn = self.at(3, 0, y, x, nn)
        ww = row[x - 2] if x > 1 else w
        www = row[x - 3] if x > 2 else ww

        self.keys = [
            hashed(3, w),
            hashed(4, n),
            hashed(1, n, ne, nee, w),
            hashed(2, n, ne, nw, nn, ww, w),
            hashed(5, n, nn, nne, ne),
            hashed(6, nw, ww, nww, w),
            hashed(1, n, ne, nee, 7),
        ]
        wide = hashed(2, n, ne, nw, nn, nne, nww, nee, ww, w)
        widest = hashed(wide, nnw, nwww, nnee, nnn, www)
        farthest = hashed(widest, self.trail[x % 4])
        self.trail[x % 4] = widest
        places = [
            (number, key >> (32 - self.line_bits))
            for number, key in enumerate((wide, widest, farthest))
        ]
        self.guesses = [self.runs.get(place, (0, 0)) for place in places]

        shade = self.tree.shades
        self.colors = [
            shade[w],
            shade[n],
            [a + b - c for a, b, c in zip(shade[w], shade[n], shade[nw], strict=True)],
            [
                (2 * a + 2 * b + c - d) >> 2
                for a, b, c, d in zip(shade[w], shade[n], shade[ne], shade[nw], strict=True)
            ],
            shade[ne],
            shade[nw],
        ]
        activity = 0
        for one, other in ((w, nw), (n, nw), (n, ne)):
            activity += sum(abs(a - b) for a, b in zip(shade[one], shade[other], strict=True))
        self.busy = min((activity >> 4).bit_length(), 7)
        self.same = (w == n) + 2 * (n == ne) + 4 * (w == nw)
        self.pattern = self.same + 8 * (w == ww) + 16 * (n == nn)
        self.pace = 11 if y * self.width < 32768 else 12
        self.west = w

        color = self.walk()
        demand(self.position <= len(self.coded) + 4, "coded bytes end too early")
        for place, (guess, length) in zip(places, self.guesses, strict=True):
            self.runs[place] = (color, min(length + 1, 31) if guess == color else 1)
        return color

    def walk(self):
        self.first, self.end = 0, self.tree.k
        salt = 0
        if self.pattern == 31:
            self.to_lines(0, 0)
            if self.decide(0, 0):
                return self.west
            salt = 23505
        node, depth = self.tree.root, 0
        while True:
            if depth % self.group == 0:
                self.to_lines(node, salt)
            decision = self.decide(node, depth)
            if decision:
                self.first = node
            else:
                self.end = node
            node, leaf = self.tree.children[node][decision]
            if node is None:
                return self.tree.leaves[leaf]
            self.slot = 2 * self.slot + decision
            depth += 1

    def to_lines(self, node, salt):
        self.slot = 1
        self.found = []
        for lane, key in enumerate(self.keys):
            mixed = hashed(key, node + salt) * 742039
            assert mixed < 2**53
            u = mixed % 2**32
            place = (lane, u >> (32 - self.line_bits))
            check = (u ^ (u >> 13)) & 65535 | 1
            if place not in self.lines or self.lines[place][0] != check:
                self.lines[place] = (check, {})
            self.found.append(self.lines[place][1])

    def decide(self, node, depth):
        row = self.rows[node]
        stage = min(depth, 3)
        slopes, constant = self.tree.planes[node]
        level = []
        for i in range(6):
            plane = sum(map(mul, slopes, self.colors[i])) + constant
            level.append(clamp((plane >> (12 + SHIFTS[i])) + OFFSETS[i], 0, TOPS[i]))
        places = [
            (row, 7, level[0], level[1]),
            (row, 8, level[1], level[4]),
            (row, 9, level[2], self.busy),
            (row, 10, level[3], self.busy),
            (row, 11, level[0] // 2, level[1] // 2, level[4] // 2, level[5] // 2),
        ]
        for number, (guess, length) in enumerate(self.guesses):
            leaf = self.tree.ranks[guess]
            way = int(guess == self.west) if node == 0 else int(leaf >= node)
            if not self.first <= leaf < self.end:
                length = way = 0
            places.append(("run", number, stage, length, way))
        slots = [line.setdefault(self.slot, [2048, 0]) for line in self.found]
        slots += [self.dense.setdefault(place, [2**21, 0]) for place in places]
        logits = [STRETCH[slot[0] if i < 7 else slot[0] >> 10] for i, slot in enumerate(slots)]
        logits.append(256)

        known = sum(slot[1] > 0 for slot in slots[:7])
        vectors = [
            self.weights.setdefault(name, [262144] * LANES)
            for name in ((0, row), (1, known), (2, self.pattern))
        ]
        opinions = []
        for vector in vectors:
            total = sum(x * (weight >> 7) for x, weight in zip(logits, vector, strict=True))
            assert abs(total) < 2**31
            opinions.append(clamp(total >> 13, -REACH, REACH))
        shares = self.shares.setdefault(stage, [349525] * 3)
        total = sum(z * (share >> 4) for z, share in zip(opinions, shares, strict=True))
        mixture = clamp(total >> 16, -REACH, REACH)
        chance = SQUASH[mixture]

        step, part = (mixture + REACH) >> 7, (mixture + REACH) & 127
        ends = [(row, self.same, step), (row, self.same, step + 1)]
        lower, upper = (
            self.refinements.get(end, SQUASH[min(128 * end[2] - REACH, REACH)]) for end in ends
        )
        refined = (lower * (128 - part) + upper * part) >> 7
        final = clamp((chance + refined + 1) >> 1, 24, 65512)
        decision = self.take(final)

        for vector, opinion in zip(vectors, opinions, strict=True):
            error = 65535 * decision - SQUASH[opinion]
            for i in range(LANES):
                change = (logits[i] * error + (1 << (self.pace - 1))) >> self.pace
                vector[i] = clamp(vector[i] + change, -6815744, 6815744)
        for i in range(3):
            change = (opinions[i] * (65535 * decision - chance) + 2048) >> 12
            shares[i] = clamp(shares[i] + change, -(2**23), 2**23)
        for i, slot in enumerate(slots):
            move(slot, decision, is_hashed=i < 7)
        self.refinements[ends[0]] = lower + ((65535 * decision - lower) * (128 - part) >> 13)
        self.refinements[ends[1]] = upper + ((65535 * decision - upper) * part >> 13)
        return decision

    def take(self, final):
        middle = self.low + ((self.high - self.low) * final >> 16)
        decision = int(self.code <= middle)
        if decision:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            self.low = self.low * 256 % 2**32
            self.high = self.high * 256 % 2**32 + 255
            self.code = self.code * 256 % 2**32 + self.next_byte()
        return decision


def move(slot, decision, is_hashed):
    p, count = slot
    p = 1024 * p if is_hashed else p
    p += (((4194303 if decision else 31) - p) >> 5) * rate(count, is_hashed) >> 9
    if is_hashed:
        p = (p + 512) >> 10 if decision else p >> 10
        assert 0 <= p < 4096
    assert 0 <= p < 2**22
    slot[:] = [p, min(count + 1, 15 if is_hashed else 255)]
