#include "fuzz_tokenizer.c"
#include "replay.h"
int main(void) {
    return replay("tokenizer");
}
