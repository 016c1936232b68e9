/* finetune: the table, and the few of its values that depend on the model or on the run. */
#include "train/finetune.h"

#include <string.h>

#include "base/err.h"
#include "base/opt.h"

const struct finetune_task finetune_tasks[] = {
    {.name = "sharegpt",
     .form = TUNING_SHAREGPT,
     .batch = 256,
     .epochs = 3,
     .warmup = 200,
     .length = 2048,
     .by_size = true,
     .chat = true},
    {.name = "gsm8k", .form = TUNING_GSM8K, .batch = 256, .epochs = 40, .length = 256, .whole = true, .fill = true},
    {.name = "reverse", .form = TUNING_REVERSE, .batch = 64, .epochs = 10, .warmup = 200, .by_size = true},
    /* People's own data, as sharegpt. */
    {.name = "chat", .form = TUNING_CHAT, .batch = 256, .epochs = 3, .warmup = 200, .by_size = true, .chat = true},
    {.name = "completion", .form = TUNING_COMPLETION, .batch = 256, .epochs = 3, .warmup = 200, .by_size = true},
    {0},
};

const char *finetune_names(void) {
    static char names[OPT_NAMES];
    return opt_names(names, finetune_tasks, sizeof *finetune_tasks);
}

const struct finetune_task *finetune_find(const char *name, struct err *err) {
    for (const struct finetune_task *t = finetune_tasks; t->name; t++)
        if (!strcmp(t->name, name)) return t;
    err_set(err, "no task is called '%s'; expected one of %s", name, finetune_names());
    return NULL;
}

int64_t finetune_group(const struct finetune_task *t, int64_t body) {
    if (!t->by_size || body <= 50000000) return 16;
    return body <= 1000000000 ? 8 : 4;
}

int64_t finetune_warmup(const struct finetune_task *t, int64_t steps) {
    int64_t warmup = t->warmup > 0 ? t->warmup : steps / 100;
    if (warmup > steps / 2) warmup = steps / 2;
    return warmup < 1 ? 1 : warmup;
}
