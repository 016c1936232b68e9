/* mtbench: reads and checks the files, fills the templates in. Texts stay in the JSON documents they came in. */
#include "eval/mtbench.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"

static const char *const with_reference[] = {"math", "reasoning", "coding"};
/* By number: bit 0 second turn, bit 1 with reference answers, bit 2 a pair. */
static const char *const prompt_names[MT_PROMPTS] = {
    "single-v1", "single-v1-multi-turn", "single-math-v1", "single-math-v1-multi-turn",
    "pair-v2",   "pair-v2-multi-turn",   "pair-math-v1",   "pair-math-v1-multi-turn"};

int mt_question_id(const json_t *line, const json_t **id, const char *where, struct err *err) {
    *id = json_object_get(line, "question_id");
    const size_t n = json_string_length(*id);
    if (json_is_integer(*id) || (n >= 1 && n <= MT_ID && strlen(json_string_value(*id)) == n)) return 0;
    return err_set(err, "%s: \"question_id\" must be a number, or a string of 1 to %d bytes", where, MT_ID);
}

const char *mt_id(char out[64], const json_t *id) {
    if (json_is_integer(id))
        snprintf(out, 64, "%lld", (long long)json_integer_value(id));
    else
        snprintf(out, 64, "'%.*s'", MT_ID, json_string_value(id));
    return out;
}

static bool needs_reference(const struct mt_question *q) {
    for (size_t i = 0; i < sizeof with_reference / sizeof *with_reference; i++)
        if (!strcmp(q->category, with_reference[i])) return true;
    return false;
}

/* ---- reading ---- */

/* Calls one() for every line of a file of objects and keeps the objects. */
static int each_line(struct mtbench *b, const char *path,
                     int (*one)(struct mtbench *b, const json_t *o, const char *where, void *context, struct err *err),
                     void *context, struct err *err) {
    struct jsonl *in = jsonl_open(path, err);
    json_t *o;
    int r = in ? 0 : -1;
    while (r == 0 && (r = jsonl_next(in, &o, err)) > 0) {
        if (json_array_append_new(b->documents, o) < 0)
            r = err_set(err, "%s: out of memory", jsonl_where(in));
        else if (!json_is_object(o))
            r = err_set(err, "%s: expected an object", jsonl_where(in));
        else
            r = one(b, o, jsonl_where(in), context, err);
    }
    jsonl_close(in);
    return r;
}

/* "turns": one or two strings. */
static int read_turns(const json_t *o, const char *turns[MT_TURNS], int *n, const char *where, struct err *err) {
    const json_t *list = json_object_get(o, "turns");
    const size_t size = json_array_size(list);
    if (size < 1 || size > MT_TURNS) return err_set(err, "%s: \"turns\" must be an array of one or two strings", where);
    for (size_t i = 0; i < size; i++)
        if (!(turns[i] = json_string_value(json_array_get(list, i))))
            return err_set(err, "%s: \"turns\" must hold strings", where);
    *n = (int)size;
    return 0;
}

static int64_t find_question(const struct mtbench *b, const json_t *id) {
    for (int64_t i = 0; i < b->n; i++)
        if (json_equal(b->questions[i].id, id)) return i;
    return -1;
}

static int read_question(struct mtbench *b, const json_t *o, const char *where, void *context, struct err *err) {
    const int64_t limit = *(const int64_t *)context;
    struct mt_question q = {0};
    char id[64];
    if (limit > 0 && b->n == limit) return 0;
    if (mt_question_id(o, &q.id, where, err) < 0 || read_turns(o, q.turns, &q.nturns, where, err) < 0 ||
        json_get_str(o, "category", &q.category, true, where, err) < 0)
        return -1;
    if (find_question(b, q.id) >= 0) return err_set(err, "%s: question %s is there twice", where, mt_id(id, q.id));
    if (mem_grow(&b->questions, &b->capacity, b->n + 1, sizeof q, "questions", err) < 0) return -1;
    b->questions[b->n++] = q;
    return 0;
}

static int read_prompt(struct mtbench *b, const json_t *o, const char *where, void *context, struct err *err) {
    (void)context;
    struct mt_prompt p = {0};
    if (json_get_str(o, "name", &p.name, true, where, err) < 0) return -1;
    for (int i = 0; i < MT_PROMPTS; i++) {
        if (strcmp(p.name, prompt_names[i]) != 0) continue;
        if (json_get_str(o, "system_prompt", &p.system, true, where, err) < 0 ||
            json_get_str(o, "prompt_template", &p.text, true, where, err) < 0)
            return -1;
        if (b->prompts[i].name) return err_set(err, "%s: prompt %s is there twice", where, p.name);
        snprintf(p.where, sizeof p.where, "%s", where);
        b->prompts[i] = p;
    }
    return 0;
}

/* An answer's question (-1: none of ours) and its turns: those of the first choice. */
static int read_answer(const struct mtbench *b, const json_t *o, int64_t *question, const char *turns[MT_TURNS],
                       const char *where, struct err *err) {
    const json_t *id;
    char in_choice[600];
    int n;
    if (mt_question_id(o, &id, where, err) < 0) return -1;
    const json_t *choice = json_array_get(json_object_get(o, "choices"), 0);
    if (!json_is_object(choice)) return err_set(err, "%s: \"choices\" must be an array of objects", where);
    snprintf(in_choice, sizeof in_choice, "%s: choice 1", where);
    *question = find_question(b, id);
    return read_turns(choice, turns, &n, in_choice, err);
}

static int read_reference(struct mtbench *b, const json_t *o, const char *where, void *context, struct err *err) {
    (void)context;
    const char *turns[MT_TURNS] = {0};
    int64_t i;
    if (read_answer(b, o, &i, turns, where, err) < 0) return -1;
    if (i >= 0) memcpy(b->questions[i].references, turns, sizeof turns);
    return 0;
}

int mtbench_open(struct mtbench *b, const char *questions, const char *prompts, const char *references, int64_t limit,
                 struct err *err) {
    *b = (struct mtbench){.documents = json_array()};
    int r = b->documents ? 0 : err_set(err, "out of memory: questions");
    if (r == 0) r = each_line(b, questions, read_question, &limit, err);
    if (r == 0 && b->n == 0) r = err_set(err, "%s: no questions", questions);
    if (r == 0) r = each_line(b, prompts, read_prompt, NULL, err);
    if (r == 0 && references) r = each_line(b, references, read_reference, NULL, err);
    if (r < 0) mtbench_close(b);
    return r;
}

static int read_model(struct mtbench *b, const json_t *o, const char *where, void *context, struct err *err) {
    struct mt_model *m = context;
    const char *turns[MT_TURNS] = {0}, *name;
    char id[64];
    int64_t i;
    if (json_get_str(o, "model_id", &name, true, where, err) < 0 || read_answer(b, o, &i, turns, where, err) < 0)
        return -1;
    if (m->name && strcmp(m->name, name) != 0)
        return err_set(err, "%s: \"model_id\" is '%s', but '%s' before: one model a file", where, name, m->name);
    m->name = name;
    if (i < 0) return 0;
    if (m->answers[i][0])
        return err_set(err, "%s: a second answer to question %s", where, mt_id(id, b->questions[i].id));
    memcpy(m->answers[i], turns, sizeof turns);
    m->second = m->second || (turns[1] && *turns[1]);
    return 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct mt_model *)a)->name, ((const struct mt_model *)b)->name);
}

int mtbench_answers(struct mtbench *b, const char *path, struct err *err) {
    struct mt_model m = {0};
    char id[64];
    m.answers = mem_alloc(b->n, sizeof *m.answers, "answers", err);
    int r = m.answers ? each_line(b, path, read_model, &m, err) : -1;
    for (int64_t i = 0; r == 0 && i < b->n; i++)
        if (!m.answers[i][0]) r = err_set(err, "%s: no answer to question %s", path, mt_id(id, b->questions[i].id));
    for (int64_t i = 0; r == 0 && i < b->nmodels; i++)
        if (!strcmp(b->models[i].name, m.name)) r = err_set(err, "%s: model '%s' has answered already", path, m.name);
    if (r == 0) r = mem_grow(&b->models, &b->models_capacity, b->nmodels + 1, sizeof m, "models", err);
    if (r < 0) {
        mem_free(m.answers);
        return -1;
    }
    b->models[b->nmodels++] = m;
    qsort(b->models, (size_t)b->nmodels, sizeof m, by_name);
    return 0;
}

void mtbench_close(struct mtbench *b) {
    for (int64_t i = 0; i < b->nmodels; i++) mem_free(b->models[i].answers);
    mem_free(b->models);
    mem_free(b->questions);
    json_decref(b->documents);
    *b = (struct mtbench){0};
}

/* ---- asking ---- */

struct blank {
    const char *name, *value;
};

/* A template of Python's str.format: {name}, and {{ }} for the braces themselves. */
static int fill(struct bytes *out, const struct mt_prompt *p, const struct blank *blanks, const char *question,
                struct err *err) {
    for (const char *s = p->text, *end; *s; s = end) {
        const size_t plain = strcspn(s, "{}");
        if (bytes_push(out, s, (int64_t)plain, err) < 0) return -1;
        s += plain;
        end = s;
        if (!*s) break;
        if (s[1] == *s) {
            if (bytes_push(out, s, 1, err) < 0) return -1;
            end = s + 2;
            continue;
        }
        const size_t n = strcspn(s + 1, "{}");
        if (*s == '}' || s[1 + n] != '}')
            return err_set(err, "%s: prompt %s has a brace without its partner", p->where, p->name);
        const struct blank *f = blanks;
        while (f->name && (strlen(f->name) != n || strncmp(f->name, s + 1, n) != 0)) f++;
        if (!f->name)
            return err_set(err, "%s: prompt %s asks for {%.*s}, which is not known", p->where, p->name, (int)n, s + 1);
        if (!f->value)
            return err_set(err, "%s: prompt %s asks for {%s}, which question %s does not have", p->where, p->name,
                           f->name, question);
        if (bytes_push(out, f->value, (int64_t)strlen(f->value), err) < 0) return -1;
        end = s + n + 2;
    }
    return 0;
}

int mtbench_ask(const struct mtbench *b, const struct mt_case *c, const char **prompt, const char **system, char **user,
                struct err *err) {
    const struct mt_question *q = &b->questions[c->question];
    const bool pair = c->model[1] >= 0;
    const struct mt_prompt *p = &b->prompts[(c->turn == 2) | needs_reference(q) << 1 | pair << 2];
    const char *const none[MT_TURNS] = {0};
    const char *const *first = b->models[c->model[0]].answers[c->question];
    const char *const *second = pair ? b->models[c->model[1]].answers[c->question] : none;
    const struct blank blanks[] = {{"question", q->turns[0]},
                                   {"question_1", q->turns[0]},
                                   {"question_2", q->turns[1]},
                                   {"answer", first[0]},
                                   {"answer_1", first[0]},
                                   {"answer_2", first[1] ? first[1] : ""},
                                   {"answer_a", first[0]},
                                   {"answer_a_1", first[0]},
                                   {"answer_a_2", first[1] ? first[1] : ""},
                                   {"answer_b", second[0]},
                                   {"answer_b_1", second[0]},
                                   {"answer_b_2", second[1] ? second[1] : ""},
                                   {"ref_answer_1", q->references[0]},
                                   {"ref_answer_2", q->references[1]},
                                   {NULL, NULL}};
    struct bytes text = {0};
    char id[64];
    if (!p->name)
        return err_set(err, "the judge's prompts have no '%s', which question %s needs", prompt_names[p - b->prompts],
                       mt_id(id, q->id));
    if (bytes_push(&text, "", 0, err) < 0 || fill(&text, p, blanks, mt_id(id, q->id), err) < 0) {
        bytes_free(&text);
        return -1;
    }
    *prompt = p->name;
    *system = p->system;
    *user = text.v;
    return 0;
}

/* ---- verdicts ---- */

/* The first number that stands between `open` and `close`. */
static bool between(const char *s, const char *open, const char *close, double *value) {
    for (; (s = strstr(s, open)) != NULL; s++) {
        const char *digits = s + strlen(open), *end = digits;
        while (isdigit((unsigned char)*end)) end++;
        if (end == digits) continue;
        if (*end == '.') end++;
        while (isdigit((unsigned char)*end)) end++;
        if (strncmp(end, close, strlen(close)) != 0) continue;
        *value = strtod(digits, NULL);
        return true;
    }
    return false;
}

double mt_score(const char *judgment) {
    double value;
    return between(judgment, "[[", "]]", &value) || between(judgment, "[", "]", &value) ? value : -1;
}

const char *mt_winner(const char *judgment) {
    return strstr(judgment, "[[A]]")   ? "A"
           : strstr(judgment, "[[B]]") ? "B"
           : strstr(judgment, "[[C]]") ? "tie"
                                       : "error";
}
