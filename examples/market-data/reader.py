"""Reads the link ``quotes``, and prints the columns of src/bin/reader.rs, without the latency.

    python reader.py

docs/tutorial.md runs it.
"""

import numpy
import rust_tango as tango
from quote import QUOTE

PERIOD = 10_000_000_000  # nanoseconds that are summed up in one line


def report(quotes):
    """Prints a line for each symbol."""
    until = (int(quotes[0]["time"]) // PERIOD + 1) * PERIOD // 1_000_000_000
    for symbol in numpy.unique(quotes["symbol"]):
        of = quotes[quotes["symbol"] == symbol]
        mid = (of["bid"] + of["ask"]) / 2
        spread = (of["ask"] - of["bid"]).mean()
        print(f"{until:>4} s  {symbol.decode():<6}  {len(of):>6}  {mid[-1]:7.3f}  {mid.mean():7.3f}  {spread:6.3f}")


def main():
    print("waiting for link quotes", flush=True)
    count, period = 0, []
    with tango.Link.open_wait("quotes") as link, tango.TypedLink(link, QUOTE, "Quote").consumer() as rx:
        print("  time  symbol  quotes      mid  average  spread", flush=True)
        for quote in rx:  # ends when the link is closed
            if period and quote["time"] // PERIOD != period[0]["time"] // PERIOD:
                report(numpy.array(period))
                period = []
            period.append(quote)
            count += 1
    if period:
        report(numpy.array(period))
    print(f"read {count} quotes, and the link is closed")


if __name__ == "__main__":
    main()
