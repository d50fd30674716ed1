# Debian packages, one a component: cpack -G DEB in a build folder configured with
# -DCMAKE_INSTALL_PREFIX=/usr.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME kvferry)
set(CPACK_PACKAGE_VENDOR "kvferry developers")
set(CPACK_PACKAGE_CONTACT "kvferry developers <developers@kvferry.invalid>" CACHE STRING
    "Maintainer of the packages")
mark_as_advanced(CPACK_PACKAGE_CONTACT)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/src ${PROJECT_BINARY_DIR}/cuda)

# kvf_package(COMPONENT PACKAGE SECTION SUMMARY TEXT [COMPONENT IT NEEDS]...)
function(kvf_package component package section summary text)
  string(TOUPPER ${component} upper)
  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${component} PARENT_SCOPE)
  set(CPACK_COMPONENT_${upper}_DEPENDS ${ARGN} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${package} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${summary}\n${text}" PARENT_SCOPE)
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${package} RENAME copyright
          COMPONENT ${component} EXCLUDE_FROM_ALL)
endfunction()

set(about "kvferry tracks which KV-cache block holds which part of a token sequence, \
plans which blocks must move between memory tiers, and moves them.")
set(CPACK_COMPONENTS_ALL)
kvf_package(runtime libkvferry0 libs "KV-cache block tracking and tier transfers"
    "${about} This is the shared library.")
kvf_package(development libkvferry-dev libdevel
    "KV-cache block tracking and tier transfers - development files"
    "${about} These are the headers, the static library, and files for pkg-config and CMake."
    runtime)
if(TARGET kvferry_tool)
  kvf_package(tool kvferry utils "measure transfers of KV-cache blocks between memory tiers"
      "${about} This is the tool that measures transfers and replays request traces.")
endif()

# NVIDIA's libraries are in no Debian, and many have them from elsewhere than NVIDIA's packages: what
# these are called is recommended, which apt follows where it knows them and passes over otherwise.
set(nvidia "The libraries of NVIDIA that it needs are not part of Debian:")
if(KVF_HAS_CUDA)
  list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CUDAToolkit_LIBRARY_DIR})
  set(cudart cuda-cudart-${CUDAToolkit_VERSION_MAJOR}-${CUDAToolkit_VERSION_MINOR})
  set(text "libcudart.so.${CUDAToolkit_VERSION_MAJOR}")
  kvf_package(cuda libkvferry-cuda0 libs "KV-cache block transfers with CUDA"
      "${about} This is the module for pinned memory and GPUs. ${nvidia} ${text}." runtime)
  kvf_package(cuda_development libkvferry-cuda-dev libdevel
      "KV-cache block transfers with CUDA - development files"
      "${about} These are the development files of the module for pinned memory and GPUs."
      cuda development)
  set(CPACK_DEBIAN_CUDA_PACKAGE_RECOMMENDS ${cudart})
  set(CPACK_DEBIAN_CUDA_DEVELOPMENT_PACKAGE_DEPENDS libjansson-dev)
  if(TARGET kvferry_tool AND KVF_HAS_NVCC)
    set(CPACK_DEBIAN_TOOL_PACKAGE_RECOMMENDS ${cudart})
    string(APPEND CPACK_DEBIAN_TOOL_DESCRIPTION " ${nvidia} ${text}.")
  endif()
endif()
if(TARGET kvferry_nccl)
  kvf_package(nccl_development libkvferry-nccl-dev libdevel
      "KV-cache block transfers with NCCL - development files"
      "${about} These are the development files of the module for several GPUs."
      cuda_development)
  if(TARGET kvferry_nccl_shared)
    kvf_package(nccl libkvferry-nccl0 libs "KV-cache block transfers with NCCL"
        "${about} This is the module for several GPUs. ${nvidia} ${text}, libnccl.so.2." cuda)
    list(APPEND CPACK_COMPONENT_NCCL_DEVELOPMENT_DEPENDS nccl)
  endif()
  if(KVF_NCCL_LIBRARY)
    list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${nccl_libdir})
    set(CPACK_DEBIAN_NCCL_PACKAGE_RECOMMENDS "libnccl2, ${cudart}")
    if(TARGET kvferry_tool AND KVF_HAS_NVCC)
      string(APPEND CPACK_DEBIAN_TOOL_PACKAGE_RECOMMENDS ", libnccl2")
      string(APPEND CPACK_DEBIAN_TOOL_DESCRIPTION " And libnccl.so.2.")
    endif()
  endif()
endif()
include(CPack)
