#include "fuzz_literal.c"
#include "replay.h"
int main(void) {
    return replay("literal");
}
