// The C++17 interface of rust-tango: classes over tango.h, which explains what the calls do. Header-only.
//
//   tango::Link      a link; copies of the handle are not possible, any number of threads may use one object
//   tango::Producer  publishes; tango::Loan is a payload that is written in place
//   tango::Consumer  reads; tango::Fragment is what it holds, and tango::Batch several of them
//
// All of them can be moved and not copied. The destructor closes, releases or abandons, and ignores errors. An object that
// was moved from is empty, and its calls fail with TANGO_BAD_HANDLE.
//
// Errors are exceptions: tango::Error, with the code. Calls that begin with try_ never throw, and return the code.
//
// A Fragment, a Batch or a Loan refers to its Consumer or Producer by the handle. It may outlive it: its bytes may not be used
// any more then, and its destructor does nothing.
#ifndef TANGO_HPP
#define TANGO_HPP

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tango/consumer.hpp"
#include "tango/error.hpp"
#include "tango/producer.hpp"

namespace tango {

/// The settings of a new link: tango_options with its defaults.
struct Options : tango_options {
    Options() : tango_options() { check(tango_options_default(this, sizeof(tango_options))); }
};

/// A link. See tango_link.
class Link {
public:
    Link() noexcept = default;
    /// Takes the ownership of a handle.
    explicit Link(tango_link handle) noexcept : owned_(handle) {}

    static Link build(const Options &options = {}) {
        tango_link link;
        check(tango_link_build(&options, &link));
        return Link(link);
    }
    static Link create(const std::string &name, const Options &options = {}) {
        tango_link link;
        check(tango_link_create(name.c_str(), &options, &link));
        return Link(link);
    }
    static Link create_or_take_over(const std::string &name, const Options &options = {}) {
        tango_link link;
        check(tango_link_create_or_take_over(name.c_str(), &options, &link));
        return Link(link);
    }
    /// dir: nullptr for the default folder.
    static Link open(const std::string &name, const char *dir = nullptr) {
        tango_link link;
        check(tango_link_open(dir, name.c_str(), &link));
        return Link(link);
    }
    /// Waits for it. TANGO_TIMEOUT if there is none in time.
    template <class Rep, class Period>
    static Link open_wait(const std::string &name, std::chrono::duration<Rep, Period> time, const char *dir = nullptr) {
        tango_link link;
        check(tango_link_open_wait(dir, name.c_str(), nanoseconds(time), &link));
        return Link(link);
    }

    Producer producer() const {
        tango_producer producer;
        check(tango_producer_open(get(), &producer));
        return Producer(producer);
    }
    Consumer consumer(tango_start start = TANGO_START_NEXT, std::uint64_t seq = 0) const {
        return reader(tango_consumer_open, start, seq);
    }
    Consumer evictable_consumer(tango_start start = TANGO_START_NEXT, std::uint64_t seq = 0) const {
        return reader(tango_evictable_open, start, seq);
    }
    Consumer observer(tango_start start = TANGO_START_NEXT, std::uint64_t seq = 0) const {
        return reader(tango_observer_open, start, seq);
    }

    void stop() { check(tango_link_stop(get())); }
    void remove() { check(tango_link_remove(get())); }
    std::string name() const { return text(tango_link_name); }
    std::string path() const { return text(tango_link_path); }
    /// Empty: the payloads have no type. See tango_link_type_name().
    std::string type_name() const { return text(tango_link_type_name); }
    std::size_t type_size() const { return number(tango_link_type_size); }
    std::size_t type_align() const { return number(tango_link_type_align); }
    tango_geometry geometry() const {
        tango_geometry geometry;
        check(tango_link_geometry(get(), &geometry, sizeof geometry));
        return geometry;
    }
    tango_report report() const {
        tango_report report;
        check(tango_link_report(get(), &report, sizeof report));
        return report;
    }
    /// In the order of their slots.
    std::vector<tango_consumer_report> consumers() const { return several<tango_consumer_report>(tango_link_consumers); }
    tango_metrics metrics() const {
        tango_metrics metrics;
        check(tango_link_metrics(get(), &metrics, sizeof metrics));
        return metrics;
    }
    /// In the order of their slots.
    std::vector<tango_consumer_metrics> consumer_metrics() const {
        return several<tango_consumer_metrics>(tango_link_consumer_metrics);
    }

    tango_link get() const noexcept { return owned_.get(); }
    /// Closes it now.
    void close() noexcept { owned_.reset(); }
    explicit operator bool() const noexcept { return static_cast<bool>(owned_); }

private:
    template <class Open> Consumer reader(Open open, tango_start start, std::uint64_t seq) const {
        tango_consumer consumer;
        check(open(get(), start, seq, &consumer));
        return Consumer(consumer);
    }
    template <class Ask> std::string text(Ask ask) const {
        std::size_t len = 0;
        check(ask(get(), nullptr, 0, &len));
        std::string text(len + 1, '\0');
        check(ask(get(), text.data(), text.size(), &len));
        text.resize(len);
        return text;
    }
    template <class Ask> std::size_t number(Ask ask) const {
        std::size_t number = 0;
        check(ask(get(), &number));
        return number;
    }
    template <class Of, class Ask> std::vector<Of> several(Ask ask) const {
        std::size_t count = 0;
        check(ask(get(), nullptr, 0, &count));
        std::vector<Of> all(count);
        check(ask(get(), all.data(), all.size(), &count));
        all.resize(std::min(count, all.size())); // a consumer may have left or joined meanwhile
        return all;
    }

    detail::Owned<tango_link, tango_link_close> owned_;
};

} // namespace tango

#endif
