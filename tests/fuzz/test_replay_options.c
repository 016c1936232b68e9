#include "fuzz_options.c"
#include "replay.h"
int main(void) {
    return replay("options");
}
