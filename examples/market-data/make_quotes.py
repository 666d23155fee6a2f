"""Makes quotes.csv up: a random walk of three symbols over five minutes. It shows no market.

    python3 make_quotes.py >quotes.csv

Each run prints the same file: the seed is fixed, and only `random()` and whole numbers are used, so that no version of
Python and no processor makes a difference.
"""

import random

SECOND = 1_000_000_000
END = 300 * SECOND
# Prices and spreads are in cents.
MID = {"ASH": 10_000, "ELM": 10_060, "OAK": 9_930}
# In this part, three times as many quotes come, steps are larger, and spreads are wide.
BUSY = range(120 * SECOND, 150 * SECOND)

draw = random.Random(20_261_201)


def below(n):
    """A whole number from 0 to n - 1."""
    return int(draw.random() * n)


def main():
    print("# Made up by make_quotes.py: a random walk with a fixed seed. No market, no real prices.")
    print("time_ns,symbol,bid,ask,bid_size,ask_size")
    mid = dict(MID)
    time = 0
    while time < END:
        symbol = sorted(mid)[below(len(mid))]
        busy = time in BUSY
        mid[symbol] += below(9) - 4 if busy else below(3) - 1
        below_mid = 1 + below(6 if busy else 2)
        above_mid = 1 + below(6 if busy else 2)
        bid, ask = mid[symbol] - below_mid, mid[symbol] + above_mid
        sizes = 100 * (1 + below(9)), 100 * (1 + below(9))
        print(f"{time},{symbol},{bid // 100}.{bid % 100:02},{ask // 100}.{ask % 100:02},{sizes[0]},{sizes[1]}")
        # 50 ms apart on average, or a third of it.
        time += below(100_000_000 if not busy else 33_000_000)


main()
