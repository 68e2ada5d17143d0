"""Clean a CSV file on the grid and sum it up by region: `python etl.py [SALES.csv] > revenue.csv`.

Dirty rows do not stop it: `return_exceptions=True` gives what was raised in place of a row, and as results come in the
order of the input, the line it stood on is known. Decimals come back as Decimals, exact to the last cent.
"""

import csv
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

import crowdgrid as cg


@cg.function
def clean(row):
    """(region, revenue) of a row as people typed it. Raises ValueError for what nobody can mend."""
    region, price, pieces = row["region"].strip().title(), row["price"].strip().replace(",", "."), int(row["pieces"])
    if not region or pieces <= 0 or not price.replace(".", "", 1).isdecimal():
        raise ValueError(f"{pieces} pieces at {price or 'no price'} in {region or 'no region'}")
    return region, pieces * Decimal(price)


@cg.function
def summed(rows):
    """Revenue by region of one chunk of clean rows."""
    sums = Counter()
    for region, revenue in rows:
        sums[region] += revenue
    return sums


def made_up() -> Iterator[str]:
    """A file as such files are: every 500th row is beyond repair, many others are sloppy."""
    pick = random.Random(2026).choice
    yield "region;pieces;price"
    for row in range(1, 5_001):
        pieces = pick([1, 2, " 3"]) if row % 500 else pick(["many", -1])
        yield f"{pick(['north', 'South ', ' WEST'])};{pieces};{pick(['9.90', '12,50'])}"


def main(text: Iterable[str]) -> None:
    rows = csv.DictReader(text, restval="", delimiter=";")
    given = [(rows.line_num, row) for row in rows]
    good, revenue = [], Counter()
    for (line, _), found in zip(given, clean.map((row for _, row in given), return_exceptions=True), strict=True):
        if isinstance(found, Exception):
            print(f"line {line} left out: {type(found).__name__}: {found}", file=sys.stderr)
        else:
            good.append(found)
    for sums in summed.map(good[at : at + 1_000] for at in range(0, len(good), 1_000)):
        revenue.update(sums)
    csv.writer(sys.stdout, lineterminator="\n").writerows([("region", "revenue"), *sorted(revenue.items())])


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text().splitlines() if len(sys.argv) > 1 else made_up())
