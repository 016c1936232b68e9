#ifdef __AVX512BF16__
#define KERNELS_LANES 16
#define KERNELS_SET avx512bf16
#include "compute/kernels.inc"
#endif
