#include "fuzz_plan.c"
#include "replay.h"
int main(void) {
    return replay("plan");
}
