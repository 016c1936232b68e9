#define ROWS_LANES 4
#define ROWS_SET scalar
#include "compute/rows.inc"
