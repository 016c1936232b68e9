#include "fuzz_jsonl.c"
#include "replay.h"
int main(void) {
    return replay("jsonl");
}
