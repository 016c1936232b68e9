#include "fuzz_metrics.c"
#include "replay.h"
int main(void) {
    return replay("metrics");
}
