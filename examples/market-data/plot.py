"""Plots a recording of the link ``quotes``: mid price and spread of each symbol over time.

    python plot.py RECORDING PICTURE

docs/tutorial.md runs it. What reads the recording is python/examples/read_recording.py.
"""

import sys
from pathlib import Path

import matplotlib
import numpy
from quote import QUOTE

sys.path.append(str(Path(__file__).parents[2] / "python" / "examples"))
import read_recording

AVERAGED = 50  # quotes that a point of the spread is the mean of


def main(recording, picture):
    links, events = read_recording.read(recording)
    quotes = read_recording.payloads(links["quotes"], QUOTE)
    lost = sum(event["lost"] for event in events if event["event"] == "gap")

    matplotlib.use("agg")  # draws into a file, and needs no window
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, sharex=True, figsize=(8, 5), layout="constrained")
    for symbol in numpy.unique(quotes["symbol"]):
        of = quotes[quotes["symbol"] == symbol]
        seconds = of["time"] / 1e9
        above.plot(seconds, (of["bid"] + of["ask"]) / 2, linewidth=1, label=symbol.decode())
        mean = numpy.convolve(of["ask"] - of["bid"], numpy.ones(AVERAGED) / AVERAGED, "valid")
        below.plot(seconds[AVERAGED - 1 :], mean, linewidth=1)
    above.set_ylabel("mid price")
    above.legend(loc="upper left")
    below.set_ylabel(f"spread, mean of {AVERAGED}")
    below.set_xlabel("seconds")
    figure.savefig(picture, dpi=80)
    print(f"{len(quotes)} quotes, {lost} missing")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: plot.py RECORDING PICTURE")
    main(*sys.argv[1:])
