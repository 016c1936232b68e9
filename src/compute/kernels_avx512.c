#ifdef __AVX512F__
#define KERNELS_LANES 16
#define KERNELS_SET avx512
#include "compute/kernels.inc"
#endif
