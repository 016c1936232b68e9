/* fault: makes the n-th allocation, read, write, fsync or rename fail, so that tests can walk through every error path.
 *
 *     MDM_FAULT=write:3 mdm pretrain …     the third write() fails with ENOSPC; `write:3+` fails it and all after it
 *
 * Set from the environment once at first use, or by fault_set() in tests. Off costs one load and a branch. */
#ifndef MDM_BASE_FAULT_H
#define MDM_BASE_FAULT_H
#include <stdbool.h>

enum fault_kind { FAULT_ALLOC, FAULT_READ, FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME, FAULT_KINDS };
/* true when this call of that kind is to fail (errno is set to ENOMEM, EIO, ENOSPC, EIO, EIO). Thread-safe. */
bool fault_now(enum fault_kind kind);
/* n = 0 turns the kind off; `onwards`: fail every later one too. */
void fault_set(enum fault_kind kind, long n, bool onwards);
/* How many calls of that kind there were since the last fault_set() of it: tells a sweep where to end. */
long fault_count(enum fault_kind kind);

#endif
