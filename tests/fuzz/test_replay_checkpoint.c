#include "fuzz_checkpoint.c"
#include "replay.h"
int main(void) {
    return replay("checkpoint");
}
