/* judge show: means and win rates of judgments in FastChat's form, the radar plot, and one clear line for what is wrong with
 * a file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "judge_help.h"

static void judgment(FILE *f, const char *model, int id, int turn, double score) {
    fprintf(f, "{\"question_id\": %d, \"model\": \"%s\", \"judge\": [\"j\", \"p\"], \"turn\": %d, \"score\": %g}\n", id,
            model, turn, score);
}

static void shown(int want, const char *rest) {
    char text[1024];
    snprintf(text, sizeof text, "show %s", rest);
    const int got = finish(start(text));
    if (got != want) fail_msg("mdm judge show %s: status %d: %s", rest, got, errors);
    if (want == 2) assert_ptr_equal(strchr(errors, '\n'), errors + strlen(errors) - 1); /* one line */
}

static void has(const char *text) {
    if (!strstr(out, text)) fail_msg("no '%s' in\n%s", text, out);
}

static void put_scores(void) {
    FILE *f = fopen(in(dir, "s.jsonl"), "w");
    judgment(f, "weak", 81, 1, 2);
    judgment(f, "weak", 101, 1, 3);
    judgment(f, "weak", 81, 2, 1);
    judgment(f, "weak", 5, 1, -1);
    judgment(f, "strong'er", 81, 1, 9);
    judgment(f, "strong'er", 101, 1, 8.5);
    judgment(f, "strong'er", 5, 1, 7);
    fclose(f);
}

static void scores(void **state) {
    (void)state;
    put_scores();
    shown(0, "s.jsonl");
    has("judge: j\n");
    has("strong'er   8.1667        -   8.1667       3                0\n"
        "weak        2.5000   1.0000   2.0000       4                1\n"); /* the best first; -1 is left out of the means */
    assert_null(strstr(out, "writing"));
    shown(0, "s.jsonl --data data --out out");
    has("model        writing       math     coding       stem\n");
    has("strong'er       9.00       8.50          -       7.00\n");
    has("weak            1.50       3.00          -          -\n");
    size_t n;
    char *text = get(in(dir, "out/radar.svg"), &n);
    assert_non_null(strstr(text, "strong'er"));
    assert_non_null(strstr(text, "coding"));
    free(text);
    text = get(in(dir, "out/radar.png"), &n);
    assert_memory_equal(text + 1, "PNG", 3);
    free(text);
    assert_true(there(in(dir, "out/radar.svg.gp")) && there(in(dir, "out/radar.svg.data")));
    text = get(in(dir, "out/radar.svg.gp"), &n);
    assert_non_null(strstr(text, "set terminal svg size 900,700"));
    free(text);
}

static void pairs(void **state) {
    (void)state;
    put_scores();
    put_text(
        in(dir, "p.jsonl"),
        "{\"question_id\": 1, \"model_1\": \"a\", \"model_2\": \"b\", \"judge\": [\"j\"], \"g1_winner\": \"model_1\", "
        "\"g2_winner\": \"model_1\"}\n"
        "{\"question_id\": 2, \"model_1\": \"a\", \"model_2\": \"b\", \"judge\": [\"j\"], \"g1_winner\": \"model_1\", "
        "\"g2_winner\": \"model_2\"}\n"
        "{\"question_id\": 3, \"model_1\": \"a\", \"model_2\": \"c\", \"judge\": [\"j\"], \"g1_winner\": \"tie\", "
        "\"g2_winner\": \"tie\"}\n"
        "{\"question_id\": 4, \"model_1\": \"b\", \"model_2\": \"c\", \"judge\": [\"j\"], \"g1_winner\": \"model_2\", "
        "\"g2_winner\": \"model_2\"}\n"
        "{\"question_id\": 5, \"model_1\": \"b\", \"model_2\": \"c\", \"judge\": [\"j\"], \"g1_winner\": \"error\", "
        "\"g2_winner\": \"model_2\"}\n");
    shown(0, "p.jsonl");
    has("c              1       0       1    0.5000     0.0000    0.7500                 1\n");
    has("a              1       0       2    0.3333     0.0000    0.6667                 0\n");
    has("b              0       2       1    0.0000     0.6667    0.1667                 1\n");
    assert_true(strstr(out, "\nc ") < strstr(out, "\na ") && strstr(out, "\na ") < strstr(out, "\nb "));
    shown(0, "s.jsonl p.jsonl");
    has("turn 1");
    has("win rate");
    /* pairs alone have nothing to draw */
    shown(2, "p.jsonl --data data --out out");
    has("win rate");
    assert_string_equal(errors, "mdm judge show: a radar plot shows scores: there are judgments of pairs only\n");
    assert_false(there(in(dir, "out")));
}

static void wrong_files(void **state) {
    (void)state;
    put_scores();
    shown(2, "");
    shown(2, "--out out s.jsonl");
    assert_non_null(strstr(errors, "--data"));
    put_text(in(dir, "q.jsonl"),
             "{\"question_id\": 1, \"model\": \"a\", \"judge\": [\"other\"], \"turn\": 1, \"score\": 1}\n");
    shown(2, "s.jsonl q.jsonl");
    assert_non_null(strstr(errors, "q.jsonl line 1: a judgment of 'other' among those of 'j'"));
    put_text(in(dir, "q.jsonl"), "{\"question_id\": 1, \"model\": \"a\", \"judge\": [\"j\"], \"turn\": 1}\n");
    shown(2, "q.jsonl");
    assert_non_null(strstr(errors, "q.jsonl line 1: \"score\" is missing"));
    put_text(in(dir, "q.jsonl"),
             "{\"question_id\": 7, \"model\": \"a\", \"judge\": [\"j\"], \"turn\": 1, \"score\": 1}\n");
    shown(2, "q.jsonl --data data");
    assert_non_null(strstr(errors, "q.jsonl line 1: question 7 is not among the questions"));
    put_text(in(dir, "q.jsonl"), "");
    shown(2, "q.jsonl");
    put_text(in(dir, "q.jsonl"), "{\"question_id\": \"" ID_60 "y\", \"model\": \"a\", \"judge\": [\"j\"]}\n");
    shown(2, "q.jsonl");
    assert_non_null(strstr(errors, "q.jsonl line 1: \"question_id\" must be a number, or a string of 1 to 60 bytes"));
    put_text(in(dir, "data/question.jsonl"), "{\"question_id\": \"" ID_60 "y\", \"category\": \"c\"}\n");
    shown(2, "s.jsonl --data data");
    assert_non_null(strstr(errors, "question.jsonl line 1: \"question_id\" must be"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(scores, clear_out),
        cmocka_unit_test_setup(pairs, clear_out),
        cmocka_unit_test_setup(wrong_files, clear_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
