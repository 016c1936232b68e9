/* lm: see lm.h. Runs nothing. */
#include "model/lm.h"

#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "compute/gemm.h"
#include "text/tokenizer.h"

/* The tokenizer beside the weights, when there is one. */
static int find_tokenizer(struct tokenizer **t, const char *weights, bool needed, struct err *err) {
    char folder[FILE_PATH_MAX];
    *t = NULL;
    if (weights_folder(folder, weights, err) < 0) return -1;
    if (!tokenizer_there(folder)) {
        if (!needed) return 0;
        return err_set(err, "no tokenizer in %s: text needs one, name it with --tokenizer", folder);
    }
    *t = tokenizer_load(folder, err);
    return *t ? 0 : -1;
}

int lm_open(struct lm *m, const struct lm_args *a, bool tokenizer_needed, struct err *err) {
    *m = (struct lm){.precision = (enum dtype)a->precision};
    if (kernels_init(err) < 0 || gemm_init(cpu_threads_for(a->threads), err) < 0) return -1;
    if (weights_load(&m->weights, a->weights, a->name, (enum family)a->family, err) < 0) return -1;
    if (a->tokenizer) {
        m->tokenizer = tokenizer_load(a->tokenizer, err);
        if (m->tokenizer) return 0;
    } else if (find_tokenizer(&m->tokenizer, a->weights, tokenizer_needed, err) == 0) {
        return 0;
    }
    lm_close(m);
    return -1;
}

void lm_close(struct lm *m) {
    tokenizer_free(m->tokenizer);
    weights_free(&m->weights);
    *m = (struct lm){0};
}
