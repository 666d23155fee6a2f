/* Creates a link, waits for one consumer, and publishes ten prices: producer NAME */
#include <stdio.h>
#include <string.h>

#include "tango.h"

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, tango_last_error());
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: producer NAME\n");
        return 2;
    }
    if (tango_abi_version() != TANGO_ABI_VERSION) {
        fprintf(stderr, "this program was compiled for another version of libtango\n");
        return 1;
    }
    tango_options options;
    if (tango_options_default(&options, sizeof options) != TANGO_OK) {
        return failed("options");
    }
    options.depth = 1024;
    options.mtu = 256;
    options.consumers = 4;
    options.remove_on_drop = 1;

    tango_link link;
    tango_producer tx;
    if (tango_link_create_or_take_over(argv[1], &options, &link) != TANGO_OK) {
        return failed("cannot create the link");
    }
    if (tango_producer_open(link, &tx) != TANGO_OK) {
        return failed("cannot become the producer");
    }
    if (tango_producer_wait_for_consumers(tx, 1, 60 * INT64_C(1000000000)) != TANGO_OK) {
        return failed("no consumer has come");
    }
    for (int price = 100; price < 110; price++) {
        char text[32];
        int len = snprintf(text, sizeof text, "bid %d", price);
        /* Waits for ten seconds if the consumers are behind. */
        tango_status status = tango_send(tx, text, (size_t)len, 7, 0, 0, 10 * INT64_C(1000000000));
        if (status != TANGO_OK) {
            return failed("cannot publish");
        }
    }
    /* The link keeps what it has for consumers that are behind; this only says that they have read it. */
    if (tango_producer_wait_until_drained(tx, 10 * INT64_C(1000000000)) != TANGO_OK) {
        return failed("the consumers have not read everything");
    }
    tango_producer_close(tx); /* closes the link: consumers get TANGO_CLOSED */
    tango_link_close(link);   /* removes it, because of remove_on_drop */
    return 0;
}
