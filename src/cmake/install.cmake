# What cmake --install installs. Components: runtime, development and tool, plus cuda,
# cuda_development, nccl and nccl_development if these modules are built.
include(CMakePackageConfigHelpers)
set(KVF_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/kvferry)

# kvf_from_prefix(PATH OUT): PATH for a pkg-config file, relative to its prefix unless absolute.
function(kvf_from_prefix path out)
  if(IS_ABSOLUTE "${path}")
    set(${out} "${path}" PARENT_SCOPE)
  else()
    set(${out} "\${prefix}/${path}" PARENT_SCOPE)
  endif()
endfunction()

kvf_from_prefix("${CMAKE_INSTALL_INCLUDEDIR}" KVF_PC_INCLUDEDIR)
kvf_from_prefix("${CMAKE_INSTALL_LIBDIR}" KVF_PC_LIBDIR)
set(KVF_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  file(RELATIVE_PATH up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(KVF_PC_PREFIX "\${pcfiledir}/${up}")
endif()

# kvf_install_library(NAME EXPORT RUNTIME DEVELOPMENT PC HEADER...): installs both libraries, their
# CMake targets, the pkg-config file made from PC.in, and headers.
function(kvf_install_library name export runtime development pc)
  set(libraries ${name})
  if(TARGET ${name}_shared)
    list(APPEND libraries ${name}_shared)
  endif()
  install(TARGETS ${libraries} EXPORT ${export}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${runtime}
                  NAMELINK_COMPONENT ${development}
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${development})
  install(EXPORT ${export} NAMESPACE kvferry:: DESTINATION ${KVF_PACKAGE_DIR}
          COMPONENT ${development})
  get_filename_component(file ${pc} NAME)
  configure_file(${pc}.in ${PROJECT_BINARY_DIR}/${file} @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${file} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
          COMPONENT ${development})
  install(FILES ${ARGN} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/kvferry
          COMPONENT ${development})
endfunction()

file(GLOB headers CONFIGURE_DEPENDS include/kvferry/*.h include/kvferry/*.hpp)
set(of_cuda ${headers})
list(FILTER of_cuda INCLUDE REGEX "/cuda\\.h$")
set(of_nccl ${headers})
list(FILTER of_nccl INCLUDE REGEX "/nccl\\.h$")
list(FILTER headers EXCLUDE REGEX "/(cuda|nccl)\\.h$")

kvf_install_library(kvferry kvferryTargets runtime development src/cmake/kvferry.pc ${headers})
if(TARGET kvferry_cuda)
  set(KVF_PC_CUDA_LIBDIR ${CUDAToolkit_LIBRARY_DIR})
  kvf_install_library(kvferry_cuda kvferryCudaTargets cuda cuda_development
                      cuda/cmake/kvferry-cuda.pc ${of_cuda})
endif()
if(TARGET kvferry_nccl)
  # What a program must also link if the library is static.
  set(nccl_libdir ${CUDAToolkit_LIBRARY_DIR})
  set(KVF_PC_NCCL "")
  set(KVF_PC_NCCL_PRIVATE "")
  if(KVF_NCCL_LIBRARY)
    get_filename_component(nccl_libdir ${KVF_NCCL_LIBRARY} DIRECTORY)
    set(KVF_PC_NCCL " -Wl,-rpath-link,\${nccllibdir}")
    set(KVF_PC_NCCL_PRIVATE "-L\${nccllibdir} -lnccl")
  elseif(KVF_NCCL_INCLUDE_DIR)
    set(KVF_PC_NCCL " -lnccl")
  endif()
  kvf_install_library(kvferry_nccl kvferryNcclTargets nccl nccl_development
                      cuda/cmake/kvferry-nccl.pc ${of_nccl})
endif()
if(TARGET kvferry_tool)
  install(TARGETS kvferry_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tool)
endif()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT license)

# Before 1.0 a minor version may break the promises of the previous one.
set(compatibility SameMajorVersion)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(compatibility SameMinorVersion)
endif()
write_basic_package_version_file(${PROJECT_BINARY_DIR}/kvferryConfigVersion.cmake
                                 COMPATIBILITY ${compatibility})
configure_package_config_file(src/cmake/kvferryConfig.cmake.in ${PROJECT_BINARY_DIR}/kvferryConfig.cmake
                              INSTALL_DESTINATION ${KVF_PACKAGE_DIR}
                              NO_SET_AND_CHECK_MACRO)
install(FILES ${PROJECT_BINARY_DIR}/kvferryConfig.cmake
              ${PROJECT_BINARY_DIR}/kvferryConfigVersion.cmake
        DESTINATION ${KVF_PACKAGE_DIR} COMPONENT development)
