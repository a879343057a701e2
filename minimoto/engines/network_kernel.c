/* The layers of the `fast` style's network, float32, rows x columns x channels.

   3x3 convolutions are computed as in winograd.c, by F(6x6, 3x3) on blocks of tiles that lie in the cache. What stands
   beside them in the network is done on the way in and out: a normalisation and ReLU of what goes in, scale, offset and
   ReLU of what comes out, the sums that the next normalisation needs, and the bytes of the picture.

   A convolution of what is enlarged twofold, bilinearly, is never computed at the enlarged size: each of the four phases
   of its output is a 3x3 convolution of the small picture, so the four are one convolution with four times the channels.

   Any number of threads may call the same task; they share its blocks by its counter. */

#include "winograd.h"

#ifdef __AVX__
#include <immintrin.h>
#endif

/* What lies beyond the edges of what goes in. */
#define ZERO 0
#define MIRROR 1 /* the pixels inside the edge, without the edge's own */
#define REPEAT 2 /* the edge's own */

#define NOISE 4
#define PAINT 16
#define SQUARE 16
/* Pixels of a row that a convolution with stride 2 makes from all of its inputs before it goes on. */
#define SPAN (8 * ROWS)

typedef struct {
    const void *in;       /* (in_height, in_width, in_channels); seen: the photo's bytes */
    const float *before;  /* (2, in_channels): scale and offset of what goes in, which a ReLU follows; or null */
    const float *weights; /* 3x3: (64, columns/16, in, 16); else (out/16, inputs, 16) */
    const float *after;   /* (2, out_channels): scale and offset of what comes out */
    const float *noise;   /* mixed: (NOISE, in_height) */
    const int32_t *places; /* seen: for each row the photo's pixel that it begins with, for each column which it is */
    void *out;            /* (rows, columns of it, out_channels) */
    float *sums;          /* (blocks, 2, out_channels): sums of what comes out and of its squares; or null */
    int32_t in_height, in_width, in_channels, out_channels;
    int32_t top;   /* of `in`, the row where the first row of `out` lies */
    int32_t rows;  /* of `out`; where it is enlarged, half of them; seen: of squares */
    int32_t edges; /* ZERO, MIRROR or REPEAT */
    int32_t relu;  /* whether what comes out goes through a ReLU */
    int32_t block; /* tiles, rows or pixels that are worked on together */
    int32_t next;  /* the next block that nobody has taken */
} task;

INLINE int take(task *t) { return __atomic_fetch_add(&t->next, 1, __ATOMIC_RELAXED); }

#if defined(__AVX512F__)
INLINE vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
#elif defined(__AVX__)
INLINE vec larger(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
#else
INLINE vec larger(vec a, vec b) { return where(a > b, a) + where(~(a > b), b); }
#endif

INLINE vec least(const task *t) { return all(t->relu ? 0 : -3.4e38f); }

/* The pixel that stands at a place along an axis; -1 is none. */
INLINE int place(int at, int length, int edges) {
    if (at >= 0 && at < length) return at;
    if (edges == ZERO) return -1;
    if (edges == MIRROR) at = at < 0 ? -at : 2 * length - 2 - at;
    return at < 0 ? 0 : at >= length ? length - 1 : at;
}

INLINE void gather(const task *t, const int inner, const int normed, int top, int left, float *v, long apart) {
    int ys[8], xs[8];
    for (int i = 0; !inner && i < 8; i++) {
        ys[i] = place(top + i, t->in_height, t->edges);
        xs[i] = place(left + i, t->in_width, t->edges);
    }
    for (int c = 0; c < t->in_channels; c += LANES) {
        vec rows[8][8], d[8], r[8];
        vec scale = normed ? load(t->before + c) : all(0), offset = normed ? load(t->before + t->in_channels + c) : all(0);
        for (int x = 0; x < 8; x++) {
            /* the next tile has two columns in common with this one */
            for (int y = 0; inner && x > 1 && y < 8; y++)
                __builtin_prefetch((const float *)t->in + ((long)(top + y) * t->in_width + left + x + 6) * t->in_channels + c);
            for (int y = 0; y < 8; y++) {
                long row = inner ? top + y : ys[y], column = inner ? left + x : xs[x];
                if (row < 0 || column < 0) {
                    d[y] = all(0);
                    continue;
                }
                d[y] = load((const float *)t->in + (row * t->in_width + column) * t->in_channels + c);
                if (normed) d[y] = larger(d[y] * scale + offset, all(0));
            }
            transform_in(d, r);
            for (int y = 0; y < 8; y++) rows[y][x] = r[y];
        }
        for (int y = 0; y < 8; y++) {
            transform_in(rows[y], r);
            for (int x = 0; x < 8; x++) store(v + (y * 8 + x) * apart + c, r[x]);
        }
    }
}

static void gather_tile(const task *t, int top, int left, float *v, long apart) {
    int inner = top >= 0 && left >= 0 && top + 8 <= t->in_height && left + 8 <= t->in_width;
    if (t->before && inner) gather(t, 1, 1, top, left, v, apart);
    else if (t->before) gather(t, 0, 1, top, left, v, apart);
    else if (inner) gather(t, 1, 0, top, left, v, apart);
    else gather(t, 0, 0, top, left, v, apart);
}

/* the 6x6 outputs of a tile, `LANES` channels of them */
INLINE void untransformed(const float *m, long apart, vec o[6][6]) {
    vec rows[6][8], d[8], r[6];
    for (int x = 0; x < 8; x++) {
        for (int y = 0; y < 8; y++) d[y] = load(m + (y * 8 + x) * apart);
        transform_out(d, r);
        for (int y = 0; y < 6; y++) rows[y][x] = r[y];
    }
    for (int y = 0; y < 6; y++) transform_out(rows[y], o[y]);
}

INLINE void scatter(const task *t, const int inner, const int counted, int top, int left, const float *m, long apart,
                    float *sums) {
    long channels = t->out_channels;
    for (long c = 0; c < channels; c += LANES) {
        vec o[6][6], sum = all(0), squares = all(0);
        vec scale = load(t->after + c), offset = load(t->after + channels + c), low = least(t);
        /* A store waits for its line to come, so the next ones are asked for: the next channels', or the next tile's. */
        long ahead = c + LANES < channels ? LANES : 6 * channels - c;
        untransformed(m + c, apart, o);
        for (int y = 0; y < 6; y++) {
            float *to = (float *)t->out + ((long)(top + y) * t->in_width + left) * channels + c;
            for (int x = 0; x < 6; x++) {
                __builtin_prefetch(to + x * channels + ahead, 1);
                if (!inner && (top + y >= t->rows || left + x >= t->in_width)) continue;
                vec v = larger(o[y][x] * scale + offset, low);
                store(to + x * channels, v);
                if (counted) sum += v, squares += v * v;
            }
        }
        if (counted) {
            store(sums + c, load(sums + c) + sum);
            store(sums + channels + c, load(sums + channels + c) + squares);
        }
    }
}

static void scatter_plain(const task *t, int top, int left, const float *m, long apart, float *sums) {
    int inner = top + 6 <= t->rows && left + 6 <= t->in_width;
    if (inner && sums) scatter(t, 1, 1, top, left, m, apart, sums);
    else if (sums) scatter(t, 0, 1, top, left, m, apart, sums);
    else if (inner) scatter(t, 1, 0, top, left, m, apart, 0);
    else scatter(t, 0, 0, top, left, m, apart, 0);
}

/* the four phases, each of `out_channels`, to their places; with `add`, added to what is there */
INLINE void spread(const task *t, const int inner, const int add, int top, int left, const float *m, long apart) {
    long channels = t->out_channels, width = 2 * (long)t->in_width;
    for (int phase = 0; phase < 4; phase++)
        for (long c = 0; c < channels; c += LANES) {
            vec o[6][6], scale = load(t->after + c), offset = load(t->after + channels + c), low = least(t);
            /* as in scatter; after the last channels come the next phase's */
            long beside = phase % 2 ? (phase / 2 ? 11 - width : width - 1) : 1;
            long ahead = c + LANES < channels ? LANES : beside * channels - c;
            untransformed(m + phase * channels + c, apart, o);
            for (int y = 0; y < 6; y++) {
                long row = 2 * (top + y) + phase / 2, column = 2 * left + phase % 2;
                float *to = (float *)t->out + (row * width + column) * channels + c;
                for (int x = 0; x < 6; x++) {
                    __builtin_prefetch(to + 2 * x * channels + ahead, 1);
                    if (!inner && (top + y >= t->rows || left + x >= t->in_width)) continue;
                    vec v = o[y][x] * scale + offset;
                    if (add) v += load(to + 2 * x * channels);
                    store(to + 2 * x * channels, larger(v, low));
                }
            }
        }
}

static void scatter_enlarged(const task *t, int top, int left, const float *m, long apart, float *sums) {
    (void)sums;
    if (top + 6 <= t->rows && left + 6 <= t->in_width) spread(t, 1, 0, top, left, m, apart);
    else spread(t, 0, 0, top, left, m, apart);
}

static void scatter_added(const task *t, int top, int left, const float *m, long apart, float *sums) {
    (void)sums;
    if (top + 6 <= t->rows && left + 6 <= t->in_width) spread(t, 1, 1, top, left, m, apart);
    else spread(t, 0, 1, top, left, m, apart);
}

/* channels are 6 of the upper row, RGB twice, 2 that are nothing, and as many of the lower row */
static void scatter_painted(const task *t, int top, int left, const float *m, long apart, float *sums) {
    (void)sums;
    long width = 6 * (long)t->in_width;
    for (int c = 0; c < PAINT; c += LANES) {
        vec o[6][6], offset = load(t->after + PAINT + c);
        untransformed(m + c, apart, o);
        for (int y = 0; y < 6 && top + y < t->rows; y++)
            for (int x = 0; x < 6 && left + x < t->in_width; x++) {
                vec v = larger(o[y][x] + offset, all(0));
                v = -larger(-v, all(-255));
                bytes painted = __builtin_convertvector(__builtin_convertvector(v, ints), bytes);
                for (int half = 0; half < LANES / 8; half++) {
                    uint8_t *to = (uint8_t *)t->out + (2 * (top + y) + c / 8 + half) * width + 6 * (left + x);
                    memcpy(to, (const uint8_t *)&painted + 8 * half, 6);
                }
            }
    }
}

typedef void scatterer(const task *t, int top, int left, const float *m, long apart, float *sums);

/* `scratch` holds 64 * (block * (in_channels + columns) + 32) floats */
INLINE void convolve(task *t, float *scratch, long columns, scatterer *scattered) {
    int across = (t->in_width + 5) / 6, tiles = across * ((t->rows + 5) / 6);
    long in = t->in_channels, v_apart = t->block * in + 16, m_apart = t->block * columns + 16;
    float *v = scratch, *m = v + 64 * v_apart;
    for (int number; (number = take(t)) * t->block < tiles;) {
        int first = number * t->block, count = tiles - first < t->block ? tiles - first : t->block;
        float *sums = t->sums ? t->sums + 2L * number * t->out_channels : 0;
        if (sums) memset(sums, 0, 2 * sizeof(float) * t->out_channels);
        for (int i = 0; i < count; i++) {
            int top = (first + i) / across * 6, left = (first + i) % across * 6;
            gather_tile(t, t->top + top - 1, left - 1, v + i * in, v_apart);
        }
        for (int k = 0; k < 64; k++)
            multiply_tiles(v + k * v_apart, t->weights + k * in * columns, m + k * m_apart, in, columns, count, 0, 0);
        for (int i = 0; i < count; i++) {
            int top = (first + i) / across * 6, left = (first + i) % across * 6;
            scattered(t, top, left, m + i * columns, m_apart, sums);
        }
    }
}

/* a 3x3 convolution */
void style_plain(task *t, float *scratch) { convolve(t, scratch, t->out_channels, scatter_plain); }

/* a 3x3 convolution of what is enlarged twofold; `out` is (2 * rows, 2 * in_width, out_channels) */
void style_enlarged(task *t, float *scratch) { convolve(t, scratch, 4 * t->out_channels, scatter_enlarged); }

/* the same, added to what `out` holds */
void style_added(task *t, float *scratch) { convolve(t, scratch, 4 * t->out_channels, scatter_added); }

/* the same to RGB: bytes of what comes out, cut off at 0 and 255; `out` is (2 * rows, 2 * in_width, 3) of bytes */
void style_painted(task *t, float *scratch) { convolve(t, scratch, PAINT, scatter_painted); }

/* `count` pixels of 2 * LANES channels: the sum over `runs` of `depth` inputs each. Runs of the same pixel lie `run`
   floats from each other, the same input of the next pixel `step`. */
INLINE void sum_runs(vec sum[ROWS][2], const int count, const float *from, int runs, long run, long step, long depth,
                     const float *weights, long weights_run, long apart) {
    for (int i = 0; i < runs; i++, from += run, weights += weights_run)
        for (long k = 0; k < depth; k++) {
            vec w0 = load(weights + 16 * k), w1 = load(weights + apart + 16 * k);
            for (int p = 0; p < count; p++) {
                vec a = all(from[p * step + k]);
                sum[p][0] += a * w0;
                sum[p][1] += a * w1;
            }
        }
}

INLINE void keep_pixels(const task *t, vec sum[ROWS][2], const int count, float *to, long c) {
    for (int n = 0; n < 2; n++) {
        vec scale = load(t->after + c + n * LANES), offset = load(t->after + t->out_channels + c + n * LANES);
        for (int p = 0; p < count; p++)
            store(to + p * t->out_channels + n * LANES, larger(sum[p][n] * scale + offset, least(t)));
    }
}

INLINE void halved_pixels(const task *t, const int count, int y, int x, long c) {
    vec sum[ROWS][2];
    for (int p = 0; p < count; p++) sum[p][0] = sum[p][1] = all(0);
    long in = t->in_channels, inputs = 9 * in, row = t->in_width * in;
    int top = t->top + 2 * y - 1, up = top < 0, left = x == 0;
    int runs = (top + 3 > t->in_height ? t->in_height - top : 3) - up;
    const float *from = (const float *)t->in + (top + up) * row + (2 * x - 1 + left) * in;
    const float *weights = t->weights + c * inputs + 16 * (3 * up + left) * in;
    long apart = LANES == 16 ? 16 * inputs : LANES;
    sum_runs(sum, count, from, runs, row, 2 * in, (3 - left) * in, weights, 48 * in, apart);
    keep_pixels(t, sum, count, (float *)t->out + ((long)y * (t->in_width / 2) + x) * t->out_channels + c, c);
}

/* a 3x3 convolution with stride 2 and zeros beyond the edges; `in_width` is even; a block is a number of rows */
void style_halved(task *t, float *scratch) {
    (void)scratch;
    int width = t->in_width / 2;
    for (int first; (first = take(t) * t->block) < t->rows;)
        for (int y = first; y < first + t->block && y < t->rows; y++)
            for (int start = 0; start < width; start += SPAN)
                for (long c = 0; c < t->out_channels; c += 2 * LANES) {
                    int x = start, end = start + SPAN < width ? start + SPAN : width;
                    if (x == 0) halved_pixels(t, 1, y, x++, c);
                    for (; x + ROWS <= end; x += ROWS) halved_pixels(t, ROWS, y, x, c);
                    for (; x < end; x++) halved_pixels(t, 1, y, x, c);
                }
}

/* a row of the photo by its pixels' places, to planes of colour: mapped, cut off at 0 and 1, and mapped again */
INLINE void seen_row(const task *t, const uint8_t *from, const int32_t *places, float *planes, long apart) {
    long width = t->in_width;
    for (long x = 0; x < width; x++)
        for (int c = 0; c < 3; c++) planes[c * apart + x] = from[3 * (long)places[x] + c];
    for (long x = 0; x < width; x += LANES) {
        vec colour[3], mapped[3];
        for (int c = 0; c < 3; c++) colour[c] = load(planes + c * apart + x);
        for (int map = 0; map < 2; map++) {
            const float *m = t->weights + 12 * map;
            for (int c = 0; c < 3; c++, m += 4)
                mapped[c] = all(m[0]) * colour[0] + all(m[1]) * colour[1] + all(m[2]) * colour[2] + all(m[3]);
            for (int c = 0; c < 3; c++)
                colour[c] = map ? mapped[c] : -larger(-larger(mapped[c], all(0)), all(-1));
        }
        for (int c = 0; c < 3; c++) store(planes + c * apart + x, colour[c]);
    }
}

/* what the network sees of a photo: bytes to squares of 2x2 pixels, SQUARE channels of which the last are nothing;
   `weights` is (2, 3, 4), two maps of colours; a block is a number of rows.
   `scratch` holds 6 * (in_width + LANES) floats */
void style_seen(task *t, float *scratch) {
    long width = t->in_width, apart = width + LANES;
    const int32_t *columns = t->places + 2 * t->rows;
    for (int first; (first = take(t) * t->block) < t->rows;)
        for (int y = first; y < first + t->block && y < t->rows; y++) {
            /* upper and lower row of each colour follow each other */
            for (int row = 0; row < 2; row++)
                seen_row(t, (const uint8_t *)t->in + 3 * (long)t->places[2 * y + row], columns, scratch + row * apart,
                         2 * apart);
            float *to = (float *)t->out + y * (width / 2) * SQUARE;
            for (long x = 0; x < width; x += 2, to += SQUARE) {
                for (int pair = 0; pair < 6; pair++) memcpy(to + 2 * pair, scratch + pair * apart + x, 8);
                memset(to + 12, 0, 16);
            }
        }
}

/* a matrix, one for the noise and an offset, of each pixel: `in` and `out` are (in_height, in_channels) and may be the
   same; `weights` is (in_channels/16, in_channels + NOISE + 1, 16); a block is a number of pixels.
   `scratch` holds block * (in_channels + NOISE + 1) floats */
void style_mixed(task *t, float *scratch) {
    long channels = t->in_channels, inputs = channels + NOISE + 1, pixels = t->in_height;
    for (long first; (first = (long)take(t) * t->block) < pixels;) {
        int count = pixels - first < t->block ? (int)(pixels - first) : t->block;
        for (int p = 0; p < count; p++) {
            float *row = scratch + p * inputs;
            memcpy(row, (const float *)t->in + (first + p) * channels, channels * sizeof(float));
            for (int n = 0; n < NOISE; n++) row[channels + n] = t->noise[n * pixels + first + p];
            row[channels + NOISE] = 1;
        }
        multiply_tiles(scratch, t->weights, (float *)t->out + first * channels, inputs, channels, count, 0, 0);
    }
}

/* adds `in` with its scale and offset to `out`, both (in_height, in_channels); a block is a number of pixels */
void style_summed(task *t, float *scratch) {
    (void)scratch;
    long channels = t->in_channels;
    for (long first; (first = (long)take(t) * t->block) < t->in_height;)
        for (long p = first; p < first + t->block && p < t->in_height; p++)
            for (long c = 0; c < channels; c += LANES) {
                float *to = (float *)t->out + p * channels + c;
                vec v = load((const float *)t->in + p * channels + c) * load(t->after + c) + load(t->after + channels + c);
                store(to, load(to) + v);
            }
}
