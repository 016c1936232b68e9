/* Fine-tuning sets: every task's examples against those that an independent script wrote (tests/golden/tuning/make.py); bad
 * records; templates and begin ids; the order of a source, its splits, its fingerprint; every allocation made to fail. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/progress.h"
#include "data/tuning.h"
#include "data_help.h"
#include "text/tokenizer.h"
#include "train/finetune.h"

#define SETS "tests/golden/tuning/"

static char *dir;
static struct tokenizer *llama, *bytes; /* the second has an id for each byte, 1 + b, and 0 as its end; no begin */
static struct err err;

static struct tuning_settings settings(const char *task) {
    const struct finetune_task *t = finetune_find(task, &err);
    assert_non_null(t);
    return (struct tuning_settings){.text = {.form = t->form, .template = chat_find("vicuna", &err)},
                                    .tokenizer = llama,
                                    .length = 256,
                                    .whole = t->whole,
                                    .fill = t->fill,
                                    .mask = -1};
}

static struct tuning *open_set(const char *path, const struct tuning_settings *s) {
    struct tuning *t;
    if (tuning_open(&t, path, s, &err) < 0) fail_msg("%s", err.msg);
    return t;
}

/* A file of this text, as a set of byte ids. */
static struct tuning *of_text(const char *name, const char *text, struct tuning_settings s) {
    put_text(in(dir, name), text);
    s.tokenizer = bytes;
    return open_set(in(dir, name), &s);
}

static void ids_are(const struct tuning *t, int64_t i, const char *want, int64_t prompt) {
    int32_t ids[512];
    char got[2048] = "";
    struct example e;
    tuning_example(t, i, ids, &e);
    for (int64_t k = 0; k < e.n; k++) /* a byte as itself, the end id as $ */
        snprintf(got + strlen(got), 2, "%c", ids[k] == 0 ? '$' : ids[k] - 1);
    if (strcmp(got, want) || e.prompt != prompt)
        fail_msg("example %lld: '%s' after %lld, expected '%s' after %lld", (long long)i, got, (long long)e.prompt,
                 want, (long long)prompt);
}

/* ---- examples ---- */

static void golden(const char *task, const char *file, const char *expected, bool arm, int64_t passed, int64_t long_) {
    struct tuning_settings s = settings(task);
    s.fill = s.fill && !arm;
    s.causal = arm;
    struct tuning *t = open_set(in(SETS, file), &s);
    struct jsonl *in_file = jsonl_open(in(SETS, expected), &err);
    assert_non_null(in_file);
    json_t *o;
    int64_t i = 0;
    for (; jsonl_next(in_file, &o, &err) > 0; i++) {
        int32_t *want, got[256];
        int64_t n, prompt;
        struct example e;
        assert_true(json_get_ids(o, "ids", &want, &n, 1 << 20, true, expected, &err) == 1);
        assert_true(json_get_int(o, "prompt_tokens", &prompt, 0, n, true, expected, &err) == 1);
        assert_true(i < tuning_examples(t));
        tuning_example(t, i, NULL, &e);
        assert_int_equal(e.n, n);
        assert_int_equal(e.prompt, prompt);
        tuning_example(t, i, got, &e);
        assert_memory_equal(got, want, (size_t)n * 4);
        mem_free(want);
        json_decref(o);
    }
    assert_int_equal(i, tuning_examples(t));
    assert_true(i > 0);
    const struct tuning_counts c = tuning_counts(t);
    assert_int_equal(c.passed, passed);
    assert_int_equal(c.too_long, long_);
    assert_int_equal(c.bad, 0);
    jsonl_close(in_file);
    tuning_close(t);
}

static void every_task(void **state) {
    (void)state;
    golden("sharegpt", "sharegpt.json", "sharegpt.expected", false, 4, 1);
    golden("sharegpt", "sharegpt.json", "sharegpt.expected", true, 4, 1);
    golden("gsm8k", "gsm8k.txt", "gsm8k.expected", false, 6, 2);
    golden("gsm8k", "gsm8k.txt", "gsm8k.arm.expected", true, 6, 2);
    golden("reverse", "reverse.jsonl", "reverse.expected", false, 0, 0);
    golden("completion", "completion.jsonl", "completion.expected", false, 0, 0);
    golden("chat", "chat.jsonl", "chat.expected", false, 0, 1);
}

/* Lines end as they end: with a carriage return too, which Python's text files do not show. */
static void ends_of_lines(void **state) {
    (void)state;
    struct tuning_settings s = settings("gsm8k");
    s.fill = false;
    struct tuning *t = of_text("ends.txt", "a||b#### 1\r\na||b#### 2\na||b#### 3", s);
    assert_int_equal(tuning_examples(t), 6);
    ids_are(t, 0, "Question: aAnswer: b", 11);
    ids_are(t, 1, "Question: aAnswer: b#### 1\n$", 20);
    ids_are(t, 3, "Question: aAnswer: b#### 2\n$", 20);
    ids_are(t, 5, "Question: aAnswer: b#### 3$", 20);
    tuning_close(t);
}

/* 28 ids fit exactly; a line of 29 gives nothing at all, though its first instance would fit. */
static void lengths(void **state) {
    (void)state;
    struct tuning_settings s = settings("gsm8k");
    s.length = 28;
    struct tuning *t = of_text("length.txt", "a||b#### 1\nab||b#### 1\n", s);
    assert_int_equal(tuning_examples(t), 2);
    assert_int_equal(tuning_counts(t).too_long, 1);
    ids_are(t, 0, "Question: aAnswer: b$$$$$$$$", 11);
    ids_are(t, 1, "Question: aAnswer: b#### 1\n$", 20);
    tuning_close(t);
    s = settings("chat"); /* a conversation keeps the answers that fit */
    s.text.template = chat_find("plain", &err);
    s.length = 9;
    t = of_text("length.jsonl",
                "{\"messages\":[{\"role\":\"user\",\"content\":\"ab\"},{\"role\":\"assistant\",\"content\":\"cd\"},"
                "{\"role\":\"user\",\"content\":\"e\"},{\"role\":\"assistant\",\"content\":\"fg\"},"
                "{\"role\":\"user\",\"content\":\"h\"},{\"role\":\"assistant\",\"content\":\"i\"}]}",
                s);
    assert_int_equal(tuning_examples(t), 2);
    ids_are(t, 0, "abcd$", 2);
    ids_are(t, 1, "abcd$efg$", 6);
    assert_int_equal(tuning_counts(t).too_long, 1);
    tuning_close(t);
}

static const char talk[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"u\"},"
    "{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"v\"},"
    "{\"role\":\"assistant\",\"content\":\"b\"}]}\n";

static void templates(void **state) {
    (void)state;
    static const struct {
        const char *name, *first, *second;
    } cases[] = {
        {"vicuna", "S USER: u ASSISTANT:a$", "USER: v ASSISTANT:b$"},
        {"chatml",
         "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n$",
         "<|im_start|>user\nv<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n$"},
        {"llama-2", "[INST] <<SYS>>\nS\n<</SYS>>\n\nu [/INST]a $", "[INST] v [/INST]b $"},
        {"plain", "S\nua$", "vb$"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tuning_settings s = settings("chat");
        char both[1024];
        s.text.template = chat_find(cases[i].name, &err);
        struct tuning *t = of_text("talk.jsonl", talk, s);
        assert_int_equal(tuning_examples(t), 2);
        snprintf(both, sizeof both, "%s%s", cases[i].first, cases[i].second);
        const char *last = strstr(cases[i].second, "b<") ? "b<" : strstr(cases[i].second, "b $") ? "b $" : "b$";
        const int64_t answer = (int64_t)(strstr(cases[i].second, last) - cases[i].second);
        ids_are(t, 1, both, (int64_t)strlen(cases[i].first) + answer);
        tuning_close(t);
    }
    struct tuning_settings s = settings("sharegpt");
    s.text.system = "Be kind.";
    struct tuning *t =
        of_text("kind.json",
                "[{\"conversations\":[{\"from\":\"human\",\"value\":\"u\"},{\"from\":\"gpt\",\"value\":\"a\"}]}]", s);
    ids_are(t, 0, "Be kind. USER: u ASSISTANT:a$", 27);
    tuning_close(t);
}

/* A template whose mark is the end id has no other behind it, but one in an answer's text is text. */
static void marked(void **state) {
    (void)state;
    const int32_t end = tokenizer_eos(llama);
    struct chat_template t = *chat_find("plain", &err);
    for (int k = 0; k < 2; k++) {
        t.answer_after = k ? "</s>\n" : "";
        struct tuning_settings s = settings("chat");
        int32_t ids[256];
        struct example e;
        s.text.template = &t;
        s.tokenizer = llama;
        put_text(in(dir, "marked.jsonl"),
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\","
                 "\"content\":\"a</s>\\n\"}]}\n");
        struct tuning *set = open_set(in(dir, "marked.jsonl"), &s);
        tuning_example(set, 0, ids, &e);
        int64_t n = 0;
        for (int64_t i = 0; i < e.n; i++) n += ids[i] == end;
        assert_int_equal(n, 2);
        assert_int_equal(ids[e.n - 1] == end, !k);
        tuning_close(set);
    }
}

/* The begin id before every piece, before the first, nowhere. */
static void begins(void **state) {
    (void)state;
    const int32_t begin = tokenizer_bos(llama), end = tokenizer_eos(llama);
    assert_true(begin >= 0 && end >= 0 && begin != end);
    for (int k = BEGIN_PIECES; k <= BEGIN_NONE; k++) {
        struct tuning_settings s = settings("completion");
        int32_t ids[256];
        struct example e;
        s.begin = (enum tuning_begin)k;
        struct tuning *t = open_set(in(SETS, "completion.jsonl"), &s);
        tuning_example(t, 0, ids, &e);
        int64_t n = 0;
        for (int64_t i = 0; i < e.n; i++) n += ids[i] == begin;
        assert_int_equal(n, k == BEGIN_PIECES ? 2 : k == BEGIN_RECORD);
        assert_int_equal(ids[0] == begin, k != BEGIN_NONE);
        assert_int_equal(ids[e.prompt] == begin, k == BEGIN_PIECES);
        assert_int_equal(ids[e.n - 1], end);
        tuning_close(t);
    }
}

/* ---- bad records ---- */

/* In a file of good, bad, good: the error names the second line; to keep going leaves it out. */
static void bad_record(const char *task, const char *good, const char *bad, const char *why) {
    char text[4096];
    struct tuning *t;
    struct tuning_settings s = settings(task);
    s.tokenizer = bytes;
    s.mask = 1 + '@';
    s.causal = true;
    snprintf(text, sizeof text, "%s\n%s\n%s\n", good, bad, good);
    put_text(in(dir, "bad.jsonl"), text);
    assert_int_equal(tuning_open(&t, in(dir, "bad.jsonl"), &s, &err), -1);
    assert_null(t);
    assert_says(err, "bad.jsonl line 2");
    assert_says(err, why);
    s.keep_going = true;
    t = open_set(in(dir, "bad.jsonl"), &s);
    assert_int_equal(tuning_examples(t), 2);
    assert_int_equal(tuning_counts(t).bad, 1);
    assert_int_equal(tuning_counts(t).records, 3);
    int32_t one[256], two[256];
    struct example e, f;
    tuning_example(t, 0, one, &e);
    tuning_example(t, 1, two, &f);
    assert_true(e.n == f.n && e.prompt == f.prompt);
    assert_memory_equal(one, two, (size_t)e.n * 4); /* nothing of the bad one is left between them */
    tuning_close(t);
}

#define SAID(role, text) "{\"role\":\"" role "\",\"content\":\"" text "\"}"
static void bad_records(void **state) {
    (void)state;
    const char *chat = "{\"messages\":[" SAID("user", "u") "," SAID("assistant", "a") "]}";
    bad_record("chat", chat, "{\"messages\":", "bad JSON");
    bad_record("chat", chat, "[]", "expected a JSON object");
    bad_record("chat", chat, "{\"message\":[]}", "expected \"messages\", an array of messages, found none");
    bad_record("chat", chat, "{\"messages\":\"hi\"}", "an array of messages, found another value");
    bad_record("chat", chat, "{\"messages\":[]}", "without messages");
    bad_record("chat", chat, "{\"messages\":[" SAID("user", "u") "]}", "an answer of the assistant, found none");
    bad_record("chat", chat, "{\"messages\":[" SAID("tool", "u") "]}", "message 1: expected the role system, user or");
    bad_record("chat", chat, "{\"messages\":[" SAID("user", "u") ",{\"role\":\"assistant\"}]}",
               "message 2: \"content\" is missing");
    bad_record("chat", chat, "{\"messages\":[" SAID("user", "u") "," SAID("user", "v") "]}",
               "message 2: expected the assistant to speak");
    bad_record("chat", chat, "{\"messages\":[3]}", "message 1: expected an object");
    bad_record("chat", chat, "{\"messages\":[" SAID("user", "u") "," SAID("assistant", "a@b") "]}", "the mask token");
    bad_record("chat", chat, "{\"messages\":[" SAID("user", "u@") "," SAID("assistant", "a") "]}", "the mask token");
    const char *share = "{\"conversations\":[{\"from\":\"human\",\"value\":\"u\"},{\"from\":\"gpt\",\"value\":\"a\"}]}";
    bad_record("sharegpt", share, "{\"id\":3}", "expected \"conversations\"");
    bad_record("sharegpt", share,
               "{\"conversations\":[{\"from\":\"human\",\"value\":7},{\"from\":\"gpt\",\"value\":\"\"}]}",
               "message 1: \"value\" must be a string");
    const char *pair = "{\"prompt\":\"p\",\"completion\":\"c\"}";
    bad_record("completion", pair, "{\"prompt\":\"p\"}", "\"completion\" is missing");
    bad_record("reverse", pair, "{\"completion\":\"p\"}", "\"prompt\" is missing");
    /* an end id alone: no id stands before it from which an autoregressive model could predict it */
    bad_record("reverse", pair, "{\"prompt\":\"\",\"completion\":\"\"}", "expected an answer, found none");
}

/* Elements of an array that stand on one line are told apart all the same. */
static void bad_elements(void **state) {
    (void)state;
    struct tuning_settings s = settings("completion");
    const char *pair = "{\"prompt\":\"p\",\"completion\":\"c\"}";
    char text[400];
    s.keep_going = true;
    snprintf(text, sizeof text, "[%s, null, 3, {nothing}, %s, {\"prompt\":1}]\n", pair, pair);
    put_text(in(dir, "bad.json"), text);
    struct tuning *t = open_set(in(dir, "bad.json"), &s);
    assert_int_equal(tuning_examples(t), 2);
    assert_int_equal(tuning_counts(t).bad, 4);
    tuning_close(t);
    snprintf(text, sizeof text, "[%s, {nothing}, %s", pair, pair);
    put_text(in(dir, "bad.json"), text);
    assert_int_equal(tuning_open(&t, in(dir, "bad.json"), &s, &err), -1);
    assert_says(err, "the array has no end");
}

/* Of a Parquet file's columns only those that are wanted are read. */
static void other_columns(void **state) {
    (void)state;
    struct tuning_settings s = settings("completion");
    size_t n = 0;
    struct tuning *t;
    char *file = get("tests/golden/parquet/unheld.parquet", &n), *other = memmem(file, n, "elsewhere 1", 11);
    assert_non_null(other);
    other[3] ^= 1; /* the checksum of its page no longer fits */
    put(in(dir, "other.parquet"), file, n);
    free(file);
    t = open_set(in(dir, "other.parquet"), &s);
    assert_int_equal(tuning_examples(t), 3);
    tuning_close(t);
    s = settings("chat");
    assert_int_equal(tuning_open(&t, in(dir, "other.parquet"), &s, &err), -1);
    assert_says(err, "no column 'messages'; its columns: prompt, f64");
}

static void says_why(const char *path, const struct tuning_settings *s, const char *why) {
    struct tuning *t;
    assert_int_equal(tuning_open(&t, path, s, &err), -1);
    assert_null(t);
    assert_says(err, why);
}

static void no_examples(void **state) {
    (void)state;
    struct tuning_settings s = settings("gsm8k");
    says_why(in(dir, "nowhere"), &s, "nowhere");
    put_text(in(dir, "none.txt"), "no bars\n");
    says_why(in(dir, "none.txt"), &s,
             "none.txt: no example in 1 records: 1 not as the task wants them, 0 longer than 256");
    s.length = 3;
    says_why(SETS "gsm8k.txt", &s, "6 not as the task wants them, 5 longer than 3 ids");
    s = settings("chat");
    put_text(in(dir, "cut.jsonl"), "{\"messages\":");
    says_why(in(dir, "cut.jsonl"), &s, "cut.jsonl line 1");
    s.keep_going = true;
    says_why(in(dir, "cut.jsonl"), &s, "1 bad");
    put_text(in(dir, "torn.json"), "[{\"messages\":[{\"role\":\"user\",");
    says_why(in(dir, "torn.json"), &s, "the array has no end"); /* what cannot be read on ends it all the same */
}

/* ---- order ---- */

static struct tuning *numbered(int64_t n) {
    char *text = malloc((size_t)n * 64);
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++)
        at += sprintf(text + at, "%c||%c#### %c\n", (int)('A' + i % 50), (int)('A' + i / 50), (int)('a' + i % 26));
    struct tuning_settings s = settings("gsm8k");
    s.fill = false;
    struct tuning *t = of_text("numbered.txt", text, s);
    free(text);
    return t;
}

static int32_t id_of(const struct source *s, int64_t number, int place) {
    int32_t ids[256];
    struct example e;
    assert_int_equal(s->read(s->context, number, ids, &e, &err), 0);
    return ids[place];
}

/* Which record example `number` of a source is of: two ids of its question and thought tell. */
static int64_t record_of(const struct source *s, int64_t number) {
    return id_of(s, number, 10) - 1 - 'A' + 50 * (id_of(s, number, 19) - 1 - 'A');
}

/* A pass has each example once; the next has another order; a number's example does not depend on what was read before. */
static void passes(void **state) {
    (void)state;
    struct tuning *t = numbered(150);
    struct tuning_part train, valid;
    assert_int_equal(tuning_split(&train, &valid, t, 0, 7, &err), 0);
    assert_int_equal(valid.n, 0);
    struct source s = tuning_source(&train, 16);
    assert_int_equal(s.size, 300);
    assert_int_equal(s.group, 16);
    assert_int_equal(s.pad, 0);
    int64_t order[3][300], same = 0, in_order = 0;
    for (int pass = 2; pass >= 0; pass--) {
        int seen[300] = {0};
        for (int64_t i = 0; i < 300; i++) {
            struct example e;
            assert_int_equal(s.read(s.context, pass * 300 + i, NULL, &e, &err), 0);
            const int64_t k = record_of(&s, pass * 300 + i) * 2 + (e.prompt == 20);
            order[pass][i] = k;
            seen[k]++;
        }
        for (int i = 0; i < 300; i++) assert_int_equal(seen[i], 1);
    }
    for (int64_t i = 0; i < 300; i++) {
        same += order[0][i] == order[1][i] || order[1][i] == order[2][i];
        in_order += order[0][i] == i;
    }
    assert_true(same < 15 && in_order < 15);
    assert_float_equal(s.epoch(s.context, 450), 1.5, 1e-12);
    struct tuning_part other, none;
    assert_int_equal(tuning_split(&other, &none, t, 0, 8, &err), 0);
    const struct source second = tuning_source(&other, 16);
    same = 0;
    for (int64_t i = 0; i < 300; i++) same += record_of(&second, i) == order[0][i] / 2;
    assert_true(same < 30); /* another seed, another order */
    tuning_part_free(&train), tuning_part_free(&valid), tuning_part_free(&other), tuning_part_free(&none);
    tuning_close(t);
}

/* Both instances of a line are on the same side; the share is right within five standard deviations. */
static void held_out(void **state) {
    (void)state;
    enum { RECORDS = 2000 };
    struct tuning *t = numbered(RECORDS);
    struct tuning_part train, valid;
    assert_int_equal(tuning_split(&train, &valid, t, 0.2, 7, &err), 0);
    assert_int_equal(train.n + valid.n, 2 * RECORDS);
    assert_true(fabs((double)valid.n / 2 - 0.2 * RECORDS) < 5 * sqrt(RECORDS * 0.2 * 0.8));
    assert_true(train.shuffled && !valid.shuffled);
    const struct source s = tuning_source(&train, 1), v = tuning_source(&valid, 1);
    bool out[RECORDS] = {false};
    for (int64_t i = 0; i < v.size; i++) {
        const int64_t r = record_of(&v, i);
        assert_true(i == 0 || r >= record_of(&v, i - 1)); /* in the file's order */
        out[r] = true;
    }
    for (int64_t i = 0; i < s.size; i++) assert_false(out[record_of(&s, i)]);
    tuning_part_free(&train), tuning_part_free(&valid);
    tuning_close(t);
}

static uint64_t print_of(const char *text, struct tuning_settings s, uint64_t seed, int64_t group) {
    struct tuning *t = of_text("print.jsonl", text, s);
    struct tuning_part train, valid;
    assert_int_equal(tuning_split(&train, &valid, t, 0, seed, &err), 0);
    const uint64_t h = tuning_source(&train, group).fingerprint;
    tuning_part_free(&train), tuning_part_free(&valid);
    tuning_close(t);
    return h;
}

static void fingerprints(void **state) {
    (void)state;
    const char *text = "{\"prompt\":\"abc\",\"completion\":\"def\"}\n{\"prompt\":\"g\",\"completion\":\"h\"}\n";
    const struct tuning_settings s = settings("completion");
    struct tuning_settings filled = s;
    filled.fill = true;
    const uint64_t all[] = {
        print_of(text, s, 1, 4),
        print_of(text, s, 2, 4),
        print_of(text, s, 1, 8),
        print_of(text, filled, 1, 4),
        print_of("{\"prompt\":\"abc\",\"completion\":\"deg\"}\n{\"prompt\":\"g\",\"completion\":\"h\"}\n", s, 1, 4),
        print_of("{\"prompt\":\"abcd\",\"completion\":\"ef\"}\n{\"prompt\":\"g\",\"completion\":\"h\"}\n", s, 1, 4),
        print_of("{\"prompt\":\"g\",\"completion\":\"h\"}\n{\"prompt\":\"abc\",\"completion\":\"def\"}\n", s, 1, 4)};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (size_t k = 0; k < i; k++) assert_true(all[i] != all[k]);
    assert_true(print_of(text, s, 1, 4) == all[0]);
}

/* ---- the table of tasks ---- */

static void published_settings(void **state) {
    (void)state;
    const struct finetune_task *share = finetune_find("sharegpt", &err), *gsm8k = finetune_find("gsm8k", &err),
                               *reverse = finetune_find("reverse", &err);
    assert_true(share->batch == 256 && share->epochs == 3 && share->length == 2048);
    assert_true(gsm8k->batch == 256 && gsm8k->epochs == 40 && gsm8k->length == 256 && gsm8k->fill && gsm8k->whole);
    assert_true(reverse->batch == 64 && reverse->epochs == 10);
    /* 3 passes over 55,612; 40 over 769,240; 10 over 3,600 */
    assert_int_equal(finetune_warmup(share, 651), 200);
    assert_int_equal(finetune_warmup(gsm8k, 120193), 1201);
    assert_int_equal(finetune_warmup(reverse, 562), 200);
    assert_int_equal(finetune_warmup(reverse, 100), 50);
    assert_int_equal(finetune_warmup(reverse, 1), 1);
    assert_int_equal(finetune_warmup(gsm8k, 20), 1);
    const int64_t bodies[] = {6294784, 33563136, 65543680, 169897728, 943796736, 1027677952, 2121393280},
                  groups[] = {16, 16, 8, 8, 8, 4, 4};
    for (int i = 0; i < 7; i++) {
        assert_int_equal(finetune_group(share, bodies[i]), groups[i]);
        assert_int_equal(finetune_group(reverse, bodies[i]), groups[i]);
        assert_int_equal(finetune_group(gsm8k, bodies[i]), 16);
    }
    assert_string_equal(finetune_names(), "sharegpt|gsm8k|reverse|chat|completion");
    assert_null(finetune_find("sharegpd", &err));
    assert_says(err, "expected one of sharegpt|gsm8k");
}

/* ---- memory ---- */

static void memory(void **state) {
    (void)state;
    static const char *const sets[][2] = {
        {"sharegpt", SETS "sharegpt.json"}, {"gsm8k", SETS "gsm8k.txt"}, {"chat", SETS "chat.jsonl"}};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct tuning_settings s = settings(sets[i][0]);
        s.keep_going = true; /* no memory is no bad record */
        for (long n = 1;; n++) {
            struct tuning *t = NULL;
            struct tuning_part train = {0}, valid = {0};
            const int64_t before = mem_in_use();
            fault_set(FAULT_ALLOC, n, false);
            int r = tuning_open(&t, sets[i][1], &s, &err);
            if (r == 0) r = tuning_split(&train, &valid, t, 0.5, 1, &err);
            const bool reached = fault_count(FAULT_ALLOC) >= n;
            fault_set(FAULT_ALLOC, 0, false);
            if (reached) assert_int_equal(r, -1);
            if (reached) assert_true(err.msg[0]);
            tuning_part_free(&train), tuning_part_free(&valid);
            tuning_close(t);
            assert_int_equal(mem_in_use(), before);
            if (!reached) break;
        }
    }
}

int main(void) {
    progress_quiet = true;
    dir = scratch_new();
    put_byte_tokenizer(in(dir, "tokenizer.json"));
    bytes = tokenizer_load(in(dir, "tokenizer.json"), &err);
    llama = tokenizer_load("tests/golden/tokenizers/llama.json", &err);
    if (!bytes || !llama) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_task),    cmocka_unit_test(ends_of_lines),
                                       cmocka_unit_test(lengths),       cmocka_unit_test(templates),
                                       cmocka_unit_test(marked),        cmocka_unit_test(begins),
                                       cmocka_unit_test(bad_records),   cmocka_unit_test(bad_elements),
                                       cmocka_unit_test(other_columns), cmocka_unit_test(no_examples),
                                       cmocka_unit_test(passes),        cmocka_unit_test(held_out),
                                       cmocka_unit_test(fingerprints),  cmocka_unit_test(published_settings),
                                       cmocka_unit_test(memory)};
    const int r = cmocka_run_group_tests(tests, NULL, NULL);
    tokenizer_free(bytes);
    tokenizer_free(llama);
    scratch_free(dir);
    return r;
}
