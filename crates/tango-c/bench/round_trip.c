/* The time of a round trip of 64 bytes between two threads, over this interface. What crates/measure/examples/round_trip.rs
 * measures without it. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tango.h"

enum { WARM_UP = 100000, ROUNDS = 10, TRIPS = 200000 };

static tango_link there, back;

static void check(tango_status status) {
    if (status != TANGO_OK) {
        fprintf(stderr, "%s: %s\n", tango_strerror(status), tango_last_error());
        exit(1);
    }
}

static int receive(tango_consumer rx, tango_fragment *fragment) {
    for (;;) {
        tango_status status = tango_poll(rx, fragment);
        if (status == TANGO_OK) {
            return 1;
        }
        if (status == TANGO_CLOSED) {
            return 0;
        }
        if (status != TANGO_EMPTY) {
            check(status);
        }
    }
}

static void *echo(void *ignored) {
    tango_producer tx;
    tango_consumer rx;
    tango_fragment fragment;
    check(tango_consumer_open(there, TANGO_START_OLDEST, 0, &rx));
    check(tango_producer_open(back, &tx));
    while (receive(rx, &fragment)) {
        check(tango_publish(tx, fragment.data, fragment.len, 0, 0, 0));
        check(tango_fragment_release(rx, &fragment));
    }
    check(tango_producer_close(tx));
    check(tango_consumer_close(rx));
    return ignored;
}

static void trips(tango_producer tx, tango_consumer rx, int count) {
    unsigned char payload[64] = {0};
    tango_fragment fragment;
    for (int n = 0; n < count; n++) {
        memcpy(payload, &n, sizeof n);
        check(tango_publish(tx, payload, sizeof payload, 0, 0, 0));
        if (!receive(rx, &fragment) || fragment.len != sizeof payload || memcmp(fragment.data, payload, sizeof payload)) {
            fprintf(stderr, "trip %d came back wrong\n", n);
            exit(1);
        }
        check(tango_fragment_release(rx, &fragment));
    }
}

int main(void) {
    tango_producer tx;
    tango_consumer rx;
    pthread_t thread;
    check(tango_link_build(NULL, &there));
    check(tango_link_build(NULL, &back));
    check(tango_consumer_open(back, TANGO_START_NEXT, 0, &rx));
    check(tango_producer_open(there, &tx));
    if (pthread_create(&thread, NULL, echo, NULL) != 0) {
        return 1;
    }
    trips(tx, rx, WARM_UP);
    for (int round = 0; round < ROUNDS; round++) {
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        trips(tx, rx, TRIPS);
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
        printf("%.1f\n", ns / TRIPS);
    }
    check(tango_producer_close(tx));
    pthread_join(thread, NULL);
    check(tango_consumer_close(rx));
    check(tango_link_close(there));
    check(tango_link_close(back));
    return 0;
}
