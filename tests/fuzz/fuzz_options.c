/* Fuzz target: a command line, its words divided by zero bytes. What is refused has a message, what is taken is in bounds. */
#include "fuzz_file.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/opt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { WORDS = 16 };
    static char text[4096];
    const char *out = NULL, *skip[4] = {NULL};
    bool show = false;
    int64_t steps = 5;
    double rate = 1;
    int choice = 1, noperands, n = 0;
    const struct opt opts[] = {{"out", OPT_STR, &out, "DIR", "folder"},
                               {"steps", OPT_INT, &steps, "N", "steps", .min = 1, .max = 1e6},
                               {"rate", OPT_REAL, &rate, "X", "rate", .min = 0, .max = 1e9},
                               {"sampler", OPT_CHOICE, &choice, "a|bc|def", "which"},
                               {"skip", OPT_LIST, skip, "A=B", "leave out", .max = 3},
                               {"show", OPT_FLAG, &show, NULL, "draw"},
                               {0}};
    static const struct command cmd = {"fuzz", "tries words", "FILE...", NULL, NULL};
    char *argv[WORDS + 2] = {"fuzz"};
    size = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, data, size);
    text[size] = 0;
    for (size_t at = 0; at < size && n < WORDS; at += strlen(text + at) + 1)
        if (!strstr(text + at, "-h")) argv[++n] = text + at; /* help would be printed */
    argv[n + 1] = NULL;
    struct err err = {{0}};
    struct opt_given given;
    const int r = opt_parse(&cmd, opts, n + 1, argv, &noperands, &given, &err);
    if (r < 0 && !err.msg[0]) abort();
    if (steps < 1 || steps > 1000000 || !(rate >= 0 && rate <= 1e9) || choice < 0 || choice > 2 || skip[3]) abort();
    if (r == 0 && (noperands > n || (opt_given(&given, "out") && !out))) abort();
    return 0;
}
