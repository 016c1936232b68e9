/* chatapi: libcurl's multi interface on one thread: `parallel` slots, each with a job under way, waiting to be tried
 * again, or free. */
#include "eval/chatapi.h"

#include <curl/curl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/stop.h"

enum { BODY_MOST = 16 << 20, POLL_MS = 200, CONNECT_SECONDS = 30, SHOWN = 300, RETRY_AFTER_MAX = 3600 /* seconds */ };

enum slot_state { FREE, UNDER_WAY, WAITING };
struct slot {
    enum slot_state state;
    int64_t job;
    int tries;
    int64_t answered; /* jobs answered when this one started */
    double again;     /* when to try again */
    CURL *easy;
    char *request; /* JSON; jansson's */
    struct bytes body;
    bool body_failed; /* too long, or no memory */
};

struct exchange {
    const struct chatapi_settings *s;
    int64_t n, next; /* jobs from `next` on have not been started */
    chatapi_ask *ask;
    chatapi_take *take;
    void *context;
    struct chatapi_result *result;
    CURLM *multi;
    struct curl_slist *headers;
    char *url;
    struct slot *slots; /* parallel */
    double hold;        /* the server wants no request before */
    double hushed;      /* until then no other failure is told */
    bool broken;        /* an error has ended it: what is under way is waited for, as when it is stopped */
};

/* ---- a request ---- */

static size_t receive(char *data, size_t size, size_t count, void *context) {
    struct slot *slot = context;
    struct err err;
    const int64_t n = (int64_t)(size * count);
    slot->body_failed = slot->body.n + n > BODY_MOST || bytes_push(&slot->body, data, n, &err) < 0;
    return slot->body_failed ? 0 : size * count;
}

static int make_request(struct exchange *r, struct slot *slot, struct err *err) {
    const char *system;
    char *user;
    if (r->ask(r->context, slot->job, &system, &user, err) < 0) return -1;
    json_t *v = json_pack("{s:s, s:[{s:s, s:s}, {s:s, s:s}], s:f, s:I}", "model", r->s->model, "messages", "role",
                          "system", "content", system, "role", "user", "content", user, "temperature",
                          r->s->temperature, "max_tokens", (json_int_t)r->s->most_tokens);
    mem_free(user);
    slot->request = v ? json_dumps(v, JSON_COMPACT) : NULL;
    json_decref(v);
    return slot->request ? 0 : err_set(err, "out of memory: a request");
}

static int start(struct exchange *r, struct slot *slot, struct err *err) {
    if (!slot->request && make_request(r, slot, err) < 0) return -1;
    slot->body.n = 0;
    slot->body_failed = false;
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, slot->request);
    if (curl_multi_add_handle(r->multi, slot->easy) != CURLM_OK) return err_set(err, "out of memory: a request");
    slot->tries++;
    slot->state = UNDER_WAY;
    r->result->requests++;
    return 0;
}

/* What every request of a slot shares. The key must not follow a redirection, nor go to another kind of server. */
static int open_slot(struct exchange *r, struct slot *slot, struct err *err) {
    CURL *e = slot->easy = curl_easy_init();
    if (!e) return err_set(err, "out of memory: a connection");
    curl_easy_setopt(e, CURLOPT_URL, r->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(e, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    return curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(r->s->timeout * 1000)) == CURLE_OK
               ? 0
               : err_set(err, "libcurl refuses a setting");
}

/* ---- an answer ---- */

/* Wherever the server repeats the key, stars take its place. */
static void hide_key(const struct exchange *r, char *text) {
    const size_t n = r->s->key ? strlen(r->s->key) : 0;
    for (char *at = text; n > 0 && (at = strstr(at, r->s->key)) != NULL; at += n) memset(at, '*', n);
}

static json_t *body_json(const struct slot *slot) {
    json_error_t ignored;
    return jsonl_parse(slot->body.n ? slot->body.v : "", slot->body.n, JSON_ALLOW_NUL, &ignored);
}

/* The answer's text in memory of its own, or NULL when the body holds none; counts tokens. A model that has thought until its
 * tokens were used up has said nothing, "" or null: that is its answer, and is paid for. */
static char *answer_text(struct exchange *r, const struct slot *slot) {
    json_t *v = body_json(slot);
    const json_t *choice = json_array_get(json_object_get(v, "choices"), 0);
    const json_t *content = json_object_get(json_object_get(choice, "message"), "content");
    const char *text = json_is_null(content) ? "" : json_string_value(content);
    struct err err;
    char *copy = text ? mem_strdup(text, &err) : NULL;
    if (copy) {
        const json_t *usage = json_object_get(v, "usage");
        r->result->prompt_tokens += json_integer_value(json_object_get(usage, "prompt_tokens"));
        r->result->answer_tokens += json_integer_value(json_object_get(usage, "completion_tokens"));
        hide_key(r, copy);
    }
    json_decref(v);
    return copy;
}

/* What went wrong, in a line: what the server says in its error's message, else the start of what it sent. */
static void explain(const struct exchange *r, const struct slot *slot, CURLcode code, long status, struct err *err) {
    json_t *v = body_json(slot);
    const json_t *error = json_object_get(v, "error");
    const char *said = json_string_value(json_is_object(error) ? json_object_get(error, "message") : error);
    char text[SHOWN + 1] = "";
    struct bytes copy = {0};
    struct err ignored;
    if (!said) said = slot->body.n ? slot->body.v : "";
    /* hidden before it is cut, lest the cut leave half of the key */
    if (bytes_push(&copy, said, (int64_t)strlen(said), &ignored) == 0) {
        hide_key(r, copy.v);
        snprintf(text, sizeof text, "%s", copy.v);
    }
    bytes_free(&copy);
    json_decref(v);
    if (slot->body_failed)
        err_set(err, "%s: the answer is longer than %d bytes", r->url, BODY_MOST);
    else if (code != CURLE_OK)
        err_set(err, "%s: %s", r->url, curl_easy_strerror(code));
    else if (status == 200)
        err_set(err, "%s: not a chat completion: %s", r->url, text);
    else
        err_set(err, "%s: status %ld: %s", r->url, status, text);
}

static bool worth_another_try(CURLcode code, long status) {
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) return false;
    return code != CURLE_OK || status == 200 || status == 408 || status == 409 || status == 429 || status >= 500;
}

static void release(struct slot *slot) {
    free(slot->request);
    slot->request = NULL;
    slot->state = FREE;
}

static int take_answer(struct exchange *r, struct slot *slot, char *text, struct err *err) {
    r->result->answered++;
    r->result->trouble[0] = '\0';
    const int status = r->take(r->context, slot->job, text, err);
    mem_free(text);
    release(slot);
    return status;
}

/* The job waits for its next try, and the person is told: of jobs that fail side by side for one. */
static void try_again(struct exchange *r, struct slot *slot, long status, double wish, const char *why) {
    const double pause = r->s->pause * fmin(12, pow(2, slot->tries - 1)), now = clock_seconds();
    char wait[32];
    slot->again = now + fmax(pause, wish);
    if (status == 429 || status == 503) r->hold = fmax(r->hold, now + wish);
    snprintf(r->result->trouble, sizeof r->result->trouble, "%s", why);
    if (now < r->hushed || r->broken || stop_asked()) return;
    r->hushed = now + r->s->pause;
    clock_format(wait, fmax(slot->again, r->hold) - now);
    progress_say(r->s->progress, "%s; asked again in %s, try %d of %lld", why, wait, slot->tries + 1,
                 (long long)r->s->tries);
}

/* A request has ended, well or badly. */
static int finish(struct exchange *r, struct slot *slot, CURLcode code, struct err *err) {
    long status = 0;
    curl_off_t wish = 0; /* Retry-After, in seconds */
    struct err why = {{0}};
    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(slot->easy, CURLINFO_RETRY_AFTER, &wish);
    curl_multi_remove_handle(r->multi, slot->easy);
    slot->state = WAITING;
    char *text = code == CURLE_OK && status == 200 ? answer_text(r, slot) : NULL;
    if (text) return take_answer(r, slot, text, err);
    explain(r, slot, code, status, &why);
    if (status == 401 || status == 403 || status == 404) return err_set(err, "%s", why.msg);
    const bool again = worth_another_try(code, status);
    if (again && wish > RETRY_AFTER_MAX)
        return err_set(err, "%s; it wants no other try for %lld s: start again then", why.msg, (long long)wish);
    if (again && slot->tries < r->s->tries) {
        try_again(r, slot, status, (double)wish, why.msg);
        return 0;
    }
    if (again && slot->answered == r->result->answered) /* nobody had an answer all this time */
        return err_set(err, "%s; given up after %d tries", why.msg, slot->tries);
    if (r->result->failed++ == 0) snprintf(r->result->why, sizeof r->result->why, "%s", why.msg);
    release(slot);
    return 0;
}

/* ---- the loop ---- */

/* Starts what may be started. Returns how many slots have work, and in *wait the seconds until one wants to start. */
static int start_all(struct exchange *r, double *wait, int *busy, struct err *err) {
    const double now = clock_seconds();
    r->result->stopped = r->result->stopped || stop_asked();
    const bool stop = r->result->stopped || r->broken;
    *busy = 0;
    *wait = POLL_MS / 1e3;
    for (int64_t i = 0; i < r->s->parallel; i++) {
        struct slot *slot = &r->slots[i];
        if (slot->state == FREE && r->next < r->n && !stop) {
            slot->job = r->next++;
            slot->tries = 0;
            slot->answered = r->result->answered;
            slot->again = 0;
            slot->state = WAITING;
        }
        if (slot->state == WAITING && stop) release(slot);
        const double from = fmax(slot->again, r->hold);
        if (slot->state == WAITING && from <= now && start(r, slot, err) < 0) return -1;
        if (slot->state == WAITING) *wait = fmin(*wait, fmax(0, from - now));
        *busy += slot->state != FREE;
    }
    return 0;
}

static int loop(struct exchange *r, struct err *err) {
    struct err later; /* the first error is told */
    for (;;) {
        double wait;
        int busy, running, left;
        if (start_all(r, &wait, &busy, err) < 0) {
            r->broken = true;
            continue;
        }
        if (busy == 0) return r->broken ? -1 : 0;
        if (curl_multi_perform(r->multi, &running) != CURLM_OK)
            return err_set(err, "libcurl: the transfers cannot go on");
        const CURLMsg *m;
        bool any = false;
        while ((m = curl_multi_info_read(r->multi, &left)) != NULL) {
            struct slot *slot;
            if (m->msg != CURLMSG_DONE) continue;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &slot);
            any = true;
            if (finish(r, slot, m->data.result, r->broken ? &later : err) < 0) r->broken = true;
        }
        if (!any && curl_multi_poll(r->multi, NULL, 0, (int)ceil(wait * 1e3), NULL) != CURLM_OK)
            return err_set(err, "libcurl: cannot wait for the transfers");
    }
}

static int open_run(struct exchange *r, struct err *err) {
    const size_t n = strlen(r->s->base);
    const char *tail = n > 0 && r->s->base[n - 1] == '/' ? "chat/completions" : "/chat/completions";
    r->url = mem_alloc((int64_t)(n + strlen(tail)) + 1, 1, "an address", err);
    r->slots = r->url ? mem_alloc(r->s->parallel, sizeof *r->slots, "requests", err) : NULL;
    if (!r->slots) return -1;
    sprintf(r->url, "%s%s", r->s->base, tail);
    r->multi = curl_multi_init();
    r->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (!r->multi || !r->headers) return err_set(err, "out of memory: libcurl");
    if (r->s->key) {
        struct bytes line = {0};
        int status = bytes_push(&line, "Authorization: Bearer ", 22, err);
        if (status == 0) status = bytes_push(&line, r->s->key, (int64_t)strlen(r->s->key), err);
        struct curl_slist *more = status == 0 ? curl_slist_append(r->headers, line.v) : NULL;
        if (line.v) memset(line.v, 0, (size_t)line.n);
        bytes_free(&line);
        if (!more) return status < 0 ? -1 : err_set(err, "out of memory: libcurl");
    }
    for (int64_t i = 0; i < r->s->parallel; i++)
        if (open_slot(r, &r->slots[i], err) < 0) return -1;
    return 0;
}

int chatapi_run(const struct chatapi_settings *s, int64_t n, chatapi_ask *ask, chatapi_take *take, void *context,
                struct chatapi_result *result, struct err *err) {
    struct exchange r = {.s = s, .n = n, .ask = ask, .take = take, .context = context, .result = result};
    *result = (struct chatapi_result){0};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return err_set(err, "libcurl does not start");
    int status = open_run(&r, err);
    if (status == 0) status = loop(&r, err);
    for (int64_t i = 0; r.slots && i < s->parallel; i++) {
        if (r.multi && r.slots[i].state == UNDER_WAY) curl_multi_remove_handle(r.multi, r.slots[i].easy);
        curl_easy_cleanup(r.slots[i].easy);
        release(&r.slots[i]);
        bytes_free(&r.slots[i].body);
    }
    curl_multi_cleanup(r.multi);
    curl_slist_free_all(r.headers);
    mem_free(r.slots);
    mem_free(r.url);
    curl_global_cleanup();
    return status;
}
