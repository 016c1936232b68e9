/* show: frames of text on standard error. The cursor is moved by counting the lines drawn, so every character's
 * columns are counted; text that would not fit the screen is cut, since what has scrolled away cannot be redrawn. */
#include "cmd/show.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "text/utf8.h"

static const char place_mark[] = "\xe2\x96\x91"; /* a light shade block */

static int remember(struct show *s, const int32_t *ids, int64_t n, struct err *err) {
    int status = 0;
    s->before.n = 0;
    for (int64_t i = 0; i < n && status == 0; i++) status = ids_push(&s->before, ids[i], err);
    return status;
}

int show_open(struct show *s, const struct tokenizer *t, int32_t mask, const int32_t *start, int64_t n,
              struct err *err) {
    struct winsize w;
    *s = (struct show){
        .tokenizer = t, .mask = mask, .anchor = -1, .terminal = isatty(STDERR_FILENO), .width = 80, .height = 24};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 && w.ws_row > 3) {
        s->width = w.ws_col;
        s->height = w.ws_row;
    }
    if (remember(s, start, n, err) < 0) return -1;
    if (!t) return 0;
    struct ids ids = {0};
    const int status = tokenizer_encode(t, "a", 1, &ids, err);
    if (status == 0 && ids.n > 0) s->anchor = ids.v[ids.n - 1];
    ids_free(&ids);
    return status;
}

void show_close(struct show *s) {
    ids_free(&s->before);
    bytes_free(&s->piece);
}

/* The text of one token: what it adds behind the anchor. */
static void decode_piece(struct show *s, int32_t id) {
    struct err err = {0};
    const int32_t pair[2] = {s->anchor, id};
    s->piece.n = 0;
    if (s->anchor >= 0 && tokenizer_decode(s->tokenizer, pair, 1, true, &s->piece, &err) == 0) {
        const int64_t skip = s->piece.n;
        s->piece.n = 0;
        if (tokenizer_decode(s->tokenizer, pair, 2, true, &s->piece, &err) == 0 && s->piece.n >= skip) {
            memmove(s->piece.v, s->piece.v + skip, (size_t)(s->piece.n - skip + 1));
            s->piece.n -= skip;
            return;
        }
    }
    char number[16];
    s->piece.n = 0;
    bytes_push(&s->piece, number, snprintf(number, sizeof number, "<%d>", id), &err);
}

static bool room(const struct show *s) {
    return !s->terminal || s->line < s->height - 2;
}

static void new_line(struct show *s) {
    s->line++;
    s->column = 0;
    if (room(s)) fprintf(stderr, "%s", s->terminal ? "\n" : " ");
}

/* East Asian wide and emoji blocks take two columns. */
static int columns(int32_t c) {
    const bool wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
                      (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
                      (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
    return wide ? 2 : 1;
}

/* Text from a model may hold anything: what would steer the terminal is shown as '?'. */
static void put_text(struct show *s, const char *text, int64_t n) {
    for (int64_t i = 0; i < n;) {
        int32_t c;
        const int len = utf8_next(text + i, n - i, &c);
        if (c == '\n') {
            new_line(s);
        } else {
            const int wide = columns(c);
            if (s->terminal && s->column + wide > s->width - 1) new_line(s);
            s->column += wide;
            if (!room(s)) return;
            if (c < 0x20 || (c >= 0x7f && c < 0xa0))
                fputc('?', stderr);
            else
                fprintf(stderr, "%.*s", len, text + i);
        }
        i += len;
    }
}

static void put_token(struct show *s, int32_t id, bool is_new) {
    if (id == s->mask) {
        put_text(s, s->terminal ? place_mark : "_", s->terminal ? (int64_t)sizeof place_mark - 1 : 1);
        return;
    }
    if (s->tokenizer) {
        decode_piece(s, id);
    } else {
        struct err err = {0};
        char number[16];
        s->piece.n = 0;
        bytes_push(&s->piece, number, snprintf(number, sizeof number, " %d", id), &err);
    }
    if (is_new && s->terminal) fprintf(stderr, "\033[1;32m");
    put_text(s, s->piece.v ? s->piece.v : "", s->piece.n);
    if (is_new && s->terminal) fprintf(stderr, "\033[0m");
}

bool show_changed(const struct show *s, const int32_t *ids, int64_t n) {
    return s->before.n != n || memcmp(s->before.v, ids, (size_t)n * sizeof *ids) != 0;
}

void show_draw(struct show *s, const char *label, const int32_t *ids, int64_t n) {
    struct err err = {0};
    if (s->terminal && s->drawn > 0) fprintf(stderr, "\033[%dA", s->drawn);
    if (s->terminal) fprintf(stderr, "\r\033[J");
    s->line = s->column = 0;
    put_text(s, label, (int64_t)strlen(label));
    if (s->terminal)
        new_line(s);
    else
        put_text(s, ": ", 2);
    for (int64_t i = 0; i < n && room(s); i++) put_token(s, ids[i], i >= s->before.n || s->before.v[i] != ids[i]);
    fprintf(stderr, "\n");
    s->drawn = (s->line < s->height - 2 ? s->line : s->height - 3) + 1;
    remember(s, ids, n, &err);
}
