/* The zoom of one plane, as OpenCV's INTER_LINEAR_EXACT draws it in each of the four directions from its point: samples
   in between are weighted by 8 bits of fraction each way, and rounded once. So the bytes are the same, in a seventh of
   the time: all of a row is drawn at once, and what a group of samples needs of its row is picked out of one register. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__clang__) && defined(__SSSE3__)
#include <immintrin.h>
#endif

#if defined(__AVX512VBMI__)
#define REGISTER 64
#else
#define REGISTER 16
#endif
#define GROUP (REGISTER / 2)
#define LONGEST 8192

typedef uint8_t bytes __attribute__((vector_size(REGISTER)));
typedef uint16_t words __attribute__((vector_size(REGISTER)));

/* What a group of samples is made of: the bytes from `from` on, of which `pick` takes a left and a right one for each
   sample, and the weights of the right ones in 256ths. */
struct group {
    bytes pick;
    words weight;
    int from;
};

struct place {
    int before;
    uint16_t weight;
};

/* Which sample of the canvas comes before a sample of the frame, and how much the one after it weighs. Counted from the
   point, as a resize of what lies on that side of it does. */
static struct place place_of(int sample, int in_frame, int on_canvas, double scale) {
    int back = sample < in_frame;
    double at = ((back ? in_frame - 1 - sample : sample - in_frame) + 0.5) * scale - 0.5;
    int whole = (int)floor(at);
    uint16_t weight = (uint16_t)lrint((at - whole) * 256);
    return back ? (struct place){on_canvas - 2 - whole, 256 - weight} : (struct place){on_canvas + whole, weight};
}

/* The bytes of `seen` that `pick` names. Only GCC has a built-in that takes them from a vector. */
static inline bytes picked(bytes seen, bytes pick) {
#if !defined(__clang__)
    return __builtin_shuffle(seen, pick);
#elif defined(__AVX512VBMI__)
    return (bytes)_mm512_permutexvar_epi8((__m512i)pick, (__m512i)seen);
#elif defined(__SSSE3__)
    return (bytes)_mm_shuffle_epi8((__m128i)seen, (__m128i)pick);
#else
    bytes found;
    for (int i = 0; i < REGISTER; i++)
        found[i] = seen[pick[i]];
    return found;
#endif
}

static void draw_row(const uint8_t *row, const struct group *groups, int count, uint16_t *out) {
    for (int g = 0; g < count; g++, out += GROUP) {
        bytes seen;
        memcpy(&seen, row + groups[g].from, REGISTER);
        words pair = (words)picked(seen, groups[g].pick);
        words left = pair & 255, right = pair >> 8;
        words mixed = (left << 8) + (right - left) * groups[g].weight;
        memcpy(out, &mixed, REGISTER);
    }
}

/* Draws `height` rows of `width` samples, at most 8192, in `out`. `in_frame` and `on_canvas` are the point, (x, y).
   `scale` is from 1 to 1.5, and 64 bytes after what is shown of the canvas must be readable. */
void film_zoom(const uint8_t *canvas, intptr_t stride, const int32_t *on_canvas, uint8_t *out, int width, int height,
               const int32_t *in_frame, double scale) {
    static _Thread_local struct group groups[LONGEST / GROUP];
    static _Thread_local uint16_t drawn[2][LONGEST + GROUP];
    int count = (width + GROUP - 1) / GROUP, held[2] = {-1, -1};
    for (int x = 0; x < count * GROUP; x++) {
        struct place place = place_of(x, in_frame[0], on_canvas[0], scale);
        struct group *group = &groups[x / GROUP];
        int at = x % GROUP;
        if (at == 0)
            group->from = place.before;
        group->pick[2 * at] = (uint8_t)(place.before - group->from);
        group->pick[2 * at + 1] = (uint8_t)(place.before - group->from + 1);
        group->weight[at] = place.weight;
    }
    for (int y = 0; y < height; y++, out += width) {
        struct place place = place_of(y, in_frame[1], on_canvas[1], scale);
        for (int row = place.before; row < place.before + 2; row++)
            if (held[row & 1] != row) {
                draw_row(canvas + row * stride, groups, count, drawn[row & 1]);
                held[row & 1] = row;
            }
        const uint16_t *above = drawn[place.before & 1], *below = drawn[(place.before + 1) & 1];
        uint32_t lower = place.weight, upper = 256 - lower;
        for (int x = 0; x < width; x++)
            out[x] = (uint8_t)((above[x] * upper + below[x] * lower + 32768) >> 16);
    }
}
