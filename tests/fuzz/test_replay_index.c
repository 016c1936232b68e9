#include "fuzz_index.c"
#include "replay.h"
int main(void) {
    return replay("index");
}
