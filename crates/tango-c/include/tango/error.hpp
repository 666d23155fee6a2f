// Errors, and what all classes have in common: see tango.hpp.
#ifndef TANGO_ERROR_HPP
#define TANGO_ERROR_HPP

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include "../tango.h"

namespace tango {

/// Why a call failed: the text of tango_last_error(), and the code.
class Error : public std::runtime_error {
public:
    explicit Error(tango_status code) : std::runtime_error(text(code)), code_(code) {
        tango_last_loss(&lost_, &next_);
    }

    tango_status code() const noexcept { return code_; }
    /// See tango_last_loss(): 0 for errors that are not about a loss.
    std::uint64_t lost() const noexcept { return lost_; }
    std::uint64_t next() const noexcept { return next_; }

private:
    // TANGO_EMPTY leaves no text.
    static const char *text(tango_status code) noexcept {
        return code == TANGO_EMPTY ? tango_strerror(code) : tango_last_error();
    }

    tango_status code_;
    std::uint64_t lost_ = 0;
    std::uint64_t next_ = 0;
};

inline void check(tango_status status) {
    if (status != TANGO_OK) {
        throw Error(status);
    }
}

/// Nanoseconds for the C functions. A time that is negative counts as none.
template <class Rep, class Period> std::int64_t nanoseconds(std::chrono::duration<Rep, Period> time) {
    auto const count = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    return count < 0 ? 0 : static_cast<std::int64_t>(count);
}

namespace detail {

/// A handle with one owner.
template <class Handle, tango_status (*close)(Handle)> class Owned {
public:
    Owned() noexcept : handle_{0} {}
    explicit Owned(Handle handle) noexcept : handle_(handle) {}
    Owned(Owned &&other) noexcept : handle_(other.take()) {}
    Owned &operator=(Owned &&other) noexcept {
        if (this != &other) {
            reset();
            handle_ = other.take();
        }
        return *this;
    }
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
    ~Owned() { reset(); }

    Handle get() const noexcept { return handle_; }
    /// Closes it now.
    void reset() noexcept {
        if (handle_.handle != 0) {
            close(take());
        }
    }
    explicit operator bool() const noexcept { return handle_.handle != 0; }

private:
    Handle take() noexcept { return std::exchange(handle_, Handle{0}); }

    Handle handle_;
};

} // namespace detail

} // namespace tango

#endif
