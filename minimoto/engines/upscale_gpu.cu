/* The first and the last step of the compact network of upscale, from a photo's bytes and to those of the result.

   Macros: FACTOR, CHANNELS (3 or 1), WIDTH (channels of the network, a multiple of 8), WHITE (255 or 65535).
   Photos are (H, W, CHANNELS), features (H, W, WIDTH), half precision. */

#if WHITE > 255
typedef unsigned short sample;
#else
typedef unsigned char sample;
#endif

/* What lies side by side of a result is written in words as large as its place allows. */
#define SIDE (FACTOR * CHANNELS)
#if SIDE * (WHITE > 255 ? 2 : 1) % 4 == 0
typedef unsigned int word;
#elif SIDE * (WHITE > 255 ? 2 : 1) % 2 == 0
typedef unsigned short word;
#else
typedef unsigned char word;
#endif
#define WORDS (int)(SIDE * sizeof(sample) / sizeof(word))

__device__ __forceinline__ float luma_of(const sample* pixel) {
#if CHANNELS == 3
    return (0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2]) * (1.f / WHITE);
#else
    return pixel[0] * (1.f / WHITE);
#endif
}

/* The 3x3 convolution of luma, zero outside of the photo, and its ReLU.
   weights: (9 + 1, WIDTH), float32, the bias last. Blocks of (WIDTH / 8, columns) threads, ROWS rows each. */
#define ROWS 16
extern "C" __global__ void first(const sample* photo, const float* weights, uint4* out, int height, int width) {
    int group = threadIdx.x, x = blockIdx.x * blockDim.y + threadIdx.y, top = blockIdx.y * ROWS;
    if (x >= width) return;
    float w[9][8], bias[8];
    for (int k = 0; k < 9; k++)
        for (int c = 0; c < 8; c++) w[k][c] = weights[k * WIDTH + group * 8 + c];
    for (int c = 0; c < 8; c++) bias[c] = weights[9 * WIDTH + group * 8 + c];
    float luma[3][3];
    for (int y = top - 1; y <= min(top + ROWS, height); y++) {
        for (int k = 0; k < 3; k++) {
            int column = x + k - 1;
            luma[0][k] = luma[1][k];
            luma[1][k] = luma[2][k];
            bool within = y >= 0 && y < height && column >= 0 && column < width;
            luma[2][k] = within ? luma_of(photo + ((long long)y * width + column) * CHANNELS) : 0.f;
        }
        if (y <= top) continue;
        union {
            unsigned short h[8];
            uint4 all;
        } made;
        for (int c = 0; c < 8; c++) {
            float sum = bias[c];
            for (int k = 0; k < 9; k++) sum += w[k][c] * luma[k / 3][k % 3];
            made.h[c] = half_of(fmaxf(sum, 0.f));
        }
        out[((long long)(y - 1) * width + x) * (WIDTH / 8) + group] = made.all;
    }
}

/* Of each pixel of the photo FACTOR x FACTOR of the result: the bicubic enlargement (A = -0.75, as OpenCV's), what the
   network misses of luma, and its linear 5x5 path, which repeats the photo's edges; rounded.
   missed: (H, W, MISSED), half precision, of which FACTOR * FACTOR count.
   linear: (FACTOR * FACTOR, 25), float32, and FACTOR * FACTOR biases. cubic: (FACTOR, 5), of pixels -2 to 2. */
extern "C" __global__ void tail(const sample* __restrict__ photo, const unsigned short* __restrict__ missed,
                                const float* linear, const float* cubic, word* out, int height, int width) {
    const int phases = FACTOR * FACTOR;
    __shared__ float taps[26 * FACTOR * FACTOR], spread[FACTOR * 5];
    int thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
    for (int k = thread; k < 26 * phases; k += threads) taps[k] = linear[k];
    for (int k = thread; k < FACTOR * 5; k += threads) spread[k] = cubic[k];
    __syncthreads();
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    int xs[5], ys[5];
    for (int k = 0; k < 5; k++) {
        xs[k] = inside(x + k - 2, width);
        ys[k] = inside(y + k - 2, height);
    }
    float luma[25];
    for (int k = 0; k < 25; k++) luma[k] = luma_of(photo + ((long long)ys[k / 5] * width + xs[k % 5]) * CHANNELS);
    const unsigned short* own = missed + ((long long)y * width + x) * MISSED;
    float more[FACTOR * FACTOR];
#pragma unroll
    for (int p = 0; p < phases; p++) {
        float sum = taps[25 * phases + p] + float_of(own[p]);
#pragma unroll
        for (int k = 0; k < 25; k++) sum += taps[p * 25 + k] * luma[k];
        more[p] = sum * WHITE;
    }
    union {
        sample samples[FACTOR][SIDE];
        word words[FACTOR][WORDS];
    } made;
#pragma unroll
    for (int c = 0; c < CHANNELS; c++) {
        float across[5][FACTOR];
#pragma unroll
        for (int r = 0; r < 5; r++) {
            float v[5];
#pragma unroll
            for (int k = 0; k < 5; k++) v[k] = photo[((long long)ys[r] * width + xs[k]) * CHANNELS + c];
#pragma unroll
            for (int p = 0; p < FACTOR; p++) {
                float sum = 0.f;
#pragma unroll
                for (int k = 0; k < 5; k++) sum += spread[p * 5 + k] * v[k];
                across[r][p] = sum;
            }
        }
#pragma unroll
        for (int q = 0; q < FACTOR; q++)
#pragma unroll
            for (int p = 0; p < FACTOR; p++) {
                float sum = more[q * FACTOR + p];
#pragma unroll
                for (int r = 0; r < 5; r++) sum += spread[q * 5 + r] * across[r][p];
                made.samples[q][p * CHANNELS + c] = (sample)fminf(fmaxf(rintf(sum), 0.f), (float)WHITE);
            }
    }
#pragma unroll
    for (int q = 0; q < FACTOR; q++)
#pragma unroll
        for (int k = 0; k < WORDS; k++) out[(((long long)y * FACTOR + q) * width + x) * WORDS + k] = made.words[q][k];
}
