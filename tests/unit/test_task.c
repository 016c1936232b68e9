/* task: the table is whole, files are found by looking, and what is wrong with a row is one line that names it. That good
 * rows become the harness's requests is tests/golden/test_tasks.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/file.h"
#include "eval/pystring.h"
#include "eval/task.h"
#include "infer/sampler.h"
#include "unit/data_help.h"

static struct err err;
static char *dir;

static int setup(void **state) {
    (void)state;
    dir = scratch_new();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    return 0;
}

/* A file below the data folder, its folders too. */
static void file(const char *name, const char *text) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    *strrchr(path, '/') = 0;
    assert_int_equal(file_mkdirs(path, &err), 0);
    put_text(in(dir, name), text);
}

static bool is_sampler(const char *name) {
    for (const struct sampler *const *s = samplers; *s; s++)
        if (strcmp((*s)->name, name) == 0) return true;
    return false;
}

static void table_is_whole(void **state) {
    (void)state;
    const struct task *list[32];
    assert_int_equal(ntasks, 15);
    for (int i = 0; i < ntasks; i++) {
        const struct task *t = &tasks[i];
        assert_ptr_equal(task_find(t->name), t);
        assert_non_null(t->folders[0]);
        assert_non_null(t->source);
        assert_int_equal(t->kind == TASK_CHOICE, t->choices[0] != NULL);
        assert_int_equal(t->kind == TASK_PERPLEXITY, t->document == NULL);
        if (t->published.sampler) assert_true(is_sampler(t->published.sampler));
        assert_int_equal(t->kind == TASK_GENERATE || t->kind == TASK_CHAT, t->published.sampler != NULL);
    }
    assert_null(task_find("hellaswa"));
    assert_int_equal(task_list(list, 32, "race,piqa", &err), 2);
    assert_ptr_equal(list[0], task_find("race"));
    assert_int_equal(task_list(list, 32, "all", &err), 9);
    assert_int_equal(task_list(list, 32, "gsm8k,all", &err), 10);
    assert_int_equal(task_list(list, 32, "piqa,all", &err), -1);
    assert_non_null(strstr(err.msg, "twice"));
    assert_int_equal(task_list(list, 32, "piqa,,race", &err), -1);
    assert_int_equal(task_list(list, 32, "", &err), -1);
    assert_int_equal(task_list(list, 1, "piqa,race", &err), -1);
    assert_int_equal(task_list(list, 32, "piqas", &err), -1);
    assert_non_null(strstr(err.msg, "lambada_standard"));
}

/* The published settings of arXiv 2410.18514's 1.1 B model. */
static void published(void **state) {
    (void)state;
    static const struct {
        const char *task;
        enum likelihood_method method;
        double cfg;
    } want[] = {{"lambada_standard", LIKELIHOOD_CHAIN, 1.1},
                {"openbookqa", LIKELIHOOD_CHAIN, 1.6},
                {"boolq", LIKELIHOOD_CHAIN, 1.6},
                {"piqa", LIKELIHOOD_CHAIN, 0.6},
                {"arc_easy", LIKELIHOOD_MC, 0.6},
                {"social_iqa", LIKELIHOOD_MC, 0.6},
                {"race", LIKELIHOOD_MC, 0.7},
                {"hellaswag", LIKELIHOOD_MC, 0.7}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const struct task_settings *s = &task_find(want[i].task)->published;
        assert_int_equal(s->likelihood, want[i].method);
        assert_true(s->cfg == want[i].cfg && s->draws == 1024);
    }
}

#define CLOZE(label) "{\"query\": \"q\", \"choices\": [\"a\", \"b\"], \"label\": " label "}\n"
#define PIQA "{\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 0}\n"
#define RACE(answer, options)                                                                                          \
    "{\"article\": \"x\", \"problems\": \"[{'question': 'q', 'answer': '" answer "', 'options': " options "}]\"}\n"
#define ABCD "['a', 'b', 'c', 'd']"
#define OBJECT                                                                                                         \
    "{\"article\": \"a\", \"questions\": [\"q\"], \"options\": [[\"a\", \"b\", \"c\", \"d\"]], \"answers\": [\"C\"]}"
#define ARC(choices, key) "{\"id\": \"1\", \"question\": \"q\", \"choices\": " choices ", \"answerKey\": \"" key "\"}\n"
#define TWO "{\"text\": [\"a\", \"b\"], \"label\": [\"A\", \"B\"]}"

static const struct {
    const char *task, *name, *text, *says;
} bad[] = {
    {"cloze", "test.jsonl", CLOZE("0") CLOZE("2"), "test.jsonl line 2: \"label\" must be 0 to 1, found 2"},
    {"cloze", "test.jsonl", "{\"query\": \"q\", \"choices\": [\"a\"], \"label\": 0}\n",
     "\"choices\" must be a list of 2 or more texts"},
    {"cloze", "test.jsonl", CLOZE("\"10\""), "\"label\" must be 0 to 1, found \"10\""},
    {"cloze", "test.jsonl", CLOZE("\"\""), "\"label\" must be 0 to 1, found \"\""},
    {"cloze", "test.jsonl", "{\"choices\": [\"a\", \"b\"], \"label\": 0}\n", "\"query\""},
    {"piqa", "valid.jsonl", PIQA "{\"goal\": \"g\", \"sol1\": \"a\", \"label\": 0}\n",
     "valid.jsonl line 2: a text is missing for '{{sol2}}'"},
    {"piqa", "valid.jsonl", PIQA PIQA "{\"goal\": 3, \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 0}\n",
     "line 3: a text is expected for 'Question: {{goal}}"},
    {"piqa", "valid.jsonl", "{\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 2}\n",
     "line 1: \"label\" must be 0 to 1, found 2"},
    {"piqa", "valid.jsonl", "{\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": -1}\n",
     "\"label\" must be 0 to 1, found -1"},
    {"piqa", "valid.jsonl", "{\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": \"maybe\"}\n",
     "found \"maybe\""},
    {"piqa", "valid.jsonl", "{\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": null}\n", "found null"},
    {"piqa", "valid.jsonl", "{\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"b\"}\n",
     "\"label\" is missing, and there is no list of labels"},
    {"piqa", "valid.jsonl", "{\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"\", \"label\": 0}\n",
     "line 1: choice 2 is empty"},
    {"piqa", "valid.jsonl", "{\"goal\": \"g\\u0000\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 0}\n", "U+0000"},
    {"piqa", "valid.jsonl", PIQA "{\"goal\": \"g\", \"sol1\": \n" PIQA, "valid.jsonl line 2: bad JSON"},
    {"piqa", "valid.jsonl", PIQA "[1]\n", "line 2: expected a JSON object"},
    {"piqa", "valid.jsonl", PIQA "{\"goal\": \"g\xff\"}\n", "line 2: bad JSON"},
    {"piqa", "valid.jsonl", "\n\n", "no item in it"},
    {"hellaswag", "hellaswag_val.jsonl",
     "{\"ctx_a\": \"a\", \"ctx_b\": \"b\", \"endings\": [\"x\", \"y\"], \"label\": 0}\n",
     "\"activity_label\" is missing"},
    {"hellaswag", "hellaswag_val.jsonl",
     "{\"activity_label\": \"s\", \"ctx_a\": \"a\", \"ctx_b\": \"b\", \"endings\": [\"x\", \"y\"], \"label\": 2}\n",
     "\"label\" must be 0 to 1, found 2"},
    {"hellaswag", "hellaswag_val.jsonl",
     "{\"activity_label\": \"s\", \"ctx_a\": \"a\", \"ctx_b\": \"b\", \"endings\": [\"x\"], \"label\": 0}\n",
     "\"endings\" must be a list of 2"},
    {"hellaswag", "hellaswag_val.jsonl",
     "{\"activity_label\": \"s\", \"ctx_a\": \"a\", \"ctx_b\": \"b\", \"endings\": [\"x\", 3], \"label\": 0}\n",
     "element 2 is none"},
    {"hellaswag", "hellaswag_val.jsonl",
     "{\"activity_label\": \"s\", \"ctx_a\": \"a\", \"ctx_b\": \"b\", \"endings\": [\"x\", \"[gone]\"], \"label\": "
     "0}\n",
     "choice 2 is empty"},
    {"hellaswag", "hellaswag_val.jsonl",
     "{\"activity_label\": \"s\", \"ctx_a\": \"a\", \"ctx_b\": \"b\", \"endings\": [\"x\", \"\\u0000\"], \"label\": "
     "0}\n",
     "U+0000"},
    {"arc_easy", "ARC-Easy-Test.jsonl", ARC(TWO, "C"), "\"answerKey\" is 'C', which none"},
    {"arc_easy", "ARC-Easy-Test.jsonl", ARC("{\"text\": [\"a\", \"b\"], \"label\": [\"A\"]}", "A"),
     "must be a list of 2"},
    {"arc_easy", "ARC-Easy-Test.jsonl", ARC("{\"text\": [\"a\", \"b\"], \"label\": [\"A\", \"B\", \"C\"]}", "A"),
     "2 choices but 3 labels"},
    {"arc_easy", "ARC-Easy-Test.jsonl", ARC("3", "A"), "\"text\" is missing"},
    {"arc_easy", "ARC-Easy-Test.jsonl", "{\"question\": \"q\", \"answerKey\": \"A\"}\n", "\"choices\" is missing"},
    {"arc_easy", "ARC-Easy-Test.jsonl", "{\"question\": {\"stem\": \"q\"}, \"answerKey\": \"A\"}\n",
     "\"choices\" must be a list"},
    {"arc_easy", "ARC-Easy-Test.jsonl",
     "{\"question\": {\"stem\": \"q\", \"choices\": [{\"text\": \"t\"}]}, \"answerKey\": \"A\"}\n",
     "choice 1 needs \"text\" and \"label\""},
    {"arc_easy", "ARC-Easy-Test.jsonl", "{\"question\": {\"choices\": []}, \"answerKey\": \"A\"}\n",
     "\"stem\" is missing"},
    {"openbookqa", "test.jsonl", "{\"question\": \"q\", \"choices\": " TWO ", \"answerKey\": \"A\"}\n",
     "\"question_stem\" is missing"},
    {"openbookqa", "test.jsonl", "{\"question_stem\": \"\", \"choices\": " TWO ", \"answerKey\": \"A\"}\n",
     "the context is empty"},
    {"boolq", "val.jsonl", "{\"question\": \"q\", \"passage\": \"p\", \"answer\": true}\n", "\"label\" is missing"},
    {"boolq", "val.jsonl", "{\"question\": \"q\", \"label\": true}\n", "a text is missing"},
    {"social_iqa", "dev.jsonl",
     "{\"context\": \"c\", \"question\": \"q\", \"answerA\": \"a\", \"answerB\": \"b\", \"answerC\": \"c\", \"label\": "
     "0}\n",
     "\"label\" must be 1 to 3, found 0"},
    {"social_iqa", "dev.jsonl",
     "{\"context\": \"c\", \"question\": \"q\", \"answerA\": \"a\", \"answerB\": \"b\", \"answerC\": \"c\", \"label\": "
     "true}\n",
     "\"label\" must be 1 to 3, found true"},
    {"race", "test/high/1.txt",
     "{\"article\": \"a\", \"questions\": [\"q\"], \"options\": [[\"a\", \"b\", \"c\", \"d\"]], \"answers\": [\"E\"]}",
     "high/1.txt: \"answer\" must be A, B, C or D, found 'E'"},
    {"race", "test/high/1.txt",
     "{\"article\": \"a\", \"questions\": [\"q\"], \"options\": [[\"a\", \"b\", \"c\"]], \"answers\": [\"A\"]}",
     "\"options\" must be a list of 4"},
    {"race", "test/high/1.txt",
     "{\"article\": \"a\", \"questions\": [\"q\", \"r\"], \"options\": [], \"answers\": [\"A\"]}",
     "2 questions, 1 answers, 0 lists"},
    {"race", "test/high/1.txt", "{\"article\": \"a\", \"questions\": []}", "\"questions\" must be a list of 1"},
    {"race", "test/high/1.txt", "{\"article\": \"a\", ", "high/1.txt line 1"},
    {"race", "test/high/1.txt", "[1]", "high/1.txt: expected one JSON object and nothing else"},
    {"race", "test/high/1.txt", "", "high/1.txt: nothing in it; expected a JSON object"},
    {"race", "test/high/1.txt", "\n", "high/1.txt line 1: bad JSON"},
    {"race", "test/high/1.txt", OBJECT "\n" OBJECT, "high/1.txt line 1: bad JSON"},
    {"race", "test/high/1.txt", OBJECT "\x1e" OBJECT, "high/1.txt: expected one JSON object and nothing else"},
    {"race", "test.jsonl", RACE("A", ABCD) RACE("B", "['a', 'b', 'c', '']"), "line 2: choice 4 is empty"},
    {"race", "test.jsonl", RACE("", ABCD), "\"answer\" must be A, B, C or D, found ''"},
    {"race", "test.jsonl", RACE("A", "['a', 'b'"), "line 1: \"problems\": byte 55: expected ',' or ']'"},
    {"race", "test.jsonl", "{\"article\": \"a\", \"problems\": \"[]\"}\n", "\"problems\" must be a list, not empty"},
    {"race", "test.jsonl", "{\"problems\": \"[]\"}\n", "\"article\" is missing"},
    {"race", "test.jsonl", "{\"article\": \"a\", \"question\": \"q\", \"answer\": \"A\"}\n",
     "line 1: \"options\" is missing"},
    {"gsm8k", "test.jsonl", "{\"question\": \"q\", \"answer\": \"so\\n#### \"}\n", "nothing behind its ####"},
    {"lambada_openai", "test.jsonl", "{\"text\": \"ends in \"}\n", "\"text\" has no last word"},
    {"lambada_openai", "test.jsonl", "{\"text\": \" one\"}\n", "the context is empty"},
    {"lambada_openai", "test.jsonl", "{\"text\": \"one\"}\n", "\"text\" has no last word"},
    {"lambada_openai", "test.jsonl", "{\"text\": \"\"}\n", "\"text\" has no last word"},
    {"lambada_openai", "test.jsonl", "{\"txt\": \"a b\"}\n", "\"text\" is missing"},
    {"lambada_standard", "lambada_test_plain_text.txt", "a b\nc\xff d\n", "plain_text.txt line 2: not UTF-8"},
    {"gsm8k", "test.jsonl", "{\"question\": \"q\", \"answer\": \"5\"}\n", "\"answer\" has no line with ####"},
    {"mtbench", "question.jsonl", "{\"question_id\": 1, \"turns\": []}\n", "\"turns\" must be a list of 1"},
    {"mtbench", "question.jsonl", "{\"turns\": [\"a\"]}\n", "\"question_id\" must be"},
};

static void bad_rows(void **state) {
    (void)state;
    char name[256];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(name, sizeof name, "%s/%s", bad[i].task, bad[i].name);
        file(name, bad[i].text);
        err.msg[0] = 0;
        struct task_items *items = task_items_open(task_find(bad[i].task), dir, false, &err);
        if (items || !strstr(err.msg, bad[i].says) || !strstr(err.msg, bad[i].task))
            fail_msg("case %zu, %s: '%s' should say '%s'", i, name, err.msg, bad[i].says);
        unlink(in(dir, name));
    }
}

static struct task_items *opened(const char *task, bool keep_going) {
    struct task_items *items = task_items_open(task_find(task), dir, keep_going, &err);
    if (!items) fail_msg("%s", err.msg);
    return items;
}

/* A label that is a text has as many digits as the choices need. */
static void long_label(void **state) {
    (void)state;
    struct task_item item;
    file("cloze/test.jsonl", "{\"query\": \"q\", \"choices\": [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", "
                             "\"i\", \"j\", \"k\"], \"label\": \"10\"}\n");
    struct task_items *items = opened("cloze", false);
    assert_int_equal(task_items_next(items, &item, &err), 1);
    assert_int_equal(item.gold, 10);
    task_item_free(&item);
    task_items_close(items);
}

/* Where nobody is to end for it, a task without a good item opens as one without items; what is wrong is told on demand. */
static void nothing_in_piqa(const char *why) {
    struct task_item item;
    struct task_items *items = opened("piqa", true);
    assert_int_equal(task_items_count(items), 0);
    assert_int_equal(task_items_next(items, &item, &err), 0);
    assert_int_equal(task_items_nothing(items, &err), -1);
    assert_non_null(strstr(err.msg, why));
    task_items_close(items);
}

/* Rows that are wrong are left out and counted, and the others keep their numbers and labels. */
static void keep_going(void **state) {
    (void)state;
    struct task_item item;
    file("piqa/valid.jsonl", "{\"goal\": \"one\", \"sol1\": \"a\", \"sol2\": \"b\\u65e5\\u672c\"}\n{\"goal\": \"two\", "
                             "\"sol1\": \"a\"}\n{broken\n"
                             "{\"goal\": \"four\", \"sol1\": \"a\", \"sol2\": \"b\"}\n");
    file("piqa/valid-labels.lst", "0\n0\n0\n1\n");
    struct task_items *items = opened("piqa", true);
    assert_int_equal(task_items_count(items), 2);
    assert_int_equal(task_items_next(items, &item, &err), 1);
    assert_int_equal(item.doc_id, 0);
    assert_int_equal(item.gold, 0);
    assert_string_equal(item.context, "Question: one\nAnswer:");
    assert_int_equal(item.n, 2);
    assert_string_equal(item.continuations[1], " b\xe6\x97\xa5\xe6\x9c\xac");
    task_item_free(&item);
    assert_int_equal(task_items_next(items, &item, &err), 1);
    assert_int_equal(item.doc_id, 3);
    assert_int_equal(item.gold, 1);
    assert_string_equal(item.target, "1");
    assert_non_null(strstr(task_items_where(items), "valid.jsonl line 4"));
    assert_int_equal(json_integer_value(json_object_get(item.doc, "label")), 1);
    assert_int_equal(task_items_skipped(items), 2);
    task_item_free(&item);
    assert_int_equal(task_items_next(items, &item, &err), 0);
    task_items_close(items);
    file("piqa/valid-labels.lst", "0\n0\n0\n");
    assert_null(task_items_open(task_find("piqa"), dir, true, &err));
    assert_non_null(strstr(err.msg, "valid.jsonl line 4: no label for it"));
    file("piqa/valid-labels.lst", "0\n0\n0\n1\n1\n");
    assert_null(task_items_open(task_find("piqa"), dir, true, &err));
    assert_non_null(strstr(err.msg, "valid-labels.lst line 5: one label more"));
    file("piqa/valid-labels.lst", "0\n");
    file("piqa/valid.jsonl", "{\"goal\": \"one\"}\n");
    nothing_in_piqa("piqa: nothing could be evaluated: 1 item left out, the first: ");
    file("piqa/valid-labels.lst", "0\n0\n");
    file("piqa/valid.jsonl", "{\"goal\": \"one\"}\n{broken\n");
    nothing_in_piqa("2 items left out, the first: ");
    assert_non_null(strstr(err.msg, "valid.jsonl line 1: "));
    file("piqa/valid-labels.lst", "");
    file("piqa/valid.jsonl", "\n");
    nothing_in_piqa("/piqa/valid.jsonl: no item in it");
}

/* The same in an array on one line. */
static void keep_going_in_an_array(void **state) {
    (void)state;
    file("piqa/valid.json", "[{\"goal\": \"one\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 0}, null, {broken}, "
                            "{\"goal\": \"two\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 1}]");
    struct task_items *items = opened("piqa", true);
    assert_int_equal(task_items_count(items), 2);
    task_items_close(items);
}

/* A row that is left out behind the last item counts too, and nobody must read on to find it; behind a limit it does not. */
static void bad_rows_at_the_end(void **state) {
    (void)state;
    struct task_item item;
    file("piqa/valid.jsonl", "{\"goal\": \"one\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 0}\n{broken\n"
                             "{\"goal\": \"two\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 1}\n{broken\n{broken\n");
    struct task_items *items = opened("piqa", true);
    assert_int_equal(task_items_count(items), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(task_items_skipped(items), 0);
        assert_int_equal(task_items_next(items, &item, &err), 1);
        task_item_free(&item);
    }
    assert_int_equal(task_items_skipped(items), 3);
    assert_int_equal(task_items_next(items, &item, &err), 0);
    assert_int_equal(task_items_skipped(items), 3);
    task_items_close(items);
}

static void sizes_are(const struct task_items *items, const char *json) {
    json_t *sizes = task_items_sizes(items);
    char *text = json_dumps(sizes, JSON_COMPACT);
    assert_string_equal(text, json);
    free(text);
    json_decref(sizes);
}

/* A limit is of each group; items keep their numbers, and a data set its size. */
static void limits(void **state) {
    (void)state;
    static const struct {
        int64_t limit, wanted, cut, skipped, ids[5];
    } cases[] = {
        {1, 2, 1, 0, {0, 4}}, {2, 4, 2, 1, {0, 2, 4, 5}}, {3, 5, 0, 2, {0, 2, 3, 4, 5}}, {0, 5, 0, 2, {0, 2, 3, 4, 5}}};
#define FACT "{\"prompt\": \"p\", \"completion\": \" c\"}\n"
    file("reverse/d2p_prompts_test.jsonl", FACT "{broken\n" FACT FACT);
    file("reverse/p2d_reverse_prompts_test.jsonl", FACT FACT "{broken\n");
#undef FACT
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct task_items *items = opened("reverse_dtn", true);
        struct task_item item;
        task_items_limit(items, cases[i].limit);
        assert_int_equal(task_items_count(items), 5);
        assert_int_equal(task_items_wanted(items), cases[i].wanted);
        assert_int_equal(task_items_cut(items), cases[i].cut);
        for (int64_t k = 0; k < cases[i].wanted; k++) {
            if (task_items_next(items, &item, &err) != 1) fail_msg("limit %d: %s", (int)cases[i].limit, err.msg);
            assert_int_equal(item.doc_id, cases[i].ids[k]);
            task_item_free(&item);
        }
        assert_int_equal(task_items_next(items, &item, &err), 0);
        assert_int_equal(task_items_skipped(items), cases[i].skipped);
        sizes_are(items, "{\"same\":4,\"reverse\":3}");
        task_items_close(items);
    }
    file("gsm8k/test.jsonl", "{broken\n{\"question\": \"q\", \"answer\": \"#### 5\"}\n");
    struct task_items *items = opened("gsm8k", true);
    sizes_are(items, "{\"\":2}");
    task_items_close(items);
}

/* Files are where people put them: packed, with a mark of byte order, with Windows line ends, under several names. */
static void files(void **state) {
    (void)state;
    struct task_items *items;
    assert_null(task_items_open(task_find("piqa"), dir, false, &err));
    assert_non_null(strstr(err.msg, "/piqa: no such folder; expected valid.jsonl and valid-labels.lst"));
    assert_null(task_items_open(task_find("piqa"), in(dir, "nowhere"), false, &err));
    assert_non_null(strstr(err.msg, "nowhere/piqa: the data folder is not there"));
    file("piqa/readme.txt", "x");
    assert_null(task_items_open(task_find("piqa"), dir, false, &err));
    assert_non_null(strstr(err.msg, "/piqa: no file of the task"));
    file("piqa/.valid.jsonl", "hidden");
    file("piqa/train.jsonl", PIQA); /* another split, though nothing else is there */
    assert_null(task_items_open(task_find("piqa"), dir, false, &err));
    assert_non_null(strstr(err.msg, "/piqa: no file of the task"));
    file("race/high_train.jsonl", "{}\n");
    assert_null(task_items_open(task_find("race"), dir, false, &err));
    assert_non_null(strstr(err.msg, "/race: no file of the task"));
    file("lambada_standard/test.jsonl",
         "{\"text\": \"one two\"}\n"); /* not OpenAI's, which may lie beside it under its own name */
    assert_null(task_items_open(task_find("lambada_openai"), dir, false, &err));
    assert_non_null(strstr(err.msg, "/lambada_openai: no file of the task"));
    task_items_close(opened("lambada_standard", false));
    file("lambada/lambada_openai.jsonl", "{\"text\": \"one two\"}\n");
    task_items_close(opened("lambada_openai", false));
    unlink(in(dir, "lambada/lambada_openai.jsonl"));
    file("lambada_standard/lambada_test.jsonl", "{\"text\": \"one two\"}\n");
    task_items_close(opened("lambada_openai", false));
    file("perplexity/README.md", "about it");
    file("perplexity/LICENSE", "what one may");
    assert_null(task_items_open(task_find("perplexity"), dir, false, &err));
    file("piqa/piqa.jsonl", PIQA PIQA PIQA); /* called as the task is */
    items = opened("piqa", false);
    assert_int_equal(task_items_count(items), 3);
    task_items_close(items);
    file("cloze/mine.jsonl", CLOZE("0")); /* one's own may be called anything */
    task_items_close(opened("cloze", false));
    file("piqa/dev.jsonl", "\xef\xbb\xbf" PIQA "\r\n" PIQA);
    items = opened("piqa", false);
    assert_int_equal(task_items_count(items), 2);
    assert_non_null(strstr(task_items_path(items), "/piqa/dev.jsonl"));
    task_items_close(items);
    file("piqa/validation_a.jsonl", PIQA);
    items = opened("piqa", false); /* the first name of the split */
    assert_int_equal(task_items_count(items), 1);
    task_items_close(items);
    file("piqa/validation_b.jsonl", PIQA);
    assert_null(task_items_open(task_find("piqa"), dir, false, &err));
    assert_non_null(strstr(err.msg, "validation_a.jsonl"));
    assert_non_null(strstr(err.msg, "both look like the file of piqa"));

    file("reverse/d2p_prompts_test.jsonl", "{\"prompt\": \"p\", \"completion\": \" c\"}\n");
    assert_null(task_items_open(task_find("reverse_dtn"), dir, false, &err));
    assert_non_null(strstr(err.msg, "p2d_reverse_prompts_test.jsonl is missing"));
    file("reverse/p2d_reverse_prompts_test.jsonl", "{\"prompt\": \"q\", \"completion\": \" d\"}\n");
    items = opened("reverse_dtn", false);
    static const char *const groups[] = {"same", "reverse"}, *const targets[] = {" c", " d"};
    for (int i = 0; i < 2; i++) {
        struct task_item item;
        assert_int_equal(task_items_next(items, &item, &err), 1);
        assert_string_equal(item.group, groups[i]);
        assert_string_equal(item.target, targets[i]);
        assert_int_equal(item.doc_id, i);
        assert_int_equal(item.gold, -1);
        task_item_free(&item);
    }
    task_items_close(items);
}

static void put_gz(const char *name, const char *text) {
    gzFile z = gzopen(in(dir, name), "wb");
    assert_int_equal(gzwrite(z, text, (unsigned)strlen(text)), (int)strlen(text));
    gzclose(z);
}

/* Every file may be packed: lists of labels and the texts of RACE too. */
static void packed(void **state) {
    (void)state;
    static const char race[] = OBJECT;
    char bytes[1024];
    struct task_item item;
    assert_int_equal(file_mkdirs(in(dir, "piqa"), &err), 0);
    put_gz("piqa/valid.jsonl.gz", "{\"goal\": \"one\", \"sol1\": \"a\", \"sol2\": \"b\"}\n");
    put_gz("piqa/valid-labels.lst.gz", "1\n");
    assert_int_equal(file_mkdirs(in(dir, "race/test/high"), &err), 0);
    put(in(dir, "race/test/high/0.txt.zst"), bytes, ZSTD_compress(bytes, sizeof bytes, race, strlen(race), 1));
    put_gz("race/test/high/1.txt.gz", race);
    for (int i = 0; i < 2; i++) {
        struct task_items *items = opened(i ? "race" : "piqa", false);
        assert_int_equal(task_items_count(items), i ? 2 : 1);
        assert_int_equal(task_items_next(items, &item, &err), 1);
        assert_int_equal(item.gold, i ? 2 : 1);
        task_item_free(&item);
        task_items_close(items);
    }
}

/* A .txt of RACE is one object, however many lines it has; one that is not is counted as bad, and the next one is read. */
static void whole_files(void **state) {
    (void)state;
    struct task_item item;
    file("race/test/high/0.txt", "");
    file("race/test/high/1.txt", OBJECT "\x1e" OBJECT);
    put_gz("race/test/high/2.txt.gz", "{\n  \"article\": \"a\",\n\"questions\": [\"q\"],\n\n\"options\": "
                                      "[[\"a\", \"b\", \"c\", \"d\"]],\n\"answers\": [\"C\"]\n}\n");
    struct task_items *items = opened("race", true);
    assert_int_equal(task_items_count(items), 2);
    assert_int_equal(task_items_skipped(items), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(task_items_next(items, &item, &err), 1);
        assert_int_equal(item.gold, 2);
        task_item_free(&item);
    }
    assert_int_equal(task_items_next(items, &item, &err), 0);
    assert_int_equal(task_items_skipped(items), 2);
    task_items_close(items);
}

static uint64_t hash_of(const char *task) {
    struct task_items *items = opened(task, true);
    const uint64_t hash = task_items_hash(items);
    task_items_close(items);
    return hash;
}

/* Answers are kept by their rows' numbers, so files with the same items under other numbers are other files. */
static void hashes(void **state) {
    (void)state;
    file("cloze/test.jsonl", CLOZE("0") CLOZE("1"));
    const uint64_t good = hash_of("cloze");
    file("cloze/test.jsonl", CLOZE("0") CLOZE("1") "{broken\n");
    assert_true(hash_of("cloze") == good);
    file("cloze/test.jsonl", "{broken\n" CLOZE("0") CLOZE("1"));
    const uint64_t behind = hash_of("cloze");
    assert_true(behind != good);
    file("cloze/test.jsonl", CLOZE("0") "{broken\n" CLOZE("1"));
    assert_true(hash_of("cloze") != good && hash_of("cloze") != behind);
    file("perplexity/a/x.jsonl", "{\"text\": \"a\"}\n");
    const uint64_t of_a = hash_of("perplexity");
    assert_int_equal(rename(in(dir, "perplexity/a"), in(dir, "perplexity/b")), 0);
    assert_true(hash_of("perplexity") != of_a);
}

#define ONE(article, question)                                                                                         \
    "{\"article\": \"" article "\", \"question\": \"" question                                                         \
    "\", \"options\": [\"a\", \"b\", \"c\", \"d\"], \"answer\": \"A\"}\n"
#define SPOILT(article) "{\"article\": \"" article "\", \"options\": [\"a\", \"b\", \"c\", \"d\"], \"answer\": \"A\"}\n"
#define NOBODYS "{\"question\": \"q\", \"options\": [\"a\", \"b\", \"c\", \"d\"], \"answer\": \"A\"}\n"

/* An article whose questions are not all known is left out: no item is made of a part of one. */
static void articles(void **state) {
    (void)state;
    static const struct {
        const char *text, *articles; /* their letters, "!" where one is left out; then the line of each item */
        int lines[4];
    } cases[] = {
        {ONE("x", "1") ONE("x", "2") ONE("y", "3") ONE("z", "4"), "xyz", {1, 3, 4}},
        {ONE("x", "1") SPOILT("x") ONE("x", "2") ONE("y", "3"), "!y", {0, 4}},
        {SPOILT("x") ONE("x", "2") ONE("y", "3"), "!y", {0, 3}},
        {ONE("x", "1") ONE("y", "2") SPOILT("y"), "x!", {1, 0}},
        {ONE("x", "1") "{broken\n" ONE("x", "2") ONE("y", "3") ONE("z", "4"), "!!yz", {0, 0, 4, 5}},
        {ONE("x", "1") ONE("x", "2") "{broken\n" ONE("y", "3") ONE("z", "4"), "!!z", {0, 0, 5}},
        {"{broken\n" ONE("x", "1") ONE("x", "2") ONE("y", "3"), "!!y", {0, 0, 4}},
        {ONE("x", "1") NOBODYS ONE("x", "2") ONE("y", "3"), "!!y", {0, 0, 4}},
        {ONE("x", "1") "{broken\n", "!", {0}},
        {"{broken\n" RACE("A", ABCD) RACE("B", ABCD), "!xx", {0, 2, 3}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        file("race/test.jsonl", cases[i].text);
        struct task_items *items = task_items_open(task_find("race"), dir, true, &err);
        if (!items) {
            assert_true(!strpbrk(cases[i].articles, "xyz"));
            continue;
        }
        int left_out = 0, n = 0, k;
        struct task_item item;
        for (; (k = task_items_next(items, &item, &err)) > 0; n++) {
            for (; cases[i].articles[n] == '!'; n++) left_out++;
            const char article = json_string_value(json_object_get(item.doc, "article"))[0];
            char where[32];
            snprintf(where, sizeof where, "test.jsonl line %d", cases[i].lines[n]);
            if (article != cases[i].articles[n] || !strstr(task_items_where(items), where))
                fail_msg("case %zu: %c of %s where %c of %s was expected", i, article, task_items_where(items),
                         cases[i].articles[n], where);
            assert_int_equal(item.doc_id, n);
            task_item_free(&item);
        }
        assert_int_equal(k, 0);
        for (; cases[i].articles[n] == '!'; n++) left_out++;
        assert_int_equal(cases[i].articles[n], 0);
        assert_int_equal(task_items_skipped(items), left_out);
        task_items_close(items);
    }
    file("race/test.jsonl", ONE("x", "1") ONE("y", "2") "{broken\n");
    assert_null(task_items_open(task_find("race"), dir, false, &err));
    assert_non_null(strstr(err.msg, "test.jsonl line 3: bad JSON"));
    file("race/test.jsonl", ONE("x", "1") ONE("y", "2") ONE("y", "3"));
    file("race/test-labels.lst", "0\n0\n"); /* nobody's RACE has one; a row fails where its label is missing */
    assert_null(task_items_open(task_find("race"), dir, true, &err));
    assert_non_null(strstr(err.msg, "test.jsonl line 3: no label for it"));
    unlink(in(dir, "race/test-labels.lst"));
}

/* The month of a date, or of a time in any unit since 1970. */
static void months(void **state) {
    (void)state;
    static const struct {
        const char *date, *month;
    } cases[] = {{"\"2024-03-31T10:00:00Z\"", "2024-03"},
                 {"\"2024-12\"", "2024-12"},
                 {"\"2024-00-01\"", NULL},
                 {"\"2024-13-01\"", NULL},
                 {"\"2024-99-01\"", NULL},
                 {"\"2024-3-01\"", NULL},
                 {"19783", "2024-03"},
                 {"20240331", "2024-03"},
                 {"20240331.0", "2024-03"},
                 {"202403", "2024-03"},
                 {"20241331", NULL},
                 {"20240332", NULL},
                 {"202413", NULL},
                 {"1709251200", "2024-03"},
                 {"4102444799", "2099-12"},
                 {"1709251200000", "2024-03"},
                 {"1709251200000000", "2024-03"},
                 {"1709251200000000000", "2024-03"},
                 {"34128000000", "1971-01"}, /* milliseconds */
                 {"34128000000000", "1971-01"},
                 {"-1", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"text\": \"a\", \"date\": %s}\n", cases[i].date);
        file("perplexity/a.jsonl", text);
        struct task_items *items = opened("perplexity", false);
        struct task_item item;
        assert_int_equal(task_items_documents(items, &(struct task_documents){.month_field = "date"}, &err), 0);
        const int k = task_items_next(items, &item, &err);
        if (k != (cases[i].month ? 1 : -1) || (k > 0 && strcmp(item.group, cases[i].month) != 0))
            fail_msg("%s: %s", cases[i].date, k > 0 ? item.group : err.msg);
        if (k < 0) assert_non_null(strstr(err.msg, "a.jsonl line 1: field 'date': expected a date as 2024-03-31"));
        task_item_free(&item);
        task_items_close(items);
    }
}

static void perplexity(void **state) {
    (void)state;
    static const char *const groups[] = {"2024-02", "2024-03", "2024-03", "march"};
    file("perplexity/2024-02.jsonl", "{\"text\": \"a\"}\n");
    file("perplexity/2024-03/x.jsonl", "{\"text\": \"b\"}\n");
    file("perplexity/2024-03/y.jsonl", "{\"text\": \"c\"}\n");
    file("perplexity/march.jsonl", "{\"text\": \"d\"}\n{\"text\": 3}\n");
    struct task_items *items = opened("perplexity", false);
    struct task_item item;
    assert_int_equal(task_items_count(items), -1);
    for (int i = 0; i < 4; i++) {
        const char text[] = {(char)('a' + i), 0};
        if (task_items_next(items, &item, &err) != 1) fail_msg("%s", err.msg);
        assert_string_equal(item.context, text);
        assert_string_equal(item.group, groups[i]);
        assert_int_equal(item.n, 0);
        task_item_free(&item);
    }
    assert_int_equal(task_items_next(items, &item, &err), -1);
    assert_non_null(strstr(err.msg, "march.jsonl line 2"));
    const uint64_t hash = task_items_hash(items);
    task_items_close(items);
    file("perplexity/march.jsonl", "{\"text\": \"longer\"}\n{\"text\": 3}\n");
    items = opened("perplexity", false);
    assert_true(task_items_hash(items) != hash);
    task_items_close(items);
    file("perplexity/notes.txt", "plain text");
    items = opened("perplexity", false);
    int k;
    while ((k = task_items_next(items, &item, &err)) > 0) task_item_free(&item);
    assert_int_equal(k, -1);
    task_items_close(items);
}

static void literals(void **state) {
    (void)state;
    static const struct {
        const char *python, *json;
    } good[] = {
        {"[]", "[]"},
        {" [ 'a' , \"b\" , ] ", "[\"a\",\"b\"]"},
        {"('a',)", "[\"a\"]"},
        {"{'k': [{'x': None}], \"y\": True, 'z': False, 'n': -12}",
         "{\"k\":[{\"x\":null}],\"y\":true,\"z\":false,\"n\":-12}"},
        {"'a' \"b\"\n'c'", "\"abc\""},
        {"'\\n\\t\\r\\\\\\'\\\"\\x41\\u00e9\\U0001f600\\101\\q'", "\"\\n\\t\\r\\\\'\\\"A\\u00E9\\uD83D\\uDE00A\\\\q\""},
        {"'\\\nx'", "\"x\""},
        {"9223372036854775807", "9223372036854775807"},
    };
    static const char *const wrong[] = {
        "",        "'a",        "['a' 'b'",    "['a'; 'b']",    "{'a' 'b'}", "{1: 2}", "'a\nb'",
        "'\\x4'",  "'\\ud83d'", "'\\N{DASH}'", "Nope",          "[1] 2",     "-",      "9223372036854775808",
        "{'a': }", "'\\",       "f('x')",      "'\\U00110000'", "'\xff'",    "[,]"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        json_t *v = py_literal(good[i].python, (int64_t)strlen(good[i].python), &err);
        if (!v) fail_msg("%s: %s", good[i].python, err.msg);
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
        assert_string_equal(text, good[i].json);
        free(text);
        json_decref(v);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (py_literal(wrong[i], (int64_t)strlen(wrong[i]), &err)) fail_msg("'%s' was read", wrong[i]);
        assert_non_null(strstr(err.msg, "byte "));
    }
    char deep[1000];
    memset(deep, '[', sizeof deep);
    assert_null(py_literal(deep, sizeof deep, &err));
    assert_non_null(strstr(err.msg, "fewer brackets"));
}

static void strings(void **state) {
    (void)state;
    struct bytes out = {0};
    const char *s = " \t\xc2\xa0\xe2\x80\x83x y\x1c\xc2\x85\n";
    int64_t n = (int64_t)strlen(s);
    py_strip(&s, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(s, "x y", 3);
    s = " \n ", n = 3;
    py_strip(&s, &n);
    assert_int_equal(n, 0);
    assert_int_equal(py_length("a\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80", 10), 4);
    const char *mixed = "\xc3\xa9"
                        "CHO \xc3\x84 \xc7\x86",
               *capital = "\xc7\x86"
                          "ABC";
    assert_int_equal(py_lower(&out, mixed, (int64_t)strlen(mixed), &err), 0);
    assert_string_equal(out.v, "\xc3\xa9"
                               "cho \xc3\xa4 \xc7\x86");
    out.n = 0;
    assert_int_equal(py_capitalize(&out, capital, (int64_t)strlen(capital), &err), 0);
    assert_string_equal(out.v, "\xc7\x85"
                               "abc"); /* title case, which is not upper case */
    bytes_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_whole),
        cmocka_unit_test(published),
        cmocka_unit_test_setup_teardown(bad_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(long_label, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_rows_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
        cmocka_unit_test_setup_teardown(keep_going, setup, teardown),
        cmocka_unit_test_setup_teardown(keep_going_in_an_array, setup, teardown),
        cmocka_unit_test_setup_teardown(files, setup, teardown),
        cmocka_unit_test_setup_teardown(packed, setup, teardown),
        cmocka_unit_test_setup_teardown(whole_files, setup, teardown),
        cmocka_unit_test_setup_teardown(hashes, setup, teardown),
        cmocka_unit_test_setup_teardown(articles, setup, teardown),
        cmocka_unit_test_setup_teardown(months, setup, teardown),
        cmocka_unit_test_setup_teardown(perplexity, setup, teardown),
        cmocka_unit_test(literals),
        cmocka_unit_test(strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
