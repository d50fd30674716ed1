"""use.py LIBRARY: calls the shared library from Python, by ctypes alone."""

import ctypes
import sys

TOKENS, BLOCK, BLOCKS = 1000, 16, 62


class Hash(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


class SequenceOptions(ctypes.Structure):
    _fields_ = [
        ("block_size", ctypes.c_size_t),
        ("salt", ctypes.c_uint64),
        ("layout", ctypes.c_int),
        ("allocator", ctypes.c_void_p),
    ]


class Error(ctypes.Structure):
    _fields_ = [
        ("status", ctypes.c_int),
        ("fields", ctypes.c_uint32),
        ("what", ctypes.c_char_p),
        ("native_code", ctypes.c_int),
    ] + [
        (name, ctypes.c_uint64)
        for name in ("id", "other_id", "index", "other_index", "position", "expected")
    ]


class Kvferry:
    """The library's functions by name; an error status raises."""

    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.kvf_status_name.restype = ctypes.c_char_p
        self.library.kvf_version.restype = ctypes.c_char_p
        self.library.kvf_sequence_block_count.restype = ctypes.c_size_t
        self.library.kvf_sequence_hashes.restype = ctypes.POINTER(Hash)
        self.library.kvf_assignments_assigned_count.restype = ctypes.c_size_t
        self.library.kvf_assignments_get_at_position.restype = ctypes.c_bool

    def call(self, name, *arguments):
        error = Error()
        status = getattr(self.library, name)(*arguments, ctypes.byref(error))
        if status != 0:
            text = ctypes.create_string_buffer(256)
            self.library.kvf_error_format(ctypes.byref(error), text, ctypes.c_size_t(256))
            raise ValueError(self.library.kvf_status_name(status).decode(), text.value.decode())

    def get(self, name, *arguments):
        return getattr(self.library, name)(*arguments)


def sequence_of(kvferry, tokens):
    sequence = ctypes.c_void_p()
    options = SequenceOptions(block_size=BLOCK)
    kvferry.call("kvf_sequence_create", ctypes.byref(options), ctypes.byref(sequence))
    array = (ctypes.c_uint32 * len(tokens))(*tokens)
    kvferry.call("kvf_sequence_extend", sequence, array, ctypes.c_size_t(len(tokens)), None)
    return sequence


def make_assignments(kvferry, ids):
    assignments = ctypes.c_void_p()
    kvferry.call("kvf_assignments_create", None, ctypes.byref(assignments))
    array = (ctypes.c_uint64 * len(ids))(*ids)
    kvferry.call("kvf_assignments_extend_block_ids", assignments, array, ctypes.c_size_t(len(ids)))
    return assignments


def check(kvferry):
    sequence = sequence_of(kvferry, [i % 97 for i in range(TOKENS)])
    assert kvferry.get("kvf_sequence_block_count", sequence) == BLOCKS
    hashes = kvferry.get("kvf_sequence_hashes", sequence)
    assignments = make_assignments(kvferry, range(100, 100 + BLOCKS))
    kvferry.call(
        "kvf_assignments_assign_pending", assignments, hashes, ctypes.c_size_t(BLOCKS), None
    )
    assert kvferry.get("kvf_assignments_assigned_count", assignments) == BLOCKS
    block, found = ctypes.c_uint64(), Hash()
    assert kvferry.get(
        "kvf_assignments_get_at_position",
        assignments,
        ctypes.c_uint64(7),
        ctypes.byref(block),
        ctypes.byref(found),
    )
    assert block.value == 107
    assert (found.low, found.high) == (hashes[7].low, hashes[7].high)

    # A duplicate id: the error has its details.
    try:
        ids = (ctypes.c_uint64 * 2)(500, 500)
        kvferry.call("kvf_assignments_extend_block_ids", assignments, ids, ctypes.c_size_t(2))
        raise AssertionError("an id was taken twice")
    except ValueError as error:
        assert error.args[0] == "KVF_ERR_DUPLICATE_BLOCK_ID", error
        assert "500" in error.args[1], error
    kvferry.get("kvf_assignments_destroy", assignments)
    kvferry.get("kvf_sequence_destroy", sequence)


def main():
    kvferry = Kvferry(sys.argv[1])
    check(kvferry)
    print("kvferry", kvferry.get("kvf_version").decode(), "works from Python")


main()
