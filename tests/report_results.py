"""report_results.py NAME: prints results that nothing measured, for tests of the report.

All figures are made up, and say so where a reader would look; they are to be drawn, not believed.
"""

import json
import sys

MADE_UP = "MADE UP FOR A TEST"
HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;&\x01\uffff"


def context(**more):
    return {"version": "0.0.0", "cpu": MADE_UP, "cores": 1, "memory_bytes": 1 << 30,
            "compiler": MADE_UP, "build_type": "none", "engine": "cuda", "gpu": MADE_UP,
            "driver": "0", "date": "1970-01-01T00:00:00Z", "cuda_driver": None,
            "cuda_runtime": None, "link": MADE_UP, "link_at_most": None, "imitated": False,
            **more}


def results(rows, command="bench transfer", **more):
    return {"schema_version": 2, "command": command, "context": context(), "rows": rows, **more}


# ns, ns a fragment and GB/s of the bytes, so that another one wins in each corner.
STRATEGIES = {"loop": (1000, 2000, 50), "batch": (5000, 500, 45), "kernel": (8000, 60, 30),
              "staged": (60000, 50, 38)}


def transfer_row(name, fragment, count, /, **more):
    fixed, cost, speed = STRATEGIES[name]
    micros = (fixed + count * cost + fragment * count / speed) / 1000
    return {"engine": "cuda", "direction": "h2d", "fragment_bytes": fragment, "fragments": count,
            "blocks": count // 4, "regions": 4, "host_layout": "whole", "pattern": "random",
            "strategy": name, "taken": name, "bytes": fragment * count,
            "gbps": fragment * count / micros / 1000, "link_gbps": 50.0, "median_us": micros,
            "samples": 101, "imitated": False, "verified": True, **more}


def ranges(row):
    """The same row with what schema 2 has of its samples, and a prediction."""
    median = row["median_us"]
    return {**row, "p10_us": 0.9 * median, "p90_us": 1.2 * median, "p99_us": 2 * median,
            "predicted_us": 0.8 * median, "prediction_error": 0.25, "wire_us": 0.5 * median}


def cells(direction, count, fragment, **more):
    cell = [transfer_row(name, fragment, count, direction=direction, **more)
            for name in STRATEGIES]
    return [{**cell[fragment % 3], "strategy": "auto"}] + cell


def strategies():
    rows = []
    for direction in ("h2d", "d2h"):
        for count in (64, 4096, 262144):
            for fragment in (1024, 4096, 16384, 65536, 262144, 1048576):
                rows += cells(direction, count, fragment)
    return results(rows)


def total():
    """One total, and so one count for each size; with spreads."""
    rows = []
    for direction in ("h2d", "d2h"):
        for fragment in (4096, 65536, 1048576):
            rows += cells(direction, (64 << 20) // fragment, fragment, spread=0.04, noisy=False)
    return results([ranges(row) for row in rows], noise={"bound": 0.1, "rows": 30, "noisy": 0},
                   compare=comparison())


def latency():
    """Small totals of one size, with a layer's and a block's time; the samples of one are one."""
    rows = [ranges(transfer_row("batch", 4096, count, first_layer_us=2.0, first_block_us=1.0))
            for count in (8, 64, 512)]
    rows[0].update(p10_us=rows[0]["median_us"], p90_us=rows[0]["median_us"], p99_us=None)
    return results(rows)


def single():
    return results([ranges(transfer_row("batch", 4096, 64, fraction_of_link=0.5))])


def comparison():
    return {"file": "<before>.json", "schema_version": 2, "date": MADE_UP, "figure": "gbps",
            "rows": [{"fragment_bytes": size, "now": 10.0, "before": 8.0, "ratio": 1.25,
                      "noise": 0.05, "verdict": "faster"} for size in (4096, 65536)],
            "faster": 2, "slower": 0, "within_noise": 0, "unknown": 0, "only_now": 28,
            "only_before": 0, "differs": {"cpu": ["<now>", "<then>"]}}


def doubtful():
    rows = [transfer_row("batch", 4096, 64, noisy=True, spread=0.5),
            transfer_row("batch", 16384, 64, verified=None),
            transfer_row("batch", 65536, 64, verified=False),
            transfer_row("batch", 262144, 64, imitated=True),
            transfer_row("kernel", 4096, 64), transfer_row("kernel", 16384, 64)]
    return results(rows, command="bench transfer")


def hostile(command="something new"):
    rows = [transfer_row("batch", 4096, 64, pattern=HOSTILE, strategy=HOSTILE, taken=HOSTILE),
            transfer_row("batch", 4096, 64, host_layout=HOSTILE * 20, strategy="loop"),
            {HOSTILE: HOSTILE}]
    made = results(rows, command=command)
    made["context"].update({HOSTILE: HOSTILE, "cpu": HOSTILE, "gpu": HOSTILE, "link": HOSTILE,
                            "nested": {HOSTILE: {HOSTILE: HOSTILE}}, "list": [HOSTILE]})
    return made


def odd():
    """Values of the wrong types, and numbers that no axis can show."""
    values = (None, True, "text", [], {}, [[1]], {"a": {"b": 1}}, -1, 0, 1e308, -1e308, 5e-324,
              2**63 - 1, -2**63, 0.1)
    rows = []
    for key in ("fragment_bytes", "gbps", "link_gbps", "fragments", "strategy", "taken",
                "direction", "verified", "noisy"):
        rows += [transfer_row("batch", 4096, 64, **{key: value}) for value in values]
        rows += [transfer_row("loop", 4096, 64, **{key: value}) for value in values]
    return results(rows, command="bench transfer")


def odd_rows(command):
    """A command's rows with nothing of what is expected of them."""
    return results([{}, {"": None}, {"op": 1, "way": 2, "chosen": [], "requests": -5,
                                     "device_hits": 1e300, "onboard_bytes": "x"}],
                   command=command)


def plan():
    return results([{"op": op, "blocks": blocks, "ids": None, "ns_per_block": 1e6 / blocks,
                     "median_ns": 1e6, "samples": 5}
                    for blocks in (1, 1000) for op in ("zip", "hash")], command="bench plan")


def replay(device=64):
    return results([{"requests": 10, "blocks": 100, "device_hits": 20, "host_hits": 30,
                     "computed": 50, "onboarded": 30, "offloaded": 50, "onboard_bytes": 30 << 20,
                     "offload_bytes": 50 << 20, "onboard_gbps": 12.5, "offload_gbps": None,
                     "device_blocks": int(device), "host_blocks": host, "verified_blocks": 80,
                     "corrupt_blocks": 0} for host in (64, 128)], command="replay")


def pinned():
    return results([{"way": way, "bytes": 1 << 30, "samples": 3, "median_s": 0.25, "p10_s": 0.2,
                     "p90_s": 0.3, "s_per_gib": 0.25} for way in ("huge pages", "small pages")],
                   command="bench pinned")


def collective():
    return results([{"mode": mode, "ranks": 8, "fragment_bytes": size, "algbw_gbps": size / 1e3,
                     "links_gbps": 400.0, "link_gbps": 50.0, "verified": True}
                    for size in (4096, 65536) for mode in ("striped", "broadcast")],
                   command="bench collective")


def calibrate():
    return results([{"direction": direction, "fragment_bytes": size, "chosen": "batch",
                     "loop_us": 4e7 / size, "batch_us": 2e7 / size, "kernel_us": 3e7 / size,
                     "staged_us": 5e7 / size, "wire_us": 1000.0, "expected_gbps": size / 300,
                     "calibrated": True} for size in (1024, 4096) for direction in ("h2d", "d2h")],
                   command="calibrate")


def unknown():
    return results([{"figure": 1}, {"figure": 2.5}], command="some new command")


def many():
    return results([{"figure": i} for i in range(10001)])


def panels():
    """More curves, panels and columns than are drawn."""
    return results([transfer_row("batch", 1 << i % 40, 64, pattern=f"run:{i}",
                                 strategy=("batch", "loop")[i % 2]) for i in range(200)])


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    json.dump(globals()[name](*arguments), sys.stdout, indent=1)
