/* What the kernels for 3x3 convolutions share: vectors, products of matrices, and the transforms of Winograd's minimal
   filtering F(6x6, 3x3) (Lavin and Gray 2015, "Fast algorithms for convolutional neural networks", section 4). */

#ifndef WINOGRAD_H
#define WINOGRAD_H

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* A vector holds as many channels as the machine's registers take; all loops are written in it. */
#ifdef __AVX512F__
#include <immintrin.h>
#define LANES 16
#define ROWS 12
#define FEWER 4
#else
#define LANES 8
#define ROWS 6
#define FEWER 2
#endif
/* Vectors of a panel of 16 columns. */
#define PER_PANEL (16 / LANES)
/* Where a panel's second vector begins, if it has one. */
#define OTHER (LANES % 16)

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t ints __attribute__((vector_size(4 * LANES), aligned(4)));
typedef uint8_t bytes __attribute__((vector_size(LANES), aligned(1)));
typedef float v8 __attribute__((vector_size(32), aligned(4)));

/* Steps of a matrix product's inner dimension that are done at once, so that the columns stay in the first cache. */
#define DEPTH 256

#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t i8 __attribute__((vector_size(32)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (i8){__VA_ARGS__})
#endif

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec v) { *(vec *)p = v; }
INLINE vec all(float x) { return x - (vec){0}; }
INLINE ints all_ints(int x) { return x - (ints){0}; }
INLINE vec where(ints chosen, vec v) { return (vec)(chosen & (ints)v); }
INLINE ints widen(const uint8_t *p) { return __builtin_convertvector(*(const bytes *)p, ints); }

/* What is used after a product, and asked for while that is computed, a little with every step: at once it would be more
   than a processor waits for beside its work. Of two panels it is as much of each, `beside` floats apart, and `step`
   floats a step; if there is a `run`, it goes on after so many steps `jump` floats behind where the run began. */
typedef struct {
    const float *at;
    long step, beside, run, jump;
} soon;

/* c (rows, columns) = a (rows, depth) * b (depth, columns), or added to it. Columns are `vectors` vectors, which lie
   `apart` floats from each other in b, and b's rows 16. */
INLINE void multiply(const int rows, const int vectors, const float *a, const long a_row, const long a_step,
                     const float *b, const long apart, soon next, float *c, long c_row, long depth, int add) {
    vec sum[16][2];
    for (int r = 0; r < rows; r++)
        for (int n = 0; n < vectors; n++) sum[r][n] = add ? load(c + r * c_row + n * LANES) : all(0);
    for (long k = 0; k < depth; next.at += next.jump) {
        long end = next.run && k + next.run < depth ? k + next.run : depth;
        for (const float *line = next.at; k < end; k++, line += next.step) {
            vec columns[2];
            for (int n = 0; n < vectors; n++) {
                columns[n] = load(b + n * apart + 16 * k);
                if (n * LANES % 16 == 0) __builtin_prefetch(line + n * next.beside, 0, 2);
            }
            for (int r = 0; r < rows; r++) {
                vec x = all(a[r * a_row + k * a_step]);
                for (int n = 0; n < vectors; n++) sum[r][n] += x * columns[n];
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int n = 0; n < vectors; n++) store(c + r * c_row + n * LANES, sum[r][n]);
}

INLINE v8 load_8(const float *p) { return *(const v8 *)p; }
INLINE void store_8(float *p, v8 v) { *(v8 *)p = v; }

INLINE void transpose_8x8(const float *from, float *to) {
    v8 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = load_8(from + 16 * i);
    for (int i = 0; i < 8; i += 2) {
        b[i] = SHUFFLE(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        b[i + 1] = SHUFFLE(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int half = 0; half < 2; half++) {
            a[i + 2 * half] = SHUFFLE(b[i + half], b[i + half + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            a[i + 2 * half + 1] = SHUFFLE(b[i + half], b[i + half + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        store_8(to + 16 * i, SHUFFLE(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11));
        store_8(to + 16 * (i + 4), SHUFFLE(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15));
    }
}

/* 16 columns of the transpose of u, `depth` of them from the first of `from` on */
INLINE void transpose(const float *from, long out, float *to, long depth) {
    for (long i = 0; i < depth; i += 16)
        for (int part = 0; part < 4; part++) {
            int row = part / 2 * 8, other = part % 2 * 8;
            transpose_8x8(from + i * out + row * 16 + other, to + (i + other) * 16 + row);
        }
}

/* m (tiles, out) = v (tiles, in) * u; u is (out/16, in, 16), or (in/16, out, 16) if it is to be transposed */
INLINE void multiply_blocks(const float *v, const float *u, float *m, long in, long out, int tiles,
                            const int transposed, float *packed) {
    long blocks = tiles < ROWS ? 1 : tiles / ROWS;
    for (long k = 0; k < in; k += DEPTH)
        for (long column = 0; column < out; column += 2 * LANES) {
            long depth = in - k < DEPTH ? in - k : DEPTH;
            int pair = column + 2 * LANES <= out;
            const float *b = u + column * in + 16 * k;
            long apart = LANES == 16 ? 16 * in : LANES, step = blocks < 16 ? 16 / blocks : 1, ahead = depth * step;
            soon next = {b + 2 * LANES * in, step, apart, 0, 0};
            if (transposed) {
                /* what is transposed next are squares of 16x16 in a row of them */
                const float *from = u + k * out + column * 16;
                long squares = (depth / 16 + blocks - 1) / blocks, run = depth / squares;
                next = (soon){from + 32 * LANES, 256 / run, 256, run, 16 * out};
                ahead = squares * next.jump;
                for (int panel = 0; panel < (pair ? 2 * LANES : 16); panel += 16)
                    transpose(from + panel * 16, out, packed + panel * DEPTH, depth);
                b = packed;
                apart = LANES == 16 ? 16 * DEPTH : LANES;
            }
            const float *a = v + k;
            float *c = m + column;
            int t = 0;
            if (pair) {
                for (; t + ROWS <= tiles; t += ROWS, next.at += ahead)
                    multiply(ROWS, 2, a + t * in, in, 1, b, apart, next, c + t * out, out, depth, k > 0);
                for (; t + FEWER <= tiles; t += FEWER)
                    multiply(FEWER, 2, a + t * in, in, 1, b, apart, next, c + t * out, out, depth, k > 0);
                for (; t < tiles; t++) multiply(1, 2, a + t * in, in, 1, b, apart, next, c + t * out, out, depth, k > 0);
            } else {
                for (; t + ROWS <= tiles; t += ROWS, next.at += ahead)
                    multiply(ROWS, 1, a + t * in, in, 1, b, apart, next, c + t * out, out, depth, k > 0);
                for (; t + FEWER <= tiles; t += FEWER)
                    multiply(FEWER, 1, a + t * in, in, 1, b, apart, next, c + t * out, out, depth, k > 0);
                for (; t < tiles; t++) multiply(1, 1, a + t * in, in, 1, b, apart, next, c + t * out, out, depth, k > 0);
            }
        }
}

static void multiply_tiles(const float *v, const float *u, float *m, long in, long out, int tiles, int transposed,
                           float *packed) {
    if (transposed) multiply_blocks(v, u, m, in, out, tiles, 1, packed);
    else multiply_blocks(v, u, m, in, out, tiles, 0, 0);
}

INLINE void transform_in(const vec d[8], vec r[8]) {
    vec a = d[2] + d[6] - all(4.25f) * d[4], b = d[1] + d[5] - all(4.25f) * d[3];
    vec c = d[6] + all(0.25f) * d[2] - all(1.25f) * d[4], e = all(0.5f) * d[1] - all(2.5f) * d[3] + all(2) * d[5];
    vec f = d[6] + all(4) * d[2] - all(5) * d[4], g = all(2) * d[1] - all(2.5f) * d[3] + all(0.5f) * d[5];
    r[0] = d[0] - d[6] + all(5.25f) * (d[4] - d[2]);
    r[1] = a + b;
    r[2] = a - b;
    r[3] = c + e;
    r[4] = c - e;
    r[5] = f + g;
    r[6] = f - g;
    r[7] = d[7] - d[1] + all(5.25f) * (d[3] - d[5]);
}

INLINE void transform_out(const vec m[8], vec r[6]) {
    vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4], f = m[5] + m[6], g = m[5] - m[6];
    r[0] = m[0] + a + c + all(16) * f;
    r[1] = b + all(2) * e + all(8) * g;
    r[2] = a + all(4) * c + all(4) * f;
    r[3] = b + all(8) * e + all(2) * g;
    r[4] = a + all(16) * c + f;
    r[5] = m[7] + b + all(32) * e + all(0.5f) * g;
}

#endif
