/* Fuzz target: any bytes as a training's checkpoint, told as `mdm inspect` tells it. */
#include "fuzz_file.h"

#include "base/err.h"
#include "base/mem.h"
#include "train/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct checkpoint c;
    struct err err = {{0}};
    if (checkpoint_inspect(fuzz_file(data, size), &c, &err) < 0 ? !err.msg[0] : c.step < 0) abort();
    if (mem_in_use() != 0) abort();
    return 0;
}
