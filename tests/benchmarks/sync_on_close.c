/* Preloaded into a listener that syncs nothing: each file is on disk when it is closed, as far as fdatasync(2) goes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int fclose(FILE *file)
{
    static int (*closed)(FILE *);
    if (!closed)
        closed = (int (*)(FILE *))dlsym(RTLD_NEXT, "fclose");
    int descriptor = fileno(file);
    if (fflush(file) || (descriptor > 2 && fdatasync(descriptor)))
        abort();
    return closed(file);
}
