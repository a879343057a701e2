/* A picture on its way into a VGG, the 2x2 max pooling of its features, and their gradients; features are
   (height, width, channels), bfloat16. */

__device__ __forceinline__ float wide(unsigned short b) { return __uint_as_float((unsigned)b << 16); }

__device__ __forceinline__ unsigned short rounded(float value) {
    unsigned bits = __float_as_uint(value);
    return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

/* A picture, (height, width, 3), float32, as eight channels, of which five are zero. */
extern "C" __global__ void picture(const float* pixels, uint4* out, int count) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    Eight made;
    for (int k = 0; k < 8; k++) made.each[k] = k < 3 ? rounded(pixels[3ll * at + k]) : 0;
    out[at] = made.all;
}

/* The gradient of a picture, from its eight channels, with that of weight times its total variation: half the sum of
   the squares of neighbours' differences, of which sums, (blocks * threads / 32,), has a warp's share each. */
extern "C" __global__ void varied(const uint4* gradient, const float* pixels, float weight, float* out, float* sums,
                                  int height, int width) {
    int at = blockIdx.x * blockDim.x + threadIdx.x, x = at % width, y = at / width;
    float squares = 0.f;
    if (at < height * width) {
        Eight g;
        g.all = gradient[at];
        for (int k = 0; k < 3; k++) {
            const float* own = pixels + 3ll * at + k;
            float right = x + 1 < width ? own[3] - own[0] : 0.f, left = x ? own[0] - own[-3] : 0.f;
            float below = y + 1 < height ? own[3ll * width] - own[0] : 0.f, above = y ? own[0] - own[-3ll * width] : 0.f;
            squares += right * right + below * below;
            out[3ll * at + k] = wide(g.each[k]) + weight * (left - right + above - below);
        }
    }
    for (int mask = 16; mask; mask /= 2) squares += __shfl_xor_sync(0xffffffffu, squares, mask);
    if (threadIdx.x % 32 == 0) sums[at / 32] = squares;
}

/* c8: channels / 8, of which a thread does one. What is left over of an odd side is pooled into nothing. */
extern "C" __global__ void pool(const uint4* features, uint4* out, int height, int width, int c8) {
    int h = height / 2, w = width / 2, at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= h * w * c8) return;
    int c = at % c8, x = at / c8 % w, y = at / c8 / w;
    const uint4* first = features + ((long long)2 * y * width + 2 * x) * c8 + c;
    Eight f[4], most;
    f[0].all = first[0];
    f[1].all = first[c8];
    f[2].all = first[(long long)width * c8];
    f[3].all = first[(long long)width * c8 + c8];
#pragma unroll
    for (int k = 0; k < 8; k++) {
        most.each[k] = f[0].each[k];
#pragma unroll
        for (int n = 1; n < 4; n++)
            if (wide(f[n].each[k]) > wide(most.each[k])) most.each[k] = f[n].each[k];
    }
    out[at] = most.all;
}

/* The gradient of the pooling and of the ReLU before it: where a feature was the first largest of its four, and more
   than zero, the gradient of the pooled one. One thread for each four of out, those left over included. */
extern "C" __global__ void unpool(const uint4* features, const uint4* gradient, uint4* out, int height, int width,
                                  int c8) {
    int h = (height + 1) / 2, w = (width + 1) / 2, at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= h * w * c8) return;
    int c = at % c8, x = at / c8 % w, y = at / c8 / w;
    bool right = 2 * x + 1 < width, below = 2 * y + 1 < height, within = right && below;
    long long first = ((long long)2 * y * width + 2 * x) * c8 + c, next = first + (long long)width * c8;
    Eight f[4], g, o[4];
    uint4 none = {0, 0, 0, 0};
    for (int n = 0; n < 4; n++) o[n].all = none;
    if (within) {
        f[0].all = features[first];
        f[1].all = features[first + c8];
        f[2].all = features[next];
        f[3].all = features[next + c8];
        g.all = gradient[((long long)y * (width / 2) + x) * c8 + c];
#pragma unroll
        for (int k = 0; k < 8; k++) {
            float most = 0.f;
            int where = -1;
#pragma unroll
            for (int n = 0; n < 4; n++)
                if (wide(f[n].each[k]) > most) {
                    most = wide(f[n].each[k]);
                    where = n;
                }
#pragma unroll
            for (int n = 0; n < 4; n++) o[n].each[k] = n == where ? g.each[k] : 0;
        }
    }
    out[first] = o[0].all;
    if (right) out[first + c8] = o[1].all;
    if (below) out[next] = o[2].all;
    if (within) out[next + c8] = o[3].all;
}
