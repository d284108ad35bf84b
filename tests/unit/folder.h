/* A test's folder of its own, and its end. No shell is started for it: it would read what a path holds as a command. */
#ifndef RC_TESTS_UNIT_FOLDER_H
#define RC_TESTS_UNIT_FOLDER_H

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static inline int test_folder_remove_one(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

/* Removes the folder and all that is in it; links are not followed. 0, or −1 with errno. */
static inline int test_folder_remove(const char *path) {
    return nftw(path, test_folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
