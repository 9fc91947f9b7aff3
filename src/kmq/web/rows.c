/* What takes long in methods "rank" and "mix", a row a call, for WebAssembly with SIMD; kmq-plain.js
   does the same without. kmq.js lays the tables out and hands their addresses over. build.py compiles
   this. */
#include <wasm_simd128.h>

typedef unsigned int u32;
typedef unsigned short u16;
typedef short i16;
typedef unsigned char u8;
typedef unsigned long long u64;

typedef struct {
  int *shades, *leaves, *ranks, *children, *planes, *rows;
  u16 *squash;
  i16 *stretch, *rates;
  u8 *coded;
  u16 *lines;
  int *dense, *runs, *weights, *shares, *refined;
  u16 *ring;
  u32 trail[4];
  u32 low, high, code;
  int position, decisions;
  int root, n_colors, n_rows, group, line_bits, n_coded, width;
} Mix;

#define REACH 2815
#define INLINE static inline __attribute__((always_inline))

INLINE int clamp(int value, int low, int high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}

INLINE u32 hash(u32 key, u32 value) {
  u32 mixed = (key + value) * 648117u;
  return mixed ^ (mixed >> 15);
}

INLINE int sum(v128_t v) {
  v = wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  v = wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 1, 0, 3, 2));
  return wasm_i32x4_extract_lane(v, 0);
}

/* Opinion of a vector of weights. The sum stays below 2^31. */
INLINE int dot(const v128_t *x, const int *w) {
  v128_t total = wasm_i32x4_mul(x[0], wasm_i32x4_shr(wasm_v128_load(w), 7));
  for (int i = 1; i < 4; i++) {
    total = wasm_i32x4_add(
        total, wasm_i32x4_mul(x[i], wasm_i32x4_shr(wasm_v128_load(w + 4 * i), 7)));
  }
  return clamp(sum(total) >> 13, -REACH, REACH);
}

INLINE v128_t train(const v128_t *x, int *w, int error, int pace, v128_t changed) {
  v128_t errors = wasm_i32x4_splat(error), half = wasm_i32x4_splat(1 << (pace - 1));
  v128_t most = wasm_i32x4_splat(6815744), least = wasm_i32x4_splat(-6815744);
  for (int i = 0; i < 4; i++) {
    v128_t before = wasm_v128_load(w + 4 * i);
    v128_t step = wasm_i32x4_shr(wasm_i32x4_add(wasm_i32x4_mul(x[i], errors), half), pace);
    v128_t after =
        wasm_i32x4_max(wasm_i32x4_min(wasm_i32x4_add(before, step), most), least);
    wasm_v128_store(w + 4 * i, after);
    changed = wasm_v128_or(changed, wasm_v128_xor(before, after));
  }
  return changed;
}

__attribute__((export_name("mix"))) int mix(Mix *s, int y) {
  const int *shades = s->shades, *ranks = s->ranks, *planes = s->planes;
  const int *rows = s->rows, *children = s->children;
  const u16 *squash = s->squash + REACH;
  const i16 *stretch = s->stretch, *rates = s->rates;
  const u8 *coded = s->coded;
  u16 *lines = s->lines;
  int *dense = s->dense, *runs = s->runs, *weights = s->weights, *refined = s->refined;
  const int width = s->width, n_coded = s->n_coded, n_rows = s->n_rows, n_colors = s->n_colors;
  const int group = s->group, line_bits = s->line_bits, shift = 32 - line_bits, span = width + 5;
  u16 *here = s->ring + (y & 3) * span;
  const u16 *above = s->ring + ((y + 3) & 3) * span;
  const u16 *top = s->ring + ((y + 2) & 3) * span, *far = s->ring + ((y + 1) & 3) * span;
  const int pace = (u64)y * width < 32768 ? 11 : 12;
  const int pair_start = 256 * n_rows, gradient_start = 512 * n_rows, blend_start = 1024 * n_rows;
  const int quad_start = 2048 * n_rows, run_start = 6144 * n_rows;
  u32 low = s->low, high = s->high, code = s->code;
  int position = s->position, decisions = s->decisions;
  int calm = 0, still = 0, final = 0;
  int w = y ? above[3] : 0;

#define SHIFT                                                              \
  while (!((low ^ high) >> 24)) {                                          \
    code = code << 8 | (position < n_coded ? coded[position] : 0);         \
    position++;                                                            \
    low <<= 8;                                                             \
    high = high << 8 | 255;                                                \
  }

  for (int x = 0; x < width; x++) {
    if (still) {
      if (above[x + 5] == w && top[x + 5] == w && far[x + 3] == w) {
        u32 middle = low + (u32)((u64)(high - low) * final >> 16);
        if (code <= middle) {
          high = middle;
          SHIFT
          here[x + 3] = w;
          continue;
        }
      }
      still = calm = 0;
    }
    const int ww = x > 1 ? here[x + 1] : w, www = x > 2 ? here[x] : ww;
    int n = w, nw = w, ne = w, nww = w, nwww = w, nee = w;
    if (y > 0) {
      nwww = above[x];
      nww = above[x + 1];
      nw = above[x + 2];
      n = above[x + 3];
      ne = above[x + 4];
      nee = above[x + 5];
    }
    int nn = n, nnw = n, nne = n, nnee = n;
    if (y > 1) {
      nnw = top[x + 2];
      nn = top[x + 3];
      nne = top[x + 4];
      nnee = top[x + 5];
    }
    const int nnn = y > 2 ? far[x + 3] : nn;

    const u32 line = hash(hash(hash(1, n), ne), nee);
    const u32 close = hash(hash(hash(hash(2, n), ne), nw), nn);
    const u32 keys[7] = {
        hash(3, w),
        hash(4, n),
        hash(line, w),
        hash(hash(close, ww), w),
        hash(hash(hash(hash(5, n), nn), nne), ne),
        hash(hash(hash(hash(6, nw), ww), nww), w),
        hash(line, 7),
    };
    const u32 broad = hash(hash(hash(hash(hash(close, nne), nww), nee), ww), w);
    const u32 broader = hash(hash(hash(hash(hash(broad, nnw), nwww), nnee), nnn), www);
    int *const run_at[3] = {
        runs + (broad >> shift),
        runs + (broader >> shift) + (1 << line_bits),
        runs + (hash(broader, s->trail[x & 3]) >> shift) + (2 << line_bits),
    };
    s->trail[x & 3] = broader;
    int guesses[3], lengths[3], guess_ranks[3];
    for (int i = 0; i < 3; i++) {
      guesses[i] = *run_at[i] & 65535;
      lengths[i] = *run_at[i] >> 16;
      guess_ranks[i] = ranks[guesses[i]];
    }

    const int same = (w == n) | (n == ne) << 1 | (w == nw) << 2;
    const int pattern = same | (w == ww) << 3 | (n == nn) << 4;
    const int flat = pattern == 31;
    const v128_t west = wasm_v128_load(shades + 4 * w), north = wasm_v128_load(shades + 4 * n);
    const v128_t northeast = wasm_v128_load(shades + 4 * ne);
    const v128_t northwest = wasm_v128_load(shades + 4 * nw);
    const v128_t across = wasm_i32x4_sub(north, northwest);
    const v128_t gradient = wasm_i32x4_add(west, across);
    const v128_t blend = wasm_i32x4_shr(
        wasm_i32x4_add(wasm_i32x4_shl(wasm_i32x4_add(west, north), 1),
                       wasm_i32x4_sub(northeast, northwest)), 2);
    const v128_t steps = wasm_i32x4_add(
        wasm_i32x4_abs(across), wasm_i32x4_add(wasm_i32x4_abs(wasm_i32x4_sub(west, northwest)),
                                               wasm_i32x4_abs(wasm_i32x4_sub(north, northeast))));
    const int activity = sum(steps) >> 4;
    const int bits = activity ? 32 - __builtin_clz(activity) : 0, busy = bits < 7 ? bits : 7;
    calm = flat && y > 2 && w == nww && w == nwww && w == nee && w == nnw && w == nne &&
                   w == nnee && w == nnn && w == www
               ? calm + 1
               : 0;

    /* Channels of the six colours in lanes: west, north, gradient, blend; northeast, northwest. */
    const v128_t a0 = wasm_i32x4_shuffle(west, north, 0, 4, 1, 5);
    const v128_t a1 = wasm_i32x4_shuffle(gradient, blend, 0, 4, 1, 5);
    const v128_t a2 = wasm_i32x4_shuffle(west, north, 2, 6, 3, 7);
    const v128_t a3 = wasm_i32x4_shuffle(gradient, blend, 2, 6, 3, 7);
    const v128_t c0 = wasm_i64x2_shuffle(a0, a1, 0, 2), c1 = wasm_i64x2_shuffle(a0, a1, 1, 3);
    const v128_t c2 = wasm_i64x2_shuffle(a2, a3, 0, 2), c3 = wasm_i64x2_shuffle(a2, a3, 1, 3);
    const v128_t d0 = wasm_i32x4_shuffle(northeast, northwest, 0, 4, 0, 4);
    const v128_t d1 = wasm_i32x4_shuffle(northeast, northwest, 1, 5, 1, 5);
    const v128_t d2 = wasm_i32x4_shuffle(northeast, northwest, 2, 6, 2, 6);
    const v128_t d3 = wasm_i32x4_shuffle(northeast, northwest, 3, 7, 3, 7);

    v128_t changes = wasm_i32x4_splat(0);
    int changed = 0;
    int node = flat ? 0 : s->root;
    int salt = 0, least = 0, most = n_colors, depth = 0, left = 0, local = 0, color;
    u16 *starts[7];
    for (;;) {
      if (!left) {
        left = group;
        local = 1;
        for (int i = 0; i < 7; i++) {
          const u32 mixed = hash(keys[i], node + salt) * 742039u;
          u16 *start = lines + (((mixed >> shift) + (i << line_bits)) << group);
          const u16 check = (mixed ^ mixed >> 13) | 1;
          starts[i] = start;
          if (*start != check) {
            *start = check;
            for (int slot = 1; slot < 1 << group; slot++) start[slot] = 32768;
            changed = 1;
          }
        }
      }
      const int row = rows[node];
      const int *plane = planes + 8 * node;
      const v128_t p0 = wasm_v128_load32_splat(plane), p1 = wasm_v128_load32_splat(plane + 1);
      const v128_t p2 = wasm_v128_load32_splat(plane + 2), p3 = wasm_v128_load32_splat(plane + 3);
      const v128_t p4 = wasm_v128_load32_splat(plane + 4);
      const v128_t m0 = wasm_i32x4_add(
          wasm_i32x4_add(wasm_i32x4_mul(p0, c0), wasm_i32x4_mul(p1, c1)),
          wasm_i32x4_add(wasm_i32x4_add(wasm_i32x4_mul(p2, c2), wasm_i32x4_mul(p3, c3)), p4));
      const v128_t m1 = wasm_i32x4_add(
          wasm_i32x4_add(wasm_i32x4_mul(p0, d0), wasm_i32x4_mul(p1, d1)),
          wasm_i32x4_add(wasm_i32x4_add(wasm_i32x4_mul(p2, d2), wasm_i32x4_mul(p3, d3)), p4));
      const int level0 = clamp((wasm_i32x4_extract_lane(m0, 0) >> 14) + 8, 0, 15);
      const int level1 = clamp((wasm_i32x4_extract_lane(m0, 1) >> 14) + 8, 0, 15);
      const int level2 = clamp((wasm_i32x4_extract_lane(m0, 2) >> 13) + 32, 0, 63);
      const int level3 = clamp((wasm_i32x4_extract_lane(m0, 3) >> 12) + 64, 0, 127);
      const int level4 = clamp((wasm_i32x4_extract_lane(m1, 0) >> 14) + 8, 0, 15);
      const int level5 = clamp((wasm_i32x4_extract_lane(m1, 1) >> 14) + 8, 0, 15);
      int *places[8] = {
          dense + (row << 8) + (level0 << 4) + level1,
          dense + pair_start + (row << 8) + (level1 << 4) + level4,
          dense + gradient_start + (row << 9) + (level2 << 3) + busy,
          dense + blend_start + (row << 10) + (level3 << 3) + busy,
          dense + quad_start + (row << 12) + ((level0 >> 1) << 9) + ((level1 >> 1) << 6) +
              ((level4 >> 1) << 3) + (level5 >> 1),
      };
      const int stage = depth < 3 ? depth : 3;
      for (int i = 0; i < 3; i++) {
        int way = 0;
        if (guess_ranks[i] >= least && guess_ranks[i] < most) {
          way = lengths[i] * 2 + (node ? guess_ranks[i] >= node : guesses[i] == w);
        }
        places[5 + i] = dense + run_start + (i << 8) + (stage << 6) + way;
      }

      int slots[16];
      v128_t x_lanes[4];
      int *logits = (int *)x_lanes;
      int known = 0;
      for (int i = 0; i < 7; i++) {
        const int slot = starts[i][local];
        slots[i] = slot;
        logits[i] = stretch[slot >> 4];
        known += (slot & 15) != 0;
      }
      for (int i = 0; i < 8; i++) {
        const int slot = *places[i];
        slots[7 + i] = slot;
        logits[7 + i] = stretch[slot >> 19];
      }
      logits[15] = 256;
      const v128_t lanes[4] = {x_lanes[0], x_lanes[1], x_lanes[2], x_lanes[3]};
      int *w0 = weights + row * 16, *w1 = weights + (n_rows + known) * 16;
      int *w2 = weights + (n_rows + 8 + pattern) * 16;
      int *share = s->shares + stage * 3;
      const int z[3] = {dot(lanes, w0), dot(lanes, w1), dot(lanes, w2)};
      const long long total = (long long)z[0] * (share[0] >> 4) +
                              (long long)z[1] * (share[1] >> 4) +
                              (long long)z[2] * (share[2] >> 4);
      const long long rounded = total >> 16;
      const int mixture = rounded < -REACH ? -REACH : rounded > REACH ? REACH : (int)rounded;
      const int chance = squash[mixture];
      const int step = (mixture + REACH) >> 7, part = (mixture + REACH) & 127;
      int *cell = refined + (row * 8 + same) * 46 + step;
      const int e0 = cell[0], e1 = cell[1];
      final = clamp((chance + ((e0 * (128 - part) + e1 * part) >> 7) + 1) >> 1, 24, 65512);

      const u32 middle = low + (u32)((u64)(high - low) * final >> 16);
      const int bit = code <= middle;
      low = bit ? low : middle + 1;
      high = bit ? middle : high;
      SHIFT
      decisions++;

      const int aim = bit ? 65535 : 0;
      changes = train(lanes, w0, aim - squash[z[0]], pace, changes);
      changes = train(lanes, w1, aim - squash[z[1]], pace, changes);
      changes = train(lanes, w2, aim - squash[z[2]], pace, changes);
      const int error = aim - chance;
      for (int i = 0; i < 3; i++) {
        const int before = share[i];
        share[i] = clamp(before + ((z[i] * error + 2048) >> 12), -8388608, 8388608);
        changed |= before ^ share[i];
      }
      const int target = bit ? 4194303 : 31, rounding = bit ? 512 : 0;
      for (int i = 0; i < 7; i++) {
        const int slot = slots[i], count = slot & 15;
        int p = (slot >> 4) << 10;
        p += (((target - p) >> 5) * rates[count]) >> 9;
        const int after = ((p + rounding) >> 10) << 4 | (count + (count < 15));
        starts[i][local] = after;
        changed |= slot ^ after;
      }
      for (int i = 0; i < 8; i++) {
        const int slot = slots[7 + i], count = slot & 511;
        int p = slot >> 9;
        p += (((target - p) >> 5) * rates[16 + count]) >> 9;
        const int after = p << 9 | (count + (count < 255));
        *places[i] = after;
        changed |= slot ^ after;
      }
      const int lower = ((aim - e0) * (128 - part)) >> 13, upper = ((aim - e1) * part) >> 13;
      cell[0] = e0 + lower;
      cell[1] = e1 + upper;
      changed |= lower | upper;

      if (!node) {
        if (bit) {
          color = w;
          break;
        }
        node = s->root;
        salt = 23505;
        left = 0;
        continue;
      }
      if (bit) least = node;
      else most = node;
      node = children[node * 2 + bit];
      if (node >= n_colors) {
        color = s->leaves[node - n_colors];
        break;
      }
      local = local * 2 + bit;
      depth++;
      left--;
    }

    here[x + 3] = color;
    if (position > n_coded + 4) break;
    for (int i = 0; i < 3; i++) {
      const int run = color | (guesses[i] == color ? clamp(lengths[i] + 1, 0, 31) : 1) << 16;
      changed |= *run_at[i] ^ run;
      *run_at[i] = run;
    }
    still = calm > 4 && color == w && !changed && !wasm_v128_any_true(changes);
    w = color;
  }
  here[0] = here[1] = here[2] = here[3];
  here[width + 3] = here[width + 4] = here[width + 2];
  s->low = low;
  s->high = high;
  s->code = code;
  s->position = position;
  s->decisions = decisions;
  return 1;
}

typedef struct {
  u16 *distances;
  u8 *levels, *order, *places, *first, *second;
  u16 *first_bounds, *second_bounds;
  u8 *words;
  int *narrow, *wide, *pairs;
  u8 *ring;
  u32 a, b;
  int at, missed;
  int hash_bits, n_colors, n_words, width;
} Rank;

/* A slot, check << 16 | index << 8 | trust, after it saw an index. */
INLINE int learnt(int slot, int check, int index) {
  const int trust = slot & 255;
  if (slot >> 16 != check || !trust) return check << 16 | index << 8 | 1;
  if ((slot >> 8 & 255) == index) return trust < 7 ? slot + 1 : slot;
  return trust > 1 ? slot - trust + (trust >> 1) : check << 16 | index << 8 | 1;
}

/* Which of the lower bounds in 8 lanes are up to a value. */
INLINE v128_t reached(const u16 *bound, v128_t value) {
  return wasm_u16x8_le(wasm_v128_load(bound), value);
}

/* Whether the coded bytes are sound so far. */
__attribute__((export_name("rank"))) int rank(Rank *s, int y) {
  const u16 *distances = s->distances;
  const u8 *levels = s->levels, *words = s->words;
  u8 *order = s->order, *places = s->places;
  int *narrow_slots = s->narrow, *wide_slots = s->wide, *pairs = s->pairs;
  const int width = s->width, n_words = s->n_words, span = width + 5;
  const int shift = 32 - s->hash_bits, check_shift = 24 - s->hash_bits;
  u8 *here = s->ring + y % 3 * span;
  const u8 *above = s->ring + (y + 2) % 3 * span, *top = s->ring + (y + 1) % 3 * span;
  u32 a = s->a, b = s->b;
  int at = s->at, missed = s->missed;
  int w = above[2], ww = w, www = w;
  here[0] = here[1] = w;
  int nww = above[0], nw = above[1], n = above[2], ne = above[3];
  int nnw = top[1], nn = top[2], nne = top[3];

#define REFILL                                                             \
  if (a < 65536) {                                                         \
    if (at == n_words) return 0;                                           \
    a = a << 16 | words[at] | words[at + 1] << 8;                          \
    at += 2;                                                               \
  }
#define TURN                                                               \
  const u32 turn = a;                                                      \
  a = b;                                                                   \
  b = turn;

  for (int x = 0; x < width; x++) {
    const int nee = above[x + 4], nnee = top[x + 4];
    u32 key = ((nw << 8) + n) * 0x9e3779b1u + ((ne << 8) + nee) * 0x85ebca77u +
              ((nn << 8) + nne) * 0xc2b2ae3du + ((ww << 8) + w) * 0x27d4eb2fu;
    int *const narrow_at = narrow_slots + (key >> shift);
    const int narrow_check = key >> check_shift & 255, narrow = *narrow_at;
    key += nnw * 0x165667b1u + nnee * 0xd3a2646du + ((www << 8) + nww) * 0xfd7046c5u;
    int *const wide_at = wide_slots + (key >> shift);
    const int wide_check = key >> check_shift & 255, wide = *wide_at;
    const int pair_at = w << 8 | n, pair = pairs[pair_at];
    int guess = w, trusted = 0;
    if (wide >> 16 == wide_check && wide & 255) {
      guess = wide >> 8 & 255;
      trusted = 14 + (wide & 255);
    } else if (narrow >> 16 == narrow_check && narrow & 255) {
      guess = narrow >> 8 & 255;
      trusted = narrow & 255;
    } else if (pair) {
      guess = pair >> 8;
      trusted = 7 + (pair & 255);
    }
    int activity = levels[pair_at], other = levels[n << 8 | ne];
    activity = other > activity ? other : activity;
    other = levels[w << 8 | nw];
    activity = other > activity ? other : activity;
    const int source =
        guess == w ? 1 : guess == n ? 2 : guess == ne ? 3 : guess == nw ? 4 : 0;
    const int context = (trusted * 5 + source) << 9 | (w == n) << 8 | (n == ne) << 7 |
                        (w == nw) << 6 | (w == ne) << 5 | (ne == nee) << 4 | missed << 3 |
                        activity;
    const u16 *bound = s->first_bounds + s->first[context] * 8;
    int value = a & 16383, index = guess;
    missed = value >= bound[1];
    if (!missed) {
      a = bound[1] * (a >> 14) + value;
    } else {
      const int symbol =
          __builtin_popcount(wasm_i16x8_bitmask(reached(bound, wasm_i16x8_splat(value)))) - 1;
      a = (bound[symbol + 1] - bound[symbol]) * (a >> 14) + value - bound[symbol];
      const int across = distances[w << 8 | nw] + distances[n << 8 | nn];
      const int along = distances[w << 8 | ww] + distances[n << 8 | nw];
      const int anchor = across < along ? n : w, list = anchor << 8;
      index = symbol == 1 ? w : symbol == 2 ? n : symbol == 3 ? ne : nw;
      if (symbol == 5) {
        REFILL
        TURN
        const int near[5] = {w, n, ne, nw, guess};
        int passed[5], crowd = 0, n_passed = 0;
        for (int i = 0; i < 5; i++) {
          if (near[i] == anchor) continue;
          const int place = places[list | near[i]];
          if (i < 4 && place > crowd) crowd = place;
          int j = n_passed;
          while (j > 0 && passed[j - 1] > place) j--;
          if (j > 0 && passed[j - 1] == place) continue;
          for (int m = n_passed++; m > j; m--) passed[m] = passed[m - 1];
          passed[j] = place;
        }
        const int level = (crowd > 1) + (crowd > 3) + (crowd > 6) + (crowd > 10) +
                          (crowd > 16) + (crowd > 25) + (crowd > 50);
        bound = s->second_bounds + s->second[activity << 3 | level] * 32;
        value = a & 4095;
        const v128_t values = wasm_i16x8_splat(value);
        const v128_t lower =
            wasm_i8x16_narrow_i16x8(reached(bound, values), reached(bound + 8, values));
        const v128_t upper =
            wasm_i8x16_narrow_i16x8(reached(bound + 16, values), reached(bound + 24, values));
        const int token = __builtin_popcount(wasm_i8x16_bitmask(lower)) +
                          __builtin_popcount(wasm_i8x16_bitmask(upper)) - 1;
        a = (bound[token + 1] - bound[token]) * (a >> 12) + value - bound[token];
        int place = token;
        if (token > 15) {
          REFILL
          TURN
          const int plain = (token - 10) >> 1, free = 12 - plain;
          place = ((2 + (token & 1)) << plain) + ((a & 4095) >> free);
          a = (a >> 12 << free) + (a & ((1 << free) - 1));
        }
        for (int i = 0; i < n_passed && passed[i] <= place; i++) place++;
        if (place >= s->n_colors - 1) return 0;
        index = order[list | place];
      }
      if (index != anchor) {
        const int place = places[list | index], to = 7 * place >> 3;
        const int moved = order[list | to];
        order[list | to] = index;
        order[list | place] = moved;
        places[list | index] = to;
        places[list | moved] = place;
      }
    }
    REFILL
    TURN
    *narrow_at = learnt(narrow, narrow_check, index);
    *wide_at = learnt(wide, wide_check, index);
    pairs[pair_at] = learnt(pair, 0, index);
    here[x + 2] = index;
    www = ww;
    ww = w;
    w = index;
    nww = nw;
    nw = n;
    n = ne;
    ne = nee;
    nnw = nn;
    nn = nne;
    nne = nnee;
  }
  here[width + 2] = here[width + 3] = w;
  s->a = a;
  s->b = b;
  s->at = at;
  s->missed = missed;
  return 1;
}
