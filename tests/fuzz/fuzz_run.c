/* Fuzz target: a run's folder whose run.json is any bytes. */
#include "fuzz_file.h"

#include "base/err.h"
#include "base/mem.h"
#include "train/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct training a = training_defaults;
    struct setting table[TRAINING_SETTINGS + 1] = {0};
    struct opt opts[RUN_SETTINGS + 1];
    struct opt_given given = {.opts = opts};
    struct run run;
    struct err err = {{0}};
    training_table(table, &a);
    run_options(opts, table);
    if (run_open(&run, "pretrain", fuzz_folder("run.json", data, size), NULL, table, &given, &err) == 0) {
        if (a.batch < 1 || a.keep < 1 || !(a.beta1 >= 0 && a.beta1 <= 1)) abort();
        run_close(&run);
    } else if (!err.msg[0]) {
        abort();
    }
    if (mem_in_use() != 0) abort();
    return 0;
}
