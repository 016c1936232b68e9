#include "fuzz_judgments.c"
#include "replay.h"
int main(void) {
    return replay("judgments");
}
