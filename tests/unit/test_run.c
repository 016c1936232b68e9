/* A run as a value: the table of settings is what run.json holds, read strictly and compared by the rules; the folder is
 * locked, cleaned, and left alone when nothing comes of the run; paths go on from any folder; a run can grow. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/err.h"
#include "base/jsonl.h"
#include "base/progress.h"
#include "data_help.h"
#include "model/config.h"
#include "train/run.h"
#include "train/settings.h"

static char *dir;

/* What a command would have: the settings of every training, some of its own, and a command line. */
struct desk {
    struct training training;
    const char *out, *from, *say, *data[5], *fixed[5];
    int64_t steps;
    double tokens;
    struct setting table[TRAINING_SETTINGS + 8];
    struct opt opts[RUN_SETTINGS + 1];
    struct opt_given given;
    struct run run;
};

static void desk_lay(struct desk *d) {
    *d = (struct desk){.training = training_defaults, .out = "run"};
    const struct setting own[] = {
        {{"out", OPT_STR, &d->out, "RUN", "folder"}, SETTING_START},
        {{"from", OPT_STR, &d->from, "FILE", "a path"}, SETTING_FIXED, .path = true},
        {{"say", OPT_STR, &d->say, "TEXT", "no path"}, SETTING_FIXED},
        {{"data", OPT_LIST, d->data, "DIR[=W],...", "paths", .max = 4}, SETTING_FREE, .path = true},
        {{"fixed", OPT_LIST, d->fixed, "DIR[=W],...", "paths", .max = 4}, SETTING_FIXED, .path = true},
        {{"steps", OPT_INT, &d->steps, "N", "budget", .min = 0, .max = 1e12}, SETTING_BUDGET},
        {{"tokens", OPT_REAL, &d->tokens, "N", "budget", .min = 0, .max = 1e12}, SETTING_BUDGET},
    };
    memcpy(d->table, own, sizeof own);
    assert_int_equal(training_table(d->table + 7, &d->training), TRAINING_SETTINGS);
    run_options(d->opts, d->table);
}

/* run_open() with these words on the command line. */
static int desk_open(struct desk *d, const char *config, char *const words[], struct err *err) {
    static const struct command command = {.name = "test"};
    char *argv[16] = {"test"};
    int argc = 1, noperands;
    desk_lay(d);
    for (; words[argc - 1]; argc++) argv[argc] = words[argc - 1];
    if (opt_parse(&command, d->opts, argc, argv, &noperands, &d->given, err) < 0) fail_msg("%s", err->msg);
    if (training_recipe(&d->given, &d->training, err) < 0) return -1;
    return run_open(&d->run, "test", in(dir, "run"), config, d->table, &d->given, err);
}
#define OPEN(d, config, ...) desk_open(d, config, (char *const[]){__VA_ARGS__, NULL}, &err)
#define MUST(x)                                                                                                        \
    do {                                                                                                               \
        if ((x) < 0) fail_msg("%s", err.msg);                                                                          \
    } while (0)

static void desk_write(struct desk *d, int64_t steps, int64_t done) {
    struct err err = {{0}};
    struct config c;
    MUST(config_named(&c, "6", FAMILY_MDM, 300, &err));
    MUST(run_write(&d->run, &(struct run_facts){.config = &c, .steps = steps, .done = done}, &err));
}

static json_t *run_json(void) {
    struct err err = {{0}};
    json_t *o = json_read_file(in(dir, "run/run.json"), 1 << 20, &err);
    if (!o) fail_msg("%s", err.msg);
    return o;
}

static int setup(void **state) {
    (void)state;
    dir = scratch_new();
    progress_quiet = true;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    return 0;
}

/* The word that gives this row its first or second value, none the default. */
static char *word(const struct opt *o, int k) {
    static char words[3][128];
    char *w = words[k];
    if (o->type == OPT_FLAG)
        snprintf(w, 128, "--%s%s", k == 1 ? "" : "no-", o->name);
    else if (o->type == OPT_INT)
        snprintf(w, 128, "--%s=%d", o->name, (int)o->min + 2 + k);
    else if (o->type == OPT_REAL)
        snprintf(w, 128, "--%s=%.17g", o->name, o->max * k / 7);
    else if (o->type == OPT_CHOICE)
        snprintf(w, 128, "--%s=%.*s", o->name, k == 1 ? 100 : (int)strcspn(o->meta, "|"),
                 k == 1 ? strrchr(o->meta, '|') + 1 : o->meta);
    else
        snprintf(w, 128, "--%s=/elsewhere/%d", o->name, k);
    return w;
}

static void assert_recorded(const struct opt *o) {
    json_t *all = run_json(), *v = json_object_get(json_object_get(all, "settings"), o->name);
    assert_non_null(v);
    if (o->type == OPT_FLAG) assert_true(json_is_boolean(v) && json_is_true(v) == *(bool *)o->target);
    if (o->type == OPT_INT) assert_true(json_is_integer(v) && json_integer_value(v) == *(int64_t *)o->target);
    if (o->type == OPT_REAL) assert_true(json_is_real(v) && json_real_value(v) == *(double *)o->target);
    if (o->type == OPT_STR) assert_string_equal(json_string_value(v), *(const char **)o->target);
    if (o->type == OPT_CHOICE) assert_true(json_is_string(v));
    json_decref(all);
}

/* Every row of the table: recorded as its own type, read back to the same value, FIXED or FREE as it says. */
static void every_setting(void **state) {
    struct err err = {{0}};
    struct desk d;
    int rows = 0;
    desk_lay(&d);
    for (int i = 0; d.table[i].opt.name; i++) {
        const struct setting *s = &d.table[i];
        if (s->rule == SETTING_START || s->rule == SETTING_BUDGET || s->opt.type == OPT_LIST) continue;
        char *first = word(&s->opt, 1), *second = word(&s->opt, 2);
        MUST(OPEN(&d, NULL, first, "--steps=7"));
        desk_write(&d, 7, 0);
        assert_recorded(&s->opt);
        run_close(&d.run);
        MUST(OPEN(&d, NULL, first)); /* said again */
        run_close(&d.run);
        MUST(OPEN(&d, NULL, NULL)); /* not said */
        assert_true(d.run.resumed && d.run.steps == 7 && d.steps == 7);
        assert_recorded(&s->opt);
        run_close(&d.run);
        const int status = OPEN(&d, NULL, second);
        if (s->rule == SETTING_FIXED) {
            assert_int_equal(status, -1);
            assert_says(err, "was started with");
        } else {
            MUST(status);
            desk_write(&d, 7, 0);
            assert_recorded(&s->opt);
            run_close(&d.run);
        }
        teardown(state), setup(state);
        rows++;
    }
    assert_int_equal(rows, TRAINING_SETTINGS - 1 + 2); /* --recipe stands for others */
}

/* A recipe is as if its settings had been said: recorded, kept by a run that goes on, refused by one that was started
 * otherwise; what is said oneself comes first. */
static void recipe(void **state) {
    struct err err = {{0}};
    struct desk d;
    MUST(OPEN(&d, NULL, "--bell=0.25", "--recipe=fast", "--steps=7"));
    assert_true(d.training.bell == 0.25 && d.training.optimizer == 1 && d.training.lr == 4e-3);
    desk_write(&d, 7, 0);
    run_close(&d.run);
    MUST(OPEN(&d, NULL, NULL));
    assert_true(d.training.bell == 0.25 && d.training.optimizer == 1 && d.training.recipe == 0);
    run_close(&d.run);
    assert_int_equal(OPEN(&d, NULL, "--recipe=fast"), -1);
    assert_says(err, "--bell 1.0 (of --recipe): the run");
    assert_int_equal(OPEN(&d, NULL, "--recipe=published"), -1);
    assert_says(err, "--lr 0.0002 (of --recipe): the run");
    MUST(OPEN(&d, NULL, "--recipe=fast", "--bell=0.25"));
    run_close(&d.run);
    teardown(state), setup(state);
    MUST(OPEN(&d, NULL, "--steps=7"));
    assert_true(d.training.bell == 0 && d.training.optimizer == 0 && d.training.lr == 2e-4); /* published */
    desk_write(&d, 7, 0);
    run_close(&d.run);
    json_t *all = run_json(); /* of a program that had no bell yet */
    json_object_del(json_object_get(all, "settings"), "bell");
    assert_int_equal(json_dump_file(all, in(dir, "run/run.json"), 0), 0);
    json_decref(all);
    MUST(OPEN(&d, NULL, "--recipe=published"));
    run_close(&d.run);
    assert_int_equal(OPEN(&d, NULL, "--recipe=fast", "--optimizer=adamw", "--lr=2e-4"), -1);
    assert_says(err, "--bell (of --recipe): the run");
    teardown(state), setup(state);
    put_text(in(dir, "other.json"), "{\"settings\": {\"recipe\": \"fast\"}}");
    assert_int_equal(OPEN(&d, in(dir, "other.json"), "--steps=7"), -1);
    assert_says(err, "other.json: --recipe is of a start, not of a run: say it on the command line");
}

static void fixed_list(void **state) {
    (void)state;
    struct err err = {{0}};
    struct desk d;
    MUST(OPEN(&d, NULL, "--fixed=/else/a=2,/else/b", "--steps=7"));
    desk_write(&d, 7, 0);
    run_close(&d.run);
    MUST(OPEN(&d, NULL, "--fixed=/else/a=2", "--fixed=/else/b"));
    run_close(&d.run);
    assert_int_equal(OPEN(&d, NULL, "--fixed=/else/a=2,/else/c"), -1);
    assert_says(err, "was started with");
    assert_int_equal(OPEN(&d, NULL, "--fixed=/else/a=2"), -1);
    MUST(OPEN(&d, NULL, NULL));
    assert_string_equal(d.fixed[1], "/else/b");
    assert_null(d.fixed[2]);
    run_close(&d.run);
}

/* A text that is empty is not one that is not set. */
static void empty_text(void **state) {
    (void)state;
    struct err err = {{0}};
    struct desk d;
    MUST(OPEN(&d, NULL, "--say=", "--steps=7"));
    desk_write(&d, 7, 0);
    run_close(&d.run);
    MUST(OPEN(&d, NULL, NULL));
    assert_string_equal(d.say, "");
    run_close(&d.run);
    assert_int_equal(OPEN(&d, NULL, "--say=x"), -1);
    assert_says(err, "was started with");
}

/* What training_check() refuses. */
static void rules_between_settings(void **state) {
    (void)state;
    struct err err = {{0}};
    struct training a = training_defaults;
    struct trainer_settings s = training_settings(&a, 100);
    MUST(training_check(&a, &s, &err));
    a.min_lr = 3e-4;
    s = training_settings(&a, 100);
    assert_int_equal(training_check(&a, &s, &err), -1);
    assert_says(err, "--min-lr 0.0003: the last learning rate is above the peak, --lr 0.0002");
    a.min_lr = 2e-4;
    a.warmup = 100;
    s = training_settings(&a, 100);
    MUST(training_check(&a, &s, &err));
    s = training_settings(&a, 99);
    assert_int_equal(training_check(&a, &s, &err), -1);
    assert_says(err, "--warmup 100: the run has 99 steps");
}

/* ---- run.json from elsewhere ---- */

static void put_run(const char *text) {
    mkdir(in(dir, "run"), 0777);
    put_text(in(dir, "run/run.json"), text);
}

static void read_strictly(void **state) {
    struct err err = {{0}};
    struct desk d;
    const struct {
        const char *settings, *says;
    } wrong[] = {
        {"{\"lrr\": 1e-3}", "did you mean \"lr\""},
        {"{\"what\": 1}", "no setting is called \"what\""},
        {"{\"lr\": true}", "\"lr\" must be a number"},
        {"{\"lr\": null}", "\"lr\" must be a number"},
        {"{\"lr\": [1]}", "\"lr\" must be a number"},
        {"{\"lr\": \"fast\"}", "must be a number"},
        {"{\"lr\": 11}", "between 0 and 10"},
        {"{\"batch\": 1.5}", "whole number"},
        {"{\"batch\": 0}", "between 1"},
        {"{\"recompute\": 1}", "\"recompute\" must be true or false"},
        {"{\"precision\": \"f16\"}", "bf16|f32"},
        {"{\"precision\": 1}", "\"precision\" must be a string"},
        {"{\"from\": 5}", "\"from\" must be a string"},
        {"{\"data\": [1]}", "\"data\" must be a list of strings"},
        {"{\"data\": {}}", "\"data\" must be a list of strings"},
        {"[]", "no \"settings\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        for (int config = 0; config < 2; config++) {
            char text[256];
            snprintf(text, sizeof text, "{\"version\": \"0\", \"settings\": %s}", wrong[i].settings);
            put_text(in(dir, "other.json"), text);
            if (!config) put_run(text);
            assert_int_equal(OPEN(&d, config ? in(dir, "other.json") : NULL, NULL), -1);
            assert_says(err, wrong[i].says);
            assert_says(err, config ? "other.json" : "run/run.json");
            teardown(state), setup(state);
        }
    put_run("{\"mdm\": \"other\", \"version\": \"0\", \"settings\": {}}");
    assert_int_equal(OPEN(&d, NULL, NULL), -1);
    assert_says(err, "a run of mdm other");
}

/* Numbers as numbers and as strings, the way older versions wrote all of them; there min-lr 0 was not set. */
static void both_spellings(void **state) {
    struct err err = {{0}};
    struct desk d;
    put_run(
        "{\"settings\": {\"lr\": \"0.001\", \"min-lr\": \"0\", \"seed\": \"9000000000000000000\", \"steps\": \"20\", "
        "\"recompute\": \"true\", \"precision\": \"f32\", \"from\": \"\", \"quiet\": \"true\", \"data\": \"a=2,b\"}}");
    MUST(OPEN(&d, NULL, NULL));
    assert_true(d.training.lr == 0.001 && isnan(d.training.min_lr) && d.training.seed == 9000000000000000000);
    assert_true(d.steps == 20 && d.training.recompute && d.training.precision == 1 && !d.from);
    assert_string_equal(d.data[0], "a=2");
    assert_string_equal(d.data[1], "b");
    run_close(&d.run);
    teardown(state), setup(state);
    put_run("{\"version\": \"0\", \"settings\": {\"lr\": 1, \"min-lr\": 0, \"seed\": 9000000000000000000, \"steps\": "
            "2e1}}");
    MUST(OPEN(&d, NULL, NULL));
    assert_true(d.training.lr == 1 && d.training.min_lr == 0 && d.training.seed == 9000000000000000000 &&
                d.steps == 20);
    assert_true(training_settings(&d.training, 20).schedule.min_lr == 0); /* 0 is 0 … */
    run_close(&d.run);
    desk_lay(&d);
    assert_true(training_settings(&d.training, 20).schedule.min_lr == 2e-5); /* … and nothing is a tenth */
}

/* ---- the folder ---- */

static void one_at_a_time(void **state) {
    (void)state;
    struct err err = {{0}};
    struct desk a, b;
    MUST(OPEN(&a, NULL, NULL));
    assert_int_equal(OPEN(&b, NULL, NULL), -1);
    assert_says(err, "another program is at work");
    run_close(&a.run);
    MUST(OPEN(&b, NULL, NULL));
    run_close(&b.run);
}

static void nothing_comes_of_it(void **state) {
    (void)state;
    struct err err = {{0}};
    struct desk d;
    MUST(OPEN(&d, NULL, NULL));
    assert_true(there(in(dir, "run")));
    run_close(&d.run); /* something was wrong: the folder that was made for the run goes */
    assert_false(there(in(dir, "run")));
    mkdir(in(dir, "run"), 0777);
    MUST(OPEN(&d, NULL, NULL));
    run_close(&d.run);
    assert_true(there(in(dir, "run"))); /* this one was somebody's */
}

static const char *in_run(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "run/%s", name);
    return in(dir, path);
}

static void what_kills_leave(void **state) {
    (void)state;
    struct err err = {{0}};
    struct desk d;
    static const char *const ours[] = {"checkpoint-00000012.safetensors.tmp.0123456789abcdef",
                                       "run.json.tmp.fedcba9876543210"},
                             *const others[] = {"checkpoint-00000012.safetensors", "model.tmp.bak", "metrics.csv"};
    mkdir(in(dir, "run"), 0777);
    for (int i = 0; i < 2; i++) put_text(in_run(ours[i]), "x");
    for (int i = 0; i < 3; i++) put_text(in_run(others[i]), "x");
    put_text(in_run("run.json"), "{\"settings\": {}}");
    MUST(OPEN(&d, NULL, NULL));
    run_close(&d.run);
    for (int i = 0; i < 2; i++) assert_false(there(in_run(ours[i])));
    for (int i = 0; i < 3; i++) assert_true(there(in_run(others[i])));
}

/* Checkpoints whose settings are not known: nobody can say that a start goes on as they began. */
static void checkpoints_without_run_json(void **state) {
    (void)state;
    struct err err = {{0}};
    struct desk d;
    mkdir(in(dir, "run"), 0777);
    put_text(in_run("checkpoint-00000012-copy.safetensors"), "x");
    MUST(OPEN(&d, NULL, NULL));
    run_close(&d.run);
    put_text(in_run("checkpoint-00000012.safetensors"), "x");
    put_text(in(dir, "other.json"), "{\"settings\": {}}");
    for (int k = 0; k < 2; k++) {
        assert_int_equal(OPEN(&d, k ? in(dir, "other.json") : NULL, NULL), -1);
        assert_says(err, "has checkpoints, but no run.json");
    }
    put_text(in_run("run.json"), "{\"settings\": {}}");
    MUST(OPEN(&d, NULL, NULL));
    run_close(&d.run);
}

/* A run that begins does not take the place of a model that is there, whoever made it; one that goes on may. */
static void model_without_checkpoint(void **state) {
    (void)state;
    struct err err = {{0}};
    struct desk d;
    mkdir(in(dir, "run"), 0777);
    put_text(in_run("model.safetensors"), "x");
    for (int k = 0; k < 2; k++) {
        assert_int_equal(OPEN(&d, NULL, NULL), -1);
        assert_says(err, "no checkpoint to go on from");
        put_text(in_run("run.json"), "{\"settings\": {}}");
    }
    assert_true(there(in_run("model.safetensors")));
    put_text(in_run("checkpoint-00000012.safetensors"), "x");
    MUST(OPEN(&d, NULL, NULL));
    run_close(&d.run);
}

/* ---- paths ---- */

/* Given relative to the folder of the start, they are found from another; weights and commas stay what they are. */
static void paths(void **state) {
    (void)state;
    struct err err = {{0}};
    struct desk d;
    char real[4096], *here = getcwd(NULL, 0), want[5000];
    assert_non_null(realpath(dir, real));
    assert_int_equal(chdir(dir), 0);
    static const char *const folders[] = {"one", "two", "with,comma", "a=b"};
    for (int i = 0; i < 4; i++) mkdir(folders[i], 0777);
    MUST(OPEN(&d, NULL, "--steps=1", "--from=one", "--data=one=2,two", "--data=with,comma=0.5,a=b"));
    desk_write(&d, 1, 0);
    run_close(&d.run);
    assert_int_equal(chdir("/"), 0);
    MUST(OPEN(&d, NULL, NULL));
    static const char *const values[] = {"one=2", "two", "with,comma=0.5", "a=b"};
    for (int i = 0; i < 4; i++) {
        snprintf(want, sizeof want, "%s/%s", real, values[i]);
        assert_string_equal(d.data[i], want);
        assert_int_equal(run_path_bytes(d.data[i]), strlen(real) + 1 + strlen(folders[i]));
    }
    assert_null(d.data[4]);
    snprintf(want, sizeof want, "%s/one", real);
    assert_string_equal(d.from, want);
    run_close(&d.run);
    /* by hand, relative to the folder of the run.json */
    put_run("{\"version\": \"0\", \"settings\": {\"data\": [\"../one=3\", \"6\"], \"from\": \"../two\"}}");
    MUST(OPEN(&d, NULL, NULL));
    snprintf(want, sizeof want, "%s/one=3", real);
    assert_string_equal(d.data[0], want);
    assert_string_equal(d.data[1], "6"); /* no such file: as it is */
    snprintf(want, sizeof want, "%s/two", real);
    assert_string_equal(d.from, want);
    run_close(&d.run);
    assert_int_equal(chdir(here), 0);
    free(here);
}

/* A name that run.json cannot hold is refused before anything is written, whether it was given or comes from a file. */
static void names_without_characters(void **state) {
    (void)state;
    struct err err = {{0}};
    struct desk d;
    char *here = getcwd(NULL, 0);
    assert_int_equal(chdir(dir), 0);
    mkdir("caf\xe9", 0777);
    mkdir("good", 0777);
    mkdir("caf\xe9/data", 0777);
    put_text("caf\xe9/other.json", "{\"version\": \"0\", \"settings\": {\"data\": [\"data\"]}}");
    assert_int_equal(OPEN(&d, NULL, "--steps=1", "--data=good=2,caf\xe9"), -1);
    assert_says(err, "--data '");
    assert_says(err, "caf\xe9': not UTF-8, so run.json cannot keep it: rename what is called so");
    assert_int_equal(OPEN(&d, NULL, "--steps=1", "--from=caf\xe9"), -1);
    assert_says(err, "--from '");
    assert_int_equal(OPEN(&d, NULL, "--steps=1", "--say=caf\xe9"), -1);
    assert_says(err, "--say 'caf\xe9': not UTF-8, so run.json cannot keep it: spell it in UTF-8");
    assert_int_equal(OPEN(&d, "caf\xe9/other.json", "--steps=1"), -1);
    assert_says(err, "caf\xe9/data': not UTF-8");
    assert_false(there("run"));
    put_run("{\"version\": \"0\", \"settings\": {\"data\": [\"../caf\\u00e9\"], \"say\": \"caf\\u00e9\"}}");
    MUST(OPEN(&d, NULL, NULL));
    assert_string_equal(d.say, "caf\xc3\xa9");
    run_close(&d.run);
    assert_int_equal(chdir(here), 0);
    free(here);
}

/* ---- growth ---- */

static void growth(void **state) {
    (void)state;
    struct err err = {{0}};
    struct desk d;
    MUST(OPEN(&d, NULL, "--steps=10"));
    desk_write(&d, 10, 0);
    run_close(&d.run);
    MUST(OPEN(&d, NULL, "--tokens=500")); /* another kind of budget takes the place of the first */
    assert_true(d.run.steps == 10 && d.steps == 0 && d.tokens == 500);
    desk_write(&d, 25, 10);
    run_close(&d.run);
    MUST(OPEN(&d, NULL, NULL));
    assert_true(d.run.steps == 25 && d.steps == 0 && d.tokens == 500);
    desk_write(&d, 25, 12); /* went on, not longer */
    run_close(&d.run);
    MUST(OPEN(&d, NULL, "--steps=40"));
    desk_write(&d, 40, 25);
    run_close(&d.run);
    json_t *o = run_json(),
           *want = json_pack("[{s:i, s:i}, {s:i, s:i}]", "after", 10, "steps", 10, "after", 25, "steps", 25);
    assert_true(json_equal(json_object_get(o, "extended"), want));
    assert_int_equal(json_integer_value(json_object_get(o, "steps")), 40);
    assert_non_null(json_object_get(o, "version"));
    json_decref(o);
    json_decref(want);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(every_setting, setup, teardown),
                                       cmocka_unit_test_setup_teardown(recipe, setup, teardown),
                                       cmocka_unit_test_setup_teardown(fixed_list, setup, teardown),
                                       cmocka_unit_test_setup_teardown(empty_text, setup, teardown),
                                       cmocka_unit_test_setup_teardown(rules_between_settings, setup, teardown),
                                       cmocka_unit_test_setup_teardown(read_strictly, setup, teardown),
                                       cmocka_unit_test_setup_teardown(both_spellings, setup, teardown),
                                       cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
                                       cmocka_unit_test_setup_teardown(nothing_comes_of_it, setup, teardown),
                                       cmocka_unit_test_setup_teardown(what_kills_leave, setup, teardown),
                                       cmocka_unit_test_setup_teardown(checkpoints_without_run_json, setup, teardown),
                                       cmocka_unit_test_setup_teardown(model_without_checkpoint, setup, teardown),
                                       cmocka_unit_test_setup_teardown(paths, setup, teardown),
                                       cmocka_unit_test_setup_teardown(names_without_characters, setup, teardown),
                                       cmocka_unit_test_setup_teardown(growth, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
