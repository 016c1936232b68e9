#include "fuzz_reply.c"
#include "replay.h"
int main(void) {
    return replay("reply");
}
