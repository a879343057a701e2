/* What stands before the kernels of every file. */

/* Half precision, without NVIDIA's header for it, which NVRTC does not bring along. */
#ifdef __CUDA_ARCH__
__device__ __forceinline__ float float_of(unsigned short h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}
__device__ __forceinline__ unsigned short half_of(float f) {
    unsigned short h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}
#endif

/* Eight features at once. */
union Eight {
    uint4 all;
    unsigned short each[8];
};

/* The nearest place that there is. */
__device__ __forceinline__ int inside(int at, int length) { return min(max(at, 0), length - 1); }

