/* Log-likelihoods of texts against lm-evaluation-harness 0.4.4 (Llama with grouped heads, GPT-2) and against the oracle's
 * chain rule (masked diffusion): loglik/make.py. Then what must not matter: which requests stand beside one, how many a
 * forward holds; and what must: the harness's cut, the begin id, one computation for equal requests. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "eval/loglik.h"
#include "infer/engine.h"
#include "model/lm.h"

#define FOLDER "tests/golden/loglik/"
enum { MOST = 200 };

struct golden_texts {
    struct lm model;
    json_t *cases;
    int64_t n;
    bool mdm;
};

static void must(int status, const struct err *err) {
    if (status < 0) fail_msg("%s", err->msg);
}

static void open_texts(struct golden_texts *g, const char *name) {
    struct err err = {0};
    char weights[256], tokenizer[256], cases[256];
    json_error_t why;
    g->mdm = !strcmp(name, "mdm");
    snprintf(weights, sizeof weights, FOLDER "%s", name);
    snprintf(cases, sizeof cases, FOLDER "%s/cases.json", name);
    snprintf(tokenizer, sizeof tokenizer, "tests/golden/tokenizers/%s.json", strcmp(name, "gpt2") ? "llama" : "bytes");
    must(
        lm_open(
            &g->model,
            &(struct lm_args){
                .weights = weights, .tokenizer = tokenizer, .family = FAMILY_ANY, .precision = DTYPE_F32, .threads = 2},
            true, &err),
        &err);
    g->cases = json_load_file(cases, 0, &why);
    if (!g->cases) fail_msg("%s: %s", cases, why.text);
    g->n = (int64_t)json_array_size(g->cases);
    assert_true(g->n >= 40 && g->n <= MOST);
}

static void close_texts(struct golden_texts *g) {
    json_decref(g->cases);
    lm_close(&g->model);
}

static const char *text(const struct golden_texts *g, int64_t i, const char *key) {
    return json_string_value(json_object_get(json_array_get(g->cases, (size_t)i), key));
}

static double number(const struct golden_texts *g, int64_t i, const char *key) {
    return json_number_value(json_object_get(json_array_get(g->cases, (size_t)i), key));
}

static struct loglik_settings settings_of(const struct golden_texts *g, double cfg) {
    return (struct loglik_settings){
        .likelihood = {.method = LIKELIHOOD_CHAIN, .cfg = cfg, .greedy = cfg == 0}, .begin = g->mdm, .cut = !g->mdm};
}

static void run(const struct golden_texts *g, const struct loglik_settings *s, int64_t first, int64_t n,
                struct loglik_result *out) {
    struct err err = {0};
    struct loglik *l;
    must(loglik_open(&l, &g->model, s, &err), &err);
    for (int64_t i = first; i < first + n; i++)
        must(loglik_add(l, text(g, i, "context"), text(g, i, "continuation"), &err), &err);
    assert_int_equal(loglik_count(l), n);
    must(loglik_run(l, out, &err), &err);
    assert_int_equal(loglik_count(l), 0);
    loglik_close(l);
}

static void compare(const char *name, double cfg, const char *key) {
    struct golden_texts g;
    static struct loglik_result got[MOST];
    double largest = 0;
    int greedy = 0;
    open_texts(&g, name);
    const struct loglik_settings s = settings_of(&g, cfg);
    run(&g, &s, 0, g.n, got);
    for (int64_t i = 0; i < g.n; i++) {
        const double want = number(&g, i, key), error = fabs(got[i].loglik / want - 1);
        const bool is_greedy = json_is_true(json_object_get(json_array_get(g.cases, (size_t)i), "is_greedy"));
        largest = fmax(largest, error);
        if (!(error < 2e-5))
            fail_msg("%s: '%s' + '%s': %.7f, expected %.7f", name, text(&g, i, "context"), text(&g, i, "continuation"),
                     got[i].loglik, want);
        if (cfg == 0 && got[i].is_greedy != is_greedy)
            fail_msg("%s: '%s' + '%s': greedy %d", name, text(&g, i, "context"), text(&g, i, "continuation"),
                     got[i].is_greedy);
        greedy += is_greedy;
    }
    printf("%s, guidance %g: %lld requests, %d of them greedy, largest relative difference %.1e\n", name, cfg,
           (long long)g.n, greedy, largest);
    assert_true(greedy >= 3);
    close_texts(&g);
}

static void harness(void **state) {
    (void)state;
    compare("llama", 0, "loglik");
    compare("gpt2", 0, "loglik");
}

static void chain_rule(void **state) {
    (void)state;
    compare("mdm", 0, "chain");
    compare("mdm", 0.7, "chain_cfg");
}

/* Bit for bit, each request alone and all together. */
static void company_does_not_matter(void **state) {
    (void)state;
    static const char *const names[] = {"llama", "gpt2", "mdm", "mdm"};
    for (int k = 0; k < 4; k++) {
        struct golden_texts g;
        static struct loglik_result all[MOST], alone;
        open_texts(&g, names[k]);
        struct loglik_settings s = settings_of(&g, 0);
        if (k == 3)
            s.likelihood = (struct likelihood_settings){
                .method = LIKELIHOOD_MC, .mc_draws = 16, .mc_batch = 4, .cfg = 0.5, .seed = 7};
        run(&g, &s, 0, g.n, all);
        for (int64_t i = 0; i < g.n; i++) {
            run(&g, &s, i, 1, &alone);
            if (alone.loglik != all[i].loglik || alone.is_greedy != all[i].is_greedy)
                fail_msg("%s %d: request %lld is %.17g alone, %.17g in company", names[k], k, (long long)i,
                         alone.loglik, all[i].loglik);
        }
        close_texts(&g);
    }
}

static int64_t rows_of(const struct golden_texts *g, const struct loglik_settings *s, const char *const *texts, int n,
                       struct loglik_result *out) {
    struct err err = {0};
    struct loglik *l;
    must(loglik_open(&l, &g->model, s, &err), &err);
    for (int i = 0; i < n; i++) must(loglik_add(l, texts[2 * i], texts[2 * i + 1], &err), &err);
    must(loglik_run(l, out, &err), &err);
    const int64_t rows = loglik_engine(l)->rows;
    loglik_close(l);
    return rows;
}

/* How many rows it takes. */
static void common_work_is_done_once(void **state) {
    (void)state;
    static const char *const answers[] = {"One two three", " yes", "One two three", " no", "One two three", " yes"};
    struct golden_texts g;
    struct loglik_result r[3];
    int64_t one, more;
    open_texts(&g, "llama");
    struct loglik_settings s = settings_of(&g, 0);
    one = rows_of(&g, &s, answers, 1, r);
    more = rows_of(&g, &s, answers, 3, r);
    assert_true(r[0].loglik == r[2].loglik && r[0].loglik != r[1].loglik);
    assert_true(more < 2 * one); /* the context once, and what follows the first tokens of two answers */
    static const char *const twice[] = {"One two", " yes and no", "One two", " yes and no"};
    assert_int_equal(rows_of(&g, &s, twice, 2, r), rows_of(&g, &s, twice, 1, r));
    close_texts(&g);
    open_texts(&g, "mdm");
    s = settings_of(&g, 0.7);
    one = rows_of(&g, &s, answers, 1, r);
    more = rows_of(&g, &s, answers + 4, 1, r);
    assert_int_equal(one, more);
    more = rows_of(&g, &s, answers, 3, r);
    assert_true(more < 2 * one); /* "all masked" is one input for both */
    close_texts(&g);
}

/* The same tokens, of which guidance hides more of the one than of the other. */
static void what_is_context_matters(void **state) {
    (void)state;
    static const char *const pairs[] = {"One two", " three four", "One two three", " four"};
    struct golden_texts g;
    struct loglik_result both[2], alone[2];
    open_texts(&g, "mdm");
    const struct loglik_settings s = settings_of(&g, 0.7);
    rows_of(&g, &s, pairs, 2, both);
    rows_of(&g, &s, pairs, 1, &alone[0]);
    rows_of(&g, &s, pairs + 2, 1, &alone[1]);
    for (int i = 0; i < 2; i++) assert_true(both[i].loglik == alone[i].loglik);
    close_texts(&g);
}

static void bad_requests(void **state) {
    (void)state;
    struct golden_texts g;
    struct err err = {0};
    struct loglik *l;
    struct loglik_result r;
    char longer[600];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    open_texts(&g, "llama");
    struct loglik_settings s = settings_of(&g, 0);
    must(loglik_open(&l, &g.model, &s, &err), &err);
    must(loglik_add(l, "One", " two", &err), &err);
    assert_int_equal(loglik_add(l, "One", "", &err), -1);
    assert_non_null(strstr(err.msg, "adds no token"));
    assert_int_equal(loglik_add(l, "One", longer, &err), -1); /* a target is never cut */
    assert_non_null(strstr(err.msg, "block_size"));
    assert_int_equal(loglik_count(l), 1);
    must(loglik_add(l, longer, " two", &err), &err);
    loglik_drop(l, 1);
    must(loglik_run(l, &r, &err), &err);
    loglik_close(l);
    s.cut = false;
    must(loglik_open(&l, &g.model, &s, &err), &err);
    assert_int_equal(loglik_add(l, longer, " two", &err), -1);
    loglik_close(l);
    s.likelihood.cfg = 1;
    assert_int_equal(loglik_open(&l, &g.model, &s, &err), -1);
    assert_non_null(strstr(err.msg, "guidance"));
    close_texts(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(harness),
                                       cmocka_unit_test(chain_rule),
                                       cmocka_unit_test(company_does_not_matter),
                                       cmocka_unit_test(common_work_is_done_once),
                                       cmocka_unit_test(what_is_context_matters),
                                       cmocka_unit_test(bad_requests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
