/* lock: one program at a time works in a folder.
 *
 *     int lock = lock_take("run", &err);    // -1: another program holds it; err says which
 *     …
 *     lock_release(lock);
 *
 * The lock is an flock() of the file FOLDER/.lock, so that the system drops it with the program, however that ends. The
 * file stays and tells who took it last; whoever holds the lock may remove it. */
#ifndef MDM_BASE_LOCK_H
#define MDM_BASE_LOCK_H

struct err;

#define LOCK_NAME ".lock"

/* The folder must exist. Returns a number >= 0 for lock_release(), or -1. */
int lock_take(const char *folder, struct err *err);
void lock_release(int lock); /* -1 is fine */

#endif
