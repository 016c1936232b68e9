#include "fuzz_table.c"
#include "replay.h"
int main(void) {
    return replay("table");
}
