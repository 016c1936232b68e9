#include "fuzz_config.c"
#include "replay.h"
int main(void) {
    return replay("config");
}
