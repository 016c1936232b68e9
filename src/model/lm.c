/* lm: see lm.h. Runs nothing. */
#include "model/lm.h"

#include "base/buffer.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "compute/gemm.h"
#include "text/tokenizer.h"

int lm_check_tokenizer(const struct config *c, const struct tokenizer *t, const char *weights, struct err *err) {
    const int64_t bos = tokenizer_bos(t), eos = tokenizer_eos(t);
    if (config_check_vocab(c, tokenizer_vocab_size(t), weights, err) < 0) return -1;
    if (bos < 0 || eos < 0 || c->bos_id < 0 || c->eos_id < 0 || bos == c->bos_id || eos == c->eos_id) return 0;
    return err_set(
        err,
        "%s: begins and ends texts with ids %lld and %lld, %s is of a model that has %lld and %lld: name the "
        "model's own with --tokenizer",
        tokenizer_path(t), (long long)bos, (long long)eos, weights, (long long)c->bos_id, (long long)c->eos_id);
}

static int open_tokenizer(struct lm *m, const struct lm_args *a, bool needed, struct err *err) {
    char folder[FILE_PATH_MAX];
    if (weights_folder(folder, a->weights, err) < 0 || tokenizer_load_for(&m->tokenizer, a->tokenizer, folder, err) < 0)
        return -1;
    if (!m->tokenizer)
        return needed ? err_set(err, "no tokenizer in %s: text needs one, name it with --tokenizer", folder) : 0;
    return lm_check_tokenizer(&m->weights.config, m->tokenizer, a->weights, err);
}

int lm_open(struct lm *m, const struct lm_args *a, bool tokenizer_needed, struct err *err) {
    *m = (struct lm){.precision = (enum dtype)a->precision};
    if (kernels_init(err) < 0 || gemm_init(cpu_threads_for(a->threads), err) < 0 ||
        weights_load(&m->weights, a->weights, a->name, (enum family)a->family, err) < 0)
        return -1;
    if (open_tokenizer(m, a, tokenizer_needed, err) == 0) return 0;
    lm_close(m);
    return -1;
}

void lm_close(struct lm *m) {
    tokenizer_free(m->tokenizer);
    weights_free(&m->weights);
    *m = (struct lm){0};
}

int32_t lm_end_id(const struct lm *m) {
    enum { PUBLISHED = 2 };
    if (m->weights.config.eos_id >= 0) return (int32_t)m->weights.config.eos_id;
    return m->tokenizer ? tokenizer_eos(m->tokenizer) : PUBLISHED;
}

int lm_decode(const struct lm *m, const int32_t *ids, int64_t n, struct bytes *out, struct err *err) {
    struct ids known = {0};
    int status = 0;
    for (int64_t i = 0; i < n && status == 0; i++)
        if (ids[i] < tokenizer_vocab_size(m->tokenizer)) status = ids_push(&known, ids[i], err);
    if (status == 0) status = tokenizer_decode(m->tokenizer, known.v, known.n, false, out, err);
    ids_free(&known);
    return status;
}
