#include "fuzz_vocab.c"
#include "replay.h"
int main(void) {
    return replay("vocab");
}
