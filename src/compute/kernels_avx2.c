#ifdef __AVX2__
#define KERNELS_LANES 8
#define KERNELS_SET avx2
#include "compute/kernels.inc"
#endif
