"""Find the nonce of Bitcoin's first block; the search ends on every machine once one of them has it."""

import json
from pathlib import Path

from where import grid

import crowdgrid as cg

block = json.loads((Path(__file__).parents[1] / "data/bitcoin_headers.json").read_text())["blocks"][0]

with grid() as g:
    window = cg.Range(2_050_000_000, 2_100_000_000, piece=1_000_000)
    job = g.run(cg.kernels.path("nonces"), args=[block["header"]], split=window, reduce="first")
    found = job.result(timeout=300, progress=True)
    print(f"nonce {int(found):,} after {job.counts.units_done:,} tries, expected {block['nonce']:,}")
