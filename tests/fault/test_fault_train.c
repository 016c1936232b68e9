/* Saving and resuming with every allocation, write, fsync and rename made to fail in turn: an error comes back, or the
 * run is whole; what is on the disk is the checkpoint before or the one after, never a torn one; a good run follows.
 * And a damaged checkpoint is found out at any byte. */
#include "../unit/train_help.h"

#include "base/fault.h"

static const char *const kinds[] = {"alloc", "read", "write", "fsync", "rename"};

/* Every checkpoint in the folder verifies and there are no temporary files. */
static void assert_whole(const char *path) {
    struct err err = {{0}};
    char **names, file[FILE_PATH_MAX];
    int64_t n;
    struct checkpoint c;
    must(file_list(&names, &n, path, &err), &err);
    for (int64_t i = 0; i < n; i++) {
        if (strstr(names[i], ".tmp.")) fail_msg("%s was left in %s", names[i], path);
        if (strncmp(names[i], "checkpoint-", 11) != 0) continue;
        must(file_join(file, path, names[i], &err), &err);
        must(checkpoint_inspect(file, &c, &err), &err);
    }
    file_list_free(names, n);
}

/* Two steps on top of a checkpoint at step 2, with one fault. Returns whether the run ended well; what it said is in
 * `said`. */
static struct err said;
static bool faulty_run(enum fault_kind kind, long n, long *count) {
    struct err err = {{0}};
    char path[FILE_PATH_MAX], clean[FILE_PATH_MAX + 16];
    struct trainer_result r;
    struct trainer_settings s = tiny_run(path, "faulty", FAMILY_MDM, 2);
    snprintf(clean, sizeof clean, "rm -rf '%s'/*", path);
    assert_int_equal(system(clean), 0);
    train_run(&s);
    struct loader *l = open_data(FAMILY_MDM);
    const struct source source = source_of_blocks(l);
    s.schedule.steps = 4;
    s.save_every = 1;
    fault_set(kind, n, false);
    const int ok = try_run(&s, &source, NULL, &r, &err);
    *count = fault_count(kind);
    for (int k = 0; k < FAULT_KINDS; k++) fault_set((enum fault_kind)k, 0, false);
    loader_close(l);
    if (ok < 0) assert_true(err.msg[0] != 0 && !strchr(err.msg, '\n'));
    said = err;
    assert_whole(path);
    must(try_train(&s, &r, &err), &err); /* the disk is well again: the run goes on */
    assert_int_equal(r.end, TRAINER_DONE);
    return ok == 0;
}

static void sweep(void **state) {
    (void)state;
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        long total, ignored;
        assert_true(faulty_run((enum fault_kind)kind, 1000000, &total)); /* counts the calls; none fails */
        long failed = 0, rows = 0;
        const long stride = total > 60 ? total / 60 + 1 : 1;
        for (long n = 1; n <= total; n += stride) {
            const bool ok = faulty_run((enum fault_kind)kind, n, &ignored);
            failed += !ok;
            rows += !ok && strstr(said.msg, "metrics.csv: cannot reach the disk");
        }
        printf("%s: %ld calls, every %ldth failed in turn, %ld runs ended with an error\n", kinds[kind], total, stride,
               failed);
        assert_true(failed > 0 || total == 0);
        if (kind == FAULT_FSYNC) assert_int_equal(rows, 2); /* metrics.csv is synced before each checkpoint */
    }
}

static void damage_is_found(void **state) {
    (void)state;
    struct err err = {{0}};
    char path[FILE_PATH_MAX], file[FILE_PATH_MAX], *bytes;
    size_t size;
    struct checkpoint c;
    struct trainer_settings s = tiny_run(path, "damage", FAMILY_MDM, 1);
    train_run(&s);
    assert_int_equal(checkpoint_newest(path, file, &err), 1);
    must(file_read(&bytes, &size, file, 1 << 30, &err), &err);
    for (uint64_t k = 0; k < 200; k++) {
        const size_t at = rng_below(7, RNG_TEST, k, 0, size);
        char old = bytes[at];
        bytes[at] = (char)(old ^ (1 << rng_below(7, RNG_TEST, k, 1, 8)));
        must(file_write(file, bytes, size, &err), &err);
        err.msg[0] = 0;
        /* a flipped bit of the header may hit a field that does not matter (spaces, "format"): then the data is still
         * whole */
        if (checkpoint_inspect(file, &c, &err) < 0)
            assert_true(err.msg[0] != 0);
        else
            assert_true(at < 8 + *(const uint64_t *)(const void *)bytes);
        bytes[at] = old;
    }
    for (uint64_t k = 0; k < 50; k++) { /* cut short anywhere */
        must(file_write(file, bytes, rng_below(8, RNG_TEST, k, 0, size), &err), &err);
        assert_int_equal(checkpoint_inspect(file, &c, &err), -1);
    }
    mem_free(bytes);
}

int main(void) {
    train_setup();
    const struct CMUnitTest tests[] = {cmocka_unit_test(sweep), cmocka_unit_test(damage_is_found)};
    const int r = cmocka_run_group_tests(tests, NULL, NULL);
    train_teardown();
    return r;
}
