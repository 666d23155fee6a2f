/* What all test programs share. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tango.h"

#define SECOND INT64_C(1000000000)

/* Ends the program if a call did not return what it should. */
#define EXPECT(call, code) expect((call), (code), #call, __FILE__, __LINE__)
#define CHECK(what) ((what) ? (void)0 : wrong(#what, __FILE__, __LINE__))

static inline void wrong(const char *what, const char *file, int line) {
    fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", file, line, what, tango_last_error());
    exit(1);
}

static inline void expect(tango_status found, tango_status code, const char *call, const char *file, int line) {
    if (found != code) {
        fprintf(stderr, "%s:%d: %s returned %d (%s), and not %d\n", file, line, call, (int)found, tango_last_error(), (int)code);
        exit(1);
    }
}

/* Whether the last error says so. */
static inline int says(const char *text) {
    return strstr(tango_last_error(), text) != NULL;
}

#endif
