#ifdef __AVX2__
#define ROWS_LANES 8
#define ROWS_SET avx2
#include "compute/rows.inc"
#endif
