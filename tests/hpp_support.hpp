/* What the tests of the wrapper for C++ share. */
#ifndef KVF_TEST_HPP_SUPPORT_HPP
#define KVF_TEST_HPP_SUPPORT_HPP

#include <kvferry/kvferry.hpp>

extern "C" {
#include "support.h"
}

#include <cstdlib>

/* The error that a call throws; fails the test when it throws none. */
template <class Call> kvferry::error thrown(Call call) {
    try {
        call();
    } catch (const kvferry::error &error) {
        return error;
    }
    fail_msg("nothing was thrown");
    std::abort();
}

template <class Call> void throws(kvf_status status, Call call) {
    kvferry::error error = thrown(call);
    test_expect(status, error.status(), &error.details());
}

/* K and V of some layers. */
constexpr kvferry::shape shape_of(std::size_t blocks, std::size_t layers, std::size_t bytes) {
    kvferry::shape shape{};
    shape.blocks = blocks;
    shape.layers = layers;
    shape.parts = 2;
    shape.bytes = bytes;
    return shape;
}

#endif
