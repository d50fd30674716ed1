"""report_results.py NAME [COMMAND]: prints made-up results, for tests of the report.

No figure was measured. The machine in their context says so.
"""

import json
import sys

MADE_UP = "MADE UP FOR A TEST"
HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;&\x01\uffff"
# Values of wrong types, and numbers that no axis can show.
ODD = (None, True, "text", [], {}, [[1]], {"a": {"b": 1}}, -1, 0, 1e308, -1e308, 5e-324, 2**63 - 1,
       -2**63, 0.1)
# Fixed ns, ns per fragment and GB/s: a different strategy wins in each corner.
STRATEGIES = {"loop": (1000, 2000, 50), "batch": (5000, 500, 45), "kernel": (8000, 60, 30),
              "staged": (60000, 50, 38)}


def results(rows, command="bench transfer", **more):
    context = dict.fromkeys(("cpu", "compiler", "gpu", "link"), MADE_UP)
    context.update(version="0.0.0", cores=1, memory_bytes=1 << 30, engine="cuda", driver="0",
                   date="1970-01-01T00:00:00Z", cuda_driver=None, imitated=False)
    return {"schema_version": 2, "command": command, "context": context, "rows": rows, **more}


def row(name, fragment, count, /, **more):
    fixed, cost, speed = STRATEGIES[name]
    micros = (fixed + count * cost + fragment * count / speed) / 1000
    return {"engine": "cuda", "direction": "h2d", "fragment_bytes": fragment, "fragments": count,
            "blocks": count // 4, "regions": 4, "host_layout": "whole", "pattern": "random",
            "strategy": name, "taken": name, "bytes": fragment * count,
            "gbps": fragment * count / micros / 1000, "link_gbps": 50.0, "median_us": micros,
            "samples": 101, "imitated": False, "verified": True, **more}


def ranges(row):
    """The row with schema 2's keys of samples, and a prediction."""
    median = row["median_us"]
    return {**row, "p10_us": 0.9 * median, "p90_us": 1.2 * median, "p99_us": 2 * median,
            "predicted_us": 0.8 * median, "prediction_error": 0.25, "wire_us": 0.5 * median}


def cells(cases, **more):
    """Rows of all strategies, and of auto, which chooses any of them."""
    for direction in ("h2d", "d2h"):
        for fragment, count in cases:
            cell = [row(name, fragment, count, direction=direction, **more) for name in STRATEGIES]
            yield from [{**cell[fragment % 3], "strategy": "auto"}] + cell


def strategies():
    return results(list(cells([(1024 << 2 * size, count) for count in (64, 4096, 262144)
                               for size in range(6)])))


def total():
    """One total, so one count per size; with spreads and a stored run."""
    compared = [{"fragment_bytes": size, "now": 10.0, "before": 8.0, "ratio": 1.25, "noise": 0.05,
                 "verdict": "faster"} for size in (4096, 65536)]
    sizes = [(size, (64 << 20) // size) for size in (4096, 65536, 1048576)]
    return results([ranges(row) for row in cells(sizes, spread=0.04, noisy=False)],
                   compare={"file": "<before>.json", "figure": "gbps", "rows": compared,
                            "faster": 2, "only_now": 28, "differs": {"cpu": ["<now>", "<then>"]}})


def latency():
    """Small totals of one size, with times of a layer and a block; one row has a single sample."""
    rows = [ranges(row("batch", 4096, count, first_layer_us=2.0, first_block_us=1.0))
            for count in (8, 64, 512)]
    rows[0].update(p10_us=rows[0]["median_us"], p90_us=rows[0]["median_us"], p99_us=None)
    return results(rows)


def single():
    return results([ranges(row("batch", 4096, 64, fraction_of_link=0.5))])


def doubtful():
    return results([row("batch", 4096, 64, noisy=True, spread=0.5),
                    row("batch", 16384, 64, verified=None), row("batch", 65536, 64, verified=False),
                    row("batch", 262144, 64, imitated=True), row("kernel", 4096, 64),
                    row("kernel", 16384, 64)])


def panels():
    """More curves, panels and columns than the page draws."""
    return results([row(("batch", "loop")[i % 2], 1 << i % 40, 64, pattern=f"run:{i}")
                    for i in range(200)])


def plan():
    return results([{"op": op, "blocks": blocks, "ids": None, "ns_per_block": 1e6 / blocks,
                     "median_ns": 1e6, "samples": 5}
                    for blocks in (1, 1000) for op in ("zip", "hash")], "bench plan")


def pinned():
    return results([{"way": way, "bytes": 1 << 30, "samples": 3, "median_s": 0.25, "p10_s": 0.2,
                     "p90_s": 0.3, "s_per_gib": 0.25} for way in ("huge pages", "small pages")],
                   "bench pinned")


def collective():
    return results([{"mode": mode, "ranks": 8, "fragment_bytes": size, "algbw_gbps": size / 1e3,
                     "links_gbps": 400.0, "link_gbps": 50.0, "verified": True}
                    for size in (4096, 65536) for mode in ("striped", "broadcast")],
                   "bench collective")


def replay():
    return results([{"requests": 10, "blocks": 100, "device_hits": 20, "host_hits": 30,
                     "computed": 50, "onboarded": 30, "offloaded": 50, "onboard_bytes": 30 << 20,
                     "offload_bytes": 50 << 20, "onboard_gbps": 12.5, "offload_gbps": None,
                     "device_blocks": 64, "host_blocks": host, "corrupt_blocks": 0}
                    for host in (64, 128)], "replay")


def calibrate():
    return results([{"direction": direction, "fragment_bytes": size, "chosen": "batch",
                     "loop_us": 4e7 / size, "batch_us": 2e7 / size, "kernel_us": 3e7 / size,
                     "staged_us": 5e7 / size, "wire_us": 1000.0, "expected_gbps": size / 300}
                    for size in (1024, 4096) for direction in ("h2d", "d2h")], "calibrate")


def unknown():
    return results([{"figure": 1}, {"figure": 2.5}], "some new command")


def many():
    return results([{"figure": i} for i in range(10001)])


def hostile(command="something new"):
    made = results([row("batch", 4096, 64, pattern=HOSTILE, strategy=HOSTILE, taken=HOSTILE),
                    row("batch", 4096, 64, host_layout=HOSTILE * 20, strategy="loop"),
                    row("batch", 4096, 64, host_layout=HOSTILE * 20), {HOSTILE: HOSTILE}], command)
    made["context"].update({HOSTILE: HOSTILE, "cpu": HOSTILE, "gpu": HOSTILE, "link": HOSTILE,
                            "nested": {HOSTILE: {HOSTILE: HOSTILE}}, "list": [HOSTILE]})
    return made


def odd(command="bench transfer"):
    """Two rows of that command, each value in turn replaced by an odd one, and empty rows."""
    kind = {"bench transfer": total}.get(command) or globals()[command.split()[-1]]
    rows = kind()["rows"][:2]
    return results([{}, {"": None}] + [{**row, key: value} for row in rows for key in row
                                       for value in ODD], command)


if __name__ == "__main__":
    json.dump(globals()[sys.argv[1]](*sys.argv[2:]), sys.stdout, indent=1)
