"""Slow, obvious twins of the fast path: plain Python loops, one weight, one cell at a time."""

import math

import numpy as np


def gate(weights, row, column):
    kept = weights.copy()
    for r in range(weights.shape[0]):
        for c in range(weights.shape[1]):
            if row[r] < 0 or column[c] < 0:
                kept[r, c] = 0
    return kept


def quantise(weights, bits):
    """Codes and scales of one matrix that is gated already."""
    q = 2 ** (bits - 1) - 1
    codes = np.zeros(weights.shape, int)
    scales = np.ones(weights.shape[1], np.float32)
    for c in range(weights.shape[1]):
        largest = max(abs(float(w)) for w in weights[:, c])
        if largest == 0:
            continue
        scales[c] = np.float32(largest / q)
        for r in range(weights.shape[0]):
            codes[r, c] = round(float(weights[r, c]) * q / largest)
    return codes, scales


def groups_of(code, spec):
    """The unsigned numbers that one code is stored as."""
    half = 2 ** (spec.bits - 1)
    if spec.encoding == "offset":
        return [code + half]
    if spec.encoding == "twos_complement":
        return [code if code >= 0 else code + 2 * half]
    if spec.encoding == "sign_magnitude":
        return [code if code >= 0 else half - code]
    return [code, 0] if code >= 0 else [0, -code]


def code_of(groups, spec):
    half = 2 ** (spec.bits - 1)
    if spec.encoding == "offset":
        return groups[0] - half
    if spec.encoding == "twos_complement":
        return groups[0] if groups[0] < half else groups[0] - 2 * half
    if spec.encoding == "sign_magnitude":
        return groups[0] if groups[0] < half else -(groups[0] - half)
    return groups[0] - groups[1]


def group_bits(spec):
    return spec.bits - 1 if spec.encoding == "differential" else spec.bits


def cells_of(group, spec):
    """Levels of the cells of one group, least significant first."""
    levels = []
    for low in range(0, group_bits(spec), spec.bits_per_cell):
        width = min(spec.bits_per_cell, group_bits(spec) - low)
        levels.append((group >> low) % 2**width)
    return levels


def group_of(levels, spec):
    return sum(level << (i * spec.bits_per_cell) for i, level in enumerate(levels))


def highest_level(cell, spec):
    width = min(spec.bits_per_cell, group_bits(spec) - cell * spec.bits_per_cell)
    return 2**width - 1


def read(codes, stuck, spec):
    """Codes read from a matrix; `stuck[wordline, bitline]` is None, "SA0" or "SA1"."""
    rows, columns = codes.shape
    cells_per_group = math.ceil(group_bits(spec) / spec.bits_per_cell)
    groups = 2 if spec.encoding == "differential" else 1
    out = np.zeros(codes.shape, int)
    for r in range(rows):
        for c in range(columns):
            read_groups = []
            for g, number in enumerate(groups_of(int(codes[r, c]), spec)):
                levels = cells_of(number, spec)
                for i in range(cells_per_group):
                    slice_ = g * cells_per_group + i
                    if spec.layout == "interleaved":
                        bitline = c * groups * cells_per_group + slice_
                    else:
                        bitline = slice_ * columns + c
                    if stuck[r, bitline] == "SA0":
                        levels[i] = 0
                    if stuck[r, bitline] == "SA1":
                        levels[i] = highest_level(i, spec)
                read_groups.append(group_of(levels, spec))
            out[r, c] = code_of(read_groups, spec)
    return out


def flip(codes, flipped, spec):
    """Codes read when `flipped[r, c]` is the list, for each group, of inverted bit numbers."""
    out = np.zeros(codes.shape, int)
    for r in range(codes.shape[0]):
        for c in range(codes.shape[1]):
            groups = groups_of(int(codes[r, c]), spec)
            for g, bits in enumerate(flipped[r, c]):
                for bit in bits:
                    groups[g] ^= 1 << bit
            out[r, c] = code_of(groups, spec)
    return out


def levels_of(groups, spec):
    """Levels of all cells, [wordline, bitline], of stored numbers groups[g][r][c]."""
    n, rows, columns = groups.shape
    per_group = math.ceil(group_bits(spec) / spec.bits_per_cell)
    levels = np.zeros((rows, columns * n * per_group), int)
    for g, r, c in np.ndindex(n, rows, columns):
        for i, level in enumerate(cells_of(int(groups[g, r, c]), spec)):
            levels[r, bitline_of(c, g * per_group + i, n * per_group, columns, spec)] = level
    return levels


def bitline_of(column, slice_, slices, columns, spec):
    return column * slices + slice_ if spec.layout == "interleaved" else slice_ * columns + column


def short(groups, joined, spec):
    """Stored numbers as read, and cells on shorted lines.

    `joined[tile row, bitline]` says whether a line is shorted to the next one.
    """
    n, rows, columns = groups.shape
    per_group = math.ceil(group_bits(spec) / spec.bits_per_cell)
    levels = levels_of(groups, spec)
    bitlines, shorted, read = levels.shape[1], 0, levels.copy()
    for r in range(rows):
        tile_row = r // spec.tile[0]
        for b in range(bitlines):
            first = last = b
            while first > 0 and joined[tile_row, first - 1]:
                first -= 1
            while last < bitlines - 1 and joined[tile_row, last]:
                last += 1
            shorted += last > first
            read[r, b] = max(levels[r, first : last + 1])
    out = np.zeros(groups.shape, np.uint8)
    for g, r, c in np.ndindex(n, rows, columns):
        cells = [
            min(
                highest_level(i, spec),
                int(read[r, bitline_of(c, g * per_group + i, n * per_group, columns, spec)]),
            )
            for i in range(per_group)
        ]
        out[g, r, c] = group_of(cells, spec)
    return out, shorted


def all_shorted(groups, spec):
    """Stored numbers as read when all bitlines of a tile are shorted."""
    bitlines = levels_of(groups, spec).shape[1]
    joined = np.zeros((math.ceil(groups.shape[1] / spec.tile[0]), bitlines), bool)
    for b in range(bitlines - 1):
        joined[:, b] = b // spec.tile[1] == (b + 1) // spec.tile[1]
    return short(groups, joined, spec)[0]


def cells_of_lines(lines, along, spec, rows, bitlines):
    """Stuck cells [wordline, bitline] of stuck lines: [row, tile column] or [tile row, bitline]."""
    stuck = np.full((rows, bitlines), None, object)
    for r, b in np.ndindex(rows, bitlines):
        if along == "wordline":
            stuck[r, b] = lines[r, b // spec.tile[1]]
        else:
            stuck[r, b] = lines[r // spec.tile[0], b]
    return stuck


def quantise_inputs(vector):
    largest = np.float32(max(abs(float(x)) for x in vector))
    scale = np.float32(largest * np.float32(1 / 127))
    scale = np.float32(1) if scale == 0 else scale
    return [int(min(127, max(-127, round(float(np.float32(x) / scale))))) for x in vector], scale


def product(inputs, codes):
    out = np.zeros((inputs.shape[0], codes.shape[1]), np.int64)
    for b in range(inputs.shape[0]):
        for c in range(codes.shape[1]):
            out[b, c] = sum(int(inputs[b, r]) * int(codes[r, c]) for r in range(codes.shape[0]))
    return out


def poisson_cdf(mean, n):
    """P(N <= n) in floating point, summed term by term."""
    return math.fsum(
        math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(n + 1)
    )


def threefry(key, counter):
    """Threefry-2x32-20 on Python integers, from the published description."""
    m = 2**32
    ks = [key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA]
    x = [(counter[0] + ks[0]) % m, (counter[1] + ks[1]) % m]
    for round_ in range(20):
        rotation = [13, 15, 26, 6, 17, 29, 16, 24][round_ % 8]
        x[0] = (x[0] + x[1]) % m
        x[1] = ((x[1] << rotation) | (x[1] >> (32 - rotation))) % m ^ x[0]
        if round_ % 4 == 3:
            step = round_ // 4 + 1
            x = [(x[0] + ks[step % 3]) % m, (x[1] + ks[(step + 1) % 3] + step) % m]
    return x


def stuck_cells(keys, dose, spec, wordlines, bitlines):
    """Stuck cells of an array by the contract's words: points over cells x hazard, then a hash.

    `keys` are the (counts, points, cells) key words; returns [wordlines, bitlines] of None,
    "SA0" or "SA1".
    """
    from rerax.faults.sampling.poisson import poisson_table

    counts_key, points_key, cells_key = ([int(w) for w in k] for k in keys)
    table = poisson_table(wordlines * bitlines)
    stuck = np.full((wordlines, bitlines), None, object)

    def state(wordline, bitline):
        polarity, _ = threefry(cells_key, (wordline, bitline))
        return "SA1" if bool(dose.sa1) and polarity <= int(dose.sa1_limit) else "SA0"

    for k in range(int(dose.intervals)):
        high, low = threefry(counts_key, (k, 0))
        u = high * 2**32 + low
        entries = [
            int(h) * 2**32 + int(lo)
            for h, lo in zip(
                table.high[table.start[k] : table.start[k + 1]],
                table.low[table.start[k] : table.start[k + 1]],
                strict=True,
            )
        ]
        count = int(table.first[k]) + sum(entry <= u for entry in entries)
        for point in range(count):
            w, b = threefry(points_key, (point, 2 * k))
            position, _ = threefry(points_key, (point, 2 * k + 1))
            if position <= int(dose.limits[k]):
                wordline, bitline = w * wordlines >> 32, b * bitlines >> 32
                stuck[wordline, bitline] = state(wordline, bitline)
    if dose.above:
        for wordline in range(wordlines):
            for bitline in range(bitlines):
                _, other = threefry(cells_key, (wordline, bitline))
                if stuck[wordline, bitline] is None and other <= int(dose.above_limit):
                    stuck[wordline, bitline] = state(wordline, bitline)
    return stuck


def vote(images, stuck, width):
    """Majority of each bit over images that are not stuck there; a tie leaves the first image."""
    out = 0
    for bit in range(width):
        ones = sum(w >> bit & 1 for w, s in zip(images, stuck, strict=True) if not s >> bit & 1)
        voters = sum(not s >> bit & 1 for s in stuck)
        own = images[0] >> bit & 1
        out |= (1 if 2 * ones > voters else 0 if 2 * ones < voters else own) << bit
    return out
