// Publishing: Meta, Loan and Producer. See tango.hpp.
#ifndef TANGO_PRODUCER_HPP
#define TANGO_PRODUCER_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "error.hpp"

namespace tango {

/// The three numbers that travel with a payload.
struct Meta {
    std::uint64_t sig = 0;
    std::uint16_t ctl = 0;
    std::uint32_t ts = 0;
};

/// A payload that is written where it will lie. It publishes nothing unless it is committed.
class Loan {
public:
    Loan(Loan &&other) noexcept : producer_(std::exchange(other.producer_, {0})), size_(other.size_) {}
    Loan &operator=(Loan &&other) noexcept {
        if (this != &other) {
            abandon();
            producer_ = std::exchange(other.producer_, {0});
            size_ = other.size_;
        }
        return *this;
    }
    Loan(const Loan &) = delete;
    Loan &operator=(const Loan &) = delete;
    ~Loan() { abandon(); }

    std::size_t size() const noexcept { return size_; }
    void write(std::size_t offset, const void *data, std::size_t size) {
        check(tango_loan_write(producer_, offset, data, size));
    }
    void write(std::size_t offset, std::string_view bytes) { write(offset, bytes.data(), bytes.size()); }
    /// The bytes themselves. Only on a link without observers.
    std::uint8_t *data() {
        std::uint8_t *data = nullptr;
        check(tango_loan_data(producer_, &data));
        return data;
    }
    void truncate(std::size_t size) {
        check(tango_loan_truncate(producer_, size));
        size_ = size < size_ ? size : size_;
    }
    void commit(Meta meta = {}) {
        check(tango_loan_commit(std::exchange(producer_, {0}), meta.sig, meta.ctl, meta.ts));
    }
    void abandon() noexcept {
        if (producer_.handle != 0) {
            tango_loan_abandon(std::exchange(producer_, {0}));
        }
    }

private:
    friend class Producer;
    Loan(tango_producer producer, std::size_t size) noexcept : producer_(producer), size_(size) {}

    tango_producer producer_;
    std::size_t size_;
};

/// The one producer of a link. See tango_producer.
class Producer {
public:
    Producer() noexcept = default;
    /// Takes the ownership of a handle.
    explicit Producer(tango_producer handle) noexcept : owned_(handle) {}

    /// Never blocks.
    tango_status try_publish(const void *data, std::size_t size, Meta meta = {}) noexcept {
        return tango_publish(get(), data, size, meta.sig, meta.ctl, meta.ts);
    }
    tango_status try_publish(std::string_view bytes, Meta meta = {}) noexcept {
        return try_publish(bytes.data(), bytes.size(), meta);
    }
    /// Never blocks: without credits, it throws TANGO_NO_CREDITS.
    void publish(const void *data, std::size_t size, Meta meta = {}) { check(try_publish(data, size, meta)); }
    void publish(std::string_view bytes, Meta meta = {}) { check(try_publish(bytes, meta)); }

    /// Waits for credits; without a limit if timeout_ns is negative.
    tango_status try_send(const void *data, std::size_t size, Meta meta = {}, std::int64_t timeout_ns = -1) noexcept {
        return tango_send(get(), data, size, meta.sig, meta.ctl, meta.ts, timeout_ns);
    }
    void send(const void *data, std::size_t size, Meta meta = {}) { check(try_send(data, size, meta)); }
    void send(std::string_view bytes, Meta meta = {}) { check(try_send(bytes.data(), bytes.size(), meta)); }
    /// False: there was no credit in time.
    template <class Rep, class Period>
    bool send_for(std::chrono::duration<Rep, Period> time, std::string_view bytes, Meta meta = {}) {
        tango_status const status = try_send(bytes.data(), bytes.size(), meta, nanoseconds(time));
        if (status != TANGO_NO_CREDITS) {
            check(status);
        }
        return status == TANGO_OK;
    }

    /// How many were published. The error of the first that was not is in `why`.
    std::size_t try_publish_batch(const tango_bytes *payloads, std::size_t count, tango_status &why, Meta meta = {}) noexcept {
        std::size_t published = 0;
        why = tango_publish_batch(get(), payloads, count, meta.sig, meta.ctl, meta.ts, &published);
        return published;
    }

    /// Leaves out the next `count` sequence numbers. Waits for credits; without a limit if timeout_ns is negative.
    tango_status try_skip(std::uint64_t count, std::int64_t timeout_ns = -1) noexcept {
        return tango_skip(get(), count, timeout_ns, nullptr);
    }
    void skip(std::uint64_t count) { check(try_skip(count)); }

    /// As many fragments as it takes. Returns how many.
    std::uint64_t send_message(const void *data, std::size_t size, std::uint64_t sig = 0) {
        std::uint64_t fragments = 0;
        check(tango_send_message(get(), data, size, sig, &fragments));
        return fragments;
    }

    Loan loan(std::size_t size) {
        check(tango_loan(get(), size));
        return Loan(get(), size);
    }

    std::uint64_t next_seq() const {
        std::uint64_t next = 0;
        check(tango_producer_next_seq(get(), &next));
        return next;
    }
    std::size_t mtu() const {
        std::size_t mtu = 0;
        check(tango_producer_mtu(get(), &mtu));
        return mtu;
    }
    std::size_t consumers() const {
        std::size_t consumers = 0;
        check(tango_producer_consumers(get(), &consumers));
        return consumers;
    }
    void set_wait(tango_wait wait, std::chrono::nanoseconds spin = std::chrono::microseconds(20)) {
        check(tango_producer_set_wait(get(), wait, static_cast<std::uint64_t>(nanoseconds(spin))));
    }
    void set_patience(std::chrono::nanoseconds patience) {
        check(tango_producer_set_patience(get(), static_cast<std::uint64_t>(nanoseconds(patience))));
    }
    /// False: they did not come in time.
    template <class Rep, class Period>
    bool wait_for_consumers(std::size_t consumers, std::chrono::duration<Rep, Period> time) {
        return in_time(tango_producer_wait_for_consumers(get(), consumers, nanoseconds(time)));
    }
    /// False: they have not read everything in time.
    template <class Rep, class Period> bool wait_until_drained(std::chrono::duration<Rep, Period> time) {
        return in_time(tango_producer_wait_until_drained(get(), nanoseconds(time)));
    }

    tango_producer get() const noexcept { return owned_.get(); }
    /// Closes it now.
    void close() noexcept { owned_.reset(); }
    explicit operator bool() const noexcept { return static_cast<bool>(owned_); }

private:
    static bool in_time(tango_status status) {
        if (status != TANGO_TIMEOUT) {
            check(status);
        }
        return status == TANGO_OK;
    }

    detail::Owned<tango_producer, tango_producer_close> owned_;
};

} // namespace tango

#endif
