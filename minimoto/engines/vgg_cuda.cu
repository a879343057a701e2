/* The 2x2 max pooling of a VGG's features and its gradient; (height, width, channels), bfloat16.
   c8: channels / 8, of which a thread does one. What is left over of an odd side is pooled into nothing. */

__device__ __forceinline__ float wide(unsigned short b) { return __uint_as_float((unsigned)b << 16); }

union Eight {
    uint4 all;
    unsigned short each[8];
};

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
