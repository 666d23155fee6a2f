// Reading: Fragment, Batch and Consumer. See tango.hpp.
#ifndef TANGO_CONSUMER_HPP
#define TANGO_CONSUMER_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "error.hpp"

namespace tango {

namespace detail {

/// Bytes that are somewhere else.
class View {
public:
    const std::uint8_t *data() const noexcept { return fragment_.data; }
    std::size_t size() const noexcept { return fragment_.len; }
    bool empty() const noexcept { return size() == 0; }
    const std::uint8_t *begin() const noexcept { return data(); }
    const std::uint8_t *end() const noexcept { return data() == nullptr ? nullptr : data() + size(); }
    std::uint8_t operator[](std::size_t at) const noexcept { return data()[at]; }
    std::string_view text() const noexcept {
        return {reinterpret_cast<const char *>(data()), data() == nullptr ? 0 : size()};
    }
    std::uint64_t seq() const noexcept { return fragment_.seq; }
    std::uint64_t sig() const noexcept { return fragment_.sig; }
    std::uint16_t ctl() const noexcept { return fragment_.ctl; }
    std::uint32_t ts() const noexcept { return fragment_.ts; }

    View() noexcept : fragment_{} {}
    explicit View(const tango_fragment &fragment) noexcept : fragment_(fragment) {}

protected:
    tango_fragment fragment_;
};

} // namespace detail

/// A fragment that a consumer holds. Its bytes are valid until it is destroyed, or the consumer reads again.
class Fragment : public detail::View {
public:
    Fragment() noexcept : consumer_{0} {}
    Fragment(Fragment &&other) noexcept : View(std::exchange(other.fragment_, {})), consumer_(std::exchange(other.consumer_, {0})) {}
    Fragment &operator=(Fragment &&other) noexcept {
        if (this != &other) {
            release();
            fragment_ = std::exchange(other.fragment_, {});
            consumer_ = std::exchange(other.consumer_, {0});
        }
        return *this;
    }
    Fragment(const Fragment &) = delete;
    Fragment &operator=(const Fragment &) = delete;
    ~Fragment() { release(); }

    /// Lets the producer overwrite it now.
    void release() noexcept {
        if (consumer_.handle != 0) {
            tango_fragment_release(std::exchange(consumer_, {0}), &fragment_);
            fragment_ = {};
        }
    }

private:
    friend class Consumer;
    tango_consumer consumer_;
};

/// Fragments that a consumer holds together.
class Batch {
public:
    /// One fragment of a batch.
    class Item : public detail::View {
    public:
        using View::View;
    };

    class Iterator {
    public:
        explicit Iterator(const tango_fragment *at) noexcept : at_(at) {}
        Item operator*() const noexcept { return Item(*at_); }
        Iterator &operator++() noexcept {
            ++at_;
            return *this;
        }
        bool operator!=(const Iterator &other) const noexcept { return at_ != other.at_; }
        bool operator==(const Iterator &other) const noexcept { return at_ == other.at_; }

    private:
        const tango_fragment *at_;
    };

    /// Room for up to `most` fragments. It can be filled again and again.
    explicit Batch(std::size_t most) : fragments_(most), consumer_{0} {}
    Batch(Batch &&other) noexcept
        : fragments_(std::move(other.fragments_)), count_(std::exchange(other.count_, 0)),
          consumer_(std::exchange(other.consumer_, {0})) {}
    Batch &operator=(Batch &&other) noexcept {
        if (this != &other) {
            release();
            fragments_ = std::move(other.fragments_);
            count_ = std::exchange(other.count_, 0);
            consumer_ = std::exchange(other.consumer_, {0});
        }
        return *this;
    }
    Batch(const Batch &) = delete;
    Batch &operator=(const Batch &) = delete;
    ~Batch() { release(); }

    std::size_t size() const noexcept { return count_; }
    bool empty() const noexcept { return count_ == 0; }
    Item operator[](std::size_t at) const noexcept { return Item(fragments_[at]); }
    Iterator begin() const noexcept { return Iterator(fragments_.data()); }
    Iterator end() const noexcept { return Iterator(fragments_.data() + count_); }

    /// Lets the producer overwrite them now.
    void release() noexcept {
        count_ = 0;
        if (consumer_.handle != 0) {
            tango_batch_release(std::exchange(consumer_, {0}));
        }
    }

private:
    friend class Consumer;
    std::vector<tango_fragment> fragments_;
    std::size_t count_ = 0;
    tango_consumer consumer_;
};

/// A reader of a link. See tango_consumer.
class Consumer {
public:
    Consumer() noexcept = default;
    /// Takes the ownership of a handle.
    explicit Consumer(tango_consumer handle) noexcept : owned_(handle) {}

    /// Never blocks. The bytes of the last fragment end.
    tango_status try_poll(Fragment &fragment) noexcept {
        fragment.release();
        return keep(tango_poll(get(), &fragment.fragment_), fragment);
    }

    /// Never blocks. Nothing: there is no fragment now, or the link is closed (is_closed()).
    std::optional<Fragment> poll() {
        Fragment fragment;
        return found(try_poll(fragment), fragment);
    }

    tango_status try_recv(Fragment &fragment, std::int64_t timeout_ns = -1) noexcept {
        fragment.release();
        return keep(tango_recv(get(), timeout_ns, &fragment.fragment_), fragment);
    }

    /// Waits. Nothing: the link is closed, and everything was read.
    std::optional<Fragment> recv() {
        Fragment fragment;
        return found(try_recv(fragment), fragment);
    }

    /// Waits for this time at most. Nothing: none came, or the link is closed (is_closed()).
    template <class Rep, class Period> std::optional<Fragment> recv_for(std::chrono::duration<Rep, Period> time) {
        Fragment fragment;
        return found(try_recv(fragment, nanoseconds(time)), fragment);
    }

    /// Never blocks. Fills the batch with what is there.
    tango_status try_poll_batch(Batch &batch) noexcept {
        batch.release();
        tango_status const status = tango_poll_batch(get(), batch.fragments_.data(), batch.fragments_.size(), &batch.count_);
        if (status == TANGO_OK) {
            batch.consumer_ = get();
        }
        return status;
    }

    /// Never blocks. False: nothing is there now, or the link is closed (is_closed()).
    bool poll_batch(Batch &batch) { return is_there(try_poll_batch(batch)); }

    std::uint64_t next_seq() const {
        std::uint64_t next = 0;
        check(tango_consumer_next_seq(get(), &next));
        return next;
    }

    bool is_closed() const {
        std::uint8_t is_closed = 0;
        check(tango_consumer_is_closed(get(), &is_closed));
        return is_closed != 0;
    }

    void set_wait(tango_wait wait, std::chrono::nanoseconds spin = std::chrono::microseconds(20)) {
        check(tango_consumer_set_wait(get(), wait, static_cast<std::uint64_t>(nanoseconds(spin))));
    }

    /// For event loops: see tango_consumer_descriptor().
    int descriptor() {
        int descriptor = -1;
        check(tango_consumer_descriptor(get(), &descriptor));
        return descriptor;
    }

    /// After TANGO_PRODUCER_GONE. False: no producer has come in time, or none can.
    template <class Rep, class Period> bool wait_for_producer(std::chrono::duration<Rep, Period> time) {
        tango_status const status = tango_consumer_wait_for_producer(get(), nanoseconds(time));
        if (status != TANGO_TIMEOUT) {
            check(status);
        }
        return status == TANGO_OK;
    }

    tango_consumer get() const noexcept { return owned_.get(); }
    /// Closes it now.
    void close() noexcept { owned_.reset(); }
    explicit operator bool() const noexcept { return static_cast<bool>(owned_); }

private:
    tango_status keep(tango_status status, Fragment &fragment) noexcept {
        if (status == TANGO_OK) {
            fragment.consumer_ = get();
        }
        return status;
    }

    static bool is_there(tango_status status) {
        if (status == TANGO_EMPTY || status == TANGO_TIMEOUT || status == TANGO_CLOSED) {
            return false;
        }
        check(status);
        return true;
    }

    static std::optional<Fragment> found(tango_status status, Fragment &fragment) {
        return is_there(status) ? std::optional<Fragment>(std::move(fragment)) : std::nullopt;
    }

    detail::Owned<tango_consumer, tango_consumer_close> owned_;
};

} // namespace tango

#endif
