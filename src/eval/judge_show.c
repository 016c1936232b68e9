/* judge_show: see judge_show.h. */
#include "eval/judge_show.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/file.h"
#include "base/gnuplot.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "eval/mtbench.h"

/* ---- reading ---- */

static int copy_name(char out[SHOW_NAME], const char *name, const char *where, struct err *err) {
    if (strlen(name) >= SHOW_NAME || !*name)
        return err_set(err, "%s: expected a name of 1 to %d bytes, found '%.40s'", where, SHOW_NAME - 1, name);
    strcpy(out, name);
    return 0;
}

static int read_question(struct judge_table *t, const json_t *o, const char *where, struct err *err) {
    const json_t *id;
    const char *category;
    char key[64];
    if (!json_is_object(o)) return err_set(err, "%s: expected an object", where);
    if (mt_question_id(o, &id, where, err) < 0 || json_get_str(o, "category", &category, true, where, err) < 0)
        return -1;
    int k = 0;
    while (k < t->ncategories && strcmp(t->categories[k], category) != 0) k++;
    if (k == SHOW_CATEGORIES) return err_set(err, "%s: more than %d categories", where, SHOW_CATEGORIES);
    if (k == t->ncategories && copy_name(t->categories[t->ncategories++], category, where, err) < 0) return -1;
    if (json_object_set_new(t->category_of, mt_id(key, id), json_integer(k)) == 0) return 0;
    return err_set(err, "%s: out of memory", where);
}

static int each_line(struct judge_table *t, const char *path,
                     int (*one)(struct judge_table *t, const json_t *o, const char *where, struct err *err),
                     struct err *err) {
    struct jsonl *in = jsonl_open(path, err);
    json_t *o;
    int r = in ? 0 : -1;
    while (r == 0 && (r = jsonl_next(in, &o, err)) > 0) {
        r = one(t, o, jsonl_where(in), err);
        json_decref(o);
    }
    jsonl_close(in);
    return r;
}

static struct show_model *find_model(struct judge_table *t, const char *name, const char *where, struct err *err) {
    for (int64_t i = 0; i < t->n; i++)
        if (!strcmp(t->models[i].name, name)) return &t->models[i];
    if (mem_grow(&t->models, &t->capacity, t->n + 1, sizeof *t->models, "models", err) < 0) return NULL;
    struct show_model *m = &t->models[t->n];
    memset(m, 0, sizeof *m);
    if (copy_name(m->name, name, where, err) < 0) return NULL;
    t->n++;
    return m;
}

static void count(struct show_mean *m, double v) {
    m->sum += v;
    m->n++;
}

static int read_single(struct judge_table *t, const json_t *o, const json_t *id, const char *where, struct err *err) {
    const char *name;
    int64_t turn;
    double score;
    char key[64];
    if (json_get_str(o, "model", &name, true, where, err) < 0 ||
        json_get_int(o, "turn", &turn, 1, MT_TURNS, true, where, err) < 0 ||
        json_get_real(o, "score", &score, true, where, err) < 0)
        return -1;
    struct show_model *m = find_model(t, name, where, err);
    if (!m) return -1;
    if (score < 0) {
        m->unreadable++;
        return 0;
    }
    count(&m->turns[turn - 1], score);
    if (t->ncategories == 0) return 0;
    const json_t *category = json_object_get(t->category_of, mt_id(key, id));
    if (!category) return err_set(err, "%s: question %s is not among the questions", where, mt_id(key, id));
    count(&m->categories[json_integer_value(category)], score);
    return 0;
}

static int read_pair(struct judge_table *t, const json_t *o, const char *where, struct err *err) {
    const char *name[2], *winner[2];
    if (json_get_str(o, "model_1", &name[0], true, where, err) < 0 ||
        json_get_str(o, "model_2", &name[1], true, where, err) < 0 ||
        json_get_str(o, "g1_winner", &winner[0], true, where, err) < 0 ||
        json_get_str(o, "g2_winner", &winner[1], true, where, err) < 0)
        return -1;
    const bool error = !strcmp(winner[0], "error") || !strcmp(winner[1], "error");
    const bool agree = !strcmp(winner[0], winner[1]) && strcmp(winner[0], "tie") != 0;
    for (int side = 0; side < 2; side++) {
        struct show_model *m = find_model(t, name[side], where, err);
        if (!m) return -1;
        const bool won = !strcmp(winner[0], side ? "model_2" : "model_1");
        if (error)
            m->errors++;
        else if (!agree)
            m->ties++;
        else if (won)
            m->wins++;
        else
            m->losses++;
    }
    return 0;
}

static int read_judgment(struct judge_table *t, const json_t *o, const char *where, struct err *err) {
    if (!json_is_object(o)) return err_set(err, "%s: expected an object", where);
    const json_t *id;
    if (mt_question_id(o, &id, where, err) < 0) return -1;
    const char *judge = json_string_value(json_array_get(json_object_get(o, "judge"), 0));
    if (!judge) return err_set(err, "%s: \"judge\" must be an array that starts with the judge's name", where);
    if (!*t->judge && copy_name(t->judge, judge, where, err) < 0) return -1;
    if (strcmp(t->judge, judge) != 0)
        return err_set(err, "%s: a judgment of '%.60s' among those of '%.60s': show them one by one", where, judge,
                       t->judge);
    return json_object_get(o, "g1_winner") ? read_pair(t, o, where, err) : read_single(t, o, id, where, err);
}

/* JUDGE_pair.half.jsonl, the halves of pairs, is none. */
static bool of_judgments(const char *name) {
    static const char *const ends[] = {"_single.jsonl", "_pair.jsonl"};
    const size_t n = strlen(name);
    for (int i = 0; i < 2; i++)
        if (n > strlen(ends[i]) && !strcmp(name + n - strlen(ends[i]), ends[i])) return true;
    return false;
}

/* Files of judgments in a folder; each is read where there is a table. Returns how many, or -1. */
static int read_folder(struct judge_table *t, const char *folder, struct err *err) {
    char **names, path[FILE_PATH_MAX];
    int64_t n;
    int found = 0;
    if (file_list(&names, &n, folder, err) < 0) return -1;
    for (int64_t i = 0; i < n && found >= 0; i++) {
        if (!of_judgments(names[i])) continue;
        const bool failed =
            t && (file_join(path, folder, names[i], err) < 0 || each_line(t, path, read_judgment, err) < 0);
        found = failed ? -1 : found + 1;
    }
    file_list_free(names, n);
    return found;
}

bool judge_folder(const char *path) {
    struct err ignored;
    return file_is_dir(path) && read_folder(NULL, path, &ignored) > 0;
}

static int read_path(struct judge_table *t, const char *path, struct err *err) {
    if (!file_is_dir(path)) return each_line(t, path, read_judgment, err);
    const int found = read_folder(t, path, err);
    if (found != 0) return found < 0 ? -1 : 0;
    return err_set(err, "%s: no JUDGE_single.jsonl or JUDGE_pair.jsonl in it: expected a folder of 'mdm judge'", path);
}

void judge_table_close(struct judge_table *t) {
    json_decref(t->category_of);
    mem_free(t->models);
    *t = (struct judge_table){.models = NULL};
}

/* ---- showing ---- */

static double mean(const struct show_mean *m) {
    return m->n ? m->sum / (double)m->n : NAN;
}

/* Over all judgments, not over the turns' means. */
static double average(const struct show_model *m) {
    const struct show_mean all = {m->turns[0].sum + m->turns[1].sum, m->turns[0].n + m->turns[1].n};
    return mean(&all);
}

static int64_t judged(const struct show_model *m) {
    return m->turns[0].n + m->turns[1].n + m->unreadable;
}

static int64_t games(const struct show_model *m) {
    return m->wins + m->losses + m->ties;
}

/* A tie is half a win. */
static double adjusted(const struct show_model *m) {
    return games(m) ? ((double)m->wins + 0.5 * (double)m->ties) / (double)games(m) : NAN;
}

/* Models without a number stand last, equal ones by name. */
static int compare(double x, double y, const struct show_model *a, const struct show_model *b) {
    if (isnan(x) != isnan(y)) return isnan(x) ? 1 : -1;
    if (x != y && !isnan(x)) return x > y ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int by_average(const void *a, const void *b) {
    const struct show_model *m = a, *n = b;
    if (judged(m) == 0 && judged(n) == 0) return compare(adjusted(m), adjusted(n), m, n);
    return compare(average(m), average(n), m, n);
}

int judge_table_open(struct judge_table *t, const char *data, char **paths, int n, struct err *err) {
    char questions[FILE_PATH_MAX];
    *t = (struct judge_table){.category_of = json_object()};
    int r = t->category_of ? 0 : err_set(err, "out of memory: questions");
    if (r == 0 && data) r = file_join(questions, data, "question.jsonl", err);
    if (r == 0 && data) r = each_line(t, questions, read_question, err);
    for (int i = 0; r == 0 && i < n; i++) r = read_path(t, paths[i], err);
    if (r == 0 && t->n == 0) r = err_set(err, "%s: no judgments yet", paths[0]);
    if (r == 0)
        qsort(t->models, (size_t)t->n, sizeof *t->models, by_average);
    else
        judge_table_close(t);
    return r;
}

/* A mean in a column of `width`; a dash when there is none. */
static void cell(FILE *out, int width, double v, int digits) {
    if (isnan(v))
        fprintf(out, " %*s", width, "-");
    else
        fprintf(out, " %*.*f", width, digits, v);
}

static void print_scores(FILE *out, const struct judge_table *t, int width) {
    fprintf(out, "%-*s   turn 1   turn 2  average  judged  without a score\n", width, "model");
    for (int64_t i = 0; i < t->n; i++) {
        const struct show_model *m = &t->models[i];
        if (judged(m) == 0) continue;
        fprintf(out, "%-*s", width, m->name);
        cell(out, 8, mean(&m->turns[0]), 4);
        cell(out, 8, mean(&m->turns[1]), 4);
        cell(out, 8, average(m), 4);
        fprintf(out, " %7lld %16lld\n", (long long)judged(m), (long long)m->unreadable);
    }
}

static void print_categories(FILE *out, const struct judge_table *t, int width) {
    fprintf(out, "\n%-*s", width, "model");
    for (int k = 0; k < t->ncategories; k++) fprintf(out, " %10s", t->categories[k]);
    fputc('\n', out);
    for (int64_t i = 0; i < t->n; i++) {
        if (judged(&t->models[i]) == 0) continue;
        fprintf(out, "%-*s", width, t->models[i].name);
        for (int k = 0; k < t->ncategories; k++) {
            const int room = (int)strlen(t->categories[k]);
            cell(out, room > 10 ? room : 10, mean(&t->models[i].categories[k]), 2);
        }
        fputc('\n', out);
    }
}

static void print_pairs(FILE *out, const struct judge_table *t, int width) {
    fprintf(out, "%-*s     win    loss     tie  win rate  loss rate  adjusted  without a winner\n", width, "model");
    for (int64_t i = 0; i < t->n; i++) {
        const struct show_model *m = &t->models[i];
        const double n = (double)games(m);
        if (games(m) + m->errors == 0) continue;
        fprintf(out, "%-*s %7lld %7lld %7lld", width, m->name, (long long)m->wins, (long long)m->losses,
                (long long)m->ties);
        cell(out, 9, n > 0 ? (double)m->wins / n : NAN, 4);
        cell(out, 10, n > 0 ? (double)m->losses / n : NAN, 4);
        cell(out, 9, adjusted(m), 4);
        fprintf(out, " %17lld\n", (long long)m->errors);
    }
}

void judge_table_print(FILE *out, const struct judge_table *t) {
    int width = 8;
    int64_t singles = 0, pairs = 0;
    for (int64_t i = 0; i < t->n; i++) {
        const int n = (int)strlen(t->models[i].name);
        if (n > width) width = n;
        singles += judged(&t->models[i]);
        pairs += games(&t->models[i]) + t->models[i].errors;
    }
    fprintf(out, "judge: %s\n", t->judge);
    if (singles > 0) print_scores(out, t, width);
    if (singles > 0 && t->ncategories > 0) print_categories(out, t, width);
    if (singles > 0 && pairs > 0) fputc('\n', out);
    if (pairs > 0) print_pairs(out, t, width);
}

/* ---- the picture ---- */

/* A model in the legend: a point in the middle may stand for no judgment. */
static int radar_name(struct bytes *b, const struct show_model *m, int ncategories, struct err *err) {
    struct bytes name = {0};
    bool all = true;
    for (int k = 0; k < ncategories; k++) all = all && m->categories[k].n > 0;
    int r = bytes_printf(&name, err, "%s%s", m->name, all ? "" : " (0: not judged)");
    if (r == 0) r = gnuplot_quote(b, name.v, err);
    bytes_free(&name);
    return r;
}

static int radar_data(struct bytes *b, const struct judge_table *t, struct err *err) {
    int r = bytes_printf(b, err, "# model, then mean scores:");
    for (int k = 0; r == 0 && k < t->ncategories; k++) {
        r = bytes_printf(b, err, " ");
        if (r == 0) r = gnuplot_quote(b, t->categories[k], err);
    }
    for (int64_t i = 0; r == 0 && i < t->n; i++) {
        const struct show_model *m = &t->models[i];
        if (judged(m) == 0) continue;
        r = bytes_printf(b, err, "\n");
        if (r == 0) r = radar_name(b, m, t->ncategories, err);
        for (int k = 0; r == 0 && k < t->ncategories; k++)
            r = bytes_printf(b, err, " %.6g", m->categories[k].n ? mean(&m->categories[k]) : 0);
    }
    return r == 0 ? bytes_printf(b, err, "\n") : r;
}

static int radar_script(struct bytes *b, const struct judge_table *t, const struct gnuplot_picture *picture,
                        struct err *err) {
    int r = gnuplot_begin(b, picture, err);
    if (r == 0)
        r = bytes_printf(b, err,
                         "set spiderplot\nset style spiderplot fillstyle transparent solid 0.1 border pointtype 7\n"
                         "set for [p=1:%d] paxis p range [0:10]\nset for [p=2:%d] paxis p tics format \"\"\n"
                         "set paxis 1 tics 2\nset grid spider\nset tmargin 3\nset bmargin 3\nset key noenhanced\n",
                         t->ncategories, t->ncategories);
    for (int k = 0; r == 0 && k < t->ncategories; k++) {
        r = bytes_printf(b, err, "set paxis %d label ", k + 1);
        if (r == 0) r = gnuplot_quote(b, t->categories[k], err);
        if (r == 0) r = bytes_printf(b, err, " noenhanced\n");
    }
    if (r == 0) r = bytes_printf(b, err, "plot for [i=2:%d] ", t->ncategories + 1);
    if (r == 0) r = gnuplot_quote(b, picture->data, err);
    return r == 0 ? bytes_printf(b, err, " using i:key(1)\n") : r;
}

int judge_table_drawable(const struct judge_table *t, struct err *err) {
    int64_t singles = 0;
    for (int64_t i = 0; i < t->n; i++) singles += judged(&t->models[i]);
    if (singles == 0) return err_set(err, "a radar plot shows scores: there are judgments of pairs only");
    if (t->ncategories < 3) return err_set(err, "a radar plot needs three categories, found %d", t->ncategories);
    return 0;
}

int judge_table_draw(const struct judge_table *t, const char *out, struct err *err) {
    struct gnuplot_picture picture;
    struct bytes data = {0}, script = {0};
    if (judge_table_drawable(t, err) < 0 || gnuplot_picture(&picture, out, err) < 0) return -1;
    picture.tall = true;
    int r = radar_data(&data, t, err);
    if (r == 0) r = radar_script(&script, t, &picture, err);
    if (r == 0) r = gnuplot_draw(&picture, &data, &script, err);
    bytes_free(&data);
    bytes_free(&script);
    return r;
}
