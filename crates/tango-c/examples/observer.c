/* Watches a link without being noticed, through an event loop, until the link is closed: observer NAME */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "tango.h"

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: observer NAME\n");
        return 2;
    }
    tango_link link;
    tango_consumer rx;
    int descriptor;
    tango_status status;
    if (tango_link_open_wait(NULL, argv[1], 60 * INT64_C(1000000000), &link) != TANGO_OK ||
        tango_observer_open(link, TANGO_START_OLDEST, 0, &rx) != TANGO_OK ||
        tango_consumer_descriptor(rx, &descriptor) != TANGO_OK) {
        fprintf(stderr, "cannot observe: %s\n", tango_last_error());
        return 1;
    }
    printf("observing %s\n", argv[1]);
    fflush(stdout);
    for (;;) {
        tango_fragment fragment;
        status = tango_poll(rx, &fragment);
        if (status == TANGO_OK) {
            printf("%" PRIu64 ": %zu bytes, sig %" PRIu64 "\n", fragment.seq, fragment.len, fragment.sig);
        } else if (status == TANGO_EMPTY) {
            struct pollfd wait = {descriptor, POLLIN, 0};
            poll(&wait, 1, -1); /* readable when there is something */
        } else if (status == TANGO_OVERRUN) {
            uint64_t lost;
            tango_last_loss(&lost, NULL);
            printf("%" PRIu64 " lost\n", lost);
        } else if (status == TANGO_CLOSED) {
            break;
        } else if (status != TANGO_PRODUCER_REPLACED) {
            fprintf(stderr, "%s\n", tango_last_error());
            return 1;
        }
    }
    tango_report report;
    if (tango_link_report(link, &report, sizeof report) == TANGO_OK) {
        printf("%" PRIu64 " published, %" PRIu64 " evicted\n", report.next - report.start, report.evicted);
    }
    tango_consumer_close(rx);
    tango_link_close(link);
    return 0;
}
