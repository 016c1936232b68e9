#define KERNELS_LANES 4
#define KERNELS_SET scalar
#include "compute/kernels.inc"
