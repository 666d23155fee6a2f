// The C++ classes.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <type_traits>
#include <unistd.h>

#include "tango.hpp"

using namespace std::chrono_literals;

#define CHECK(what) ((what) ? (void)0 : wrong(#what, __LINE__))

static void wrong(const char *what, int line) {
    std::fprintf(stderr, "line %d: not so: %s (last error: %s)\n", line, what, tango_last_error());
    std::exit(1);
}

template <class Call> static tango_status code_of(Call call) {
    try {
        call();
        return TANGO_OK;
    } catch (const tango::Error &error) {
        CHECK(std::strlen(error.what()) > 0);
        return error.code();
    }
}

template <class T> constexpr bool moves_only =
    std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> && !std::is_copy_constructible_v<T> &&
    !std::is_copy_assignable_v<T>;
static_assert(moves_only<tango::Link> && moves_only<tango::Producer> && moves_only<tango::Consumer>);
static_assert(moves_only<tango::Fragment> && moves_only<tango::Loan> && moves_only<tango::Batch>);

static tango::Options small(std::size_t depth) {
    tango::Options options;
    options.depth = depth;
    options.mtu = 64;
    options.consumers = 2;
    return options;
}

static void fragments() {
    tango::Link link = tango::Link::build(small(2));
    tango::Producer tx = link.producer();
    tango::Consumer rx = link.consumer();
    CHECK(!rx.poll() && !rx.recv_for(1us) && !rx.is_closed());
    tx.publish("one", {7, 8, 9});
    tx.publish("two");
    CHECK(tx.try_publish("three") == TANGO_NO_CREDITS && !tx.send_for(1us, "three"));
    CHECK(code_of([&] { tx.publish("three"); }) == TANGO_NO_CREDITS);
    CHECK(code_of([&] { tx.publish(std::string(65, 'x')); }) == TANGO_TOO_LARGE);
    {
        auto one = rx.poll();
        CHECK(one && one->text() == "one" && one->size() == 3 && !one->empty() && (*one)[1] == 'n');
        CHECK(one->seq() == 1 && one->sig() == 7 && one->ctl() == 8 && one->ts() == 9);
        CHECK(std::string(one->begin(), one->end()) == "one");
        CHECK(tx.try_publish("three") == TANGO_NO_CREDITS); // the fragment holds the credit
        tango::Fragment moved = std::move(*one);
        CHECK(one->data() == nullptr && one->begin() == one->end() && moved.text() == "one");
        one.reset();
        CHECK(tx.try_publish("three") == TANGO_NO_CREDITS);
    }
    tx.send("three"); // it was destroyed
    tango::Fragment fragment;
    CHECK(rx.try_poll(fragment) == TANGO_OK && fragment.text() == "two");
    CHECK(rx.try_recv(fragment, -1) == TANGO_OK && fragment.text() == "three");
    fragment.release();
    fragment.release();
    CHECK(tx.next_seq() == 4 && rx.next_seq() == 4 && tx.mtu() == 64 && tx.consumers() == 1);
    CHECK(tx.wait_for_consumers(1, 1s) && tx.wait_until_drained(1s));
    CHECK(code_of([&] { link.producer(); }) == TANGO_TAKEN);
    tango::Producer other = std::move(tx);
    CHECK(!tx && other && code_of([&] { tx.publish("x"); }) == TANGO_BAD_HANDLE);
    other = tango::Producer();
    CHECK(!rx.recv() && rx.is_closed() && rx.try_poll(fragment) == TANGO_CLOSED);
    rx.close();
    CHECK(code_of([&] { rx.poll(); }) == TANGO_BAD_HANDLE);
}

static void fragments_outlive_their_reader() {
    tango::Link link = tango::Link::build(small(8));
    tango::Producer tx = link.producer();
    tango::Consumer rx = link.consumer();
    tango::Batch batch(4);
    tx.publish("one");
    auto fragment = rx.poll();
    tango::Loan loan = tx.loan(8);
    tx.close();
    rx.close();
    tango::Consumer again = link.consumer();
    link.close(); // and now all destructors run
}

static void loans_and_batches() {
    tango::Options options = small(256);
    options.observers = 0;
    tango::Link link = tango::Link::build(options);
    tango::Producer tx = link.producer();
    tango::Consumer rx = link.consumer();
    {
        tango::Loan loan = tx.loan(8);
        std::memcpy(loan.data(), "in place", 8);
        loan.truncate(2);
        CHECK(loan.size() == 2 && tx.try_publish("x") == TANGO_LOANED);
        tango::Loan moved = std::move(loan);
        moved.commit({5});
    }
    { tango::Loan abandoned = tx.loan(8); }
    auto loaned = rx.poll();
    CHECK(loaned && loaned->text() == "in" && loaned->sig() == 5 && !rx.poll());

    std::vector<tango_bytes> payloads(100, tango_bytes{"0123456789", 10});
    tango_status why = TANGO_OK;
    CHECK(tx.try_publish_batch(payloads.data(), payloads.size(), why, {3}) == 100 && why == TANGO_OK);
    tango::Batch batch(64);
    CHECK(rx.poll_batch(batch) && batch.size() == 64 && batch[1].text() == "0123456789");
    std::size_t count = 0;
    for (auto fragment : batch) {
        CHECK(fragment.seq() == batch[0].seq() + count && fragment.sig() == 3 && fragment.size() == 10);
        count++;
    }
    CHECK(count == 64);
    tango::Batch moved = std::move(batch);
    CHECK(batch.empty() && moved.size() == 64);
    CHECK(rx.poll_batch(moved) && moved.size() == 36 && !rx.poll_batch(moved) && moved.empty());
    CHECK(tx.send_message(std::string(150, 'x').data(), 150) == 3);
    while (rx.poll()) {
    }
    tx.skip(5);
    CHECK(code_of([&] { rx.poll(); }) == TANGO_OVERRUN && rx.next_seq() == tx.next_seq());
    CHECK(tx.try_skip(1000000, 1000) == TANGO_NO_CREDITS);
    CHECK(code_of([&] { link.observer(); }) == TANGO_INVALID);
}

static void losses_and_names() {
    std::string const name = "classes-" + std::to_string(getpid());
    tango::Options options = small(2);
    options.type_name = "Text";
    options.type_size = 3;
    options.mtu = TANGO_DEFAULT;
    tango::Link link = tango::Link::create(name, options);
    CHECK(code_of([&] { tango::Link::open_wait(name + "-not", 1ms); }) == TANGO_TIMEOUT);
    tango::Link opened = tango::Link::open_wait(name, 1s);
    CHECK(opened.name() == name && opened.path().size() > name.size());
    CHECK(opened.type_name() == "Text" && opened.type_size() == 3 && opened.type_align() == 1);
    CHECK(opened.geometry().mtu == 3);
    tango::Consumer observer = opened.observer(), evictable = opened.evictable_consumer();
    tango::Producer tx = link.producer();
    tx.set_patience(1ms);
    tx.set_wait(TANGO_WAIT_PARK, 0ns);
    for (int n = 0; n < 6; n++) {
        tx.send("abc");
    }
    try {
        observer.poll();
        CHECK(false);
    } catch (const tango::Error &error) {
        CHECK(error.code() == TANGO_OVERRUN && error.lost() >= 4 && error.next() == error.lost() + 1);
    }
    CHECK(code_of([&] { evictable.poll(); }) == TANGO_EVICTED);
    CHECK(link.report().next == 7 && link.report().evicted >= 1);
    CHECK(observer.descriptor() >= 0 && observer.descriptor() == observer.descriptor());
    CHECK(observer.poll() && code_of([&] { observer.recv(); }) == TANGO_INVALID);
    CHECK(link.consumers().size() == 1 && link.consumers()[0].evictable == 1);
    tango::Consumer late = opened.consumer();
    tx.send("abc");
    CHECK(late.poll() && opened.metrics().published == 7 && opened.metrics().consumers == 2);
    CHECK(opened.consumer_metrics().size() == 2 && opened.consumer_metrics()[0].lost >= 4);
    CHECK(opened.consumer_metrics()[1].consumed == 1 && opened.consumer_metrics()[1].lag == 0);
    late.close();
    CHECK(opened.consumer_metrics().size() == 1);
    link.stop();
    link.remove();
    CHECK(code_of([&] { tango::Link::open(name); }) == TANGO_NOT_FOUND);
    CHECK(code_of([&] { tx.publish("abc"); }) == TANGO_CLOSED);
}

static void threads() {
    tango::Link link = tango::Link::build();
    tango::Producer tx = link.producer();
    tango::Consumer rx = link.consumer();
    rx.set_wait(TANGO_WAIT_PARK, 0ns);
    std::thread reader([rx = std::move(rx)]() mutable {
        std::uint64_t next = 1;
        while (auto fragment = rx.recv()) {
            CHECK(fragment->text() == std::to_string(next));
            next++;
        }
        CHECK(next == 10001);
    });
    for (int n = 1; n <= 10000; n++) {
        tx.send(std::to_string(n));
    }
    tx.close();
    reader.join();
}

int main() {
    fragments();
    fragments_outlive_their_reader();
    loans_and_batches();
    losses_and_names();
    threads();
    std::puts("classes: ok");
}
