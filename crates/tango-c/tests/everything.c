/* Every function, used as it should be, on links of this process. */
#include <pthread.h>
#include <unistd.h>

#include "check.h"

static tango_options defaults(void) {
    tango_options options;
    memset(&options, 0xff, sizeof options);
    EXPECT(tango_options_default(&options, sizeof options), TANGO_OK);
    return options;
}

static tango_link heap(size_t depth, size_t mtu, uint8_t observers) {
    tango_options options = defaults();
    tango_link link;
    options.depth = depth;
    options.mtu = mtu;
    options.observers = observers;
    options.consumers = 3;
    EXPECT(tango_link_build(&options, &link), TANGO_OK);
    return link;
}

static void one_fragment(void) {
    tango_link link;
    tango_producer tx;
    tango_consumer rx;
    tango_fragment fragment;
    uint64_t next;
    uint8_t is_closed;
    size_t size;
    EXPECT(tango_link_build(NULL, &link), TANGO_OK);
    EXPECT(tango_producer_open(link, &tx), TANGO_OK);
    EXPECT(tango_consumer_open(link, TANGO_START_NEXT, 0, &rx), TANGO_OK);
    EXPECT(tango_poll(rx, &fragment), TANGO_EMPTY);
    EXPECT(tango_recv(rx, 1000, &fragment), TANGO_TIMEOUT);
    EXPECT(tango_publish(tx, "bid 101.25", 10, 7, 8, 9), TANGO_OK);
    EXPECT(tango_publish(tx, NULL, 0, 1, 0, 0), TANGO_OK);
    EXPECT(tango_poll(rx, &fragment), TANGO_OK);
    CHECK(fragment.len == 10 && memcmp(fragment.data, "bid 101.25", 10) == 0);
    CHECK(fragment.seq == 1 && fragment.sig == 7 && fragment.ctl == 8 && fragment.ts == 9);
    EXPECT(tango_fragment_release(rx, &fragment), TANGO_OK);
    CHECK(fragment.data == NULL && fragment.len == 0 && fragment.seq == 1);
    EXPECT(tango_recv(rx, -1, &fragment), TANGO_OK);
    CHECK(fragment.len == 0 && fragment.data != NULL && fragment.sig == 1);
    EXPECT(tango_producer_next_seq(tx, &next), TANGO_OK);
    CHECK(next == 3);
    EXPECT(tango_consumer_next_seq(rx, &next), TANGO_OK);
    CHECK(next == 3);
    EXPECT(tango_producer_mtu(tx, &size), TANGO_OK);
    CHECK(size == 256);
    EXPECT(tango_producer_consumers(tx, &size), TANGO_OK);
    CHECK(size == 1);
    EXPECT(tango_producer_beat(tx, 5), TANGO_OK);
    EXPECT(tango_producer_wait_until_drained(tx, 0), TANGO_TIMEOUT); /* it holds the last one */
    EXPECT(tango_poll(rx, &fragment), TANGO_EMPTY);
    EXPECT(tango_producer_wait_until_drained(tx, 0), TANGO_OK);
    EXPECT(tango_consumer_is_closed(rx, &is_closed), TANGO_OK);
    CHECK(is_closed == 0);
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_consumer_is_closed(rx, &is_closed), TANGO_OK);
    CHECK(is_closed == 1);
    EXPECT(tango_poll(rx, &fragment), TANGO_CLOSED);
    EXPECT(tango_recv(rx, -1, &fragment), TANGO_CLOSED);
    EXPECT(tango_producer_open(link, &tx), TANGO_OK); /* opens it again */
    EXPECT(tango_poll(rx, &fragment), TANGO_EMPTY);
    EXPECT(tango_link_stop(link), TANGO_OK);
    EXPECT(tango_producer_is_stopped(tx, &is_closed), TANGO_OK);
    CHECK(is_closed == 1);
    EXPECT(tango_publish(tx, "x", 1, 0, 0, 0), TANGO_CLOSED);
    EXPECT(tango_consumer_close(rx), TANGO_OK);
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_link_close(link), TANGO_OK);
}

/* A fragment that is held keeps its credit, and so its bytes. */
static void credits(void) {
    tango_link link = heap(2, 64, 1);
    tango_producer tx;
    tango_consumer rx;
    tango_fragment fragment;
    uint64_t slot;
    EXPECT(tango_producer_open(link, &tx), TANGO_OK);
    EXPECT(tango_consumer_open(link, TANGO_START_NEXT, 0, &rx), TANGO_OK);
    EXPECT(tango_producer_held_by(tx, &slot), TANGO_OK);
    EXPECT(tango_publish(tx, "one", 3, 0, 0, 0), TANGO_OK);
    EXPECT(tango_publish(tx, "two", 3, 0, 0, 0), TANGO_OK);
    EXPECT(tango_poll(rx, &fragment), TANGO_OK);
    EXPECT(tango_publish(tx, "three", 5, 0, 0, 0), TANGO_NO_CREDITS);
    CHECK(says("no credits"));
    EXPECT(tango_send(tx, "three", 5, 0, 0, 0, 1000), TANGO_NO_CREDITS);
    EXPECT(tango_producer_held_by(tx, &slot), TANGO_OK);
    CHECK(slot == 0 && memcmp(fragment.data, "one", 3) == 0);
    EXPECT(tango_fragment_release(rx, &fragment), TANGO_OK);
    EXPECT(tango_send(tx, "three", 5, 0, 0, 0, -1), TANGO_OK);
    EXPECT(tango_poll(rx, &fragment), TANGO_OK);
    EXPECT(tango_publish(tx, "four", 4, 0, 0, 0), TANGO_NO_CREDITS);
    EXPECT(tango_consumer_close(rx), TANGO_OK); /* what it holds returns, too */
    EXPECT(tango_publish(tx, "four", 4, 0, 0, 0), TANGO_OK);
    EXPECT(tango_publish(tx, "a long one that is over the MTU of sixty-four bytes, by a few of them", 69, 0, 0, 0), TANGO_TOO_LARGE);
    CHECK(says("69 bytes") && says("64 bytes"));
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_link_close(link), TANGO_OK);
}

static void loans(void) {
    uint8_t *data;
    tango_fragment fragment;
    for (uint8_t observers = 0; observers < 2; observers++) {
        tango_link link = heap(8, 1000, observers);
        tango_producer tx;
        tango_consumer rx;
        EXPECT(tango_producer_open(link, &tx), TANGO_OK);
        EXPECT(tango_consumer_open(link, TANGO_START_NEXT, 0, &rx), TANGO_OK);
        for (size_t len = 8; len <= 1000; len += 992) { /* in a slot, and in the region */
            EXPECT(tango_loan(tx, len), TANGO_OK);
            EXPECT(tango_loan_data(tx, &data), observers ? TANGO_INVALID : TANGO_OK);
            CHECK((data == NULL) == observers);
            if (data != NULL) {
                memcpy(data, "12345678", 8);
            } else {
                EXPECT(tango_loan_write(tx, 4, "5678", 4), TANGO_OK);
                EXPECT(tango_loan_write(tx, 0, "1234", 4), TANGO_OK);
            }
            EXPECT(tango_loan_truncate(tx, 8), TANGO_OK);
            EXPECT(tango_loan_commit(tx, 3, 0, 0), TANGO_OK);
            EXPECT(tango_poll(rx, &fragment), TANGO_OK);
            CHECK(fragment.len == 8 && memcmp(fragment.data, "12345678", 8) == 0 && fragment.sig == 3);
        }
        EXPECT(tango_loan(tx, 8), TANGO_OK);
        EXPECT(tango_loan_abandon(tx), TANGO_OK);
        EXPECT(tango_poll(rx, &fragment), TANGO_EMPTY);
        EXPECT(tango_loan(tx, 8), TANGO_OK);
        EXPECT(tango_producer_close(tx), TANGO_OK); /* abandons it */
        EXPECT(tango_poll(rx, &fragment), TANGO_CLOSED);
        EXPECT(tango_consumer_close(rx), TANGO_OK);
        EXPECT(tango_link_close(link), TANGO_OK);
    }
}

static void batches_and_messages(void) {
    tango_link link = heap(256, 64, 1);
    tango_producer tx;
    tango_consumer rx, observer;
    tango_bytes payloads[200];
    tango_fragment fragments[256];
    char message[150] = {0};
    uint64_t parts;
    size_t count;
    EXPECT(tango_producer_open(link, &tx), TANGO_OK);
    EXPECT(tango_consumer_open(link, TANGO_START_NEXT, 0, &rx), TANGO_OK);
    EXPECT(tango_observer_open(link, TANGO_START_NEXT, 0, &observer), TANGO_OK);
    for (int n = 0; n < 200; n++) {
        payloads[n].data = "0123456789";
        payloads[n].len = (size_t)n % 10;
    }
    EXPECT(tango_publish_batch(tx, payloads, 200, 4, 5, 6, &count), TANGO_OK);
    CHECK(count == 200);
    EXPECT(tango_publish_batch(tx, payloads, 200, 4, 5, 6, &count), TANGO_NO_CREDITS);
    CHECK(count == 56);
    tango_consumer readers[] = {rx, observer};
    for (int reader = 0; reader < 2; reader++) {
        EXPECT(tango_poll_batch(readers[reader], fragments, 150, &count), TANGO_OK);
        CHECK(reader == 0 ? count == 150 : count > 100); /* an observer has room for copies of 8 KiB */
        for (size_t at = 0; at < count; at++) {
            const tango_fragment *found = &fragments[at];
            CHECK(found->seq == at + 1 && found->sig == 4 && found->ctl == 5 && found->ts == 6);
            CHECK(found->len == at % 10 && memcmp(found->data, "0123456789", found->len) == 0);
        }
    }
    EXPECT(tango_publish(tx, "x", 1, 0, 0, 0), TANGO_NO_CREDITS);
    EXPECT(tango_batch_release(rx), TANGO_OK);
    EXPECT(tango_publish(tx, "x", 1, 0, 0, 0), TANGO_OK);
    EXPECT(tango_poll_batch(rx, fragments, 256, &count), TANGO_OK);
    CHECK(count == 107);
    EXPECT(tango_poll(rx, fragments), TANGO_EMPTY); /* releases the batch */
    EXPECT(tango_batch_release(rx), TANGO_NOT_HELD);
    EXPECT(tango_send_message(tx, message, sizeof message, 9, &parts), TANGO_OK);
    CHECK(parts == 3);
    for (uint16_t part = 0; part < 3; part++) {
        EXPECT(tango_poll(rx, fragments), TANGO_OK);
        CHECK(fragments->sig == 9 && fragments->ctl == (part > 0) + 2 * (part < 2));
    }
    payloads[1].len = 65;
    payloads[1].data = message;
    EXPECT(tango_publish_batch(tx, payloads, 3, 0, 0, 0, &count), TANGO_TOO_LARGE);
    CHECK(count == 1);
    EXPECT(tango_consumer_close(rx), TANGO_OK);
    EXPECT(tango_consumer_close(observer), TANGO_OK);
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_link_close(link), TANGO_OK);
}

/* Numbers that are left out. */
static void gaps(void) {
    tango_link link = heap(8, 64, 1);
    tango_producer tx;
    tango_consumer rx;
    tango_fragment fragment;
    uint64_t skipped, lost, next;
    EXPECT(tango_producer_open(link, &tx), TANGO_OK);
    EXPECT(tango_consumer_open(link, TANGO_START_NEXT, 0, &rx), TANGO_OK);
    EXPECT(tango_skip(tx, 0, 0, NULL), TANGO_OK);
    EXPECT(tango_skip(tx, 3, -1, &skipped), TANGO_OK);
    CHECK(skipped == 3);
    EXPECT(tango_publish(tx, "4", 1, 0, 0, 0), TANGO_OK);
    EXPECT(tango_poll(rx, &fragment), TANGO_OVERRUN);
    EXPECT(tango_last_loss(&lost, &next), TANGO_OK);
    CHECK(lost == 3 && next == 4);
    EXPECT(tango_skip(tx, 100, 1000, &skipped), TANGO_NO_CREDITS);
    CHECK(skipped == 7);
    EXPECT(tango_poll(rx, &fragment), TANGO_OK);
    CHECK(fragment.seq == 4);
    EXPECT(tango_link_stop(link), TANGO_OK);
    EXPECT(tango_skip(tx, 1, -1, &skipped), TANGO_CLOSED);
    CHECK(skipped == 0);
    EXPECT(tango_consumer_close(rx), TANGO_OK);
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_link_close(link), TANGO_OK);
}

static void losses(void) {
    tango_link link = heap(2, 64, 1);
    tango_producer tx;
    tango_consumer observer, evictable, at;
    tango_fragment fragment;
    tango_report report;
    tango_consumer_report of[4];
    tango_metrics metrics;
    tango_consumer_metrics counts[2] = {{0}, {.slot = 77}};
    size_t count;
    uint64_t lost, next;
    EXPECT(tango_observer_open(link, TANGO_START_NEXT, 0, &observer), TANGO_OK);
    EXPECT(tango_evictable_open(link, TANGO_START_OLDEST, 0, &evictable), TANGO_OK);
    EXPECT(tango_producer_open(link, &tx), TANGO_OK);
    EXPECT(tango_producer_set_patience(tx, 1000000), TANGO_OK);
    for (int n = 0; n < 6; n++) {
        EXPECT(tango_send(tx, "x", 1, 0, 0, 0, -1), TANGO_OK);
    }
    EXPECT(tango_poll(observer, &fragment), TANGO_OVERRUN);
    EXPECT(tango_last_loss(&lost, &next), TANGO_OK);
    CHECK(lost >= 4 && next == lost + 1);
    EXPECT(tango_poll(observer, &fragment), TANGO_OK);
    CHECK(fragment.seq == next);
    EXPECT(tango_poll(evictable, &fragment), TANGO_EVICTED);
    EXPECT(tango_last_loss(&lost, NULL), TANGO_OK);
    CHECK(lost > 0);
    EXPECT(tango_consumer_open(link, TANGO_START_AT, 9, &at), TANGO_OK);
    EXPECT(tango_consumer_next_seq(at, &next), TANGO_OK);
    CHECK(next == 9);
    EXPECT(tango_link_report(link, &report, sizeof report), TANGO_OK);
    CHECK(report.producer == 1 && report.next == 7 && report.evicted >= 1 && report.consumers == 2 && report.producers == 1);
    EXPECT(tango_link_consumers(link, NULL, 0, &count), TANGO_OK);
    CHECK(count == 2);
    EXPECT(tango_link_consumers(link, of, 4, &count), TANGO_OK);
    CHECK(of[0].slot == 0 && of[0].evictable == 1 && of[0].alive == 1 && of[0].lost > 0 && of[1].evictable == 0);
    EXPECT(tango_link_metrics(link, &metrics, sizeof metrics), TANGO_OK);
    CHECK(metrics.published == 6 && metrics.producers == 1 && metrics.takeovers == 0 && metrics.consumers == 2);
    CHECK(metrics.lost == of[0].lost && metrics.evicted == report.evicted && metrics.consumed == of[0].consumed);
    EXPECT(tango_link_consumer_metrics(link, counts, 1, &count), TANGO_OK);
    CHECK(count == 2 && counts[0].slot == 0 && counts[0].lost == of[0].lost && counts[0].lag == of[0].lag);
    CHECK(counts[0].overruns == of[0].overruns && counts[1].slot == 77); /* there was no room for it */
    metrics.published = metrics.consumed = 77;
    EXPECT(tango_link_metrics(link, &metrics, offsetof(tango_metrics, consumed)), TANGO_OK);
    CHECK(metrics.published == 6 && metrics.consumed == 77);
    EXPECT(tango_consumer_close(at), TANGO_OK);
    EXPECT(tango_consumer_close(observer), TANGO_OK);
    EXPECT(tango_consumer_close(evictable), TANGO_OK);
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_link_close(link), TANGO_OK);
}

/* A link in shared memory: names, types, what an older and a newer header would pass. */
static void shared(void) {
    struct {
        tango_options known;
        uint64_t later;
    } newer;
    char name[64], text[64], small[4];
    tango_options options = defaults();
    tango_geometry geometry;
    tango_link link, other, second;
    tango_producer tx;
    size_t len, size, align;
    uint8_t is_named;
    snprintf(name, sizeof name, "everything-%d", (int)getpid());
    options.type_name = "Quote";
    options.type_size = 24;
    options.type_align = 8;
    options.mode = 0640;
    EXPECT(tango_link_create(name, &options, &link), TANGO_OK);
    EXPECT(tango_link_check_trust(link), TANGO_OK);
    EXPECT(tango_link_open_wait(NULL, name, -1, &other), TANGO_OK);
    EXPECT(tango_link_close(other), TANGO_OK);
    EXPECT(tango_link_open(NULL, name, &other), TANGO_OK);
    EXPECT(tango_link_name(other, text, sizeof text, &len), TANGO_OK);
    CHECK(strcmp(text, name) == 0 && len == strlen(name));
    EXPECT(tango_link_name(other, small, sizeof small, &len), TANGO_OK);
    CHECK(strcmp(small, "eve") == 0 && len == strlen(name));
    EXPECT(tango_link_path(other, NULL, 0, &len), TANGO_OK);
    CHECK(len > strlen(name));
    EXPECT(tango_link_type_name(other, text, sizeof text, NULL), TANGO_OK);
    EXPECT(tango_link_type_size(other, &size), TANGO_OK);
    EXPECT(tango_link_type_align(other, &align), TANGO_OK);
    CHECK(strcmp(text, "Quote") == 0 && size == 24 && align == 8);
    EXPECT(tango_link_geometry(other, &geometry, sizeof geometry), TANGO_OK);
    CHECK(geometry.mtu == 24 && geometry.depth == 1024 && geometry.observers == 1);
    geometry.depth = 1;
    geometry.mtu = 1;
    EXPECT(tango_link_geometry(other, &geometry, offsetof(tango_geometry, mtu)), TANGO_OK);
    CHECK(geometry.depth == 1024 && geometry.mtu == 1);
    EXPECT(tango_producer_open(link, &tx), TANGO_OK);
    EXPECT(tango_link_create(name, NULL, &second), TANGO_IN_USE);
    CHECK(second.handle == 0 && says(name));
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_link_close(link), TANGO_OK);
    EXPECT(tango_link_is_named(other, &is_named), TANGO_OK);
    CHECK(is_named == 1);
    EXPECT(tango_link_remove(other), TANGO_OK);
    EXPECT(tango_link_remove(other), TANGO_NOT_FOUND);
    EXPECT(tango_link_is_named(other, &is_named), TANGO_OK);
    CHECK(is_named == 0);
    EXPECT(tango_remove(NULL, name), TANGO_NOT_FOUND);
    EXPECT(tango_link_open(NULL, name, &link), TANGO_NOT_FOUND);
    EXPECT(tango_link_open_wait(NULL, name, 0, &link), TANGO_TIMEOUT);
    CHECK(link.handle == 0 && says(name));
    EXPECT(tango_link_close(other), TANGO_OK);

    memset(&newer, 0xff, sizeof newer);
    EXPECT(tango_options_default(&newer.known, sizeof newer), TANGO_OK);
    CHECK(newer.known.size == sizeof newer && newer.later == 0);
    EXPECT(tango_link_build(&newer.known, &link), TANGO_OK);
    EXPECT(tango_link_type_size(link, &size), TANGO_NOT_FOUND);
    EXPECT(tango_link_name(link, text, sizeof text, &len), TANGO_OK);
    CHECK(len == 0 && text[0] == 0);
    EXPECT(tango_link_close(link), TANGO_OK);
    newer.later = 1;
    EXPECT(tango_link_build(&newer.known, &link), TANGO_INVALID);
    CHECK(says("does not know"));
    options = defaults();
    options.size = offsetof(tango_options, mtu);
    options.mtu = 12345; /* not known to a program that is so old */
    EXPECT(tango_link_build(&options, &link), TANGO_OK);
    EXPECT(tango_link_geometry(link, &geometry, sizeof geometry), TANGO_OK);
    CHECK(geometry.mtu == 256);
    EXPECT(tango_link_close(link), TANGO_OK);
}

static void *late(void *tx) {
    EXPECT(tango_send(*(tango_producer *)tx, "woken", 5, 0, 0, 0, -1), TANGO_OK);
    return NULL;
}

/* A reader that sleeps is woken, and a producer may pass to another thread. */
static void waiting(void) {
    tango_link link = heap(8, 64, 1);
    tango_producer tx;
    tango_consumer rx;
    tango_fragment fragment;
    pthread_t thread;
    EXPECT(tango_producer_open(link, &tx), TANGO_OK);
    EXPECT(tango_producer_set_wait(tx, TANGO_WAIT_YIELD, 0), TANGO_OK);
    EXPECT(tango_consumer_open(link, TANGO_START_NEXT, 0, &rx), TANGO_OK);
    EXPECT(tango_consumer_set_wait(rx, TANGO_WAIT_PARK, 0), TANGO_OK);
    EXPECT(tango_consumer_set_throughput(rx, 1), TANGO_OK);
    CHECK(pthread_create(&thread, NULL, late, &tx) == 0);
    EXPECT(tango_recv(rx, -1, &fragment), TANGO_OK);
    CHECK(memcmp(fragment.data, "woken", 5) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    EXPECT(tango_consumer_close(rx), TANGO_OK);
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_link_close(link), TANGO_OK);
}

int main(void) {
    CHECK(tango_version()[0] != 0 && tango_last_error()[0] == 0 && tango_last_errno() == 0);
    one_fragment();
    credits();
    loans();
    batches_and_messages();
    gaps();
    losses();
    shared();
    waiting();
    puts("everything: ok");
    return 0;
}
