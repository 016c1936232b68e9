#include "fuzz_reader.c"
#include "replay.h"
int main(void) {
    return replay("reader");
}
