/* 3x3 convolutions of a VGG network and their gradients with respect to the input, float32, rows x columns x channels.

   Winograd's minimal filtering F(6x6, 3x3) (Lavin and Gray 2015, "Fast algorithms for convolutional neural networks",
   section 4): a tile of 8x8 inputs gives 6x6 outputs with 64 multiplications instead of 324. A block of tiles is
   transformed, multiplied and transformed back while it lies in the cache; bias, ReLU, pooling and their gradients
   happen on the way in and out, so that no picture is written only to be read again.

   Any number of threads may call the same task; they share its blocks by its counter. */

#include "winograd.h"

#ifdef __AVX512F__
#define GRAM_ROWS 16
typedef uint16_t bits_t;
#else
#define GRAM_ROWS 4
typedef uint8_t bits_t;
#endif

typedef struct {
    const float *in;       /* (height, width, in_channels); with codes: (height/2, width/2, in_channels) */
    const uint8_t *codes;  /* which pixel of its 2x2 each value of `in` belongs to; 4 is none; or null */
    const float *weights;  /* 3x3: (64, out/16, in, 16); first: (27, out); first_gradient: (9, 3, out) */
    const float *bias;     /* (out_channels) or null: then no ReLU */
    float *out;            /* (height, width, out_channels) or null */
    uint8_t *mask;         /* (height, width, out_channels/8), a bit where the ReLU lets through: written with a bias,
                              else obeyed; or null */
    float *pooled;         /* (height/2, width/2, out_channels) or null */
    uint8_t *pooled_codes; /* of `pooled`, or null: then it is the average instead of the maximum */
    int32_t height, width, in_channels, out_channels;
    int32_t transposed;    /* whether `weights` are those of the convolution that this is the gradient of */
    int32_t add;           /* whether to add to what `out` holds */
    int32_t block;         /* tiles, or rows, that are worked on together */
    int32_t next;          /* the next block that nobody has taken */
} task;

/* Features whose products are summed at once. */
#define CHUNK 32768

/* Where the inverse of each point is: a kernel turned by 180 degrees takes at a point the values of the other. */
static const int INVERSE[8] = {7, 1, 2, 5, 6, 3, 4, 0};

INLINE int take(task *t) { return __atomic_fetch_add(&t->next, 1, __ATOMIC_RELAXED); }

#ifdef __AVX512F__
INLINE bits_t bits_of(vec v) { return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_GT_OQ); }
INLINE vec through(vec v, bits_t bits) { return (vec)_mm512_maskz_mov_ps(bits, (__m512)v); }
#else
static const ints BITS = {1, 2, 4, 8, 16, 32, 64, 128};

INLINE bits_t bits_of(vec v) {
    ints positive = v > all(0);
#ifdef __AVX__
    return (bits_t)__builtin_ia32_movmskps256((vec)positive);
#else
    ints set = positive & BITS;
    int bits = 0;
    for (int i = 0; i < LANES; i++) bits |= set[i];
    return (bits_t)bits;
#endif
}

INLINE vec through(vec v, bits_t bits) { return where((all_ints(bits) & BITS) != 0, v); }
#endif

/* the input at a pixel; a max-pooling's gradient is spread over its pixels on the fly */
INLINE vec input_at(const task *t, const int pooled, const int inner, int y, int x, int c) {
    if (!pooled) return load(t->in + ((long)y * t->width + x) * t->in_channels + c);
    int rows = t->height / 2, columns = t->width / 2;
    if (!inner && (y / 2 >= rows || x / 2 >= columns)) return all(0);
    long at = ((long)(y / 2) * columns + x / 2) * t->in_channels + c;
    int place = (y & 1) * 2 + (x & 1);
#ifdef __AVX512F__
    __m128i codes = _mm_loadu_si128((const void *)(t->codes + at));
    return (vec)_mm512_maskz_loadu_ps(_mm_cmpeq_epi8_mask(codes, _mm_set1_epi8((char)place)), t->in + at);
#else
    return where(widen(t->codes + at) == all_ints(place), load(t->in + at));
#endif
}

INLINE void gather(const task *t, const int pooled, const int inner, int top, int left, float *v, long apart) {
    for (int c = 0; c < t->in_channels; c += LANES) {
        vec rows[8][8], d[8], r[8];
        for (int x = 0; x < 8; x++) {
            /* the next tile has two columns in common with this one */
            for (int y = 0; inner && !pooled && x > 1 && y < 8; y++)
                __builtin_prefetch(t->in + ((long)(top + y) * t->width + left + x + 6) * t->in_channels + c);
            for (int y = 0; y < 8; y++) {
                int inside = inner || (top + y >= 0 && top + y < t->height && left + x >= 0 && left + x < t->width);
                d[y] = inside ? input_at(t, pooled, inner, top + y, left + x, c) : all(0);
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

static void gather_tile(const task *t, int tile, int across, float *v, long apart) {
    int top = tile / across * 6 - 1, left = tile % across * 6 - 1;
    /* a last odd row or column is not pooled */
    int height = t->codes ? t->height & ~1 : t->height, width = t->codes ? t->width & ~1 : t->width;
    int inner = top >= 0 && left >= 0 && top + 8 <= height && left + 8 <= width;
    if (t->codes && inner) gather(t, 1, 1, top, left, v, apart);
    else if (t->codes) gather(t, 1, 0, top, left, v, apart);
    else if (inner) gather(t, 0, 1, top, left, v, apart);
    else gather(t, 0, 0, top, left, v, apart);
}

/* two rows of outputs, pooled */
INLINE void pool(const task *t, int top, int left, int c, vec o[2][6]) {
    int rows = t->height / 2, columns = t->width / 2;
    for (int x = 0; x < 6; x += 2) {
        if (top / 2 >= rows || (left + x) / 2 >= columns) continue;
        long at = ((long)(top / 2) * columns + (left + x) / 2) * t->out_channels + c;
        if (!t->pooled_codes) {
            store(t->pooled + at, all(0.25f) * (o[0][x] + o[0][x + 1] + o[1][x] + o[1][x + 1]));
            continue;
        }
        vec best = all(0);
        ints code = all_ints(4);
        for (int i = 0; i < 4; i++) {
            vec v = o[i / 2][x + i % 2];
            ints more = v > best, place = all_ints(i);
            best = where(more, v) + where(~more, best);
            code = (more & place) | (~more & code);
        }
        store(t->pooled + at, best);
        *(bytes *)(t->pooled_codes + at) = __builtin_convertvector(code, bytes);
    }
}

INLINE void scatter(const task *t, const int inner, const int forward, int top, int left, const float *m, long apart) {
    int groups = t->out_channels / 8;
    for (int c = 0; c < t->out_channels; c += LANES) {
        vec rows[6][8], d[8], r[6], o[2][6];
        for (int x = 0; x < 8; x++) {
            for (int y = 0; y < 8; y++) d[y] = load(m + (y * 8 + x) * apart + c);
            transform_out(d, r);
            for (int y = 0; y < 6; y++) rows[y][x] = r[y];
        }
        vec bias = forward ? load(t->bias + c) : all(0);
        /* A store waits for its line to come, so the next ones are asked for: the next channels', or the next tile's. */
        long ahead = c + LANES < t->out_channels ? LANES : 6 * t->out_channels - c;
        for (int y = 0; y < 6; y++) {
            transform_out(rows[y], o[y % 2]);
            long pixel = (long)(top + y) * t->width + left;
            for (int x = 0; x < 6; x++, pixel++) {
                vec v = o[y % 2][x] + bias;
                if (forward) o[y % 2][x] = v = where(v > all(0), v);
                if (!inner && (top + y >= t->height || left + x >= t->width)) continue;
                float *to = t->out ? t->out + pixel * t->out_channels + c : 0;
                if (to) __builtin_prefetch(to + ahead, 1);
                bits_t *bits = t->mask ? (bits_t *)(t->mask + pixel * groups + c / 8) : 0;
                if (t->add) v += load(to);
                if (bits && forward) *bits = bits_of(v);
                if (bits && !forward) v = through(v, *bits);
                if (to) store(to, v);
            }
            if (y % 2 && t->pooled) pool(t, top + y - 1, left, c, o);
        }
    }
}

static void scatter_tile(const task *t, int tile, int across, const float *m, long apart) {
    int top = tile / across * 6, left = tile % across * 6;
    int inner = top + 6 <= t->height && left + 6 <= t->width;
    if (t->bias && inner) scatter(t, 1, 1, top, left, m, apart);
    else if (t->bias) scatter(t, 0, 1, top, left, m, apart);
    else if (inner) scatter(t, 1, 0, top, left, m, apart);
    else scatter(t, 0, 0, top, left, m, apart);
}

/* `scratch` holds 64 * (block * (in + out) + 32) + 32 * DEPTH floats */
void winograd_3x3(task *t, float *scratch) {
    int across = (t->width + 5) / 6, tiles = across * ((t->height + 5) / 6);
    long in = t->in_channels, out = t->out_channels;
    long v_apart = t->block * in + 16, m_apart = t->block * out + 16;
    float *packed = scratch, *v = packed + 32 * DEPTH, *m = v + 64 * v_apart;
    for (int first; (first = take(t) * t->block) < tiles;) {
        int count = tiles - first < t->block ? tiles - first : t->block;
        for (int i = 0; i < count; i++) gather_tile(t, first + i, across, v + i * in, v_apart);
        for (int k = 0; k < 64; k++) {
            int from = t->transposed ? INVERSE[k / 8] * 8 + INVERSE[k % 8] : k;
            multiply_tiles(v + k * v_apart, t->weights + from * in * out, m + k * m_apart, in, out, count,
                           t->transposed, packed);
        }
        for (int i = 0; i < count; i++) scatter_tile(t, first + i, across, m + i * out, m_apart);
    }
}

INLINE void first_pixels(const task *t, const int count, int y, int x) {
    long row = (t->width + 2) * 3;
    for (int c = 0; c < t->out_channels; c += 16) {
        vec sum[ROWS][2];
        for (int i = 0; i < count; i++) sum[i][0] = load(t->bias + c), sum[i][1] = load(t->bias + c + OTHER);
        for (int ky = 0; ky < 3; ky++) {
            const float *from = t->in + (y + ky) * row + x * 3;
            for (int k = 0; k < 9; k++) {
                const float *w = t->weights + (ky * 9 + k) * t->out_channels + c;
                vec w0 = load(w), w1 = load(w + OTHER);
                for (int i = 0; i < count; i++) {
                    vec a = all(from[i * 3 + k]);
                    sum[i][0] += a * w0;
                    if (OTHER) sum[i][1] += a * w1;
                }
            }
        }
        for (int i = 0; i < count; i++)
            for (int n = 0; n < PER_PANEL; n++) {
                long at = ((long)y * t->width + x + i) * t->out_channels + c + n * LANES;
                vec v = where(sum[i][n] > all(0), sum[i][n]);
                __builtin_prefetch(t->out + at + ROWS * t->out_channels, 1);
                store(t->out + at, v);
                if (t->mask) *(bits_t *)(t->mask + at / 8) = bits_of(v);
            }
    }
}

/* the first layer: `in` is (height + 2, width + 2, 3), its border of zeros included; a block is a number of rows */
void winograd_first(task *t, float *scratch) {
    (void)scratch;
    for (int first; (first = take(t) * t->block) < t->height;)
        for (int y = first; y < first + t->block && y < t->height; y++) {
            int x = 0;
            for (; x + ROWS <= t->width; x += ROWS) first_pixels(t, ROWS, y, x);
            for (; x < t->width; x++) first_pixels(t, 1, y, x);
        }
}

INLINE float total(vec v) {
#ifdef __AVX512F__
    return _mm512_reduce_add_ps((__m512)v);
#else
    return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
#endif
}

INLINE void first_gradient_pixels(const task *t, const int count, int y, int x) {
    vec sum[4][3];
    long channels = t->in_channels;
    for (int i = 0; i < count; i++) sum[i][0] = sum[i][1] = sum[i][2] = all(0);
    for (int tap = 0; tap < 9; tap++) {
        int from_y = y + tap / 3 - 1, from_x = x + tap % 3 - 1;
        if (from_y < 0 || from_y >= t->height || (count == 1 && (from_x < 0 || from_x >= t->width))) continue;
        const float *g = t->in + ((long)from_y * t->width + from_x) * channels, *w = t->weights + tap * 3 * channels;
        for (long c = 0; c < channels; c += LANES) {
            vec w0 = load(w + c), w1 = load(w + channels + c), w2 = load(w + 2 * channels + c);
            for (int i = 0; i < count; i++) {
                vec value = load(g + i * channels + c);
                sum[i][0] += value * w0;
                sum[i][1] += value * w1;
                sum[i][2] += value * w2;
            }
        }
    }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 3; k++) t->out[((long)y * t->width + x + i) * 3 + k] = total(sum[i][k]);
}

/* the gradient of the first layer's input: `in` is (height, width, in_channels), `out` (height, width, 3) */
void winograd_first_gradient(task *t, float *scratch) {
    (void)scratch;
    for (int first; (first = take(t) * t->block) < t->height;)
        for (int y = first; y < first + t->block && y < t->height; y++) {
            int x = 1;
            first_gradient_pixels(t, 1, y, 0);
            for (; x + 4 < t->width; x += 4) first_gradient_pixels(t, 4, y, x);
            for (; x < t->width; x++) first_gradient_pixels(t, 1, y, x);
        }
}

/* adds the gradient of a pooling, if there is an `in`, to `out`, then lets through what `mask` does */
void winograd_unpool(task *t, float *scratch) {
    (void)scratch;
    int rows = t->height / 2, columns = t->width / 2, groups = t->out_channels / 8;
    for (int first; (first = take(t) * t->block) < t->height;)
        for (int y = first; y < first + t->block && y < t->height; y++)
            for (int x = 0; x < t->width; x++)
                for (int c = 0; c < t->out_channels; c += LANES) {
                    long pixel = (long)y * t->width + x, at = ((long)(y / 2) * columns + x / 2) * t->out_channels + c;
                    float *to = t->out + pixel * t->out_channels + c;
                    vec v = t->add ? load(to) : all(0);
                    if (t->codes) v += input_at(t, 1, 0, y, x, c);
                    else if (t->in && y / 2 < rows && x / 2 < columns) v += all(0.25f) * load(t->in + at);
                    store(to, through(v, *(const bits_t *)(t->mask + pixel * groups + c / 8)));
                }
}

/* products of all pairs of channels, summed over pixels: `in` is (height, in_channels), `out` (parts, in_channels,
   in_channels), of which what is right of the diagonal counts; a block is the pixels of a part.
   `scratch` holds CHUNK floats */
void winograd_gram(task *t, float *scratch) {
    long channels = t->in_channels, step = CHUNK / channels;
    for (long first; (first = (long)take(t) * t->block) < t->height;) {
        long end = first + t->block < t->height ? first + t->block : t->height;
        float *sums = t->out + first / t->block * channels * channels;
        for (long start = first; start < end; start += step) {
            long count = end - start < step ? end - start : step;
            for (long k = 0; k < count; k++)
                for (long c = 0; c < channels; c += LANES)
                    store(scratch + c / 16 * 16 * count + k * 16 + c % 16, load(t->in + (start + k) * channels + c));
            /* meanwhile the next pixels are asked for, evenly over the products */
            long products = channels / GRAM_ROWS * (channels / 16 + 1) / 2;
            soon next = {t->in + (start + count) * channels, channels / products + 1, 0, 0, 0};
            for (long row = 0; row < channels; row += GRAM_ROWS)
                for (long column = row & ~15; column < channels; column += 16, next.at += count * next.step) {
                    multiply(GRAM_ROWS, PER_PANEL, scratch + row / 16 * 16 * count + row % 16, 1, 16,
                             scratch + column * count, LANES, next, sums + row * channels + column, channels, count,
                             start > first);
                }
        }
    }
}

/* the features of some pixels times a matrix, in their place: `in` and `out` are the same (height, in_channels),
   `weights` is (in_channels/16, in_channels, 16); a block is a number of pixels.
   `scratch` holds block * in_channels floats */
void winograd_product(task *t, float *scratch) {
    long channels = t->in_channels;
    for (long first; (first = (long)take(t) * t->block) < t->height;) {
        int count = t->height - first < t->block ? (int)(t->height - first) : t->block;
        multiply_tiles(t->in + first * channels, t->weights, scratch, channels, channels, count, 0, 0);
        memcpy(t->out + first * channels, scratch, count * channels * sizeof(float));
    }
}
