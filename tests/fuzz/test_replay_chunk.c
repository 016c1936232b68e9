#include "fuzz_chunk.c"
#include "replay.h"
int main(void) {
    return replay("chunk");
}
