/* What L-BFGS remembers in 8 bits (style_history.py), on a GPU: read as it lies, and widened in registers alone.

   A warp has a block of 128 values with one scale, a thread four of them. Rows are (rows, blocks, 128) and (rows,
   blocks). Blocks of 256 threads. */

#define LEVELS 127.f
#define TINY (1e-30f / LEVELS)
#define WARPS 8
#define PART 8 /* blocks of 128 that a warp of dots and remember has */
#define GROUP 16 /* rows that one of dots does */

union Steps {
    unsigned all;
    signed char each[4];
};

/* Whether four at once can be read or written. */
__device__ __forceinline__ bool together(const float* vector, long long at, long long length) {
    return at + 3 < length && ((unsigned long long)vector & 15) == 0;
}

__device__ __forceinline__ float4 loaded(const float* vector, long long at, long long length) {
    if (together(vector, at, length)) return *(const float4*)(vector + at);
    float4 found = {0.f, 0.f, 0.f, 0.f};
    if (at < length) found.x = vector[at];
    if (at + 1 < length) found.y = vector[at + 1];
    if (at + 2 < length) found.z = vector[at + 2];
    if (at + 3 < length) found.w = vector[at + 3];
    return found;
}

__device__ __forceinline__ void stored(float* vector, long long at, long long length, float4 value) {
    if (together(vector, at, length)) {
        *(float4*)(vector + at) = value;
        return;
    }
    if (at < length) vector[at] = value.x;
    if (at + 1 < length) vector[at + 1] = value.y;
    if (at + 2 < length) vector[at + 2] = value.z;
    if (at + 3 < length) vector[at + 3] = value.w;
}

/* Four values of a warp's block, as they are remembered. */
__device__ __forceinline__ float4 rounded(float4 v, unsigned* values, float* scale_of, long long block, int lane) {
    float most = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
    for (int mask = 16; mask; mask /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, mask));
    float scale = most / LEVELS;
    if (!(scale > TINY)) scale = 0.f;
    float inverse = scale > 0.f ? 1.f / scale : 0.f;
    float near[4] = {rintf(v.x * inverse), rintf(v.y * inverse), rintf(v.z * inverse), rintf(v.w * inverse)};
    Steps steps;
    for (int k = 0; k < 4; k++) steps.each[k] = (signed char)near[k];
    values[block * 32 + lane] = steps.all;
    if (lane == 0) scale_of[block] = scale;
    float4 kept = {near[0] * scale, near[1] * scale, near[2] * scale, near[3] * scale};
    return kept;
}

/* Remembers a vector in a row, and makes it what is remembered. A grid of (blocks / WARPS). */
extern "C" __global__ void put(float* vector, signed char* values, float* scales, int blocks, int length) {
    int lane = threadIdx.x % 32, block = blockIdx.x * WARPS + threadIdx.x / 32;
    if (block >= blocks) return;
    long long at = (long long)block * 128 + 4 * lane;
    stored(vector, at, length, rounded(loaded(vector, at, length), (unsigned*)values, scales, block, lane));
}

/* Remembers a step in a row, and in the next one the gradient's change over it, which takes the place of the gradient
   before; both become what is remembered of them. sums: (2, parts), a warp's shares of the product of the two as they
   were, and of the gradient's magnitudes. A grid of (parts / WARPS). */
extern "C" __global__ void remember(float* step, float* before, const float* gradient, signed char* values,
                                    float* scales, float* sums, int blocks, int length, int parts) {
    int lane = threadIdx.x % 32, part = blockIdx.x * WARPS + threadIdx.x / 32;
    if (part >= parts) return;
    float grown = 0.f, size = 0.f;
    for (int k = 0; k < PART; k++) {
        int block = part * PART + k;
        if (block >= blocks) break;
        long long at = (long long)block * 128 + 4 * lane;
        float4 s = loaded(step, at, length), b = loaded(before, at, length), g = loaded(gradient, at, length);
        float4 change = {g.x - b.x, g.y - b.y, g.z - b.z, g.w - b.w};
        grown += s.x * change.x + s.y * change.y + s.z * change.z + s.w * change.w;
        size += fabsf(g.x) + fabsf(g.y) + fabsf(g.z) + fabsf(g.w);
        stored(step, at, length, rounded(s, (unsigned*)values, scales, block, lane));
        stored(before, at, length, rounded(change, (unsigned*)values, scales, (long long)blocks + block, lane));
    }
    for (int mask = 16; mask; mask /= 2) {
        grown += __shfl_xor_sync(0xffffffffu, grown, mask);
        size += __shfl_xor_sync(0xffffffffu, size, mask);
    }
    if (lane == 0) {
        sums[part] = grown;
        sums[parts + part] = size;
    }
}

/* Inner products of the first rows with two vectors, part by part: sums (rows, 2, parts), a warp's share each.
   A grid of (parts / WARPS, rows / GROUP). */
extern "C" __global__ void dots(const float* one, const float* two, const signed char* values, const float* scales,
                                float* sums, int rows, int blocks, int length, int parts) {
    int lane = threadIdx.x % 32, part = blockIdx.x * WARPS + threadIdx.x / 32;
    if (part >= parts) return;
    const float* vectors[2] = {one, two};
    float4 v[2][PART];
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
        for (int k = 0; k < PART; k++) v[n][k] = loaded(vectors[n], ((long long)part * PART + k) * 128 + 4 * lane, length);
    int last = min(rows, (int)(blockIdx.y + 1) * GROUP);
    for (int row = blockIdx.y * GROUP; row < last; row++) {
        float sum[2] = {0.f, 0.f};
#pragma unroll
        for (int k = 0; k < PART; k++) {
            int block = part * PART + k;
            if (block >= blocks) continue;
            long long at = (long long)row * blocks + block;
            Steps steps;
            steps.all = ((const unsigned*)values)[at * 32 + lane];
            float scale = scales[at];
#pragma unroll
            for (int n = 0; n < 2; n++)
                sum[n] += scale * (steps.each[0] * v[n][k].x + steps.each[1] * v[n][k].y + steps.each[2] * v[n][k].z +
                                   steps.each[3] * v[n][k].w);
        }
#pragma unroll
        for (int n = 0; n < 2; n++) {
            for (int mask = 16; mask; mask /= 2) sum[n] += __shfl_xor_sync(0xffffffffu, sum[n], mask);
            if (lane == 0) sums[((long long)row * 2 + n) * parts + part] = sum[n];
        }
    }
}

/* out = own * vector + the first rows, each times its weight. A grid of (blocks / WARPS). */
extern "C" __global__ void combine(const float* vector, float own, const float* weights, const signed char* values,
                                   const float* scales, float* out, int rows, int blocks, int length) {
    int lane = threadIdx.x % 32, block = blockIdx.x * WARPS + threadIdx.x / 32;
    if (block >= blocks) return;
    long long at = (long long)block * 128 + 4 * lane;
    float4 v = loaded(vector, at, length);
    float4 sum = {own * v.x, own * v.y, own * v.z, own * v.w};
#pragma unroll 4
    for (int row = 0; row < rows; row++) {
        long long place = (long long)row * blocks + block;
        float weight = weights[row] * scales[place];
        Steps steps;
        steps.all = ((const unsigned*)values)[place * 32 + lane];
        sum.x += weight * steps.each[0];
        sum.y += weight * steps.each[1];
        sum.z += weight * steps.each[2];
        sum.w += weight * steps.each[3];
    }
    stored(out, at, length, sum);
}
