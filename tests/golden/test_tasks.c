/* tasks: contexts, continuations and targets are byte for byte those of lm-evaluation-harness 0.4.4. tasks/make.py asked
 * the harness; its hashes stand in tasks/hashes.txt, of a few documents made up there and of the released sets
 * where they are.
 *
 *     build/tests/golden/test_tasks TASK DIR     prints the items of a task as JSON lines, for make.py */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "eval/task.h"
#include "test_data.h"

static struct err err;

static int dump(const char *name, const char *dir) {
    const struct task *t = task_find(name);
    struct task_items *items = t ? task_items_open(t, dir, false, &err) : NULL;
    struct task_item item;
    int k = items ? 1 : -1;
    while (k > 0 && (k = task_items_next(items, &item, &err)) > 0) {
        json_t *v = json_pack("{s:I, s:O, s:s, s:s, s:s, s:[]}", "doc_id", (json_int_t)item.doc_id, "doc", item.doc,
                              "context", item.context, "target", item.target, "group", item.group, "continuations");
        for (int i = 0; i < item.n; i++)
            json_array_append_new(json_object_get(v, "continuations"), json_string(item.continuations[i]));
        json_dumpf(v, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(v);
        task_item_free(&item);
    }
    task_items_close(items);
    if (k < 0) fprintf(stderr, "%s\n", err.msg);
    return k < 0;
}

/* Lines "TASK FOLDER COUNT HASH": a folder of the repository, or below MDM_TEST_DATA when it begins with "data/". */
static void harness(void **state) {
    (void)state;
    char name[64], folder[256];
    int64_t count;
    uint64_t hash;
    int lines = 0;
    FILE *f = fopen("tests/golden/tasks/hashes.txt", "r");
    assert_non_null(f);
    while (fscanf(f, "%63s %255s %" SCNd64 " %" SCNx64, name, folder, &count, &hash) == 4) {
        const char *dir = strncmp(folder, "data/", 5) == 0 ? test_data(folder) : folder;
        const struct task *t = task_find(name);
        lines++;
        assert_non_null(t);
        if (!dir) continue;
        struct task_items *items = task_items_open(t, dir, false, &err);
        if (!items) fail_msg("%s", err.msg);
        if (task_items_hash(items) != hash)
            fail_msg("%s in %s: hash %016" PRIx64 ", the harness's is %016" PRIx64, name, dir, task_items_hash(items),
                     hash);
        assert_int_equal(task_items_count(items), count);
        task_items_close(items);
    }
    fclose(f);
    assert_true(lines > 10);
}

int main(int argc, char **argv) {
    if (argc == 3) return dump(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(harness)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
