/* prepare, run again into a folder: what was stopped or killed goes on to the same bytes; what another run, set, tokenizer
 * or program has there is kept or refused; chunks that are lost are told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <zstd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/lock.h"
#include "base/rng.h"
#include "base/stop.h"
#include "prepare_help.h"
#include "stop_help.h"

/* Runs in a child that is asked to stop (sig = SIGTERM) before it starts, or killed a moment after the file `until` has
 * come into being. Its wait status. */
static int run_child(const struct prepare_settings *s, int sig, const char *until) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = {0};
        struct prepare_result r;
        stop_install();
        if (sig == SIGTERM) ask_to_stop();
        int status = prepare_run(s, tok, &r, &err);
        if (status < 0) fprintf(stderr, "child: %s\n", err.msg);
        _exit(status < 0 ? 1 : r.stopped ? 3 : 0);
    }
    int status, ended = 0;
    if (sig == SIGKILL) {
        static long moment;
        while (!there(until) && (ended = waitpid(pid, &status, WNOHANG)) == 0) usleep(100);
        usleep((useconds_t)(moment++ * 700 % 3000));
        if (!ended) kill(pid, SIGKILL);
    }
    if (!ended) assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void stopped_and_resumed(void **state) {
    (void)state;
    struct prepare_settings s = settings(in(dir, "s_whole"));
    s.validation = 0.1;
    prepare(&s);
    s.out = in(dir, "s_stopped");
    s.save_seconds = 0;
    for (int i = 0; i < 3; i++) { /* each time one job further */
        int status = run_child(&s, SIGTERM, NULL);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
        assert_true(there(in(dir, "s_stopped/prepare_train_made-up.json")));
    }
    /* other settings are refused as long as the position is there */
    struct prepare_settings other = s;
    struct err err = {0};
    struct prepare_result r;
    other.eos = false;
    assert_int_equal(prepare_run(&other, tok, &r, &err), -1);
    assert_says(err, "unfinished run with other settings");
    s.threads = 5; /* is no such setting */
    r = prepare(&s);
    assert_true(r.resumed);
    assert_true(r.tokens_before > 0 && r.tokens_before < r.counts.tokens);
    same_folder(in(dir, "s_whole"), in(dir, "s_stopped"));
}

/* What a run has read, for its rate: without the files that an earlier one has done with. */
static void bytes_of_this_run(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct prepare_settings s = settings(in(dir, "bytes"));
    int64_t file = 0, left = sources.bytes;
    s.chunk_tokens = 30000;
    fault_set(FAULT_WRITE, 40, true);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    fault_set(FAULT_WRITE, 0, false);
    json_t *at = json_read_file(in(dir, "bytes/prepare_train_made-up.json"), 1 << 20, &err);
    assert_int_equal(json_get_int(at, "file", &file, 1, FILES - 1, true, "saved", &err), 1);
    json_decref(at);
    for (int64_t i = 0; i < file; i++) left -= sources.sizes[i];
    r = prepare(&s);
    assert_true(r.resumed);
    assert_int_equal(r.bytes_read, left);
}

static void killed_and_resumed(void **state) {
    (void)state;
    struct prepare_settings s = settings(in(dir, "k_whole"));
    s.validation = 0.1;
    s.chunk_tokens = 30000; /* some thirty chunks and saved positions */
    prepare(&s);
    s.out = in(dir, "k_killed");
    s.save_seconds = 0;
    int kills = 0;
    for (int chunk = 0;; chunk += 3) {
        char until[4096];
        snprintf(until, sizeof until, "%s/train_made-up_0_%010d.bin", s.out, chunk);
        int status = run_child(&s, SIGKILL, until);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            break;
        }
        kills++;
    }
    print_message("killed %d times\n", kills);
    assert_true(kills > 2);
    same_folder(in(dir, "k_whole"), in(dir, "k_killed"));
    put_text(in(dir, "k_killed/manifest.json.tmp.0123456789abcdef"), "{"); /* of a kill in the last moment */
    prepare(&s);
    same_folder(in(dir, "k_whole"), in(dir, "k_killed"));
}

/* A stop is seen while the reader passes over what an earlier run has done: here that has since become unreadable, so
 * that whoever reads on meets an error. */
static void stopped_while_skipping(void **state) {
    (void)state;
    struct err err = {0};
    struct sources src = {0};
    char *text, *packed = malloc(4 << 20);
    size_t size, n = 0, first = 0;
    for (int frame = 0; frame < 2; frame++) { /* 100 documents, then 3000: a job ends within the second frame */
        FILE *f = open_memstream(&text, &size);
        for (int i = 0; i < (frame ? 3000 : 100); i++) {
            fprintf(f, "{\"text\": \"%d:", i);
            for (int k = 0; k < 300; k++) fputc('a' + (int)rng_below(1, RNG_TEST, (uint64_t)i, (uint64_t)k, 23), f);
            fprintf(f, "\"}\n");
        }
        fclose(f);
        n += ZSTD_compress(packed + n, (4 << 20) - n, text, size, 1);
        if (frame == 0) first = n;
        free(text);
    }
    put(in(dir, "skip.jsonl.zst"), packed, n);
    assert_int_equal(sources_add(&src, in(dir, "skip.jsonl.zst"), &err), 0);
    struct prepare_settings s = settings(in(dir, "skipping"));
    s.sources = &src;
    int status = run_child(&s, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    json_t *at = json_read_file(in(dir, "skipping/prepare_train_made-up.json"), 1 << 20, &err);
    assert_in_range(json_integer_value(json_object_get(at, "record")), 200, 2900);
    json_decref(at);
    assert_true(n > 8 * 4096);
    for (size_t k = first + 10; k < n; k++) { /* all but the pieces that tell whether the file is the same */
        bool piece = false;
        for (size_t i = 0; i < 8; i++) piece = piece || k - (n - 4096) * i / 7 < 4096;
        if (!piece) packed[k] = (char)0xff;
    }
    put(in(dir, "skip.jsonl.zst"), packed, n);
    status = run_child(&s, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    struct prepare_result r;
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "damaged zstd data");
    sources_free(&src);
    free(packed);
}

/* One tokenizer a folder, one program at a time. */
static void one_tokenizer_and_one_program(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct prepare_settings s = settings(in(dir, "one_tokenizer"));
    s.limit_documents = 5;
    prepare(&s);
    /* the same file, but its end id is another */
    mkdir(in(dir, "other"), 0777);
    put_byte_tokenizer(in(dir, "other/tokenizer.json"));
    put_text(in(dir, "other/tokenizer_config.json"), "{\"eos_token\": \"A\"}");
    struct tokenizer *other = tokenizer_load(in(dir, "other"), &err);
    assert_int_equal(tokenizer_eos(other), 'A' + 1);
    s.name = "second";
    assert_int_equal(prepare_run(&s, other, &r, &err), -1);
    assert_says(err, "holds the set 'train_made-up' of another tokenizer");
    prepare(&s); /* the first one's is welcome */
    s.name = "made-up";
    assert_int_equal(prepare_run(&s, other, &r, &err), -1); /* not "already complete" */
    assert_says(err, "made with other settings, files or tokenizer");
    /* a tokenizer that lies there before any set */
    s.out = in(dir, "other");
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "is another tokenizer than");
    tokenizer_free(other);
    s.out = in(dir, "locked");
    mkdir(s.out, 0777);
    int lock = lock_take(s.out, &err);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "another program is at work in this folder");
    lock_release(lock);
    prepare(&s);
}

/* A file of the same name and size with other bytes is another file; a copy of it, made at another time, is the same. */
static void edited_in_place(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct sources one = {0};
    enum { SIZE = 300000 };
    char *text = malloc(SIZE);
    for (int i = 0; i < SIZE; i++) text[i] = i % 60 ? 'a' : '\n';
    put(in(dir, "edited.txt"), text, SIZE);
    assert_int_equal(sources_add(&one, in(dir, "edited.txt"), &err), 0);
    struct prepare_settings s = settings(in(dir, "edited"));
    s.sources = &one;
    prepare(&s);
    put(in(dir, "edited.txt"), text, SIZE);
    assert_true(prepare(&s).complete);
    for (int at = 0; at < SIZE; at += SIZE - 1) { /* the first and the last byte */
        text[at] = 'b';
        put(in(dir, "edited.txt"), text, SIZE);
        assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
        assert_says(err, "made with other settings, files");
        text[at] = at % 60 ? 'a' : '\n';
    }
    sources_free(&one);
    free(text);
}

/* A run that was stopped before its first chunk, by a bad file say, is in nobody's way. */
static void nothing_finished(void **state) {
    (void)state;
    struct prepare_settings s = settings(in(dir, "nothing"));
    s.chunk_tokens = 1 << 20;
    s.save_seconds = 0;
    const int status = run_child(&s, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    assert_true(there(in(dir, "nothing/prepare_train_made-up.json")));
    s.eos = false;
    assert_false(prepare(&s).resumed);
    s.out = in(dir, "nothing_before");
    prepare(&s);
    same_folder(in(dir, "nothing"), s.out);
}

/* Two sets never write one stream, whether the other is finished or begun, in whichever order they come. */
static void streams_of_other_sets(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct prepare_settings first = settings(in(dir, "streams")), other = first, held_out = first, none = first;
    first.validation = 0.01; /* no chunk of it yet when the run is stopped */
    other.validation = 0.5, other.split = "test";
    held_out.split = "validation";
    none.split = "test";
    int status = run_child(&first, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    assert_int_equal(prepare_run(&other, tok, &r, &err), -1);
    assert_says(err, "the unfinished set 'train_made-up' writes validation_made-up_*.bin, too");
    assert_int_equal(prepare_run(&held_out, tok, &r, &err), -1);
    assert_says(err, "the unfinished set 'train_made-up' writes validation_made-up_*.bin, too");
    assert_true(prepare(&first).resumed);
    assert_int_equal(prepare_run(&other, tok, &r, &err), -1);
    assert_says(err, "already has validation_made-up_*.bin, of the set 'train_made-up'");
    assert_int_equal(prepare_run(&held_out, tok, &r, &err), -1);
    assert_says(err, "already has validation_made-up_*.bin, of the set 'train_made-up'");
    none.limit_documents = 5;
    prepare(&none); /* shares the name, and no stream */
    assert_true(prepare(&first).complete);
    held_out.out = other.out = in(dir, "streams2");
    held_out.chunk_tokens = 1 << 20; /* stopped before its first chunk */
    status = run_child(&held_out, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    assert_int_equal(prepare_run(&other, tok, &r, &err), -1);
    assert_says(err, "the unfinished set 'validation_made-up' writes validation_made-up_*.bin, too");
    unlink(in(dir, "streams2/prepare_validation_made-up.json")); /* a tail alone is nobody's */
    prepare(&other);
}

static void lost_chunks(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct prepare_settings s = settings(in(dir, "lost"));
    const char *const chunk = in(dir, "lost/train_made-up_0_0000000001.bin"), *const away = in(dir, "away.bin");
    s.validation = 0.1;
    s.chunk_tokens = 20000;
    int status = run_child(&s, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    for (int i = 0; i < 2; i++) { /* of a run that goes on, of a finished set */
        assert_int_equal(rename(chunk, away), 0);
        assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
        assert_says(err, "train_made-up_0_0000000001.bin': No such file");
        assert_says(err, i ? "there and manifest.json" : "prepare_train_made-up.json and train_made-up_*.bin");
        assert_int_equal(file_copy(in(dir, "lost/train_made-up_0_0000000000.bin"), chunk, &err), 0);
        assert_int_equal(truncate(chunk, 24 + 2 * 10), 0);
        unsigned char ten[8] = {10};
        int fd = open(chunk, O_WRONLY);
        assert_int_equal(pwrite(fd, ten, 8, 16), 8);
        close(fd);
        assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
        assert_says(err, i ? "10 tokens, manifest.json says 20000" : "10 tokens of 20000");
        assert_int_equal(rename(away, chunk), 0);
        r = prepare(&s);
        assert_true(i ? r.complete : r.resumed);
    }
    assert_int_equal(unlink(in(dir, "lost/validation_made-up_0_0000000000.bin")), 0);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "validation_made-up_0_0000000000.bin': No such file");
}

/* A position that does not fit what stands in its tails. */
static void damaged_position(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct prepare_settings s = settings(in(dir, "tails"));
    s.validation = 0.1;
    int status = run_child(&s, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    size_t n;
    char *text = get(in(dir, "tails/prepare_train_made-up.json"), &n), *p = strstr(text, "\"main_tokens\": ");
    p[15] = p[15] == '9' ? '1' : (char)(p[15] + 1);
    put(in(dir, "tails/prepare_train_made-up.json"), text, n);
    free(text);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "do not fit");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopped_and_resumed),
        cmocka_unit_test(bytes_of_this_run),
        cmocka_unit_test(killed_and_resumed),
        cmocka_unit_test(stopped_while_skipping),
        cmocka_unit_test(one_tokenizer_and_one_program),
        cmocka_unit_test(edited_in_place),
        cmocka_unit_test(nothing_finished),
        cmocka_unit_test(streams_of_other_sets),
        cmocka_unit_test(lost_chunks),
        cmocka_unit_test(damaged_position),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
