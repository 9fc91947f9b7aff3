/**
 * What rows.c does for kmq.js, in plain JavaScript, where there is no WebAssembly with SIMD or the
 * policy of the page forbids it. kmq.js loads this only then.
 */

const REACH = 2815; // as in kmq.js, and those that follow

/** Number of binary digits of a number below 2^32. */
const digits = (number) => 32 - Math.clz32(number);

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const hash = (key, value) => {
  const mixed = Math.imul(key + value, 648117);
  return mixed ^ (mixed >>> 15);
};

/** A slot, check << 16 | index << 8 | trust, after it saw an index. */
function learnt(slot, check, index) {
  const trust = slot & 255;
  if (slot >>> 16 !== check || !trust) return (check << 16) | (index << 8) | 1;
  if (((slot >> 8) & 255) === index) return trust < 7 ? slot + 1 : slot;
  return trust > 1 ? slot - trust + (trust >> 1) : (check << 16) | (index << 8) | 1;
}

/** Decodes a row of method "rank"; returns whether its coded bytes are sound so far. */
export function rank(state, y) {
  const {
    distances, levels, order, places, first: firstLeaves, second: secondLeaves,
    firstBounds, secondBounds, words, narrow: narrowSlots, wide: wideSlots, pairs, numbers,
  } = state;
  let [a, b, at, missed] = numbers; // a and b as int32; above 65,535 if >>> 16 is not 0
  const [hashBits, nColors, nWords, width] = numbers.subarray(4);
  const shift = 32 - hashBits, checkShift = 24 - hashBits;
  const near = new Int32Array(5), passed = new Int32Array(5);
  const [here, top, above] = [0, 1, 2].map((i) => {
    const start = ((y + i) % 3) * (width + 5);
    return state.ring.subarray(start, start + width + 5);
  });
  let w = above[2], ww = w, www = w;
  here[0] = here[1] = w;
  let nww = above[0], nw = above[1], n = above[2], ne = above[3], nee;
  let nnw = top[1], nn = top[2], nne = top[3], nnee;
  for (let x = 0; x < width; x++) {
    nee = above[x + 4];
    nnee = top[x + 4];
    let key =
      (Math.imul((nw << 8) + n, 0x9e3779b1) + Math.imul((ne << 8) + nee, 0x85ebca77) +
        Math.imul((nn << 8) + nne, 0xc2b2ae3d) + Math.imul((ww << 8) + w, 0x27d4eb2f)) | 0;
    const narrowAt = key >>> shift;
    const narrowCheck = (key >>> checkShift) & 255;
    const narrow = narrowSlots[narrowAt];
    key =
      (key + Math.imul(nnw, 0x165667b1) + Math.imul(nnee, 0xd3a2646d) +
        Math.imul((www << 8) + nww, 0xfd7046c5)) | 0;
    const wideAt = key >>> shift;
    const wideCheck = (key >>> checkShift) & 255;
    const wide = wideSlots[wideAt];
    const pairAt = (w << 8) | n;
    const pair = pairs[pairAt];
    let guess = w, trusted = 0;
    if (wide >>> 16 === wideCheck && wide & 255) {
      guess = (wide >> 8) & 255;
      trusted = 14 + (wide & 255);
    } else if (narrow >>> 16 === narrowCheck && narrow & 255) {
      guess = (narrow >> 8) & 255;
      trusted = narrow & 255;
    } else if (pair) {
      guess = pair >> 8;
      trusted = 7 + (pair & 255);
    }
    let activity = levels[pairAt];
    let other = levels[(n << 8) | ne];
    if (other > activity) activity = other;
    other = levels[(w << 8) | nw];
    if (other > activity) activity = other;
    const source = guess === w ? 1 : guess === n ? 2 : guess === ne ? 3 : guess === nw ? 4 : 0;
    const context =
      ((trusted * 5 + source) << 9) | ((w === n ? 1 : 0) << 8) | ((n === ne ? 1 : 0) << 7) |
      ((w === nw ? 1 : 0) << 6) | ((w === ne ? 1 : 0) << 5) | ((ne === nee ? 1 : 0) << 4) |
      (missed << 3) | activity;
    let bound = firstLeaves[context] * 8;
    let value = a & 16383;
    let index = guess;
    missed = 0;
    let limit = firstBounds[bound + 1];
    if (value < limit) {
      a = (Math.imul(limit, a >>> 14) + value) | 0;
    } else {
      missed = 1;
      let symbol = 1;
      while (value >= firstBounds[bound + symbol + 1]) symbol++;
      bound += symbol;
      limit = firstBounds[bound];
      a = (Math.imul(firstBounds[bound + 1] - limit, a >>> 14) + value - limit) | 0;
      const across = distances[(w << 8) | nw] + distances[(n << 8) | nn];
      const along = distances[(w << 8) | ww] + distances[(n << 8) | nw];
      const anchor = across < along ? n : w;
      const list = anchor << 8;
      index = symbol === 1 ? w : symbol === 2 ? n : symbol === 3 ? ne : nw;
      if (symbol === 5) {
        if (a >>> 16 === 0) {
          if (at === nWords) return false;
          a = (a << 16) | words[at] | (words[at + 1] << 8);
          at += 2;
        }
        [a, b] = [b, a];
        near[0] = w;
        near[1] = n;
        near[2] = ne;
        near[3] = nw;
        near[4] = guess;
        let crowd = 0, nPassed = 0;
        for (let i = 0; i < 5; i++) {
          if (near[i] === anchor) continue;
          const place = places[list | near[i]];
          if (i < 4 && place > crowd) crowd = place;
          let j = nPassed;
          while (j > 0 && passed[j - 1] > place) j--;
          if (j > 0 && passed[j - 1] === place) continue;
          for (let m = nPassed++; m > j; m--) passed[m] = passed[m - 1];
          passed[j] = place;
        }
        const level =
          crowd > 10
            ? crowd > 25 ? (crowd > 50 ? 7 : 6) : crowd > 16 ? 5 : 4
            : crowd > 3 ? (crowd > 6 ? 3 : 2) : crowd > 1 ? 1 : 0;
        bound = secondLeaves[(activity << 3) | level] * 32;
        value = a & 4095;
        let token = 0;
        while (value >= secondBounds[bound + token + 1]) token++;
        limit = secondBounds[bound + token];
        a = (Math.imul(secondBounds[bound + token + 1] - limit, a >>> 12) + value - limit) | 0;
        let place = token;
        if (token > 15) {
          if (a >>> 16 === 0) {
            if (at === nWords) return false;
            a = (a << 16) | words[at] | (words[at + 1] << 8);
            at += 2;
          }
          [a, b] = [b, a];
          const plain = (token - 10) >> 1;
          const free = 12 - plain;
          place = ((2 + (token & 1)) << plain) + ((a & 4095) >> free);
          a = (Math.imul(1 << free, a >>> 12) + (a & ((1 << free) - 1))) | 0;
        }
        for (let i = 0; i < nPassed && passed[i] <= place; i++) place++;
        if (place >= nColors - 1) return false;
        index = order[list | place];
      }
      if (index !== anchor) {
        const place = places[list | index];
        const to = (7 * place) >> 3;
        const moved = order[list | to];
        order[list | to] = index;
        order[list | place] = moved;
        places[list | index] = to;
        places[list | moved] = place;
      }
    }
    if (a >>> 16 === 0) {
      if (at === nWords) return false;
      a = (a << 16) | words[at] | (words[at + 1] << 8);
      at += 2;
    }
    const turn = a;
    a = b;
    b = turn;
    narrowSlots[narrowAt] = learnt(narrow, narrowCheck, index);
    wideSlots[wideAt] = learnt(wide, wideCheck, index);
    pairs[pairAt] = learnt(pair, 0, index);
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
  numbers.set([a, b, at, missed]);
  return true;
}

/**
 * Decodes a row of method "mix". Where all that is near has one colour, there comes a point from which decisions
 * change nothing: from there on each pixel takes one step of the arithmetic coder, and no more.
 */
export function mix(state, y) {
  const {
    shades, leaves, ranks, children, planes, rows, squash, stretch, rates, coded,
    lines, dense, runs, weights, shares, refined, numbers,
  } = state;
  const trail = numbers.subarray(0, 4);
  const [root, nColors, nRows, group, lineBits, nCoded, width] = numbers.subarray(9);
  const [here, far, top, above] = [0, 1, 2, 3].map((i) => {
    const start = ((y + i) & 3) * (width + 5);
    return state.ring.subarray(start, start + width + 5);
  });
  const shift = 32 - lineBits;
  const pace = y * width < 32768 ? 11 : 12;
  const half = 1 << (pace - 1);
  const pairStart = 256 * nRows, gradientStart = 512 * nRows, blendStart = 1024 * nRows;
  const quadStart = 2048 * nRows, runStart = 6144 * nRows;
  const keys = new Int32Array(7), places = new Int32Array(15), logits = new Int32Array(16);
  const slots = new Int32Array(15), colors = new Int32Array(24), level = new Int32Array(6);
  const runAt = new Int32Array(3), guesses = new Int32Array(3), lengths = new Int32Array(3);
  const opinions = new Int32Array(3);
  logits[15] = 256;
  let low = numbers[4] >>> 0, high = numbers[5] >>> 0, code = numbers[6] >>> 0;
  let position = numbers[7], decisions = numbers[8];
  let calm = 0, still = false, final = 0;
  let w = y ? above[3] : 0;

  for (let x = 0; x < width; x++) {
    if (still) {
      if (above[x + 5] === w && top[x + 5] === w && far[x + 3] === w) {
        const range = high - low;
        const middle = low + (range >>> 16) * final + (((range & 65535) * final) >>> 16);
        if (code <= middle) {
          high = middle;
          while ((low ^ high) >>> 24 === 0) {
            code = ((code << 8) | (position < nCoded ? coded[position] : 0)) >>> 0;
            position++;
            low = (low << 8) >>> 0;
            high = ((high << 8) | 255) >>> 0;
          }
          here[x + 3] = w;
          continue;
        }
      }
      still = false;
      calm = 0;
    }
    const ww = x > 1 ? here[x + 1] : w, www = x > 2 ? here[x] : ww;
    let n = w, nw = w, ne = w, nww = w, nwww = w, nee = w;
    if (y > 0) {
      nwww = above[x];
      nww = above[x + 1];
      nw = above[x + 2];
      n = above[x + 3];
      ne = above[x + 4];
      nee = above[x + 5];
    }
    let nn = n, nnw = n, nne = n, nnee = n;
    if (y > 1) {
      nnw = top[x + 2];
      nn = top[x + 3];
      nne = top[x + 4];
      nnee = top[x + 5];
    }
    const nnn = y > 2 ? far[x + 3] : nn;

    const line = hash(hash(1, n), ne);
    const close = hash(hash(hash(hash(2, n), ne), nw), nn);
    keys[0] = hash(3, w);
    keys[1] = hash(4, n);
    keys[2] = hash(hash(line, nee), w);
    keys[3] = hash(hash(close, ww), w);
    keys[4] = hash(hash(hash(hash(5, n), nn), nne), ne);
    keys[5] = hash(hash(hash(hash(6, nw), ww), nww), w);
    keys[6] = hash(hash(line, nee), 7);
    const broad = hash(hash(hash(hash(hash(close, nne), nww), nee), ww), w);
    const broader = hash(hash(hash(hash(hash(broad, nnw), nwww), nnee), nnn), www);
    runAt[0] = broad >>> shift;
    runAt[1] = (broader >>> shift) + (1 << lineBits);
    runAt[2] = (hash(broader, trail[x & 3]) >>> shift) + (2 << lineBits);
    trail[x & 3] = broader;
    for (let i = 0; i < 3; i++) {
      const run = runs[runAt[i]];
      guesses[i] = run & 65535;
      lengths[i] = run >> 16;
    }

    const same = (w === n ? 1 : 0) | (n === ne ? 2 : 0) | (w === nw ? 4 : 0);
    const pattern = same | (w === ww ? 8 : 0) | (n === nn ? 16 : 0);
    const flat = pattern === 31;
    let activity = 0;
    for (let i = 0; i < 4; i++) {
      const west = shades[w * 4 + i], north = shades[n * 4 + i];
      const northeast = shades[ne * 4 + i], northwest = shades[nw * 4 + i];
      colors[i] = west;
      colors[4 + i] = north;
      colors[8 + i] = west + north - northwest;
      colors[12 + i] = (2 * west + 2 * north + northeast - northwest) >> 2;
      colors[16 + i] = northeast;
      colors[20 + i] = northwest;
      activity += Math.abs(west - northwest) + Math.abs(north - northwest) + Math.abs(north - northeast);
    }
    const busy = Math.min(digits(activity >> 4), 7);
    calm =
      flat && y > 2 && w === nww && w === nwww && w === nee && w === nnw && w === nne && w === nnee &&
      w === nnn && w === www ? calm + 1 : 0;

    let changed = 0;
    let node = flat ? 0 : root;
    let salt = 0, least = 0, most = nColors, depth = 0, left = 0, local = 0, color = 0;
    for (;;) {
      if (!left) {
        left = group;
        local = 1;
        for (let i = 0; i < 7; i++) {
          const mixed = Math.imul(hash(keys[i], node + salt), 742039);
          const start = ((mixed >>> shift) + (i << lineBits)) << group;
          const check = ((mixed ^ (mixed >>> 13)) & 65535) | 1;
          places[i] = start;
          if (lines[start] !== check) {
            lines[start] = check;
            for (let slot = start + (1 << group) - 1; slot > start; slot--) lines[slot] = 32768;
            changed = 1;
          }
        }
      }
      const row = rows[node];
      const at = node * 8;
      const p0 = planes[at], p1 = planes[at + 1], p2 = planes[at + 2], p3 = planes[at + 3];
      const p4 = planes[at + 4];
      for (let i = 0; i < 6; i++) {
        const c = i * 4;
        level[i] =
          (Math.imul(p0, colors[c]) + Math.imul(p1, colors[c + 1]) + Math.imul(p2, colors[c + 2]) +
            Math.imul(p3, colors[c + 3]) + p4) | 0;
      }
      const level0 = clamp((level[0] >> 14) + 8, 0, 15), level1 = clamp((level[1] >> 14) + 8, 0, 15);
      const level2 = clamp((level[2] >> 13) + 32, 0, 63), level3 = clamp((level[3] >> 12) + 64, 0, 127);
      const level4 = clamp((level[4] >> 14) + 8, 0, 15), level5 = clamp((level[5] >> 14) + 8, 0, 15);
      places[7] = (row << 8) + (level0 << 4) + level1;
      places[8] = pairStart + (row << 8) + (level1 << 4) + level4;
      places[9] = gradientStart + (row << 9) + (level2 << 3) + busy;
      places[10] = blendStart + (row << 10) + (level3 << 3) + busy;
      places[11] =
        quadStart + (row << 12) + ((level0 >> 1) << 9) + ((level1 >> 1) << 6) + ((level4 >> 1) << 3) +
        (level5 >> 1);
      const stage = Math.min(depth, 3);
      for (let i = 0; i < 3; i++) {
        const rank = ranks[guesses[i]];
        let way = 0;
        if (rank >= least && rank < most) {
          way = lengths[i] * 2 + ((node ? rank >= node : guesses[i] === w) ? 1 : 0);
        }
        places[12 + i] = runStart + (i << 8) + (stage << 6) + way;
      }

      let known = 0;
      for (let i = 0; i < 7; i++) {
        const slot = lines[places[i] + local];
        slots[i] = slot;
        logits[i] = stretch[slot >> 4];
        if (slot & 15) known++;
      }
      for (let i = 7; i < 15; i++) {
        const slot = dense[places[i]];
        slots[i] = slot;
        logits[i] = stretch[slot >> 19];
      }
      const set0 = row * 16, set1 = (nRows + known) * 16, set2 = (nRows + 8 + pattern) * 16;
      let sum0 = 0, sum1 = 0, sum2 = 0;
      for (let i = 0; i < 16; i++) {
        const logit = logits[i];
        sum0 = (sum0 + Math.imul(logit, weights[set0 + i] >> 7)) | 0;
        sum1 = (sum1 + Math.imul(logit, weights[set1 + i] >> 7)) | 0;
        sum2 = (sum2 + Math.imul(logit, weights[set2 + i] >> 7)) | 0;
      }
      const share = stage * 3;
      const z0 = clamp(sum0 >> 13, -REACH, REACH);
      const z1 = clamp(sum1 >> 13, -REACH, REACH);
      const z2 = clamp(sum2 >> 13, -REACH, REACH);
      const total = z0 * (shares[share] >> 4) + z1 * (shares[share + 1] >> 4) + z2 * (shares[share + 2] >> 4);
      const mixture = clamp(total, -REACH * 65536, REACH * 65536) >> 16;
      const chance = squash[mixture + REACH];
      const step = (mixture + REACH) >> 7, part = (mixture + REACH) & 127;
      const cell = (row * 8 + same) * 46 + step;
      const e0 = refined[cell], e1 = refined[cell + 1];
      final = clamp((chance + ((e0 * (128 - part) + e1 * part) >> 7) + 1) >> 1, 24, 65512);

      const range = high - low;
      const middle = low + (range >>> 16) * final + (((range & 65535) * final) >>> 16);
      const bit = code <= middle ? 1 : 0;
      if (bit) high = middle;
      else low = middle + 1;
      while ((low ^ high) >>> 24 === 0) {
        code = ((code << 8) | (position < nCoded ? coded[position] : 0)) >>> 0;
        position++;
        low = (low << 8) >>> 0;
        high = ((high << 8) | 255) >>> 0;
      }
      decisions++;

      const aim = bit ? 65535 : 0;
      const error0 = aim - squash[z0 + REACH];
      const error1 = aim - squash[z1 + REACH];
      const error2 = aim - squash[z2 + REACH];
      for (let i = 0; i < 16; i++) {
        const logit = logits[i];
        let before = weights[set0 + i];
        let after = before + ((Math.imul(logit, error0) + half) >> pace);
        after = after > 6815744 ? 6815744 : after < -6815744 ? -6815744 : after;
        weights[set0 + i] = after;
        changed |= before ^ after;
        before = weights[set1 + i];
        after = before + ((Math.imul(logit, error1) + half) >> pace);
        after = after > 6815744 ? 6815744 : after < -6815744 ? -6815744 : after;
        weights[set1 + i] = after;
        changed |= before ^ after;
        before = weights[set2 + i];
        after = before + ((Math.imul(logit, error2) + half) >> pace);
        after = after > 6815744 ? 6815744 : after < -6815744 ? -6815744 : after;
        weights[set2 + i] = after;
        changed |= before ^ after;
      }
      const error = aim - chance;
      opinions[0] = z0;
      opinions[1] = z1;
      opinions[2] = z2;
      for (let i = 0; i < 3; i++) {
        const before = shares[share + i];
        const after = clamp(before + ((Math.imul(opinions[i], error) + 2048) >> 12), -8388608, 8388608);
        shares[share + i] = after;
        changed |= before ^ after;
      }
      const target = bit ? 4194303 : 31, rounding = bit ? 512 : 0;
      for (let i = 0; i < 7; i++) {
        const slot = slots[i], count = slot & 15;
        let chance = (slot >> 4) << 10;
        chance += Math.imul((target - chance) >> 5, rates[count]) >> 9;
        const after = (((chance + rounding) >> 10) << 4) | (count < 15 ? count + 1 : 15);
        lines[places[i] + local] = after;
        changed |= slot ^ after;
      }
      for (let i = 7; i < 15; i++) {
        const slot = dense[places[i]], count = slot & 511;
        let chance = slot >> 9;
        chance += Math.imul((target - chance) >> 5, rates[16 + count]) >> 9;
        const after = (chance << 9) | (count < 255 ? count + 1 : 255);
        dense[places[i]] = after;
        changed |= slot ^ after;
      }
      const lower = ((aim - e0) * (128 - part)) >> 13;
      const upper = ((aim - e1) * part) >> 13;
      refined[cell] = e0 + lower;
      refined[cell + 1] = e1 + upper;
      changed |= lower | upper;

      if (!node) {
        if (bit) {
          color = w;
          break;
        }
        node = root;
        salt = 23505;
        left = 0;
        continue;
      }
      if (bit) least = node;
      else most = node;
      node = children[node * 2 + bit];
      if (node >= nColors) {
        color = leaves[node - nColors];
        break;
      }
      local = local * 2 + bit;
      depth++;
      left--;
    }

    here[x + 3] = color;
    if (position > nCoded + 4) break;
    for (let i = 0; i < 3; i++) {
      const run = color | ((guesses[i] === color ? Math.min(lengths[i] + 1, 31) : 1) << 16);
      changed |= runs[runAt[i]] ^ run;
      runs[runAt[i]] = run;
    }
    still = calm > 4 && color === w && !changed;
    w = color;
  }
  here[0] = here[1] = here[2] = here[3];
  here[width + 3] = here[width + 4] = here[width + 2];
  numbers.set([low, high, code, position, decisions], 4);
}
