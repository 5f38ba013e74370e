/* Where FUSE is not at hand: with LD_PRELOAD a folder below $REFUSE_RENAMES_BELOW with anything in it is not renamed.
   That covers what calls the C library, as Python, TensorFlow and DuckDB do; not a bare system call. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int refused(const char *path) {
    const char *mount = getenv("REFUSE_RENAMES_BELOW");
    if (!mount || strncmp(path, mount, strlen(mount))) return 0;
    DIR *folder = opendir(path);
    if (!folder) return 0;
    int entries = 0;
    while (readdir(folder)) entries++;
    closedir(folder);
    if (entries > 2) errno = EMFILE;
    return entries > 2;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return renameat2(from_folder, from, to_folder, to, 0);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    int (*real)(int, const char *, int, const char *, unsigned) = dlsym(RTLD_NEXT, "renameat2");
    return refused(from) ? -1 : real(from_folder, from, to_folder, to, flags);
}
