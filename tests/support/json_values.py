"""json_values.py FILE: each value of a JSON object as a line PATH TYPE VALUE.

For example "rows.0.blocks NUMBER 12". Fails unless the file is one JSON object and nothing else.
"""

import json
import sys


def refuse(constant):
    raise ValueError(f"{constant}, which Python reads, is not JSON")


def show(value, path):
    if isinstance(value, (dict, list)):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            show(member, f"{path}.{key}" if path else str(key))
    elif isinstance(value, bool):
        print(path, "BOOLEAN", "ON" if value else "OFF")
    elif value is None:
        print(path, "NULL ")
    else:
        print(path, "STRING" if isinstance(value, str) else "NUMBER", value)


with open(sys.argv[1], encoding="utf-8") as file:
    everything = json.load(file, parse_constant=refuse)
if not isinstance(everything, dict):
    sys.exit(f"{sys.argv[1]} is not an object")
show(everything, "")
