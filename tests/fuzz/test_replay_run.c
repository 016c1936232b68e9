#include "fuzz_run.c"
#include "replay.h"
int main(void) {
    return replay("run");
}
