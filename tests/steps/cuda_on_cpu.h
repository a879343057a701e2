/* CUDA C++ on a CPU: the threads of a block take turns as fibers, from one barrier or shuffle to the next. */
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include <ucontext.h>

#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct uint4 { unsigned x, y, z, w; };
struct uint2 { unsigned x, y; };
struct float4 { float x, y, z, w; };
struct int3_ { int x, y, z; };
static int3_ threadIdx, blockIdx, blockDim, gridDim;

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline float float_of(unsigned short h) { return _cvtsh_ss(h); }
static inline unsigned short half_of(float f) { return _cvtss_sh(f, 0); }
static inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
static inline int __float2int_rn(float f) { return (int)rintf(f); }

struct Fiber { ucontext_t context; char* stack; bool done; };
static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static int current;
static float passed[1024];
static void (*body)(void**);
static void** given;

static void turn() {
    int me = current;
    int3_ own = threadIdx;
    swapcontext(&fibers[me].context, &scheduler);
    current = me;
    threadIdx = own;
}
static inline void __syncthreads() { turn(); }
static inline void __syncwarp() { turn(); }
static inline float __shfl_xor_sync(unsigned, float value, int mask) {
    passed[current] = value;
    turn();
    float found = passed[current ^ mask];
    turn();
    return found;
}
static inline unsigned __shfl_xor_sync(unsigned all, unsigned value, int mask) {
    return __float_as_uint(__shfl_xor_sync(all, __uint_as_float(value), mask));
}
static inline void atomicAdd(unsigned long long* sum, unsigned long long value) { *sum += value; }
static void run_fiber() {
    body(given);
    fibers[current].done = true;
    swapcontext(&fibers[current].context, &scheduler);
}
static void run_all(void (*work)(void**), void** arguments, const int* grid, const int* block) {
    const int size = 1 << 16;
    int count = block[0] * block[1] * block[2];
    body = work;
    given = arguments;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    fibers.resize(count);
    for (auto& fiber : fibers) fiber.stack = new char[size];
    for (int b = 0; b < grid[0] * grid[1] * grid[2]; b++) {
        blockIdx = {b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1]};
        for (auto& fiber : fibers) {
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack;
            fiber.context.uc_stack.ss_size = size;
            fiber.context.uc_link = nullptr;
            makecontext(&fiber.context, run_fiber, 0);
            fiber.done = false;
        }
        for (int left = count; left > 0;) {
            left = 0;
            for (current = 0; current < count; current++) {
                int me = current;
                if (fibers[me].done) continue;
                threadIdx = {me % block[0], me / block[0] % block[1], me / block[0] / block[1]};
                swapcontext(&scheduler, &fibers[me].context);
                current = me;
                left += !fibers[me].done;
            }
        }
    }
    for (auto& fiber : fibers) delete[] fiber.stack;
}
