#include "fuzz_points.c"
#include "replay.h"
int main(void) {
    return replay("points");
}
