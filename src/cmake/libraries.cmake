# Our libraries: each is static and shared, made of the same objects.
include(GNUInstallDirs)

# The part of the version that compatible releases share, for the names of symbol versions. See
# include/README.md.
set(KVF_SERIES ${PROJECT_VERSION_MAJOR})
if(PROJECT_VERSION_MAJOR EQUAL 0)
  string(APPEND KVF_SERIES .${PROJECT_VERSION_MINOR})
endif()

# kvf_add_libraries(NAME EXPORT OBJECTS...): makes the static library NAME and the shared one
# NAME_shared from object libraries. Builds and installations both call them kvferry::EXPORT_static
# and kvferry::EXPORT. cmake/NAME.map.in, in the caller's folder, lists the shared one's exports.
#
# Sets KVF_LIBRARIES to the targets made. There is no shared library in sanitizer builds, since it
# cannot carry the sanitizer's runtime, or if NAME_WITHOUT_SHARED says why; then the static one has
# both names.
function(kvf_add_libraries name export)
  set(objects ${ARGN})
  foreach(library ${objects})
    set_target_properties(${library} PROPERTIES C_VISIBILITY_PRESET hidden)
    # No program may interpose single functions, so calls between them need not go through the PLT.
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
