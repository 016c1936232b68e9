#include "fuzz_safetensors.c"
#include "replay.h"
int main(void) {
    return replay("safetensors");
}
