/* Reads every fragment of a link until it is closed: consumer NAME */
#include <inttypes.h>
#include <stdio.h>

#include "tango.h"

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: consumer NAME\n");
        return 2;
    }
    tango_link link;
    tango_consumer rx;
    tango_status status;
    /* Waits for a minute if the producer has not made it yet. */
    if (tango_link_open_wait(NULL, argv[1], 60 * INT64_C(1000000000), &link) != TANGO_OK ||
        tango_consumer_open(link, TANGO_START_OLDEST, 0, &rx) != TANGO_OK) {
        fprintf(stderr, "cannot join: %s\n", tango_last_error());
        return 1;
    }
    tango_link_close(link); /* the consumer has a share of its own */

    for (;;) {
        tango_fragment fragment;
        uint64_t lost, next;
        status = tango_recv(rx, -1, &fragment);
        switch (status) {
        case TANGO_OK:
            /* The bytes are in the ring itself. They are valid until the release. */
            printf("%" PRIu64 ": %.*s\n", fragment.seq, (int)fragment.len, (const char *)fragment.data);
            tango_fragment_release(rx, &fragment);
            break;
        case TANGO_CLOSED:
            tango_consumer_close(rx);
            return 0;
        case TANGO_OVERRUN:
        case TANGO_EVICTED:
        case TANGO_CORRUPT:
            tango_last_loss(&lost, &next);
            fprintf(stderr, "%" PRIu64 " lost, going on with %" PRIu64 "\n", lost, next);
            break;
        case TANGO_PRODUCER_REPLACED:
            fprintf(stderr, "%s\n", tango_last_error());
            break;
        case TANGO_PRODUCER_GONE: /* it crashed. Everything that it published was read. */
        default:
            fprintf(stderr, "%s\n", tango_last_error());
            tango_consumer_close(rx);
            return 1;
        }
    }
}
