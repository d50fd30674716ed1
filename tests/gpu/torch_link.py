"""torch_link.py FILE: measures the speed of the GPU's link by PyTorch; writes JSON to FILE.

An independent measurement that the tool's link speed should agree with.
"""
import json
import statistics
import sys

BYTES, COPIES, SAMPLES, WARM_UP = 1 << 30, 4, 8, 2


def gbps(torch, destination, source):
    speeds = []
    for _ in range(WARM_UP + SAMPLES):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(COPIES):
            destination.copy_(source, non_blocking=True)
        end.record()
        end.synchronize()
        speeds.append(COPIES * BYTES / begin.elapsed_time(end) / 1e6)
    return statistics.median(speeds[WARM_UP:])


def main(file):
    try:
        import torch
    except ImportError:
        print("no PyTorch")
        return 77
    if not torch.cuda.is_available():
        print("PyTorch sees no GPU")
        return 77
    host = torch.zeros(BYTES, dtype=torch.uint8).pin_memory()
    device = torch.zeros(BYTES, dtype=torch.uint8, device="cuda")
    found = {"torch": torch.__version__, "bytes": BYTES}
    found["h2d"], found["d2h"] = gbps(torch, device, host), gbps(torch, host, device)
    print("link by PyTorch: h2d %.2f GB/s, d2h %.2f GB/s" % (found["h2d"], found["d2h"]))
    with open(file, "w", encoding="utf-8") as out:
        json.dump(found, out)
    return 0


sys.exit(main(sys.argv[1]))
