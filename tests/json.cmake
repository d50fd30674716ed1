# cmake -P json.cmake FILE: fails unless FILE is JSON; prints each value as a line PATH TYPE VALUE,
# such as "rows.0.blocks NUMBER 12", to stderr, where cmake's messages go.
cmake_minimum_required(VERSION 3.25)

# Prints the member at the path ARGN.
function(print_json text)
  string(JSON type TYPE "${text}" ${ARGN})
  if(type MATCHES "OBJECT|ARRAY")
    string(JSON count LENGTH "${text}" ${ARGN})
    if(count EQUAL 0)
      return()
    endif()
    math(EXPR last "${count} - 1")
    foreach(index RANGE ${last})
      set(key ${index})
      if(type STREQUAL "OBJECT")
        string(JSON key MEMBER "${text}" ${ARGN} ${index})
      endif()
      print_json("${text}" ${ARGN} ${key})
    endforeach()
  else()
    string(JSON value GET "${text}" ${ARGN})
    list(JOIN ARGN "." path)
    message("${path} ${type} ${value}")
  endif()
endfunction()

file(READ ${CMAKE_ARGV3} text)
if(NOT text MATCHES "^{.*}\n?$") # cmake's reader does not mind what follows
  message(FATAL_ERROR "${CMAKE_ARGV3} holds more than one JSON object, or less")
endif()
print_json("${text}")
