#include "fuzz_journal.c"
#include "replay.h"
int main(void) {
    return replay("journal");
}
