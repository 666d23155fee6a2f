/* Calls that are wrong give errors that say what is wrong, and nothing else happens. Run under sanitizers and valgrind. */
#include <pthread.h>
#include <sched.h>

#include "check.h"

static tango_link a_link;
static tango_producer tx;
static tango_consumer rx;

static void null_pointers(void) {
    tango_fragment fragment;
    size_t count;
    EXPECT(tango_options_default(NULL, sizeof(tango_options)), TANGO_INVALID);
    EXPECT(tango_link_build(NULL, NULL), TANGO_INVALID);
    CHECK(says("link is NULL"));
    EXPECT(tango_link_create(NULL, NULL, &a_link), TANGO_INVALID);
    CHECK(says("name is NULL") && a_link.handle == 0);
    EXPECT(tango_link_open(NULL, NULL, &a_link), TANGO_INVALID);
    EXPECT(tango_link_open_wait(NULL, NULL, -1, &a_link), TANGO_INVALID);
    EXPECT(tango_remove(NULL, NULL), TANGO_INVALID);
    EXPECT(tango_link_build(NULL, &a_link), TANGO_OK);
    EXPECT(tango_producer_open(a_link, NULL), TANGO_INVALID);
    EXPECT(tango_consumer_open(a_link, 0, 0, NULL), TANGO_INVALID);
    EXPECT(tango_producer_open(a_link, &tx), TANGO_OK);
    EXPECT(tango_consumer_open(a_link, 0, 0, &rx), TANGO_OK);
    EXPECT(tango_publish(tx, NULL, 1, 0, 0, 0), TANGO_INVALID);
    CHECK(says("data is NULL"));
    EXPECT(tango_publish(tx, "x", SIZE_MAX, 0, 0, 0), TANGO_INVALID);
    EXPECT(tango_send(tx, NULL, 1, 0, 0, 0, 0), TANGO_INVALID);
    EXPECT(tango_send_message(tx, NULL, 1, 0, NULL), TANGO_INVALID);
    EXPECT(tango_publish_batch(tx, NULL, 1, 0, 0, 0, NULL), TANGO_INVALID);
    EXPECT(tango_publish_batch(tx, NULL, 0, 0, 0, 0, NULL), TANGO_OK);
    EXPECT(tango_poll(rx, NULL), TANGO_INVALID);
    EXPECT(tango_recv(rx, 0, NULL), TANGO_INVALID);
    EXPECT(tango_poll_batch(rx, NULL, 1, NULL), TANGO_INVALID);
    EXPECT(tango_fragment_release(rx, NULL), TANGO_INVALID);
    EXPECT(tango_producer_next_seq(tx, NULL), TANGO_INVALID);
    EXPECT(tango_consumer_is_closed(rx, NULL), TANGO_INVALID);
    EXPECT(tango_consumer_descriptor(rx, NULL), TANGO_INVALID);
    EXPECT(tango_link_report(a_link, NULL, sizeof(tango_report)), TANGO_INVALID);
    EXPECT(tango_link_metrics(a_link, NULL, sizeof(tango_metrics)), TANGO_INVALID);
    EXPECT(tango_link_consumer_metrics(a_link, NULL, 0, NULL), TANGO_INVALID);
    EXPECT(tango_link_consumer_metrics(a_link, NULL, 1, &count), TANGO_INVALID);
    EXPECT(tango_link_name(a_link, NULL, 5, NULL), TANGO_INVALID);
    EXPECT(tango_last_loss(NULL, NULL), TANGO_EMPTY);
    EXPECT(tango_poll(rx, &fragment), TANGO_EMPTY);
}

static void wrong_values(void) {
    tango_options options;
    tango_link none;
    tango_consumer nobody;
    tango_producer second;
    tango_fragment fragment;
    size_t count;
    EXPECT(tango_options_default(&options, sizeof options), TANGO_OK);
    options.depth = 1000;
    EXPECT(tango_link_build(&options, &none), TANGO_INVALID);
    CHECK(says("1000") && none.handle == 0);
    options.size = 0;
    EXPECT(tango_link_build(&options, &none), TANGO_INVALID);
    EXPECT(tango_options_default(&options, sizeof options), TANGO_OK);
    options.group = -2;
    EXPECT(tango_link_build(&options, &none), TANGO_INVALID);
    EXPECT(tango_options_default(&options, sizeof options), TANGO_OK);
    options.mode = 0666;
    EXPECT(tango_link_create("misuse", &options, &none), TANGO_INVALID);
    EXPECT(tango_link_create("../misuse", NULL, &none), TANGO_INVALID);
    EXPECT(tango_link_create("\xff\xfe", NULL, &none), TANGO_INVALID);
    EXPECT(tango_link_open("/nowhere", "misuse", &none), TANGO_NOT_FOUND);
    EXPECT(tango_producer_open(a_link, &second), TANGO_TAKEN);
    CHECK(second.handle == 0);
    EXPECT(tango_consumer_open(a_link, 3, 0, &nobody), TANGO_INVALID);
    CHECK(says("start is 3"));
    EXPECT(tango_consumer_open(a_link, 0, 0, &nobody), TANGO_TAKEN);
    EXPECT(tango_producer_set_wait(tx, 3, 0), TANGO_INVALID);
    EXPECT(tango_consumer_set_wait(rx, 77, 0), TANGO_INVALID);
    EXPECT(tango_producer_wait_for_consumers(tx, 2, -1), TANGO_INVALID);
    EXPECT(tango_poll_batch(rx, &fragment, 0, &count), TANGO_INVALID);
    CHECK(strcmp(tango_strerror(-1), tango_strerror(1000)) == 0);
}

static void what_is_not_held(void) {
    tango_fragment fragment, copy, later;
    EXPECT(tango_batch_release(rx), TANGO_NOT_HELD);
    memset(&fragment, 0x55, sizeof fragment);
    EXPECT(tango_fragment_release(rx, &fragment), TANGO_NOT_HELD);
    EXPECT(tango_publish(tx, "one", 3, 0, 0, 0), TANGO_OK);
    EXPECT(tango_publish(tx, "two", 3, 0, 0, 0), TANGO_OK);
    EXPECT(tango_poll(rx, &fragment), TANGO_OK);
    copy = fragment;
    EXPECT(tango_batch_release(rx), TANGO_NOT_HELD);
    EXPECT(tango_fragment_release(rx, &fragment), TANGO_OK);
    EXPECT(tango_fragment_release(rx, &fragment), TANGO_NOT_HELD);
    EXPECT(tango_fragment_release(rx, &copy), TANGO_NOT_HELD);
    EXPECT(tango_poll(rx, &later), TANGO_OK);
    EXPECT(tango_fragment_release(rx, &copy), TANGO_NOT_HELD);
    CHECK(says("fragment 1") && memcmp(later.data, "two", 3) == 0);
    EXPECT(tango_fragment_release(rx, &later), TANGO_OK);

    EXPECT(tango_loan_commit(tx, 0, 0, 0), TANGO_NOT_HELD);
    EXPECT(tango_loan_abandon(tx), TANGO_NOT_HELD);
    EXPECT(tango_loan_write(tx, 0, "x", 1), TANGO_NOT_HELD);
    EXPECT(tango_loan(tx, 8), TANGO_OK);
    EXPECT(tango_loan(tx, 8), TANGO_LOANED);
    EXPECT(tango_publish(tx, "x", 1, 0, 0, 0), TANGO_LOANED);
    CHECK(says("tango_loan_commit"));
    EXPECT(tango_send(tx, "x", 1, 0, 0, 0, 0), TANGO_LOANED);
    EXPECT(tango_send_message(tx, "x", 1, 0, NULL), TANGO_LOANED);
    EXPECT(tango_producer_set_patience(tx, 1), TANGO_LOANED);
    EXPECT(tango_loan_write(tx, 8, "x", 1), TANGO_INVALID);
    EXPECT(tango_loan_write(tx, SIZE_MAX, "x", 1), TANGO_INVALID);
    CHECK(says("8 bytes"));
    EXPECT(tango_loan_write(tx, 8, NULL, 0), TANGO_OK);
    EXPECT(tango_loan_abandon(tx), TANGO_OK);
    EXPECT(tango_publish(tx, "x", 1, 0, 0, 0), TANGO_OK);
    EXPECT(tango_poll(rx, &later), TANGO_OK);
}

static void *receive(void *ignored) {
    tango_fragment fragment;
    EXPECT(tango_recv(rx, -1, &fragment), TANGO_CLOSED);
    return ignored;
}

/* Closing, or reading, while another thread waits. */
static void two_threads(void) {
    pthread_t thread;
    tango_fragment fragment;
    tango_status status;
    CHECK(pthread_create(&thread, NULL, receive, NULL) == 0);
    uint64_t next;
    while ((status = tango_consumer_next_seq(rx, &next)) == TANGO_OK) {
        sched_yield();
    }
    EXPECT(status, TANGO_BUSY);
    CHECK(says("one thread at a time"));
    EXPECT(tango_poll(rx, &fragment), TANGO_BUSY);
    EXPECT(tango_recv(rx, 0, &fragment), TANGO_BUSY);
    EXPECT(tango_consumer_close(rx), TANGO_BUSY);
    EXPECT(tango_link_stop(a_link), TANGO_OK);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void after_the_end(tango_producer old_tx, tango_consumer old_rx, tango_link old_link) {
    tango_fragment fragment;
    tango_options options;
    uint64_t number;
    size_t count;
    int descriptor;
    EXPECT(tango_producer_close(old_tx), TANGO_BAD_HANDLE);
    CHECK(says("producer"));
    EXPECT(tango_publish(old_tx, "x", 1, 0, 0, 0), TANGO_BAD_HANDLE);
    EXPECT(tango_send(old_tx, "x", 1, 0, 0, 0, -1), TANGO_BAD_HANDLE);
    EXPECT(tango_loan(old_tx, 1), TANGO_BAD_HANDLE);
    EXPECT(tango_loan_commit(old_tx, 0, 0, 0), TANGO_BAD_HANDLE);
    EXPECT(tango_producer_next_seq(old_tx, &number), TANGO_BAD_HANDLE);
    EXPECT(tango_producer_set_wait(old_tx, 0, 0), TANGO_BAD_HANDLE);
    EXPECT(tango_producer_wait_until_drained(old_tx, -1), TANGO_BAD_HANDLE);
    EXPECT(tango_consumer_close(old_rx), TANGO_BAD_HANDLE);
    EXPECT(tango_poll(old_rx, &fragment), TANGO_BAD_HANDLE);
    EXPECT(tango_recv(old_rx, -1, &fragment), TANGO_BAD_HANDLE);
    EXPECT(tango_poll_batch(old_rx, &fragment, 1, &count), TANGO_BAD_HANDLE);
    EXPECT(tango_batch_release(old_rx), TANGO_BAD_HANDLE);
    EXPECT(tango_fragment_release(old_rx, &fragment), TANGO_BAD_HANDLE);
    EXPECT(tango_consumer_descriptor(old_rx, &descriptor), TANGO_BAD_HANDLE);
    CHECK(descriptor == -1);
    EXPECT(tango_link_close(old_link), TANGO_BAD_HANDLE);
    EXPECT(tango_link_stop(old_link), TANGO_BAD_HANDLE);
    EXPECT(tango_link_report(old_link, (tango_report *)&options, 8), TANGO_BAD_HANDLE);
    EXPECT(tango_link_metrics(old_link, (tango_metrics *)&options, 8), TANGO_BAD_HANDLE);
    EXPECT(tango_producer_open(old_link, &old_tx), TANGO_BAD_HANDLE);
    CHECK(old_tx.handle == 0);
}

int main(void) {
    null_pointers();
    wrong_values();
    what_is_not_held();
    two_threads();
    tango_producer old_tx = tx, none_tx = {0}, made_up_tx;
    tango_consumer old_rx = rx, none_rx = {0}, made_up_rx;
    tango_link old_link = a_link, none = {0}, made_up = {UINT64_MAX};
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_consumer_close(rx), TANGO_OK);
    EXPECT(tango_link_close(a_link), TANGO_OK);
    after_the_end(old_tx, old_rx, old_link);
    after_the_end(none_tx, none_rx, none);
    /* Others in the same places. */
    EXPECT(tango_link_build(NULL, &a_link), TANGO_OK);
    EXPECT(tango_producer_open(a_link, &tx), TANGO_OK);
    EXPECT(tango_consumer_open(a_link, 0, 0, &rx), TANGO_OK);
    after_the_end(old_tx, old_rx, old_link);
    /* Handles of another kind, and any bytes at all. */
    made_up_tx.handle = rx.handle;
    made_up_rx.handle = tx.handle;
    after_the_end(made_up_tx, made_up_rx, made_up);
    uint64_t bits = 88172645463325252u;
    for (int n = 0; n < 1000; n++) {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        made_up_tx.handle = n % 2 ? bits : tx.handle ^ (UINT64_C(1) << n / 2 % 64);
        made_up_rx.handle = n % 2 ? bits : rx.handle ^ (UINT64_C(1) << n / 2 % 64);
        made_up.handle = bits;
        after_the_end(made_up_tx, made_up_rx, made_up);
    }
    EXPECT(tango_publish(tx, "x", 1, 0, 0, 0), TANGO_OK);
    /* In any order, and with what is held. */
    tango_fragment fragment;
    EXPECT(tango_poll(rx, &fragment), TANGO_OK);
    EXPECT(tango_loan(tx, 8), TANGO_OK);
    EXPECT(tango_link_close(a_link), TANGO_OK);
    CHECK(fragment.data[0] == 'x');
    EXPECT(tango_producer_close(tx), TANGO_OK);
    EXPECT(tango_consumer_close(rx), TANGO_OK);
    puts("misuse: ok");
    return 0;
}
