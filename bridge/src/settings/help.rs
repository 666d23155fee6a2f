//! The parts of the help texts that follow the options.

pub(super) const TOP: &str = "\
Examples:
  tango-bridge publish quotes             send link quotes as tango/quotes
  tango-bridge subscribe tango/quotes q   make link q of it, on this machine
  tango-bridge run bridge.toml            do what a file says
  tango-bridge check bridge.toml          say what that would be

Between machines, one side listens, and the other connects:
  tango-bridge publish 'quotes.*' --listen tcp/192.0.2.7:7448
  tango-bridge subscribe 'tango/**' '{link}' --connect tcp/192.0.2.7:7448

Nothing listens beyond this machine unless --listen, or a configuration file of
zenoh, says so. Without such a file, what travels is neither encrypted nor
authenticated: docs/beyond.md shows how to use TLS and users.

A link that is made has the sequence numbers, sig, ctl, ts and payloads of the
link that is sent. Fragments that are lost on the way are left out, so that its
readers see an overrun, and they are counted.

On SIGTERM, SIGINT and SIGHUP, the bridge sends what it has, prints what was
done, and ends. Links that it made stay: the next bridge goes on with them.

Exit status:
  0      it was ended by a signal, and nothing was lost
  1      failure: the address is taken, for example
  2      invalid usage, or a mistake in a file: nothing was started
  3      it was ended by a signal, and fragments were lost or dropped
  128+N  ended by a second signal N";

pub(super) const PUBLISH: &str = "\
Examples:
  tango-bridge publish quotes
  tango-bridge publish 'quotes.*' orders --deny 'quotes.test*'
  tango-bridge publish quotes --as paris/{link} --listen tcp/192.0.2.7:7448
  tango-bridge publish orders --read reliable --congestion block

In patterns, '*' stands for any characters, and '?' for one. Links that appear
later are sent as soon as they are there.

An evictable consumer is evicted by a producer that has waited for it for long
enough, and joins again. For a reliable consumer the producer waits: with
--congestion block, a slow network then stops it. Of an observer it knows
nothing. What the bridge could not read in time, or has dropped, is counted,
and the other side is told.

Sizes are bytes, or have one of the units K, M and G. A network message has
fragments that are there at the same time. --delay waits for more of them: that
costs latency, and takes less processor time.";

pub(super) const SUBSCRIBE: &str = "\
Examples:
  tango-bridge subscribe tango/quotes quotes
  tango-bridge subscribe 'tango/**' 'far.{link}' --deny '*.test'
  tango-bridge subscribe tango/quotes q --connect tcp/192.0.2.7:7448

In keys, '*' stands for what is between two '/', and '**' for any number of
such parts. In patterns of names, '*' stands for any characters, and '?' for
one. They are those of links that are made.

A link that is made is like the one that is sent. After a cut, what the other
side still has in its ring is sent again. The rest is left out and counted.

When the link that is sent is removed, the link here is closed, and removed
--linger later: programs that come a little late find what a short stream had.

With --congestion block, consumers here that are too slow hold up all links that
come over the same connection. A link that would be larger than
--max-link-bytes is not made, because its size is what another machine says.";
