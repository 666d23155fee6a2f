/* The C interface of rust-tango: one producer, many consumers, threads and processes, no copy on the way.
 *
 * Generated from the source of the library. docs/c.md explains it, with examples. In short:
 *
 *   tango_link       memory with one producer and any number of readers: on the heap, or in shared memory under a name
 *   tango_producer   publishes fragments: bytes, and the three numbers sig, ctl and ts
 *   tango_consumer   reads them, in place or by copy
 *
 * Results. Each function returns a tango_status. After an error, tango_last_error() says in words what was wrong. On
 * success, results are where the pointers lead that were passed; a handle is zero after an error.
 *
 * Handles are numbers. One that was closed, or never opened, gives TANGO_BAD_HANDLE, whatever its bytes are.
 *
 * Pointers. NULL gives TANGO_INVALID where a function does not allow it. Any other pointer must point to what its type
 * says, for as long as the call lasts; no other thread may write there meanwhile. This cannot be checked.
 *
 * Threads. Any number of threads may use a tango_link. A tango_producer or a tango_consumer is used by one thread at a time;
 * it may pass from one thread to another by whatever orders the two (a mutex, starting or joining a thread). While a thread
 * is inside a call that waits or closes, calls of other threads with that handle return TANGO_BUSY. Two other calls
 * at the same time are not noticed, and their behaviour is undefined. The same is true of a signal handler that interrupts
 * a call. In a forked child, every link is closed.
 */

#ifndef TANGO_H
#define TANGO_H

#include <stddef.h>
#include <stdint.h>

/* A size that the library chooses: see tango_options. */
#define TANGO_DEFAULT SIZE_MAX


// The version of this interface. It changes when a program that was compiled with an older header could no longer use
// the library. Compare it with tango_abi_version().
#define TANGO_ABI_VERSION 1

// What a function returns. 0 is success. New codes may be added, so treat an unknown one as an error.
typedef enum tango_status {
  // Success.
  TANGO_OK = 0,
  // Reading: there is nothing now. Fragments may arrive at any moment. It is not kept as the last error.
  TANGO_EMPTY = 1,
  // The time was up.
  TANGO_TIMEOUT = 2,
  // Reading: the link is closed, and everything was read. A new producer can open it again, unless it was stopped.
  // Publishing: the link was stopped. Nothing was published, and nothing can be any more.
  TANGO_CLOSED = 3,
  // Publishing: a consumer still needs what would be overwritten. Nothing was published. Try again later.
  TANGO_NO_CREDITS = 4,
  // Reading: the producer overwrote fragments that this reader had not read, which does not happen to a reliable
  // consumer, or it left their numbers out, which any reader learns. Call again to continue after the gap;
  // tango_last_loss() has the numbers.
  TANGO_OVERRUN = 5,
  // Reading: the producer stopped waiting for this evictable consumer, and fragments were lost. As TANGO_OVERRUN.
  TANGO_EVICTED = 6,
  // Reading: a fragment has impossible metadata. It was skipped. Call again to continue.
  TANGO_CORRUPT = 7,
  // Reading: the producer died, and everything that it published was read. Each call returns this until another
  // producer attaches.
  TANGO_PRODUCER_GONE = 8,
  // Reading: a new producer has taken over from one that died. No published fragment is lost. Reported once. Call
  // again to continue.
  TANGO_PRODUCER_REPLACED = 9,
  // Publishing: the payload is longer than the MTU of the link. Nothing was published.
  TANGO_TOO_LARGE = 10,
  // An argument is out of range or NULL, or the call is not possible on this link or in this state.
  TANGO_INVALID = 11,
  // There is no link of that name.
  TANGO_NOT_FOUND = 12,
  // A link of that name exists and is in use.
  TANGO_IN_USE = 13,
  // The link already has a producer, or all slots for consumers are taken.
  TANGO_TAKEN = 14,
  // The files of the link have another format, or the link has not the sizes or the type that were asked for.
  TANGO_INCOMPATIBLE = 15,
  // A file of the link is missing.
  TANGO_DAMAGED = 16,
  // Another user could write to the files of the link. An observer may join.
  TANGO_UNTRUSTED = 17,
  // A system call failed: see tango_last_errno().
  TANGO_SYSTEM = 18,
  // The handle is not open: it was closed, is zero, or is of another kind. Nothing was done.
  TANGO_BAD_HANDLE = 19,
  // Another thread is inside a call that waits, with the same handle. Nothing was done.
  TANGO_BUSY = 20,
  // There is nothing to release: no fragment, no batch or no loan is held, or it is not this one. Nothing was done.
  TANGO_NOT_HELD = 21,
  // The producer has lent memory: commit or abandon the loan first. Nothing was done.
  TANGO_LOANED = 22,
  // The library has a fault. The handle can only be closed now. Please report the text of tango_last_error().
  TANGO_PANIC = 23,
  // An error that this version of the interface does not know.
  TANGO_UNKNOWN = 24,
} tango_status;

// How calls wait.
typedef enum tango_wait {
  // Spin. The lowest latency. The thread needs a core of its own.
  TANGO_WAIT_SPIN = 0,
  // Spin for about a microsecond, then yield the core between polls.
  TANGO_WAIT_YIELD = 1,
  // Poll for some time, then sleep in the kernel until there is something to do. The default, with 20 microseconds.
  TANGO_WAIT_PARK = 2,
} tango_wait;

// Where a reader begins.
typedef enum tango_start {
  // With the next fragment that is published.
  TANGO_START_NEXT = 0,
  // With the oldest fragment that is still there.
  TANGO_START_OLDEST = 1,
  // With the fragment of the sequence number that is given.
  TANGO_START_AT = 2,
} tango_start;

// The settings of a new link. Fill it in with tango_options_default(), and then change what you need.
//
// Programs that were compiled with an older header have a shorter struct, which `size` tells. The settings that they do
// not know keep their defaults.
typedef struct tango_options {
  // Size of this struct in bytes.
  size_t size;
  // Slots of the ring: how many fragments can be under way. A power of two from 2 to 2^28. Default: 1024.
  size_t depth;
  // The largest payload of one fragment, in bytes: 0 to 2 GiB. Default: type_size, or 256 if there is no type.
  size_t mtu;
  // Size of a slot, in bytes: a multiple of 64, up to 1 MiB. 32 of it are metadata; a payload that does not fit the
  // rest goes to the region, which is slower. Default: the smallest that fits the MTU, if at most 512; otherwise 128.
  size_t slot;
  // Size of the region for payloads that do not fit a slot, in bytes: at least the MTU, and less than 256 GiB.
  // Default: room for depth + 1 payloads of the MTU, with limits; 0 if every payload fits a slot.
  size_t region;
  // How many consumers (reliable or evictable) can be attached at a time: 0 to 256. Default: 1.
  size_t consumers;
  // How many fragments may be published and not yet consumed: 1 to depth. TANGO_DEFAULT: depth.
  uint64_t credits;
  // The first sequence number. Default: 1.
  uint64_t start;
  // 0: observers and evictable consumers cannot attach, and tango_loan_data() works. Default: 1.
  uint8_t observers;
  // 1: touches all memory of the link when it is made, so that no later call does. Default: 0.
  uint8_t prefault;
  // 1: the link is removed when this process has closed it and all that was opened from it. Default: 0.
  uint8_t remove_on_drop;
  // Must be 0.
  uint8_t reserved;
  // Permissions of the files of the link: 0600, with 0040 (the group reads) or 0004 (every user reads) or both.
  // Default: 0600.
  uint32_t mode;
  // The number of a group of this user whose members can be consumers; -1: none. Default: -1.
  int64_t group;
  // The folder of links. NULL: $TANGO_DIR, or /dev/shm/tango-UID. Default: NULL.
  const char *dir;
  // The name of the type of all payloads: 1 to 256 bytes of UTF-8, without characters that a terminal does not show. NULL:
  // payloads have no type. The link remembers it: see tango_link_type_name(). Default: NULL.
  const char *type_name;
  // The size of a value of the type, in bytes. Used if type_name is not NULL. Default: 0.
  size_t type_size;
  // The alignment of a value of the type, in bytes: a power of two up to 32. Default: 1.
  size_t type_align;
} tango_options;

// A link. Any thread may use it, and several at the same time. Make one with {0}, which is never open.
typedef struct tango_link {
  // Of use to the library only.
  uint64_t handle;
} tango_link;

// The sizes of a link. They never change. See tango_options for what they are.
typedef struct tango_geometry {
  // Slots of the ring.
  size_t depth;
  // The largest payload of one fragment, in bytes.
  size_t mtu;
  // Size of a slot, in bytes.
  size_t slot;
  // Size of the region, in bytes. 0 if every payload fits a slot.
  size_t region;
  // Slots for consumers.
  size_t consumers;
  // How many fragments may be published and not yet consumed.
  uint64_t credits;
  // The first sequence number.
  uint64_t start;
  // 1: observers and evictable consumers may attach.
  uint64_t observers;
} tango_geometry;

// A report on a link. Each number was right at some moment of the call, but two may not fit together.
typedef struct tango_report {
  // 1: a producer is attached and lives.
  uint64_t producer;
  // 1: the last producer has closed the link, and no other has attached since.
  uint64_t closed;
  // 1: the link was stopped, or its name was lost. It has ended for good.
  uint64_t stopped;
  // 1: it was stopped because its name leads to it no longer.
  uint64_t name_lost;
  // The last value of tango_producer_beat(), in the producer's unit.
  uint64_t heartbeat;
  // The first sequence number.
  uint64_t start;
  // The sequence number of the next fragment.
  uint64_t next;
  // The oldest fragment that observers can still read.
  uint64_t oldest;
  // How many fragments had to wait for credits.
  uint64_t backpressure;
  // The slot of the consumer that the producer waits for or waited for last. UINT64_MAX: none.
  uint64_t held_by;
  // How many consumers died and no longer hold the producer back.
  uint64_t reaped;
  // How many consumers were evicted.
  uint64_t evicted;
  // How many producers have attached so far.
  uint64_t producers;
  // How many of them took over from one that died.
  uint64_t takeovers;
  // How many consumers are attached, or died without detaching: see tango_link_consumers().
  uint64_t consumers;
} tango_report;

// A report on one consumer of a link, reliable or evictable.
typedef struct tango_consumer_report {
  // Its slot, from 0.
  uint64_t slot;
  // 1: it is evictable.
  uint64_t evictable;
  // 1: it sleeps in the kernel.
  uint64_t asleep;
  // 1: it lives.
  uint64_t alive;
  // The first fragment that it has not finished with.
  uint64_t next;
  // How many fragments, with the numbers that were left out, it has not finished with.
  uint64_t lag;
  // How many fragments it has finished with.
  uint64_t consumed;
  // How many times it lost fragments, or came to numbers that were left out.
  uint64_t overruns;
  // How many fragments it lost, with the numbers that were left out.
  uint64_t lost;
} tango_consumer_report;

// Counts of both ends of a link. A link keeps them in words that its ends write anyway, so each process that has the link
// open can read them, also those of other processes. Observers write nothing, so they are not counted.
//
// The words are read one after the other, while the ends change them.
typedef struct tango_metrics {
  // How many fragments were published, by all producers of the link, with the numbers that they left out. It lags behind
  // by up to a batch while one is published.
  uint64_t published;
  // How many fragments the consumers have finished with: the sum over those that have a slot now.
  uint64_t consumed;
  // How many fragments they lost, with the numbers that were left out: the sum over those that have a slot now.
  uint64_t lost;
  // How many fragments, with the numbers that were left out, the slowest of them has not finished with.
  uint64_t lag;
  // How many fragments had to wait for credits. One that waits counts once, however often it is tried.
  uint64_t backpressure_events;
  // How many consumers were evicted.
  uint64_t evicted;
  // How many consumers died and no longer hold the producer back.
  uint64_t reaped;
  // How many producers have attached so far.
  uint64_t producers;
  // How many of them took over from one that died.
  uint64_t takeovers;
  // How many consumers have a slot: see tango_link_consumer_metrics().
  uint64_t consumers;
} tango_metrics;

// Counts of one consumer, reliable or evictable, since it took its slot. A consumer that leaves takes them with it. A batch
// counts when it is released.
typedef struct tango_consumer_metrics {
  // Its slot, from 0.
  uint64_t slot;
  // How many fragments it has finished with.
  uint64_t consumed;
  // How many fragments, with the numbers that were left out, it has not finished with.
  uint64_t lag;
  // How many times it lost fragments, or came to numbers that were left out.
  uint64_t overruns;
  // How many fragments it lost, with the numbers that were left out.
  uint64_t lost;
} tango_consumer_metrics;

// The one producer of a link. One thread uses it at a time; it may pass to another thread. Make one with {0}, which is
// never open.
typedef struct tango_producer {
  // Of use to the library only.
  uint64_t handle;
} tango_producer;

// Bytes of the caller: one payload of a batch.
typedef struct tango_bytes {
  // May be NULL if len is 0.
  const void *data;
  // How many there are.
  size_t len;
} tango_bytes;

// A reader of a link: reliable, evictable, or an observer. One thread uses it at a time; it may pass to another thread. Make
// one with {0}, which is never open.
typedef struct tango_consumer {
  // Of use to the library only.
  uint64_t handle;
} tango_consumer;

// A fragment that a reader holds.
//
// The bytes are in the ring, or are a validated copy. They begin at a multiple of 32 bytes. They are valid, and do not
// change, until the reader releases the fragment (tango_fragment_release()), reads again, is set up anew, or is closed.
typedef struct tango_fragment {
  // The payload. Not NULL, also if it is empty.
  const uint8_t *data;
  // Its length in bytes.
  size_t len;
  // The sequence number.
  uint64_t seq;
  // The tag of the producer.
  uint64_t sig;
  // The timestamp of the producer.
  uint32_t ts;
  // 0: a message of one fragment. Bit 0: it continues a message. Bit 1: more fragments follow.
  uint16_t ctl;
  // 0.
  uint16_t reserved;
} tango_fragment;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the interface of the library that is loaded. A program that finds another value than
// TANGO_ABI_VERSION must not call anything else.
uint32_t tango_abi_version(void);

// The version of the library, for people: "0.2.0".
const char *tango_version(void);

// What a code means, for people. Never NULL, never freed.
const char *tango_strerror(int32_t code);

// What the last call of this thread that failed says of it, for people: it names what was wrong, and what would be right.
//
// "" if there was none. Never NULL. The text is valid until this thread calls this function again, or ends. A call that
// succeeds, or returns TANGO_EMPTY, leaves it as it is.
const char *tango_last_error(void);

// The error number of the system (errno) behind the last error of this thread, if it is TANGO_SYSTEM; otherwise 0.
int tango_last_errno(void);

// Fills in the defaults. size: sizeof(tango_options).
enum tango_status tango_options_default(struct tango_options *options, size_t size);

// Makes a link on the heap, for threads of this process. options: NULL for the defaults.
//
// Errors: TANGO_INVALID.
enum tango_status tango_link_build(const struct tango_options *options, struct tango_link *link);

// Creates a link in shared memory, for processes of this machine.
//
// A name has 1 to 200 ASCII letters, digits, '-', '_' and '.', and does not begin with '-' or '.'. A link of that name
// that no process holds is replaced.
//
// Errors: TANGO_INVALID, TANGO_IN_USE, TANGO_UNTRUSTED, TANGO_INCOMPATIBLE, TANGO_SYSTEM.
enum tango_status tango_link_create(const char *name,
                                    const struct tango_options *options,
                                    struct tango_link *link);

// As tango_link_create(), but continues a link of that name and these sizes if it has no living producer: its consumers stay
// attached.
enum tango_status tango_link_create_or_take_over(const char *name,
                                                 const struct tango_options *options,
                                                 struct tango_link *link);

// Opens a link in shared memory. dir: the folder of links, NULL for the default one.
//
// Errors: TANGO_NOT_FOUND if there is no such link (yet), TANGO_INVALID, TANGO_INCOMPATIBLE, TANGO_DAMAGED,
// TANGO_UNTRUSTED, TANGO_SYSTEM.
enum tango_status tango_link_open(const char *dir,
                                  const char *name,
                                  struct tango_link *link);

// tango_link_open() that waits until there is a link of this name, for timeout_ns nanoseconds at most; negative: without a
// limit. It looks for the link every 50 milliseconds at least. The link need not have a producer (yet).
//
// Errors: TANGO_TIMEOUT if there was none in time. Otherwise as tango_link_open(), at once.
enum tango_status tango_link_open_wait(const char *dir,
                                       const char *name,
                                       int64_t timeout_ns,
                                       struct tango_link *link);

// Closes a link. Producers and consumers that were opened from it go on: each has a share of its memory. The files of a
// link in shared memory stay, unless remove_on_drop says otherwise.
//
// Errors: TANGO_BAD_HANDLE.
enum tango_status tango_link_close(struct tango_link link);

// Ends a link for good, from any process: publishing returns TANGO_CLOSED, readers read what is there and then get
// TANGO_CLOSED. Threads that wait are woken.
//
// Errors: TANGO_BAD_HANDLE, TANGO_SYSTEM if this user may not.
enum tango_status tango_link_stop(struct tango_link link);

// Removes the name and the files of this link, and never those of a later link of that name. If its producer is in this
// process, all that are attached go on; otherwise the link ends. On the heap, nothing happens.
//
// Errors: TANGO_BAD_HANDLE, TANGO_NOT_FOUND if it was removed already, TANGO_SYSTEM.
enum tango_status tango_link_remove(struct tango_link link);

// Removes the link of this name, whatever state it is in. If it has a living producer, the link ends within about a second.
// dir: as in tango_link_open().
//
// Errors: TANGO_NOT_FOUND, TANGO_INVALID, TANGO_INCOMPATIBLE, TANGO_SYSTEM.
enum tango_status tango_remove(const char *dir,
                               const char *name);

// Whether a reliable consumer of this user may join: the check that tango_consumer_open() makes.
//
// Errors: TANGO_UNTRUSTED, with a text that says what is wrong and what mends it; TANGO_BAD_HANDLE, TANGO_SYSTEM.
enum tango_status tango_link_check_trust(struct tango_link link);

// The sizes of a link. size: sizeof(tango_geometry).
//
// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
enum tango_status tango_link_geometry(struct tango_link link,
                                      struct tango_geometry *geometry,
                                      size_t size);

// A report on a link. It changes nothing, and delays nobody. size: sizeof(tango_report).
//
// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
enum tango_status tango_link_report(struct tango_link link,
                                    struct tango_report *report,
                                    size_t size);

// Reports on the consumers of a link: on the first `room` of them, in the order of their slots. count: how many there are,
// which may be more.
//
// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
enum tango_status tango_link_consumers(struct tango_link link,
                                       struct tango_consumer_report *reports,
                                       size_t room,
                                       size_t *count);

// The name of a link in shared memory; "" on the heap.
//
// Copies as much of it as fits `size` bytes with a zero at the end. len: its length without the zero, which may be more;
// may be NULL. With size 0, only the length is returned.
//
// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
enum tango_status tango_link_name(struct tango_link link,
                                  char *buffer,
                                  size_t size,
                                  size_t *len);

// The folder of a link in shared memory, where it was when the link was opened; "" on the heap. As tango_link_name().
enum tango_status tango_link_path(struct tango_link link,
                                  char *buffer,
                                  size_t size,
                                  size_t *len);

// Whether the name of the link still leads to it. 1 on the heap.
//
// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
enum tango_status tango_link_is_named(struct tango_link link, uint8_t *is_named);

// The name of the type of the payloads; "" if they have none. As tango_link_name(). A program that reads values in place
// compares name, size and alignment with those of its own type first.
enum tango_status tango_link_type_name(struct tango_link link,
                                       char *buffer,
                                       size_t size,
                                       size_t *len);

// The size of a value of the type of the payloads, in bytes.
//
// Errors: TANGO_NOT_FOUND if the payloads have no type; TANGO_BAD_HANDLE, TANGO_INVALID.
enum tango_status tango_link_type_size(struct tango_link link, size_t *size);

// The alignment of a value of the type of the payloads, in bytes. As tango_link_type_size().
enum tango_status tango_link_type_align(struct tango_link link, size_t *align);

// Counts of both ends of a link. A few loads for each slot, and no system call; tango_link_report() also tells which ends
// live. size: sizeof(tango_metrics).
//
// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
enum tango_status tango_link_metrics(struct tango_link link,
                                     struct tango_metrics *metrics,
                                     size_t size);

// Counts of the consumers of a link: of the first `room` of them, in the order of their slots. count: how many there are,
// which may be more.
//
// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
enum tango_status tango_link_consumer_metrics(struct tango_link link,
                                              struct tango_consumer_metrics *metrics,
                                              size_t room,
                                              size_t *count);

// Becomes the producer of a link. Only one can be open at a time, in all processes.
//
// Errors: TANGO_TAKEN if the link has a producer, TANGO_BAD_HANDLE, TANGO_INVALID, TANGO_CLOSED, TANGO_UNTRUSTED,
// TANGO_SYSTEM.
enum tango_status tango_producer_open(struct tango_link link,
                                      struct tango_producer *producer);

// Closes a producer, and so the link: readers read what is there and then get TANGO_CLOSED. Another producer can open it
// again. A loan that is held is abandoned.
//
// Errors: TANGO_BAD_HANDLE if it was closed already, TANGO_BUSY.
enum tango_status tango_producer_close(struct tango_producer producer);

// Sets how calls of this producer wait. wait: a tango_wait. spin_ns: with TANGO_WAIT_PARK, how long it polls before it
// sleeps, in nanoseconds.
//
// Errors: TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_LOANED.
enum tango_status tango_producer_set_wait(struct tango_producer producer,
                                          uint32_t wait,
                                          uint64_t spin_ns);

// Sets how long this producer waits for an evictable consumer before it goes on without it, in nanoseconds.
//
// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_LOANED.
enum tango_status tango_producer_set_patience(struct tango_producer producer,
                                              uint64_t patience_ns);

// The sequence number of the next fragment.
//
// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
enum tango_status tango_producer_next_seq(struct tango_producer producer, uint64_t *next);

// The largest payload of one fragment, in bytes.
//
// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
enum tango_status tango_producer_mtu(struct tango_producer producer, size_t *mtu);

// How many consumers are attached and live, evictable ones included. Observers do not count.
//
// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
enum tango_status tango_producer_consumers(struct tango_producer producer, size_t *consumers);

// The slot of the consumer that holds the producer back. UINT64_MAX: none.
//
// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
enum tango_status tango_producer_held_by(struct tango_producer producer, uint64_t *slot);

// 1 if the link was stopped, so that nothing can be published any more; otherwise 0.
//
// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
enum tango_status tango_producer_is_stopped(struct tango_producer producer, uint8_t *is_stopped);

// Tells supervisors that this producer is well: `now` is in its own unit, and appears in tango_report.
//
// Errors: TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_producer_beat(struct tango_producer producer,
                                      uint64_t now);

// Waits until at least `consumers` consumers are attached, reliable or evictable. timeout_ns: negative for no limit.
//
// Errors: TANGO_TIMEOUT, TANGO_CLOSED if the link was stopped, TANGO_INVALID if the link has fewer slots; TANGO_BAD_HANDLE,
// TANGO_BUSY.
enum tango_status tango_producer_wait_for_consumers(struct tango_producer producer,
                                                    size_t consumers,
                                                    int64_t timeout_ns);

// Waits until all consumers have read everything. timeout_ns: negative for no limit.
//
// Errors: TANGO_TIMEOUT, TANGO_CLOSED if the link was stopped, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_producer_wait_until_drained(struct tango_producer producer,
                                                    int64_t timeout_ns);

// Publishes a fragment: a copy of len bytes. Never blocks. Wakes consumers that sleep.
//
// sig, ctl and ts travel with the payload unchanged. sig is a tag of yours. ctl: 0 for a message of one fragment. ts is a
// timestamp of yours. Pass 0 for what the readers do not use. data may be NULL if len is 0.
//
// Errors, with nothing published: TANGO_NO_CREDITS: try again later, or use tango_send(). TANGO_CLOSED: the link was
// stopped. TANGO_TOO_LARGE, TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_LOANED.
enum tango_status tango_publish(struct tango_producer producer,
                                const void *data,
                                size_t len,
                                uint64_t sig,
                                uint16_t ctl,
                                uint32_t ts);

// tango_publish() that waits for credits for timeout_ns nanoseconds at most, or a little longer; negative: without a limit.
//
// It waits forever without a limit if this thread is the one that should read. tango_link_stop() ends it from another
// thread.
//
// Errors: TANGO_NO_CREDITS: there was none in time. Otherwise as tango_publish().
enum tango_status tango_send(struct tango_producer producer,
                             const void *data,
                             size_t len,
                             uint64_t sig,
                             uint16_t ctl,
                             uint32_t ts,
                             int64_t timeout_ns);

// Publishes payloads in order, until all are published or one fails. Never blocks. Consumers that sleep are woken once for
// every 64. All fragments get this sig, ctl and ts.
//
// published: how many were; may be NULL.
//
// Errors: the one of the first payload that was not published, as tango_publish(). Those before it were published.
enum tango_status tango_publish_batch(struct tango_producer producer,
                                      const struct tango_bytes *payloads,
                                      size_t count,
                                      uint64_t sig,
                                      uint16_t ctl,
                                      uint32_t ts,
                                      size_t *published);

// Leaves out the next count sequence numbers, for a link that has to carry the numbers of another source. Waits for credits
// for timeout_ns nanoseconds at most, or a little longer; negative: without a limit. Every reader that comes to such numbers,
// a reliable consumer as well, gets TANGO_OVERRUN. A number that is left out takes a credit until the consumers have come to it.
//
// skipped: how many were left out; may be NULL.
//
// Errors: TANGO_NO_CREDITS: there were not enough in time. TANGO_CLOSED: the link was stopped. In both cases, some may have
// been left out. TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_LOANED.
enum tango_status tango_skip(struct tango_producer producer,
                             uint64_t count,
                             int64_t timeout_ns,
                             uint64_t *skipped);

// Sends a message of any length, in as many fragments as it takes. Waits for credits without a limit. Readers put it
// together by ctl: bit 0 says that a fragment continues a message, bit 1 that more fragments follow.
//
// fragments: how many there were; may be NULL.
//
// Errors: TANGO_CLOSED: the link was stopped; part of the message may have been published. Otherwise as tango_publish().
enum tango_status tango_send_message(struct tango_producer producer,
                                     const void *data,
                                     size_t len,
                                     uint64_t sig,
                                     uint64_t *fragments);

// Lends the place for a payload of len bytes. Never blocks. The producer has one loan at a time, and publishes nothing else
// before it ends. Bytes that are not written keep the value that they had before in the ring.
//
// Write with tango_loan_write(), or with tango_loan_data() on a link without observers. End it with tango_loan_commit() or
// tango_loan_abandon().
//
// Errors: TANGO_NO_CREDITS, TANGO_CLOSED, TANGO_TOO_LARGE, TANGO_LOANED, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_loan(struct tango_producer producer,
                             size_t len);

// Writes bytes into the loan, at `offset` bytes from its start.
//
// Errors: TANGO_INVALID if they end outside of the loan, with nothing written; TANGO_NOT_HELD, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_loan_write(struct tango_producer producer,
                                   size_t offset,
                                   const void *data,
                                   size_t len);

// The bytes of the loan themselves, valid until the loan ends. Only on a link without observers (tango_options): otherwise
// an observer may be reading them.
//
// Errors: TANGO_INVALID if the link may have observers; TANGO_NOT_HELD, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_loan_data(struct tango_producer producer,
                                  uint8_t **data);

// Shortens the payload to its first len bytes. No effect if it is not longer.
//
// Errors: TANGO_NOT_HELD, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_loan_truncate(struct tango_producer producer, size_t len);

// Publishes the payload. The loan ends in each case. sig, ctl and ts: as in tango_publish().
//
// Errors, with nothing published: TANGO_CLOSED if the link was stopped; TANGO_NOT_HELD, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_loan_commit(struct tango_producer producer,
                                    uint64_t sig,
                                    uint16_t ctl,
                                    uint32_t ts);

// Ends the loan without publishing. The next fragment uses its place.
//
// Errors: TANGO_NOT_HELD, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_loan_abandon(struct tango_producer producer);

// Joins as a reliable consumer: it reads every fragment, in place, and the producer waits for it.
//
// start: a tango_start. seq: with TANGO_START_AT, the number of the first fragment to read.
//
// Errors: TANGO_TAKEN if no slot is free; TANGO_UNTRUSTED if another user could write to the files; TANGO_BAD_HANDLE,
// TANGO_INVALID, TANGO_SYSTEM.
enum tango_status tango_consumer_open(struct tango_link link,
                                      uint32_t start,
                                      uint64_t seq,
                                      struct tango_consumer *consumer);

// Joins as an evictable consumer: it reads by copy, and the producer waits for it as long as its patience
// (tango_producer_set_patience()). As tango_consumer_open().
enum tango_status tango_evictable_open(struct tango_link link,
                                       uint32_t start,
                                       uint64_t seq,
                                       struct tango_consumer *consumer);

// Joins as an observer: it reads what it can, by copy. The producer does not know of it. It needs no slot, and only the
// permission to read the files. As tango_consumer_open().
enum tango_status tango_observer_open(struct tango_link link,
                                      uint32_t start,
                                      uint64_t seq,
                                      struct tango_consumer *consumer);

// Closes a reader. A fragment or batch that it holds is released: its bytes are not valid any more.
//
// Errors: TANGO_BAD_HANDLE if it was closed already, TANGO_BUSY.
enum tango_status tango_consumer_close(struct tango_consumer consumer);

// Sets how calls of this reader wait: as tango_producer_set_wait(). What the reader holds is released.
//
// Errors: TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_consumer_set_wait(struct tango_consumer consumer,
                                          uint32_t wait,
                                          uint64_t spin_ns);

// 1: in a stream of fast fragments, tango_poll() now and then waits for 10 microseconds at most until the producer is some
// way ahead, which makes the stream faster. 0, the default: a fragment that is there is returned at once. What the reader
// holds is released.
//
// Errors: TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_consumer_set_throughput(struct tango_consumer consumer,
                                                uint8_t for_throughput);

// The sequence number of the next fragment to read.
//
// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
enum tango_status tango_consumer_next_seq(struct tango_consumer consumer, uint64_t *next);

// 1 if the link is closed and everything was read; otherwise 0.
//
// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
enum tango_status tango_consumer_is_closed(struct tango_consumer consumer, uint8_t *is_closed);

// After TANGO_PRODUCER_GONE, waits until the link has a producer again. timeout_ns: negative for no limit. What the reader
// holds is released.
//
// Errors: TANGO_TIMEOUT: none came in time, or none can come, because the link was closed or lost its name;
// TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
enum tango_status tango_consumer_wait_for_producer(struct tango_consumer consumer,
                                                   int64_t timeout_ns);

// The next fragment, if it is there. Never blocks. What the reader held before is released first.
//
// Errors: TANGO_EMPTY: nothing is there now. TANGO_CLOSED: nothing is there, and the link is closed. TANGO_OVERRUN,
// TANGO_EVICTED, TANGO_CORRUPT, TANGO_PRODUCER_REPLACED: call again to go on. TANGO_PRODUCER_GONE, TANGO_INVALID,
// TANGO_BAD_HANDLE, TANGO_BUSY. After an error, *fragment is as it was.
enum tango_status tango_poll(struct tango_consumer consumer,
                             struct tango_fragment *fragment);

// The next fragment. Waits until there is one, for timeout_ns nanoseconds at most, or a little longer; negative: without a
// limit. What the reader held before is released first.
//
// It waits forever without a limit if this thread is the one that should publish. tango_link_stop() ends it from another
// thread.
//
// Errors: TANGO_TIMEOUT: nothing came in time. TANGO_CLOSED: the link is closed, and everything was read. TANGO_INVALID if
// the reader has a descriptor. Otherwise as tango_poll().
enum tango_status tango_recv(struct tango_consumer consumer,
                             int64_t timeout_ns,
                             struct tango_fragment *fragment);

// Releases the fragment that the reader holds, so that the producer may overwrite it. *fragment then has no bytes: data is
// NULL, len 0.
//
// Errors: TANGO_NOT_HELD if the reader holds no fragment, or another one: for example, if it was released already.
// TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_fragment_release(struct tango_consumer consumer,
                                         struct tango_fragment *fragment);

// The numbers of the last error of this thread, if a reading call returned TANGO_OVERRUN, TANGO_EVICTED, TANGO_CORRUPT or
// TANGO_PRODUCER_REPLACED. TANGO_EMPTY if the last error was another one.
//
// lost: how many fragments were lost or skipped. next: the sequence number at which reading continues; after
// TANGO_PRODUCER_REPLACED, the first fragment of the new producer. Both may be NULL.
enum tango_status tango_last_loss(uint64_t *lost,
                                  uint64_t *next);

// Up to `room` fragments that are there now, in order. Never blocks. What the reader held before is released first. All of
// them count as read.
//
// They are valid until tango_batch_release(), which releases all of them together, or until the reader reads again, is set
// up anew, or is closed. An observer or an evictable consumer has room for copies of 8 KiB, or of one fragment.
//
// count: how many there are; 0 after an error.
//
// Errors: as tango_poll(). An error of a later fragment ends the batch, and the next call returns it.
enum tango_status tango_poll_batch(struct tango_consumer consumer,
                                   struct tango_fragment *fragments,
                                   size_t room,
                                   size_t *count);

// Releases the batch that the reader holds, so that the producer may overwrite its fragments. Their bytes are not valid any
// more.
//
// Errors: TANGO_NOT_HELD if the reader holds no batch; TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_batch_release(struct tango_consumer consumer);

// Gives a reader a descriptor for epoll(7), poll(2) and the like. From then on, it waits for that instead of in
// tango_recv(), which returns TANGO_INVALID, as batches do. What the reader holds is released.
//
// The protocol: call tango_poll() until it returns TANGO_EMPTY. Then wait until the descriptor is readable, and start again.
// Do not read from the descriptor or close it: the reader owns it. After TANGO_CLOSED, it stays readable.
//
// A second call returns the same descriptor. The first one of a process starts a thread, which waits for all such readers
// and ends with the last.
//
// Errors: TANGO_SYSTEM if the system refuses a descriptor or a thread: the reader is of no use then, and can only be closed.
// TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY.
enum tango_status tango_consumer_descriptor(struct tango_consumer consumer,
                                            int *descriptor);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TANGO_H */
