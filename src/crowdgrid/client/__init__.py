"""What submitters import: `connect()` or `local()` give a `Grid`, `Grid.run()` gives a `Job`.

An asyncio core (`link`, `rest`, `rows`) on one background thread, under a thin synchronous face (`grid`, `job`).
"""
