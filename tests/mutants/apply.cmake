# cmake -DROOT=DIR -DMUTANT=FILE -P apply.cmake: changes one place in the tree under DIR.
#
#     # Why the place matters.
#     file: cuda/order.c
#     tests: cuda_order cuda_large
#     old:
#     ... whole lines, which must stand there exactly once
#     new:
#     ... what takes their place
cmake_minimum_required(VERSION 3.25)

file(READ ${MUTANT} text)
if(NOT text MATCHES "^(#[^\n]*\n)+file: ([^\n]+)\ntests: [^\n]+\nold:\n")
  message(FATAL_ERROR "${MUTANT} is not of the form that apply.cmake describes")
endif()
set(file ${ROOT}/${CMAKE_MATCH_2})
string(FIND "${text}" "\nold:\n" old_at)
string(FIND "${text}" "\nnew:\n" new_at)
string(LENGTH "\nold:\n" heading)
if(new_at LESS old_at)
  message(FATAL_ERROR "${MUTANT} has nothing that is new")
endif()
math(EXPR old_start "${old_at} + ${heading}")
math(EXPR old_length "${new_at} + 1 - ${old_start}")
math(EXPR new_start "${new_at} + ${heading}")
string(SUBSTRING "${text}" ${old_start} ${old_length} old)
string(SUBSTRING "${text}" ${new_start} -1 new)

file(READ ${file} source)
string(PREPEND source "\n") # before every line there is one
string(PREPEND old "\n")
string(PREPEND new "\n")
string(FIND "${source}" "${old}" first)
string(FIND "${source}" "${old}" last REVERSE)
if(first EQUAL -1 OR NOT first EQUAL last)
  message(FATAL_ERROR "what ${MUTANT} changes does not stand in ${file} exactly once")
endif()
string(REPLACE "${old}" "${new}" source "${source}")
string(SUBSTRING "${source}" 1 -1 source)
file(WRITE ${file} "${source}")
