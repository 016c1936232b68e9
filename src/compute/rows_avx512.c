#ifdef __AVX512F__
#define ROWS_LANES 16
#define ROWS_SET avx512
#include "compute/rows.inc"
#endif
