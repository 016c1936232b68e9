/* task_document: see task_document.h. The forms of the harness's documents are those of its data sets on Hugging Face. */
#include "eval/task_document.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/jsonl.h"
#include "eval/answer.h"
#include "eval/mtbench.h"
#include "eval/pystring.h"

/* ---- fields ---- */

static int put(json_t *o, const char *key, json_t *v, const char *where, struct err *err) {
    return json_object_set_new(o, key, v) < 0 ? err_set(err, "%s: no memory for \"%s\"", where, key) : 0;
}

static int put_text(json_t *o, const char *key, const char *s, int64_t n, const char *where, struct err *err) {
    return put(o, key, json_stringn(s, (size_t)n), where, err);
}

static int need(const json_t *doc, const char *key, const char **text, const char *where, struct err *err) {
    return json_get_str(doc, key, text, true, where, err) < 0 ? -1 : 0;
}

/* A list of at least `least` strings. NULL with err. */
static json_t *need_list(const json_t *o, const char *key, size_t least, const char *where, struct err *err) {
    json_t *v = json_object_get(o, key), *element;
    size_t i;
    if (!v) return err_set(err, "%s: \"%s\" is missing", where, key), NULL;
    if (!json_is_array(v) || json_array_size(v) < least)
        return err_set(err, "%s: \"%s\" must be a list of %zu or more texts", where, key, least), NULL;
    json_array_foreach(v, i, element) if (!json_is_string(element)) return err_set(
        err, "%s: \"%s\" must be a list of texts; element %zu is none", where, key, i + 1),
        NULL;
    return v;
}

/* A label that is a number, a text of one, or (where 0 and 1 may be) true or false, also as texts. */
static int need_label(const json_t *doc, int min, int max, int *label, const char *where, struct err *err) {
    const json_t *v = json_object_get(doc, "label");
    const char *text = json_string_value(v);
    const bool two = min == 0 && max == 1;
    int x = -1;
    if (!v) return err_set(err, "%s: \"label\" is missing, and there is no list of labels beside the file", where);
    if (json_is_integer(v) && json_integer_value(v) >= min && json_integer_value(v) <= max)
        x = (int)json_integer_value(v);
    else if (text && *text && strlen(text) <= 2 && !text[strspn(text, "0123456789")])
        x = atoi(text);
    else if (two && (json_is_boolean(v) || (text && (!strcasecmp(text, "true") || !strcasecmp(text, "false")))))
        x = json_is_true(v) || (text && !strcasecmp(text, "true"));
    *label = x;
    if (x >= min && x <= max) return 0;
    char *found = json_dumps(v, JSON_ENCODE_ANY);
    err_set(err, "%s: \"label\" must be %d to %d, found %.40s", where, min, max, found ? found : "something else");
    free(found);
    return -1;
}

/* ---- hellaswag ---- */

/* The harness's cleaning, of text[n]: white space around it goes, " [title]" becomes ". ", what stands in brackets on one
 * line goes (traces of WikiHow's markup), two spaces become one, once. */
static int push_clean(struct bytes *out, const char *text, int64_t n, struct err *err) {
    struct bytes titled = {0}, plain = {0};
    py_strip(&text, &n);
    int r = bytes_push_replaced(&titled, text, n, " [title]", ". ", err);
    for (int64_t i = 0; r == 0 && i < titled.n;) {
        const char *p = titled.v + i;
        const size_t close = *p == '[' ? strcspn(p, "]\n") : 0;
        if (close > 0 && p[close] == ']') {
            i += (int64_t)close + 1;
        } else {
            r = bytes_push(&plain, p, 1, err);
            i++;
        }
    }
    if (r == 0) r = bytes_push_replaced(out, plain.v ? plain.v : "", plain.n, "  ", " ", err);
    bytes_free(&titled);
    bytes_free(&plain);
    return r;
}

static int put_clean(json_t *list, const char *text, const char *where, struct err *err) {
    struct bytes out = {0};
    int r = bytes_push(&out, "", 0, err);
    if (r == 0) r = push_clean(&out, text, (int64_t)strlen(text), err);
    if (r == 0 && json_array_append_new(list, json_stringn(out.v, (size_t)out.n)) < 0)
        r = err_set(err, "%s: no memory for a choice", where);
    bytes_free(&out);
    return r;
}

/* "Activity: first part Second part", cleaned, into doc and made. */
static int put_query(json_t *doc, const char *activity, const char *a, const char *b, const char *where,
                     struct err *err) {
    struct bytes text = {0}, query = {0};
    int r = bytes_printf(&text, err, "%s: %s ", activity, a);
    if (r == 0) r = py_capitalize(&text, b, (int64_t)strlen(b), err);
    if (r == 0) r = bytes_push(&query, "", 0, err);
    if (r == 0) r = push_clean(&query, text.v, text.n, err);
    if (r == 0) r = put_text(doc, "query", query.v, query.n, where, err);
    bytes_free(&text);
    bytes_free(&query);
    return r;
}

int document_hellaswag(json_t *doc, json_t *made, const char *where, struct err *err) {
    const char *activity, *a, *b;
    json_t *endings = need_list(doc, "endings", 2, where, err), *ending;
    size_t i;
    int gold;
    if (!endings || need(doc, "activity_label", &activity, where, err) < 0 || need(doc, "ctx_a", &a, where, err) < 0 ||
        need(doc, "ctx_b", &b, where, err) < 0 ||
        need_label(doc, 0, (int)json_array_size(endings) - 1, &gold, where, err) < 0 ||
        put_query(doc, activity, a, b, where, err) < 0)
        return -1;
    json_t *choices = json_array();
    if (put(doc, "choices", choices, where, err) < 0) return -1;
    json_array_foreach(endings, i, ending) {
        if (json_string_length(ending) != strlen(json_string_value(ending)))
            return err_set(err, "%s: \"endings\" has U+0000 in element %zu", where, i + 1);
        if (put_clean(choices, json_string_value(ending), where, err) < 0) return -1;
    }
    return put(made, "gold", json_integer(gold), where, err) < 0 ? -1
                                                                 : put(doc, "gold", json_integer(gold), where, err);
}

/* ---- ARC and OpenBookQA ---- */

/* [{"text", "label"}, …] → {"text": […], "label": […]} */
static json_t *columns_of(const json_t *choices, const char *where, struct err *err) {
    json_t *texts = json_array(), *labels = json_array(), *choice;
    size_t i;
    int r = 0;
    json_array_foreach((json_t *)(uintptr_t)choices, i, choice) {
        if (r == 0 && (json_array_append(texts, json_object_get(choice, "text")) < 0 ||
                       json_array_append(labels, json_object_get(choice, "label")) < 0))
            r = err_set(err, "%s: choice %zu needs \"text\" and \"label\"", where, i + 1);
    }
    json_t *v = json_pack("{s:o, s:o}", "text", texts, "label", labels);
    if (r == 0 && v) return v;
    if (r == 0) err_set(err, "%s: no memory for the choices", where);
    json_decref(v);
    return NULL;
}

/* The original releases have the question as an object of its stem and its choices. */
static int unfold(json_t *doc, const char *name, const char *where, struct err *err) {
    json_t *question = json_object_get(doc, "question");
    if (!json_is_object(question)) return 0;
    const char *stem;
    const json_t *list = json_object_get(question, "choices");
    if (need(question, "stem", &stem, where, err) < 0) return -1;
    if (!json_is_array(list)) return err_set(err, "%s: \"choices\" must be a list", where);
    json_t *choices = columns_of(list, where, err), *text = json_string(stem);
    if (!choices) {
        json_decref(text);
        return -1;
    }
    json_object_del(doc, "question");
    return put(doc, name, text, where, err) < 0 || put(doc, "choices", choices, where, err) < 0 ? -1 : 0;
}

static int document_science(json_t *doc, json_t *made, const char *name, bool lstrip, const char *where,
                            struct err *err) {
    const char *ignored, *key;
    if (unfold(doc, name, where, err) < 0 || need(doc, name, &ignored, where, err) < 0 ||
        need(doc, "answerKey", &key, where, err) < 0)
        return -1;
    json_t *choices = json_object_get(doc, "choices");
    const json_t *texts = choices ? need_list(choices, "text", 2, where, err) : NULL;
    const json_t *labels = texts ? need_list(choices, "label", json_array_size(texts), where, err) : NULL;
    if (!choices) return err_set(err, "%s: \"choices\" is missing", where);
    if (!labels) return -1;
    if (json_array_size(labels) != json_array_size(texts))
        return err_set(err, "%s: %zu choices but %zu labels", where, json_array_size(texts), json_array_size(labels));
    if (lstrip)
        while (isspace((unsigned char)*key)) key++;
    for (size_t i = 0; i < json_array_size(labels); i++)
        if (!strcmp(key, json_string_value(json_array_get(labels, i))))
            return put(made, "gold", json_integer((json_int_t)i), where, err);
    return err_set(err, "%s: \"answerKey\" is '%.40s', which none of the choices has as label", where, key);
}

int document_openbookqa(json_t *doc, json_t *made, const char *where, struct err *err) {
    return document_science(doc, made, "question_stem", true, where, err);
}

int document_arc(json_t *doc, json_t *made, const char *where, struct err *err) {
    return document_science(doc, made, "question", false, where, err);
}

/* ---- boolq, piqa, social_iqa ---- */

/* A label that files write in several ways becomes the number it stands for. */
int document_of_two(json_t *doc, json_t *made, const char *where, struct err *err) {
    int gold;
    if (need_label(doc, 0, 1, &gold, where, err) < 0) return -1;
    return put(doc, "label", json_integer(gold), where, err) < 0 ? -1
                                                                 : put(made, "gold", json_integer(gold), where, err);
}

int document_social_iqa(json_t *doc, json_t *made, const char *where, struct err *err) {
    int label;
    if (need_label(doc, 1, 3, &label, where, err) < 0) return -1;
    const char digit = (char)('0' + label);
    return put_text(doc, "label", &digit, 1, where, err) < 0 ? -1
                                                             : put(made, "gold", json_integer(label - 1), where, err);
}

/* ---- race ---- */

/* Original files have lists of questions, options and answers; the harness has a list of problems. */
static json_t *problems_of(const json_t *doc, const char *where, struct err *err) {
    json_t *questions = need_list(doc, "questions", 1, where, err), *question, *list;
    const json_t *answers = questions ? need_list(doc, "answers", 1, where, err) : NULL,
                 *options = json_object_get(doc, "options");
    const size_t n = json_array_size(questions);
    size_t i;
    if (!answers) return NULL;
    if (json_array_size(answers) != n || json_array_size(options) != n)
        return err_set(err, "%s: %zu questions, %zu answers, %zu lists of options", where, n, json_array_size(answers),
                       json_array_size(options)),
               NULL;
    list = json_array();
    json_array_foreach(questions, i, question) {
        json_t *p = json_pack("{s:O, s:O, s:O}", "question", question, "answer", json_array_get(answers, i), "options",
                              json_array_get(options, i));
        if (json_array_append_new(list, p) < 0) {
            json_decref(list);
            return err_set(err, "%s: no memory for the problems", where), NULL;
        }
    }
    return list;
}

/* A list of problems, in the harness's data the text of a Python list. NULL with err. */
static json_t *need_problems(const json_t *doc, const char *where, struct err *err) {
    json_t *v = json_object_get(doc, "problems");
    if (!v) return problems_of(doc, where, err);
    v = json_is_string(v) ? py_literal(json_string_value(v), (int64_t)json_string_length(v), err) : json_incref(v);
    if (!v) return err_prefix(err, "%s: \"problems\"", where), NULL;
    if (json_array_size(v) > 0) return v;
    json_decref(v);
    return err_set(err, "%s: \"problems\" must be a list, not empty", where), NULL;
}

/* Checks a problem: its question, its options, which of them is right. */
static int need_problem(const json_t *p, const char **question, json_t **options, int *gold, const char *where,
                        struct err *err) {
    const char *answer;
    *options = need_list(p, "options", 4, where, err);
    if (!*options || need(p, "question", question, where, err) < 0 || need(p, "answer", &answer, where, err) < 0)
        return -1;
    if (!*answer || answer[1] || !strchr("ABCD", *answer))
        return err_set(err, "%s: \"answer\" must be A, B, C or D, found '%.40s'", where, answer);
    *gold = *answer - 'A';
    return 0;
}

/* A problem before the last one stands in the context with its answer. A gap at the end of its question leaves "_  ." of
 * it and no more: the harness's slip, which published numbers have. */
static int push_problem(struct bytes *out, const char *question, const json_t *options, int gold, struct err *err) {
    const char *right = json_string_value(json_array_get(options, (size_t)gold));
    const size_t n = strlen(question);
    if (n >= 6 && strcmp(question + n - 6, "  _  .") == 0)
        return bytes_printf(out, err, "%s%s\n", question + n - 5, right);
    return bytes_printf(out, err, "Question: %s\nAnswer: %s\n", question, right);
}

static int put_problems(json_t *made, const char *article, const json_t *problems, const char *where, struct err *err) {
    const size_t n = json_array_size(problems);
    struct bytes query = {0};
    int r = bytes_printf(&query, err, "Article: %s\n\n", article), gold = 0;
    json_t *options = NULL;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const char *question;
        r = need_problem(json_array_get(problems, i), &question, &options, &gold, where, err);
        if (r < 0)
            err_prefix(err, "problem %zu", i + 1);
        else
            r = i + 1 < n ? push_problem(&query, question, options, gold, err)
                          : bytes_printf(&query, err, "%s", question);
    }
    json_t *choices = r == 0 ? json_copy(options) : NULL;
    while (json_array_size(choices) > 4) json_array_remove(choices, 4);
    if (r == 0) r = put_text(made, "query", query.v, query.n, where, err);
    if (r == 0) r = put(made, "gold", json_integer(gold), where, err);
    if (r == 0)
        r = put(made, "choices", choices, where, err);
    else
        json_decref(choices);
    bytes_free(&query);
    return r;
}

int document_race(json_t *doc, json_t *made, const char *where, struct err *err) {
    const char *article;
    if (need(doc, "article", &article, where, err) < 0) return -1;
    json_t *problems = need_problems(doc, where, err);
    const int r = problems ? put_problems(made, article, problems, where, err) : -1;
    json_decref(problems);
    return r;
}

/* ---- lambada, gsm8k, reverse, mtbench ---- */

/* Everything before the last space, and what begins with it. */
int document_lambada(json_t *doc, json_t *made, const char *where, struct err *err) {
    const char *text;
    if (need(doc, "text", &text, where, err) < 0) return -1;
    const char *last = strrchr(text, ' ');
    if (!last || !last[1]) return err_set(err, "%s: \"text\" has no last word behind a space", where);
    return put_text(made, "context", text, last - text, where, err) < 0
               ? -1
               : put(made, "target", json_string(last), where, err);
}

int document_cloze(json_t *doc, json_t *made, const char *where, struct err *err) {
    const char *query;
    json_t *choices = need_list(doc, "choices", 2, where, err);
    int gold;
    if (!choices || need(doc, "query", &query, where, err) < 0 ||
        need_label(doc, 0, (int)json_array_size(choices) - 1, &gold, where, err) < 0)
        return -1;
    return put(made, "gold", json_integer(gold), where, err);
}

int document_gsm8k(json_t *doc, json_t *made, const char *where, struct err *err) {
    const char *ignored, *solution, *answer;
    int64_t n;
    if (need(doc, "question", &ignored, where, err) < 0 || need(doc, "answer", &solution, where, err) < 0) return -1;
    if (!answer_find(solution, (int64_t)strlen(solution), &answer, &n))
        return err_set(err, "%s: \"answer\" has no line with #### and the result", where);
    if (n == 0) return err_set(err, "%s: \"answer\" has nothing behind its ####", where);
    return put_text(made, "target", answer, n, where, err);
}

int document_reverse(json_t *doc, json_t *made, const char *where, struct err *err) {
    const char *ignored, *completion;
    if (need(doc, "prompt", &ignored, where, err) < 0 || need(doc, "completion", &completion, where, err) < 0)
        return -1;
    const char *text = completion;
    int64_t n = (int64_t)strlen(text);
    py_strip(&text, &n);
    if (n == 0) return err_set(err, "%s: \"completion\" is empty", where);
    return put_text(made, "target", completion, (int64_t)strlen(completion), where, err);
}

int document_mtbench(json_t *doc, json_t *made, const char *where, struct err *err) {
    const json_t *id, *turns = need_list(doc, "turns", 1, where, err);
    if (!turns || mt_question_id(doc, &id, where, err) < 0) return -1;
    return put(made, "prompt", json_incref(json_array_get(turns, 0)), where, err) < 0
               ? -1
               : put_text(made, "target", "", 0, where, err);
}

/* ---- what was written ---- */

int right_answer(bool *out, const char *text, const char *target, struct err *err) {
    const char *answer;
    int64_t n;
    (void)err;
    *out = answer_find(text, (int64_t)strlen(text), &answer, &n) &&
           answer_equal(answer, n, target, (int64_t)strlen(target));
    return 0;
}

int right_inside(bool *out, const char *text, const char *target, struct err *err) {
    struct bytes in = {0}, what = {0};
    int64_t n = (int64_t)strlen(target);
    py_strip(&target, &n);
    const int status =
        py_lower(&in, text, (int64_t)strlen(text), err) < 0 || py_lower(&what, target, n, err) < 0 ? -1 : 0;
    *out =
        status == 0 && in.n >= what.n && memmem(in.v ? in.v : "", (size_t)in.n, what.v ? what.v : "", (size_t)what.n);
    bytes_free(&in);
    bytes_free(&what);
    return status;
}
