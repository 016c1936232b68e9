#include "fuzz_manifest.c"
#include "replay.h"
int main(void) {
    return replay("manifest");
}
