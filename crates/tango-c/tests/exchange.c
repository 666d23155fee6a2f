/* One side of an exchange between processes; the other may be the command `tango`, which is written in Rust.
 *
 *   exchange send NAME HOW COUNT [WAIT]   publishes the numbers 1 to COUNT as text; HOW: send, loan or batch. Then it waits
 *                                         until the readers have read; with WAIT "forever", until it is killed
 *   exchange recv NAME HOW                prints what it reads until the link is closed; HOW: consumer, batch, observer,
 *                                         evictable, descriptor. Says "joined" on standard error first. Exit code 3: the producer has died; 4: it goes on after that
 */
#include <poll.h>
#include <unistd.h>

#include "check.h"

static int is(const char *argument, const char *text) { return strcmp(argument, text) == 0; }

static void publish(tango_producer tx, const char *how, uint64_t count) {
    enum { ROOM = 100 };
    char texts[ROOM][24];
    tango_bytes batch[ROOM];
    for (uint64_t n = 1; n <= count;) {
        int len = snprintf(texts[0], sizeof texts[0], "%" PRIu64, n);
        if (is(how, "send")) {
            EXPECT(tango_send(tx, texts[0], (size_t)len, n, 0, 0, 60 * SECOND), TANGO_OK);
            n++;
        } else if (is(how, "loan")) {
            tango_status status = tango_loan(tx, 24);
            if (status == TANGO_NO_CREDITS) {
                continue;
            }
            EXPECT(status, TANGO_OK);
            EXPECT(tango_loan_write(tx, 0, texts[0], (size_t)len), TANGO_OK);
            EXPECT(tango_loan_truncate(tx, (size_t)len), TANGO_OK);
            EXPECT(tango_loan_commit(tx, n, 0, 0), TANGO_OK);
            n++;
        } else {
            size_t published, room = 0;
            for (; room < ROOM && n + room <= count; room++) {
                batch[room].len = (size_t)snprintf(texts[room], sizeof texts[room], "%" PRIu64, n + room);
                batch[room].data = texts[room];
            }
            tango_status status = tango_publish_batch(tx, batch, room, 0, 0, 0, &published);
            CHECK(status == TANGO_OK ? published == room : status == TANGO_NO_CREDITS && published < room);
            n += published;
        }
    }
}

static int produce(const char *name, const char *how, uint64_t count, int forever) {
    tango_options options;
    tango_link link;
    tango_producer tx;
    EXPECT(tango_options_default(&options, sizeof options), TANGO_OK);
    options.consumers = 4;
    options.remove_on_drop = 1;
    EXPECT(tango_link_create_or_take_over(name, &options, &link), TANGO_OK);
    EXPECT(tango_producer_open(link, &tx), TANGO_OK);
    EXPECT(tango_producer_wait_for_consumers(tx, 1, 60 * SECOND), TANGO_OK);
    publish(tx, how, count);
    EXPECT(tango_producer_wait_until_drained(tx, 60 * SECOND), TANGO_OK);
    if (forever) {
        puts("drained");
        fflush(stdout);
        for (;;) {
            pause();
        }
    }
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_link_close(link), TANGO_OK);
    return 0;
}

static void show(const tango_fragment *fragment) {
    CHECK((uintptr_t)fragment->data % 32 == 0);
    printf("%.*s\n", (int)fragment->len, (const char *)fragment->data);
}

static int consume(const char *name, const char *how) {
    tango_link link;
    tango_consumer rx;
    tango_status status;
    int has_died = 0, descriptor = -1;
    EXPECT(tango_link_open_wait(NULL, name, 60 * SECOND, &link), TANGO_OK);
    if (is(how, "observer")) {
        status = tango_observer_open(link, TANGO_START_OLDEST, 0, &rx);
    } else if (is(how, "evictable")) {
        status = tango_evictable_open(link, TANGO_START_OLDEST, 0, &rx);
    } else {
        status = tango_consumer_open(link, TANGO_START_OLDEST, 0, &rx);
    }
    EXPECT(status, TANGO_OK);
    EXPECT(tango_link_close(link), TANGO_OK);
    fprintf(stderr, "joined\n");
    if (is(how, "descriptor")) {
        EXPECT(tango_consumer_descriptor(rx, &descriptor), TANGO_OK);
    }
    for (;;) {
        tango_fragment fragments[50];
        size_t count = 0;
        if (is(how, "batch")) {
            status = tango_poll_batch(rx, fragments, 50, &count);
            for (size_t at = 0; at < count; at++) {
                show(&fragments[at]);
            }
            if (status == TANGO_OK) {
                EXPECT(tango_batch_release(rx), TANGO_OK);
            }
        } else if (is(how, "descriptor")) {
            status = tango_poll(rx, fragments);
            if (status == TANGO_OK) {
                show(fragments);
            } else if (status == TANGO_EMPTY) {
                struct pollfd wait = {descriptor, POLLIN, 0};
                CHECK(poll(&wait, 1, 60000) == 1);
            }
        } else {
            status = tango_recv(rx, 60 * SECOND, fragments);
            if (status == TANGO_OK) {
                show(fragments);
                EXPECT(tango_fragment_release(rx, fragments), TANGO_OK);
            }
        }
        if (status == TANGO_CLOSED) {
            EXPECT(tango_consumer_close(rx), TANGO_OK);
            return has_died ? 4 : 0;
        }
        if (status == TANGO_PRODUCER_GONE) {
            CHECK(says("died"));
            fflush(stdout);
            if (getenv("GO_ON") == NULL) {
                EXPECT(tango_consumer_close(rx), TANGO_OK);
                return 3;
            }
            EXPECT(tango_consumer_wait_for_producer(rx, 60 * SECOND), TANGO_OK);
        } else if (status == TANGO_PRODUCER_REPLACED) {
            uint64_t lost, next;
            EXPECT(tango_last_loss(&lost, &next), TANGO_OK);
            CHECK(lost == 0 && next > 1);
            has_died = 1;
        } else if (status != TANGO_EMPTY) {
            EXPECT(status, TANGO_OK);
        }
    }
}

int main(int argc, char **argv) {
    CHECK(tango_abi_version() == TANGO_ABI_VERSION);
    CHECK(argc >= 4);
    if (is(argv[1], "send")) {
        return produce(argv[2], argv[3], strtoull(argv[4], NULL, 10), argc > 5);
    }
    return consume(argv[2], argv[3]);
}
