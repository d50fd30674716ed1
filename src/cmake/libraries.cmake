# Makes a library static and shared, from the same objects.
include(GNUInstallDirs)

# The part of the version that compatible releases share (include/README.md), for the names of
# symbol versions.
set(KVF_SERIES ${PROJECT_VERSION_MAJOR})
if(PROJECT_VERSION_MAJOR EQUAL 0)
  string(APPEND KVF_SERIES .${PROJECT_VERSION_MINOR})
endif()

# kvf_add_libraries(NAME EXPORT OBJECTS...): the static library NAME and the shared one NAME_shared
# from these object libraries. Projects that use them know them as kvferry::EXPORT_static and
# kvferry::EXPORT. cmake/NAME.map.in in the caller's folder lists what the shared library exports.
#
# Out: KVF_LIBRARIES, the targets made. There is no shared library in sanitizer builds, because it
# cannot carry the sanitizer's runtime, nor where NAME_WITHOUT_SHARED is set; the static library
# then has both names.
function(kvf_add_libraries name export)
  set(objects ${ARGN})
  foreach(library ${objects})
    set_target_properties(${library} PROPERTIES C_VISIBILITY_PRESET hidden)
    # Our functions cannot be interposed one by one, so calls between them are direct.
    target_compile_options(${library} PRIVATE -fno-semantic-interposition)
  endforeach()
  list(TRANSFORM objects REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>")
  add_library(${name} STATIC ${objects})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C EXPORT_NAME ${export}_static)
  add_library(kvferry::${export}_static ALIAS ${name})
  if(KVF_SANITIZE OR ${name}_WITHOUT_SHARED)
    add_library(kvferry::${export} ALIAS ${name})
    set(KVF_LIBRARIES ${name} PARENT_SCOPE)
    return()
  endif()

  set(map ${CMAKE_CURRENT_BINARY_DIR}/${name}.map)
  configure_file(cmake/${name}.map.in ${map} @ONLY)
  add_library(${name}_shared SHARED ${objects})
  target_link_options(${name}_shared PRIVATE
      -Wl,--version-script=${map} -Wl,--no-undefined -Wl,-Bsymbolic-functions)
  set_target_properties(${name}_shared PROPERTIES
      LINKER_LANGUAGE C EXPORT_NAME ${export} OUTPUT_NAME ${name}
      VERSION ${PROJECT_VERSION} SOVERSION 0 LINK_DEPENDS ${map})
  add_library(kvferry::${export} ALIAS ${name}_shared)
  set(KVF_LIBRARIES ${name} ${name}_shared PARENT_SCOPE)
endfunction()
