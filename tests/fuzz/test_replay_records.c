#include "fuzz_records.c"
#include "replay.h"
int main(void) {
    return replay("records");
}
