/* The vectors that L-BFGS remembers, in 8 bits: a block of 128 values is a scale and for each value one of 255 steps.

   Vectors are `length` floats, rows of bytes and scales `blocks` blocks apart; what the last block has behind the
   vector is zero. All work is on the blocks from `first` to `last`, so that threads can share it. */

#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#define BLOCK 128
/* Blocks whose values stay in the first cache while all rows go by. */
#define TURN 16
/* Added and taken off again, it rounds what is smaller than 2^22 to whole numbers. */
#define WHOLE 12582912.0f

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t ints __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int8_t bytes __attribute__((vector_size(LANES), aligned(1)));

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec v) { *(vec *)p = v; }
INLINE vec all(float x) { return x - (vec){0}; }
/* Compilers do this one by one where they are not told how. */
INLINE vec widen(const int8_t *p) {
#if defined(__AVX512F__)
    return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)));
#elif defined(__AVX2__)
    return (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p)));
#else
    return __builtin_convertvector(__builtin_convertvector(*(const bytes *)p, ints), vec);
#endif
}
INLINE float total(vec v) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}
INLINE long least(long a, long b) { return a < b ? a : b; }

static void round_block(float *v, int8_t *row, float *scale) {
    float most = 0;
    for (int i = 0; i < BLOCK; i++) {
        float size = v[i] < 0 ? -v[i] : v[i];
        most = size > most ? size : most;
    }
    /* What is smaller could not be divided by. */
    *scale = most > 1e-30f ? most / 127 : 0;
    vec steps = all(*scale ? 1 / *scale : 0), size = all(*scale);
    for (int i = 0; i < BLOCK; i += LANES) {
        vec near = (load(v + i) * steps + all(WHOLE)) - all(WHOLE);
        *(bytes *)(row + i) = __builtin_convertvector(__builtin_convertvector(near, ints), bytes);
        store(v + i, near * size);
    }
}

/* `v` into a row; it becomes what the row holds */
void history_round(float *v, long length, int8_t *row, float *scales, long first, long last) {
    for (long b = first; b < last; b++) {
        long count = least(length - b * BLOCK, BLOCK);
        float part[BLOCK] = {0}, *block = count < BLOCK ? memcpy(part, v + b * BLOCK, count * sizeof *v) : v + b * BLOCK;
        round_block(block, row + b * BLOCK, scales + b);
        if (count < BLOCK) memcpy(v + b * BLOCK, part, count * sizeof *v);
    }
}

INLINE void dots(const int kinds, const float *const v[2], const int8_t *rows, const float *scales, long blocks,
                 long count, long from, long many, double *out) {
    for (long r = 0; r < count; r++) {
        vec sum[2] = {{0}, {0}};
        const int8_t *row = rows + (r * blocks + from) * BLOCK;
        for (long b = 0; b < many; b++) {
            vec part[2][2] = {{{0}, {0}}, {{0}, {0}}};
            for (int i = 0; i < BLOCK; i += LANES) {
                vec q = widen(row + b * BLOCK + i);
                for (int k = 0; k < kinds; k++) part[k][i / LANES % 2] += q * load(v[k] + b * BLOCK + i);
            }
            for (int k = 0; k < kinds; k++) sum[k] += all(scales[r * blocks + from + b]) * (part[k][0] + part[k][1]);
        }
        for (int k = 0; k < kinds; k++) out[r * kinds + k] += total(sum[k]);
    }
}

/* adds to `out`, (count, kinds), the products of `count` rows with one vector or two; `w` may be null */
void history_dots(const float *v, const float *w, long length, const int8_t *rows, const float *scales, long blocks,
                  long count, long first, long last, double *out) {
    for (long b = first; b < last;) {
        int whole = (b + 1) * BLOCK <= length;
        long many = whole ? least(least(TURN, last - b), length / BLOCK - b) : 1;
        float parts[2][BLOCK] = {{0}};
        const float *at[2] = {v + b * BLOCK, w ? w + b * BLOCK : 0};
        for (int k = 0; !whole && k < 2; k++)
            if (at[k]) at[k] = memcpy(parts[k], at[k], (length - b * BLOCK) * sizeof *v);
        if (w) dots(2, at, rows, scales, blocks, count, b, many, out);
        else dots(1, at, rows, scales, blocks, count, b, many, out);
        b += many;
    }
}

INLINE void add_rows(const int together, const float *weights, const int8_t *rows, const float *scales, long blocks,
                     long from, long many, float *sums) {
    for (long k = 0; k < many; k++) {
        vec weight[4];
        for (int r = 0; r < together; r++) weight[r] = all(weights[r] * scales[r * blocks + from + k]);
        for (int i = 0; i < BLOCK; i += LANES) {
            float *sum = sums + k * BLOCK + i;
            vec found = load(sum);
            for (int r = 0; r < together; r++) found += weight[r] * widen(rows + (r * blocks + from + k) * BLOCK + i);
            store(sum, found);
        }
    }
}

/* `out` = `own` times v plus the sum of `count` rows, each times its weight */
void history_combine(const float *v, float own, const float *weights, long length, const int8_t *rows,
                     const float *scales, long blocks, long count, long first, long last, float *out) {
    float sums[TURN * BLOCK];
    for (long b = first; b < last; b += TURN) {
        long many = least(TURN, last - b), start = b * BLOCK, floats = least(many * BLOCK, length - start);
        memset(sums, 0, sizeof sums);
        long r = 0, apart = blocks * BLOCK;
        for (; r + 4 <= count; r += 4)
            add_rows(4, weights + r, rows + r * apart, scales + r * blocks, blocks, b, many, sums);
        for (; r < count; r++)
            add_rows(1, weights + r, rows + r * apart, scales + r * blocks, blocks, b, many, sums);
        for (long i = 0; i < floats; i++) out[start + i] = own * v[start + i] + sums[i];
    }
}
