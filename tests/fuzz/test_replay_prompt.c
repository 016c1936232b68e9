#include "fuzz_prompt.c"
#include "replay.h"
int main(void) {
    return replay("prompt");
}
