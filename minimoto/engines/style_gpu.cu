/* What lies between the convolutions of the fast style's network, and before and behind them, on a GPU.

   Photos are (H, W, 3), bytes; features (h, w, channels), half precision; c8: channels / 8, of which a thread does one.
   All but sums: a thread for each of what is written, blocks of one dimension. */

/* The pixel that lies at a place when the edges are mirrored, not repeated. */
__device__ __forceinline__ int mirrored(int at, int length) {
    at = at < 0 ? -at : at;
    return at < length ? at : 2 * length - 2 - at;
}

__device__ __forceinline__ unsigned char byte_of(float value) {
    return (unsigned char)fminf(fmaxf(rintf(value), 0.f), 255.f);
}

/* The sums of a photo's colours and of their products, exact: R, G, B, RR, RG, RB, GG, GB, BB, to be zero before.
   A block has 256 threads, a thread 64 pixels. */
extern "C" __global__ void sums(const unsigned char* photo, unsigned long long* found, int pixels) {
    unsigned own[9] = {0, 0, 0, 0, 0, 0, 0, 0, 0};
    for (int k = 0; k < 64; k++) {
        long long at = ((long long)blockIdx.x * 64 + k) * 256 + threadIdx.x;
        if (at >= pixels) break;
        unsigned r = photo[3 * at], g = photo[3 * at + 1], b = photo[3 * at + 2];
        own[0] += r;
        own[1] += g;
        own[2] += b;
        own[3] += r * r;
        own[4] += r * g;
        own[5] += r * b;
        own[6] += g * g;
        own[7] += g * b;
        own[8] += b * b;
    }
    for (int k = 0; k < 9; k++) {
        /* 32 threads' 64 pixels are at most 32 * 64 * 255 * 255, less than 2^32. */
        for (int mask = 16; mask; mask /= 2) own[k] += __shfl_xor_sync(0xffffffffu, own[k], mask);
        if (threadIdx.x % 32 == 0) atomicAdd(found + k, (unsigned long long)own[k]);
    }
}

/* The photo with mirrored edges, in the wanted colours, and without these, two by two pixels as 12 channels of 16.
   rows, columns: of the photo, for each of the 2h x 2w pixels. maps: (2, 3, 4). */
extern "C" __global__ void seen(const unsigned char* photo, const int* rows, const int* columns, const float* maps,
                                uint4* out, int photo_width, int h, int w) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= h * w) return;
    int x = at % w, y = at / w;
    Eight made[2];
    for (int k = 0; k < 16; k++) made[k / 8].each[k % 8] = 0;
#pragma unroll
    for (int p = 0; p < 4; p++) {
        const unsigned char* pixel = photo + ((long long)rows[2 * y + p / 2] * photo_width + columns[2 * x + p % 2]) * 3;
        float mapped[3];
#pragma unroll
        for (int k = 0; k < 3; k++) {
            const float* m = maps + 4 * k;
            float value = (m[0] * pixel[0] + m[1] * pixel[1] + m[2] * pixel[2]) * (1.f / 255) + m[3];
            mapped[k] = fminf(fmaxf(value, 0.f), 1.f);
        }
#pragma unroll
        for (int k = 0; k < 3; k++) {
            const float* m = maps + 12 + 4 * k;
            float value = m[0] * mapped[0] + m[1] * mapped[1] + m[2] * mapped[2] + m[3];
            made[(4 * k + p) / 8].each[(4 * k + p) % 8] = half_of(value);
        }
    }
    out[2 * at] = made[0].all;
    out[2 * at + 1] = made[1].all;
}

/* Features normalised with a mean and 1 / deviation of each channel, scaled and shifted, or shifted alone where there
   is no mean; more features added; ReLU; mirrored edges of pad pixels laid around.
   affine: (2, channels), what scales more than 1 is scaled with and the shift; of shifts alone (channels).
   more: features, or none, that have more_pad pixels around them. */
extern "C" __global__ void laid(const uint4* features, const float* mean, const float* inverse, const float* affine,
                                const uint4* more, uint4* out, int h, int w, int c8, int pad, int more_pad, int relu) {
    int at = blockIdx.x * blockDim.x + threadIdx.x, across = w + 2 * pad;
    if (at >= (h + 2 * pad) * across * c8) return;
    int c = at % c8, x = mirrored(at / c8 % across - pad, w), y = mirrored(at / c8 / across - pad, h);
    Eight f, m, made;
    f.all = features[((long long)y * w + x) * c8 + c];
    if (more) m.all = more[((long long)(y + more_pad) * (w + 2 * more_pad) + x + more_pad) * c8 + c];
#pragma unroll
    for (int k = 0; k < 8; k++) {
        int channel = 8 * c + k;
        float gain = 1.f, shift = affine[channel];
        if (mean) {
            gain = (1.f + affine[channel]) * inverse[channel];
            shift = affine[8 * c8 + channel] - mean[channel] * gain;
        }
        float value = float_of(f.each[k]) * gain + shift;
        if (more) value += float_of(m.each[k]);
        made.each[k] = half_of(relu ? fmaxf(value, 0.f) : value);
    }
    out[at] = made.all;
}

/* Features that have one pixel around them, without it twice as large, bilinear, and with a mirrored one. */
extern "C" __global__ void enlarged(const uint4* features, uint4* out, int h, int w, int c8) {
    int at = blockIdx.x * blockDim.x + threadIdx.x, across = 2 * w + 2;
    if (at >= (2 * h + 2) * across * c8) return;
    int c = at % c8, x = mirrored(at / c8 % across - 1, 2 * w), y = mirrored(at / c8 / across - 1, 2 * h);
    int near_x = x / 2, far_x = inside(near_x + (x % 2 ? 1 : -1), w);
    int near_y = y / 2, far_y = inside(near_y + (y % 2 ? 1 : -1), h);
    Eight f[4], made;
    f[0].all = features[((long long)(near_y + 1) * (w + 2) + near_x + 1) * c8 + c];
    f[1].all = features[((long long)(near_y + 1) * (w + 2) + far_x + 1) * c8 + c];
    f[2].all = features[((long long)(far_y + 1) * (w + 2) + near_x + 1) * c8 + c];
    f[3].all = features[((long long)(far_y + 1) * (w + 2) + far_x + 1) * c8 + c];
#pragma unroll
    for (int k = 0; k < 8; k++)
        made.each[k] = half_of(0.5625f * float_of(f[0].each[k]) + 0.1875f * float_of(f[1].each[k]) +
                               0.1875f * float_of(f[2].each[k]) + 0.0625f * float_of(f[3].each[k]));
    out[at] = made.all;
}

/* Features whose channels are those of two by two pixels, (h, w, 2, 2, channels), side by side: (2h, 2w, channels). */
extern "C" __global__ void spread(const uint4* features, uint4* out, int h, int w, int c8) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= 4 * h * w * c8) return;
    int c = at % c8, x = at / c8 % (2 * w), y = at / c8 / (2 * w);
    out[at] = features[(((long long)(y / 2) * w + x / 2) * 4 + y % 2 * 2 + x % 2) * c8 + c];
}

/* What the network says, (h, w, 16), of which 12 are two by two pixels' three colours, in the style's colours: the
   photo's pixels, which begin edge pixels inside. palette: (3, 4). */
extern "C" __global__ void painted(const unsigned short* said, const float* palette, unsigned char* out, int height,
                                   int width, int w, int edge) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= height * width) return;
    int x = at % width + edge, y = at / width + edge;
    const unsigned short* plain = said + ((long long)(y / 2) * w + x / 2) * 16 + (y % 2 * 2 + x % 2) * 3;
    float r = float_of(plain[0]), g = float_of(plain[1]), b = float_of(plain[2]);
    for (int k = 0; k < 3; k++) {
        const float* p = palette + 4 * k;
        out[3ll * at + k] = byte_of((p[0] * r + p[1] * g + p[2] * b + p[3]) * 255.f);
    }
}

/* A photo made smaller, each pixel the mean of those that it covers.
   rows, row_shares: (down, height) which ones and how much of them; so columns, (across, width). */
extern "C" __global__ void shrunk(const unsigned char* photo, const int* rows, const float* row_shares,
                                  const int* columns, const float* column_shares, unsigned char* out, int photo_width,
                                  int height, int width, int down, int across) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= height * width) return;
    int x = at % width, y = at / width;
    float sum[3] = {0.f, 0.f, 0.f};
    for (int i = 0; i < down; i++) {
        const unsigned char* row = photo + (long long)rows[i * height + y] * photo_width * 3;
        float line[3] = {0.f, 0.f, 0.f};
        for (int j = 0; j < across; j++) {
            const unsigned char* pixel = row + columns[j * width + x] * 3;
            float share = column_shares[j * width + x];
            for (int k = 0; k < 3; k++) line[k] += share * pixel[k];
        }
        for (int k = 0; k < 3; k++) sum[k] += row_shares[i * height + y] * line[k];
    }
    for (int k = 0; k < 3; k++) out[3ll * at + k] = byte_of(sum[k]);
}

/* The four weights of a cubic enlargement (A = -0.75) at a distance of 0 to 1 behind the second pixel. */
__device__ __forceinline__ void cubic(float t, float* weights) {
    const float a = -0.75f;
    float u = 1.f + t, v = 1.f - t, s = 2.f - t;
    weights[0] = ((a * u - 5 * a) * u + 8 * a) * u - 4 * a;
    weights[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    weights[2] = ((a + 2) * v - (a + 3)) * v * v + 1;
    weights[3] = ((a * s - 5 * a) * s + 8 * a) * s - 4 * a;
}

/* A small painting enlarged, and what of the photo is finer than its small version added, through a (3, 3) matrix. */
extern "C" __global__ void begun(const unsigned char* photo, const unsigned char* small, const unsigned char* broad,
                                 const float* matrix, unsigned char* out, int height, int width, int h, int w) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= height * width) return;
    float x = ((float)w / width) * (at % width + 0.5f) - 0.5f, y = ((float)h / height) * (at / width + 0.5f) - 0.5f;
    float left = floorf(x), top = floorf(y), across[4], down[4], detail[3], value[3];
    cubic(x - left, across);
    cubic(y - top, down);
    float plain[3] = {0.f, 0.f, 0.f}, painted[3] = {0.f, 0.f, 0.f};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int row = inside((int)top - 1 + i, h) * w;
        float of_plain[3] = {0.f, 0.f, 0.f}, of_painted[3] = {0.f, 0.f, 0.f};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int place = 3 * (row + inside((int)left - 1 + j, w));
#pragma unroll
            for (int k = 0; k < 3; k++) {
                of_plain[k] += across[j] * small[place + k];
                of_painted[k] += across[j] * broad[place + k];
            }
        }
#pragma unroll
        for (int k = 0; k < 3; k++) {
            plain[k] += down[i] * of_plain[k];
            painted[k] += down[i] * of_painted[k];
        }
    }
    for (int k = 0; k < 3; k++) {
        detail[k] = photo[3ll * at + k] - (float)byte_of(plain[k]);
        value[k] = (float)byte_of(painted[k]);
    }
    for (int k = 0; k < 3; k++)
        out[3ll * at + k] =
            byte_of(value[k] + matrix[3 * k] * detail[0] + matrix[3 * k + 1] * detail[1] + matrix[3 * k + 2] * detail[2]);
}
