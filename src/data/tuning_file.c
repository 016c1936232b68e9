/* tuning_file: one function a form makes pieces of a row; lines of text (gsm8k) are cut here, all other files are tables. */
#include "data/tuning_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/records.h"
#include "data/table.h"

struct tuning_file {
    struct tuning_text text;
    struct table *table;
    struct records *lines; /* gsm8k */
    struct chat_message *messages;
    int64_t capacity;
    char where[FILE_PATH_MAX + 64];
};

static int write(struct chat *c, const char *text, int64_t n, struct err *err) {
    return bytes_push(&c->text, text, n, err);
}

/* ---- lines: question||thought #### answer ---- */

/* Where the one `mark` in s[n] is; NULL when there is none or another one behind it. */
static const char *only(const char *s, int64_t n, const char *mark) {
    const size_t m = strlen(mark);
    const char *at = memmem(s, (size_t)n, mark, m);
    return at && !memmem(at + m, (size_t)(s + n - at) - m, mark, m) ? at : NULL;
}

/* As the published script reads it: the answer keeps the line's own end. */
static enum tuning_found pieces_of_line(const struct record *line, struct chat *c, struct err *err) {
    const int64_t n = line->n - (line->n > 0 && line->data[line->n - 1] == '\r');
    const char *bars = only(line->data, n, "||"), *end = line->data + n;
    const char *marks = bars ? only(bars + 2, end - bars - 2, "####") : NULL;
    if (!marks) return TUNING_PASSED;
    if (write(c, "Question: ", 10, err) < 0 || write(c, line->data, bars - line->data, err) < 0 ||
        chat_cut(c, false, false, err) < 0 || write(c, "Answer: ", 8, err) < 0 ||
        write(c, bars + 2, marks - bars - 2, err) < 0 || chat_cut(c, true, false, err) < 0 ||
        write(c, marks, end - marks, err) < 0 || write(c, "\n", line->ended, err) < 0 ||
        chat_cut(c, true, true, err) < 0)
        return TUNING_BROKEN;
    return TUNING_PIECES;
}

static enum tuning_found next_line(struct tuning_file *f, struct chat *pieces, struct err *err) {
    struct record line;
    const int k = records_next(f->lines, &line, err);
    if (k <= 0) return k < 0 ? TUNING_BROKEN : TUNING_END;
    snprintf(f->where, sizeof f->where, "%s line %lld", records_name(f->lines), (long long)line.line);
    return pieces_of_line(&line, pieces, err);
}

/* ---- conversations ---- */

/* The list `key` of a row, of which the first `most` messages will be read. */
static enum tuning_found open_list(struct tuning_file *f, const json_t *row, const char *key, size_t most,
                                   const json_t **list, size_t *n, struct err *err) {
    *list = json_object_get(row, key);
    if (!json_is_array(*list)) {
        err_set(err, "%s: expected \"%s\", an array of messages, found %s", f->where, key,
                *list ? "another value" : "none");
        return TUNING_BAD;
    }
    *n = json_array_size(*list) < most ? json_array_size(*list) : most;
    if (mem_grow(&f->messages, &f->capacity, (int64_t)*n, sizeof *f->messages, "messages", err) < 0)
        return TUNING_BROKEN;
    return TUNING_PIECES;
}

/* Message i of the list: who says what. */
static int message(struct tuning_file *f, const json_t *list, size_t i, const char *role_key, const char *text_key,
                   const char **role, struct err *err) {
    char where[sizeof f->where + 64];
    struct chat_message *m = &f->messages[i];
    snprintf(where, sizeof where, "%s, message %zu", f->where, i + 1);
    const json_t *o = json_array_get(list, i);
    if (json_get_str(o, role_key, role, true, where, err) < 0 ||
        json_get_text(o, text_key, &m->text, &m->n, true, where, err) < 0)
        return -1;
    return 0;
}

static enum tuning_found render(struct tuning_file *f, size_t n, struct chat *pieces, struct err *err) {
    if (chat_check(f->messages, (int64_t)n, err) < 0) {
        err_prefix(err, "%s", f->where);
        return TUNING_BAD;
    }
    if (chat_render(pieces, f->text.template, f->text.system, f->messages, (int64_t)n, err) < 0) return TUNING_BROKEN;
    return TUNING_PIECES;
}

/* The first round, if a human and then gpt speaks in it. */
static enum tuning_found sharegpt(struct tuning_file *f, const json_t *row, struct chat *pieces, struct err *err) {
    static const char *const names[2] = {"human", "gpt"};
    const json_t *list;
    size_t n;
    const enum tuning_found k = open_list(f, row, "conversations", 2, &list, &n, err);
    if (k < 0) return k;
    if (n < 2) return TUNING_PASSED;
    for (size_t i = 0; i < 2; i++) {
        const char *role;
        if (message(f, list, i, "from", "value", &role, err) < 0) return TUNING_BAD;
        if (strcmp(role, names[i]) != 0) return TUNING_PASSED;
        f->messages[i].role = i == 0 ? CHAT_USER : CHAT_ASSISTANT;
    }
    return render(f, 2, pieces, err);
}

static enum tuning_found chat(struct tuning_file *f, const json_t *row, struct chat *pieces, struct err *err) {
    const json_t *list;
    size_t n;
    bool answered = false;
    enum tuning_found k = open_list(f, row, "messages", SIZE_MAX, &list, &n, err);
    if (k < 0) return k;
    for (size_t i = 0; i < n; i++) {
        const char *name;
        if (message(f, list, i, "role", "content", &name, err) < 0) return TUNING_BAD;
        const int role = chat_role(name);
        if (role < 0) {
            err_set(err, "%s, message %zu: expected the role system, user or assistant, found \"%.40s\"", f->where,
                    i + 1, name);
            return TUNING_BAD;
        }
        f->messages[i].role = (enum chat_role)role;
        answered |= role == CHAT_ASSISTANT;
    }
    k = render(f, n, pieces, err);
    if (k < 0 || answered) return k;
    err_set(err, "%s: expected an answer of the assistant, found none", f->where);
    return TUNING_BAD;
}

/* ---- a prompt and what follows it ---- */

static enum tuning_found completion(struct tuning_file *f, const json_t *row, bool learn_prompt, struct chat *pieces,
                                    struct err *err) {
    const char *prompt, *rest;
    int64_t nprompt, nrest;
    if (json_get_text(row, "prompt", &prompt, &nprompt, true, f->where, err) < 0 ||
        json_get_text(row, "completion", &rest, &nrest, true, f->where, err) < 0)
        return TUNING_BAD;
    if (write(pieces, prompt, nprompt, err) < 0 || (!learn_prompt && chat_cut(pieces, false, false, err) < 0) ||
        write(pieces, rest, nrest, err) < 0 || chat_cut(pieces, true, true, err) < 0)
        return TUNING_BROKEN;
    return TUNING_PIECES;
}

/* ---- rows ---- */

static enum tuning_found next_row(struct tuning_file *f, struct chat *pieces, struct err *err) {
    json_t *row;
    enum tuning_found k = TUNING_BAD;
    const int got = table_next(f->table, &row, err);
    if (got == 0) return TUNING_END;
    if (got < 0 && !table_passable(f->table)) return TUNING_BROKEN;
    snprintf(f->where, sizeof f->where, "%s", table_where(f->table));
    if (got < 0) return TUNING_BAD;
    if (f->text.form == TUNING_SHAREGPT)
        k = sharegpt(f, row, pieces, err);
    else if (f->text.form == TUNING_CHAT)
        k = chat(f, row, pieces, err);
    else
        k = completion(f, row, f->text.form == TUNING_REVERSE, pieces, err);
    json_decref(row);
    return k;
}

enum tuning_found tuning_file_next(struct tuning_file *f, struct chat *pieces, struct err *err) {
    pieces->text.n = pieces->n = 0;
    return f->lines ? next_line(f, pieces, err) : next_row(f, pieces, err);
}

const char *tuning_file_where(const struct tuning_file *f) {
    return f->where;
}

/* ---- open and close ---- */

struct tuning_file *tuning_file_open(const char *path, const struct tuning_text *text, struct err *err) {
    static const char *const columns[][3] = {[TUNING_SHAREGPT] = {"conversations"},
                                             [TUNING_CHAT] = {"messages"},
                                             [TUNING_COMPLETION] = {"prompt", "completion"},
                                             [TUNING_REVERSE] = {"prompt", "completion"}};
    struct tuning_file *f = mem_alloc(1, sizeof *f, path, err);
    if (!f) return NULL;
    f->text = *text;
    if (text->form == TUNING_GSM8K) {
        f->lines = records_open(path, err);
        if (f->lines) records_cut(f->lines, RECORDS_LINES, NULL);
    } else {
        f->table = table_open(path, columns[text->form], err);
    }
    if (f->lines || f->table) return f;
    tuning_file_close(f);
    return NULL;
}

void tuning_file_close(struct tuning_file *f) {
    if (!f) return;
    table_close(f->table);
    records_close(f->lines);
    mem_free(f->messages);
    mem_free(f);
}
