/* lock: one program at a time works in a folder.
 *
 *     int lock = lock_take("run", &err);    // below 0: another program holds it, err says which; or it cannot be taken
 *     …
 *     lock_release(lock);
 *
 * The lock is an flock() of the file FOLDER/.lock, so that the system drops it with the program, however that ends. The
 * file stays and tells who took it last, or one of those that share it; whoever holds the lock alone may remove it. */
#ifndef MDM_BASE_LOCK_H
#define MDM_BASE_LOCK_H

struct err;

#define LOCK_NAME ".lock"

enum {
    LOCK_FAILED = -1,
    LOCK_HELD = -2,     /* by another program */
    LOCK_INHERITED = -3 /* by a child of the one that took it, which is dead: soon it is free */
};

/* The folder must exist. Returns a number >= 0 for lock_release(), or one of these. */
int lock_take(const char *folder, struct err *err);
/* Held by any number of programs at once, while none has it by lock_take(). */
int lock_share(const char *folder, struct err *err);
/* In a child, before it becomes another program: that one holds it too, until both have ended. */
void lock_inherit(int lock);
void lock_release(int lock); /* -1 is fine */

#endif
