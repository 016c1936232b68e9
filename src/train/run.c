/* run: run.json and the folder it lies in. Which settings there are is the tables' affair (settings.c, cmd/). */
#include "train/run.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/jsonl.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/version.h"
#include "comm/comm.h"
#include "model/config.h"
#include "model/weight_files.h"
#include "text/tokenizer.h"
#include "text/utf8.h"
#include "train/checkpoint.h"

enum { JSON_MAX = 1 << 20 };

void run_options(struct opt opts[RUN_SETTINGS + 1], const struct setting *table) {
    int n = 0;
    for (; table[n].opt.name; n++) {
        BUG_ON(n == RUN_SETTINGS);
        opts[n] = table[n].opt;
    }
    opts[n] = (struct opt){0};
}

/* ---- strings and paths ---- */

/* A copy that lives as long as the run. */
static char *keep(struct run *r, const char *text, struct err *err) {
    if (mem_grow(&r->strings, &r->capacity, r->nstrings + 1, sizeof *r->strings, "settings", err) < 0) return NULL;
    char *copy = mem_strdup(text, err);
    if (copy) r->strings[r->nstrings++] = copy;
    return copy;
}

size_t run_path_bytes(const char *text) {
    const char *equals = strrchr(text, '=');
    return equals && !file_exists(text) ? (size_t)(equals - text) : strlen(text);
}

/* "DIR" or "DIR=2" with DIR as an absolute path, looked for in the folder `from` (NULL: the current one). What is not
 * there stays as it is: the name of a model, or a mistake that whoever opens it reports. */
static const char *absolute(struct run *r, const char *from, const char *text, struct err *err) {
    char path[FILE_PATH_MAX], real[PATH_MAX], out[FILE_PATH_MAX + PATH_MAX];
    if (snprintf(path, sizeof path, "%s%s%s", from && *text != '/' ? from : "", from && *text != '/' ? "/" : "",
                 text) >= FILE_PATH_MAX)
        return keep(r, text, err);
    const size_t n = run_path_bytes(path), rest = strlen(path) - n;
    path[n] = '\0';
    if (realpath(path, real)) {
        snprintf(out, sizeof out, "%s%s", real, text + strlen(text) - rest);
        return keep(r, out, err);
    }
    return from ? absolute(r, NULL, text, err) : keep(r, text, err);
}

/* The same for the setting s: where a name may stand too, a folder is no path. */
static const char *absolute_of(struct run *r, const struct setting *s, const char *from, const char *text,
                               struct err *err) {
    const char *path = absolute(r, from, text, err);
    return path && s->file && file_is_dir(path) ? keep(r, text, err) : path;
}

/* Is text[0, n) a path that is there, or one with =NUMBER behind it? */
static bool names_path(const char *text, size_t n) {
    char path[FILE_PATH_MAX], *end;
    if (n >= sizeof path) return false;
    memcpy(path, text, n);
    path[n] = '\0';
    const size_t bytes = run_path_bytes(path);
    if (bytes < n && (strtod(path + bytes + 1, &end), *end || bytes + 1 == n)) return false;
    path[bytes] = '\0';
    return file_exists(path);
}

/* Bytes of the first item of a list with commas: up to the first comma before which something is there, since a folder
 * may have commas in its name. */
static size_t item_bytes(const char *text) {
    const size_t all = strlen(text);
    if (file_exists(text)) return all;
    for (size_t n = strcspn(text, ","); n < all; n += 1 + strcspn(text + n + 1, ","))
        if (names_path(text, n)) return n;
    return names_path(text, all) ? all : strcspn(text, ",");
}

/* Append "PATH,PATH=2,…" to a list. */
static int append_paths(struct run *r, const struct opt *o, const char *text, struct err *err) {
    char *rest = keep(r, text, err);
    if (!rest) return -1;
    while (*rest) {
        const size_t n = item_bytes(rest);
        const bool last = !rest[n];
        rest[n] = '\0';
        const char *path = absolute(r, NULL, rest, err);
        if (!path || opt_set(o, path, err) < 0) return -1;
        rest += n + !last;
    }
    return 0;
}

/* Make the paths of the command line absolute. */
static int settle_paths(struct run *r, struct err *err) {
    for (const struct setting *s = r->table; s->opt.name; s++) {
        if (!s->path) continue;
        if (s->opt.type == OPT_LIST) {
            const char *const *list = s->opt.target;
            const char *words[RUN_SETTINGS + 1] = {NULL};
            int n = 0;
            for (; list[n]; n++) words[n] = list[n];
            ((const char **)s->opt.target)[0] = NULL;
            for (int i = 0; i < n; i++)
                if (append_paths(r, &s->opt, words[i], err) < 0) return -1;
        } else {
            const char **target = s->opt.target;
            if (*target && !(*target = absolute_of(r, s, NULL, *target, err))) return -1;
        }
    }
    return 0;
}

/* ---- values and JSON ---- */

static const char *choice_name(const struct opt *o, size_t *n) {
    const char *p = o->meta;
    for (int i = *(int *)o->target; i > 0; i--) p = strchr(p, '|') + 1;
    *n = strcspn(p, "|");
    return p;
}

/* The setting's value; NULL when it is not set. */
static json_t *value_to_json(const struct opt *o) {
    const char *text;
    size_t n;
    switch (o->type) {
    case OPT_FLAG:
        return json_boolean(*(bool *)o->target);
    case OPT_INT:
        return json_integer(*(int64_t *)o->target);
    case OPT_REAL:
        return isnan(*(double *)o->target) ? NULL : json_real(*(double *)o->target);
    case OPT_STR:
        text = *(const char **)o->target;
        return text ? json_string(text) : NULL;
    case OPT_CHOICE:
        text = choice_name(o, &n);
        return json_stringn(text, n);
    case OPT_LIST:
        break;
    }
    json_t *list = json_array();
    for (const char *const *p = o->target; *p; p++) json_array_append_new(list, json_string(*p));
    return list;
}

static int wrong_type(const struct opt *o, const char *where, struct err *err) {
    static const char *const kinds[] = {
        [OPT_FLAG] = "true or false", [OPT_INT] = "a whole number",     [OPT_REAL] = "a number",
        [OPT_STR] = "a string",       [OPT_LIST] = "a list of strings", [OPT_CHOICE] = "a string"};
    return err_set(err, "%s: the setting \"%s\" must be %s%s%s", where, o->name, kinds[o->type],
                   o->type == OPT_CHOICE ? ", one of " : "", o->type == OPT_CHOICE ? o->meta : "");
}

static int set_text(struct run *r, const struct setting *s, const char *from, const char *text, struct err *err) {
    if (s->opt.type == OPT_LIST) return append_paths(r, &s->opt, text, err);
    if (s->opt.type == OPT_STR && !*text && (s->path || !from))
        return 0; /* so older versions spelled what is not set */
    if (s->opt.type == OPT_STR && !(text = s->path ? absolute_of(r, s, from, text, err) : keep(r, text, err)))
        return -1;
    return opt_set(&s->opt, text, err);
}

/* Numbers and flags may be spelled as strings too: older versions did. */
static int value_from_json(struct run *r, const struct setting *s, const json_t *v, const char *from, const char *where,
                           struct err *err) {
    const enum opt_type type = s->opt.type;
    char text[64];
    int status = 0;
    if (json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v)) {
        status = set_text(r, s, from, json_string_value(v), err);
    } else if (json_is_boolean(v) && type == OPT_FLAG) {
        *(bool *)s->opt.target = json_is_true(v);
    } else if (json_is_integer(v) && (type == OPT_INT || type == OPT_REAL)) {
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
        status = opt_set(&s->opt, text, err);
    } else if (json_is_real(v) && (type == OPT_INT || type == OPT_REAL)) {
        snprintf(text, sizeof text, "%.17g", json_real_value(v));
        status = opt_set(&s->opt, text, err);
    } else if (json_is_array(v) && type == OPT_LIST) {
        for (size_t i = 0; status == 0 && i < json_array_size(v); i++) {
            const char *item = json_string_value(json_array_get(v, i));
            if (!item) return wrong_type(&s->opt, where, err);
            item = absolute(r, from, item, err);
            status = item ? opt_set(&s->opt, item, err) : -1;
        }
    } else {
        return wrong_type(&s->opt, where, err);
    }
    return status < 0 ? err_prefix(err, "%s", where) : 0;
}

/* ---- run.json ---- */

static int check_names(const json_t *settings, const struct setting *table, const char *where, struct err *err) {
    const char *names[RUN_SETTINGS], *key;
    int n = 0;
    json_t *v;
    while (table[n].opt.name) names[n] = table[n].opt.name, n++;
    json_object_foreach((json_t *)(uintptr_t)settings, key, v) {
        int i = 0;
        while (i < n && strcmp(names[i], key) != 0) i++;
        if (i < n || !strcmp(key, "quiet")) continue; /* "quiet": older versions wrote it */
        const char *near = opt_nearest(key, names, n);
        if (near) return err_set(err, "%s: no setting is called \"%.100s\"; did you mean \"%s\"?", where, key, near);
        return err_set(err, "%s: no setting is called \"%.100s\"", where, key);
    }
    return 0;
}

/* A FIXED setting that was given must be what the run has. */
static int compare(struct run *r, const struct setting *s, const json_t *v, const char *from, const char *where,
                   bool implied, struct err *err) {
    union {
        const char *list[RUN_SETTINGS + 1]; /* first: only the first member is sure to be set to zeros */
        bool flag;
        int64_t whole;
        double real;
        const char *text;
        int choice;
    } value = {{NULL}};
    struct setting theirs = *s;
    BUG_ON(s->opt.type == OPT_LIST && s->opt.max > RUN_SETTINGS);
    theirs.opt.target = &value;
    if (value_from_json(r, &theirs, v, from, where, err) < 0) return -1;
    json_t *a = value_to_json(&s->opt), *b = value_to_json(&theirs.opt);
    const bool same = a && b && json_equal(a, b);
    char *mine = NULL, *was = NULL;
    for (size_t digits = 9; !same && digits <= 17; digits += 8) { /* as few as tell them apart */
        free(mine);
        free(was);
        mine = json_dumps(a, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        was = json_dumps(b, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        if (!mine || !was || strcmp(mine, was) != 0) break;
    }
    if (!same)
        err_set(err, "--%s %s%s: the run in %s was started with %s; leave it out, or use another --out", s->opt.name,
                mine ? mine : "", implied ? " (of --recipe)" : "", r->folder, was ? was : "none");
    free(mine);
    free(was);
    json_decref(a);
    json_decref(b);
    return same ? 0 : -1;
}

/* What run.json cannot hold, a run could not go on with. */
static int check_texts(const struct setting *table, struct err *err) {
    for (const struct setting *s = table; s->opt.name; s++) {
        const char *const *text = s->opt.target;
        const int n = s->rule == SETTING_START ? 0 : s->opt.type == OPT_LIST ? INT_MAX : s->opt.type == OPT_STR;
        for (int i = 0; i < n && text[i]; i++) {
            const int64_t bytes = (int64_t)strlen(text[i]);
            if (utf8_valid(text[i], bytes) == bytes) continue;
            return err_set(err, "--%s '%s': not UTF-8, so run.json cannot keep it: %s", s->opt.name, text[i],
                           s->path ? "rename what is called so" : "spell it in UTF-8");
        }
    }
    return 0;
}

/* Settings of a run.json into the targets of what was not given. `mine`: it is this run's own. */
static int apply(struct run *r, const json_t *o, const char *where, bool mine, const struct opt_given *given,
                 struct err *err) {
    char from[FILE_PATH_MAX];
    const char *slash = strrchr(where, '/');
    const json_t *settings = json_object_get(o, "settings");
    const bool old = !json_object_get(o, "version");
    bool budget = false;
    snprintf(from, sizeof from, "%.*s", slash ? (int)(slash - where) : 1, slash ? where : ".");
    if (!json_is_object(settings)) return err_set(err, "%s: no \"settings\": not a run.json of mdm %s", where, r->kind);
    if (check_names(settings, r->table, where, err) < 0) return -1;
    for (const struct setting *s = r->table; s->opt.name; s++)
        budget = budget || (s->rule == SETTING_BUDGET && opt_given(given, s->opt.name));
    for (const struct setting *s = r->table; s->opt.name; s++) {
        const json_t *v = json_object_get(settings, s->opt.name);
        if (!v && mine && !old && s->rule == SETTING_FIXED && opt_given(given, s->opt.name) &&
            !opt_kept(given, s->opt.name)) /* what it was before there was such a setting */
            return err_set(err, "--%s%s: the run in %s was started without it; leave it out, or use another --out",
                           s->opt.name, opt_implied(given, s->opt.name) ? " (of --recipe)" : "", r->folder);
        if (v && s->rule == SETTING_START && !mine && strcmp(s->opt.name, "out") != 0 &&
            strcmp(s->opt.name, "config") != 0) /* these two older versions wrote */
            return err_set(err, "%s: --%s is of a start, not of a run: say it on the command line", where, s->opt.name);
        if (!v || s->rule == SETTING_START || (s->rule == SETTING_BUDGET && budget)) continue;
        /* There --min-lr 0 meant that it was not given. */
        if (old && !strcmp(s->opt.name, "min-lr") && json_is_string(v) && !strcmp(json_string_value(v), "0")) continue;
        int status = 0;
        if (!opt_given(given, s->opt.name))
            status = value_from_json(r, s, v, old ? NULL : from, where, err);
        else if (mine && s->rule == SETTING_FIXED)
            status = compare(r, s, v, old ? NULL : from, where, opt_implied(given, s->opt.name), err);
        if (status < 0) return -1;
    }
    return check_texts(r->table, err);
}

/* The run's own run.json. */
static int resume(struct run *r, const json_t *o, const char *path, const struct opt_given *given, struct err *err) {
    const char *kind = r->kind, *version = MDM_VERSION;
    if (json_get_str(o, "mdm", &kind, false, path, err) < 0 ||
        json_get_str(o, "version", &version, false, path, err) < 0 ||
        json_get_int(o, "steps", &r->steps, 0, INT64_MAX, false, path, err) < 0)
        return -1;
    if (strcmp(kind, r->kind) != 0) return err_set(err, "%s: a run of mdm %s, not of mdm %s", path, kind, r->kind);
    if (strcmp(version, MDM_VERSION) != 0)
        progress_say(NULL, "note: %s was last at work with mdm %s, this is %s: results may differ in the last bits",
                     r->folder, version, MDM_VERSION);
    r->resumed = true;
    r->extended = json_incref(json_object_get(o, "extended"));
    return apply(r, o, path, true, given, err);
}

/* One that begins takes no model's place, nor what belongs to it. */
static int check_weights(const char *folder, struct err *err) {
    char **names;
    int64_t n;
    int status = file_list(&names, &n, folder, err);
    if (status < 0) return -1;
    for (int64_t i = 0; i < n && status == 0; i++)
        if (weight_files_is_model(names[i]))
            status = err_set(err,
                             "%s/%s is there, and no checkpoint to go on from: the run would overwrite what belongs to "
                             "it; use another --out",
                             folder, names[i]);
    file_list_free(names, n);
    return status;
}

/* A run without its settings cannot go on as it began. */
static int check_folder(const struct run *r, bool settings, struct err *err) {
    char path[FILE_PATH_MAX];
    const int found = checkpoint_newest(r->folder, path, err);
    if (found < 0) return -1;
    if (found && !settings)
        return err_set(
            err,
            "%s has checkpoints, but no run.json that says how they were made: bring it back, or use another --out",
            r->folder);
    return found ? 0 : check_weights(r->folder, err);
}

static int read_settings(struct run *r, const char *config, const struct opt_given *given, struct err *err) {
    char path[FILE_PATH_MAX];
    if (settle_paths(r, err) < 0 || check_texts(r->table, err) < 0 || file_join(path, r->folder, "run.json", err) < 0)
        return -1;
    const bool there = file_exists(path);
    if (there && config) return err_set(err, "%s is there already: leave out --config to go on with it", path);
    if (check_folder(r, there, err) < 0) return -1;
    if (!there && !config) return 0;
    json_t *o = json_read_file(there ? path : config, JSON_MAX, err);
    const int status = !o ? -1 : there ? resume(r, o, path, given, err) : apply(r, o, config, false, given, err);
    json_decref(o);
    return status;
}

/* ---- the folder ---- */

/* By one rank for all. */
static int take_folder(struct run *r, struct err *err) {
    r->made = !file_exists(r->folder);
    if (file_mkdirs(r->folder, err) < 0 || (r->lock = lock_take(r->folder, err)) < 0) return -1;
    file_sweep(r->folder);
    return 0;
}

int run_open(struct run *r, const char *kind, const char *folder, const char *config, const struct setting *table,
             const struct opt_given *given, struct err *err) {
    *r = (struct run){.folder = folder, .kind = kind, .table = table, .lock = -1};
    if (comm_settle(comm_rank() == 0 ? take_folder(r, err) : 0, err) == 0 &&
        comm_settle(read_settings(r, config, given, err), err) == 0)
        return 0;
    run_close(r);
    return -1;
}

static json_t *settings_to_json(const struct setting *table) {
    json_t *o = json_object();
    for (const struct setting *s = table; o && s->opt.name; s++) {
        json_t *v = s->rule == SETTING_START ? NULL : value_to_json(&s->opt);
        if (v) json_object_set_new(o, s->opt.name, v);
    }
    return o;
}

static json_t *run_to_json(struct run *r, struct run_facts *facts) {
    json_t *o = json_pack("{s:s, s:s, s:o, s:I}", "mdm", r->kind, "version", MDM_VERSION, "settings",
                          settings_to_json(r->table), "steps", (json_int_t)facts->steps);
    if (o && facts->others) json_object_update(o, facts->others);
    if (r->resumed && r->steps > 0 && r->steps != facts->steps) {
        if (!r->extended) r->extended = json_array();
        json_array_append_new(r->extended,
                              json_pack("{s:I, s:I}", "after", (json_int_t)facts->done, "steps", (json_int_t)r->steps));
    }
    if (o && r->extended) json_object_set(o, "extended", r->extended);
    return o;
}

/* run.json comes last: where it is, the others are. */
static int write_files(struct run *r, struct run_facts *facts, struct err *err) {
    char path[FILE_PATH_MAX];
    json_t *o = run_to_json(r, facts), *c = config_to_json(facts->config);
    int status = o && c ? 0 : err_set(err, "%s: no memory for run.json", r->folder);
    r->made = false;
    if (status == 0 && facts->tokenizer) status = tokenizer_copy(facts->tokenizer, r->folder, err);
    if (status == 0) status = file_join(path, r->folder, "config.json", err) < 0 ? -1 : json_write_file(path, c, err);
    if (status == 0) status = file_join(path, r->folder, "run.json", err) < 0 ? -1 : json_write_file(path, o, err);
    json_decref(o);
    json_decref(c);
    return status;
}

int run_write(struct run *r, struct run_facts *facts, struct err *err) {
    const int status = comm_settle(comm_rank() == 0 ? write_files(r, facts, err) : 0, err);
    json_decref(facts->others);
    facts->others = NULL;
    return status;
}

void run_close(struct run *r) {
    char path[FILE_PATH_MAX];
    struct err ignored = {{0}};
    if (r->made && r->lock >= 0 && file_join(path, r->folder, LOCK_NAME, &ignored) == 0) {
        unlink(path);
        rmdir(r->folder);
    }
    lock_release(r->lock);
    for (int64_t i = 0; i < r->nstrings; i++) mem_free(r->strings[i]);
    mem_free(r->strings);
    json_decref(r->extended);
    *r = (struct run){.lock = -1};
}
