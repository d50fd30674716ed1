"""predictions.py FOLDER FILE: compares the first results of .ci/gpu with predictions.

FOLDER has the JSON files of the steps; the table goes to FILE and standard output. A missed prediction
is a finding, not a failure; only the lack of all results is a failure. The predictions are for an H200
at PCIe 5.0 x16 and were written before the library had run on any GPU.
"""
import json
import os
import sys

LINK_GBPS = (50, 56)
WAITED_US = 20  # most that default waiting adds to polling
LINK_TO_TORCH = 0.02  # relative difference, at most
NOISE = 0.10  # of a calibration, at most
COST_ERROR = 0.10  # of predicted times, and between cold and warm cost tables
DIRECTIONS = ("h2d", "d2h")


def least_fraction(fragment_bytes):
    """The fraction of the link's speed that the engine's own choice reaches with 256 MiB."""
    kib = fragment_bytes / 1024
    return 0.97 if kib >= 256 else 0.93 if kib >= 64 else 0.95 if kib >= 4 else 0.90


def load(folder, step):
    """None for a step that was left out, or cut off before its JSON was complete."""
    try:
        with open(os.path.join(folder, step + ".json"), encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def within(value, least, most):
    return value is not None and least <= value <= most


def link(large, torch):
    """Lines (what, predicted, measured or None, whether it was met)."""
    for direction in DIRECTIONS:
        measured = (large["context"].get("link_gbps") or {}).get(direction)
        yield ("link %s, GB/s" % direction, "%g to %g" % LINK_GBPS, measured,
               within(measured, *LINK_GBPS))
        ratio = measured / torch[direction] if torch and measured else None
        yield ("link %s / PyTorch's" % direction, "1 within %g" % LINK_TO_TORCH, ratio,
               within(ratio, 1 - LINK_TO_TORCH, 1 + LINK_TO_TORCH))


def table(rows):
    for row in rows:
        name = "%s %g KiB" % (row["direction"], row["fragment_bytes"] / 1024)
        least = least_fraction(row["fragment_bytes"])
        fraction, error = row["fraction_of_link"], row["prediction_error"]
        yield ("auto %s (%s) / link" % (name, row["taken"]), "%g or more" % least, fraction,
               within(fraction, least, float("inf")))
        yield ("time %s / predicted - 1" % name, "0 within %g" % COST_ERROR, error,
               within(error, -COST_ERROR, COST_ERROR))


def waiting(small, waited):
    """The same transfers, polled and waited for."""
    polled = {(row["direction"], row["fragment_bytes"]): row["median_us"] for row in small["rows"]}
    for row in waited["rows"]:
        before = polled.get((row["direction"], row["fragment_bytes"]))
        if before is not None:
            late = row["median_us"] - before
            yield ("waited %s %g KiB - polled, us" % (row["direction"], row["fragment_bytes"] / 1024),
                   "%g or less" % WAITED_US, late, within(late, float("-inf"), WAITED_US))


def cost_tables(cold, warm):
    """The cost tables' noise, and the largest difference of the speeds they expect."""
    for name, found in (("cold", cold), ("warm", warm)):
        noise = found["context"]["calibration_noise"]
        yield ("noise of calibrating, %s" % name, "%g or less" % NOISE, noise,
               within(noise, 0, NOISE))
    worst = {}
    for before, after in zip(cold["rows"], warm["rows"]):
        ratio = after["expected_gbps"] / before["expected_gbps"] - 1
        if abs(ratio) >= abs(worst.get(before["direction"], 0)):
            worst[before["direction"]] = ratio
    for direction, ratio in worst.items():
        yield ("costs %s warm / cold - 1, worst" % direction, "0 within %g" % COST_ERROR, ratio,
               within(ratio, -COST_ERROR, COST_ERROR))


def gather(folder):
    steps = {name: load(folder, name) for name in
             ("large", "small", "calibrate", "calibrate-warm", "torch-link", "waited")}
    lines = []
    if steps["large"]:
        lines += link(steps["large"], steps["torch-link"])
    for name in ("large", "small"):
        if steps[name]:
            lines += table(steps[name]["rows"])
    if steps["calibrate"] and steps["calibrate-warm"]:
        lines += cost_tables(steps["calibrate"], steps["calibrate-warm"])
    if steps["small"] and steps["waited"]:
        lines += waiting(steps["small"], steps["waited"])
    imitated = any(found and found.get("context", {}).get("imitated") for found in steps.values())
    return lines, imitated


def text_of(lines, imitated):
    text = "IMITATED: these figures come from the fake runtime\n" if imitated else ""
    text += "%-40s %-14s %9s\n" % ("what", "predicted", "measured")
    for what, predicted, measured, met in lines:
        figure = "-" if measured is None else "%.3f" % measured
        word = "not measured" if measured is None else "met" if met else "MISSED"
        text += "%-40s %-14s %9s  %s\n" % (what, predicted, figure, word)
    met = [met for _, _, measured, met in lines if measured is not None]
    return text + "%d of %d predictions missed\n" % (met.count(False), len(met))


def main(folder, path):
    lines, imitated = gather(folder)
    if not lines:
        print("no results to compare")
        return 1
    text = text_of(lines, imitated)
    print(text, end="")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


sys.exit(main(*sys.argv[1:]))
