# How a library of ours is made: static and shared, of the same objects.
include(GNUInstallDirs)

# What versions have in common that go together, see include/README.md; in the names of symbol
# versions.
set(KVF_SERIES ${PROJECT_VERSION_MAJOR})
if(PROJECT_VERSION_MAJOR EQUAL 0)
  string(APPEND KVF_SERIES .${PROJECT_VERSION_MINOR})
endif()

# kvf_add_libraries(NAME EXPORT OBJECTS...): the static library NAME and the shared one NAME_shared
# of these object libraries. In every way of use they are kvferry::EXPORT_static and
# kvferry::EXPORT. cmake/NAME.map.in, of the caller's folder, says what the shared one exports.
#
# Out: KVF_LIBRARIES, the targets made. A shared library cannot bring a sanitizer's runtime along, so
# it is left out then, and where NAME_WITHOUT_SHARED says why; the static one has both names.
function(kvf_add_libraries name export)
  set(objects ${ARGN})
  foreach(library ${objects})
    set_target_properties(${library} PROPERTIES C_VISIBILITY_PRESET hidden)
    # Nobody is to replace single functions of ours, so that calls among them need no detour.
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
