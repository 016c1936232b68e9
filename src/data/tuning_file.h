/* tuning_file: a file of a fine-tuning set, record by record, as pieces of text of which some are to be learned (text/chat.h).
 *
 *     const struct tuning_text text = {.form = TUNING_CHAT, .template = chat_find("vicuna", &err)};
 *     struct tuning_file *f = tuning_file_open("chats.jsonl", &text, &err);
 *     while ((k = tuning_file_next(f, &pieces, &err)) > 0)
 *         if (k == TUNING_PIECES) use(&pieces);
 *     tuning_file_close(f);
 *
 * docs/finetuning.md says what a record of each form looks like and which of them its task passes over. */
#ifndef MDM_DATA_TUNING_FILE_H
#define MDM_DATA_TUNING_FILE_H
#include "text/chat.h"

struct err;
struct tuning_file;

enum tuning_form { TUNING_SHAREGPT, TUNING_GSM8K, TUNING_REVERSE, TUNING_CHAT, TUNING_COMPLETION };
struct tuning_text {
    enum tuning_form form;
    const struct chat_template *template; /* of conversations */
    const char *system;                   /* their system sentence; NULL: the template's */
};
enum tuning_found {
    TUNING_BROKEN = -2, /* the file cannot be read on */
    TUNING_BAD = -1, /* this record is not as it should be: err says where and why; the next call goes on behind it */
    TUNING_END = 0,
    TUNING_PIECES = 1,
    TUNING_PASSED = 2, /* the task's own rule leaves this record out */
};

struct tuning_file *tuning_file_open(const char *path, const struct tuning_text *text, struct err *err);
/* pieces: in place of what it held. */
enum tuning_found tuning_file_next(struct tuning_file *f, struct chat *pieces, struct err *err);
const char *tuning_file_where(const struct tuning_file *f); /* "FILE line 3": of the record just read */
void tuning_file_close(struct tuning_file *f);              /* NULL is fine */

#endif
