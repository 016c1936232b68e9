#include "fuzz_parquet.c"
#include "replay.h"
int main(void) {
    return replay("parquet");
}
