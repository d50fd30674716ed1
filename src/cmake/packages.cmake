# Debian packages, one per component: cpack -G DEB in a build folder configured with
# -DCMAKE_INSTALL_PREFIX=/usr. This file makes their metadata.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME kvferry)
set(CPACK_PACKAGE_VENDOR "kvferry developers")
set(CPACK_PACKAGE_CONTACT "kvferry developers <developers@kvferry.invalid>" CACHE STRING
    "Maintainer of the packages")
mark_as_advanced(CPACK_PACKAGE_CONTACT)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each has its own
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/src ${PROJECT_BINARY_DIR}/cuda)

set(debian ${PROJECT_BINARY_DIR}/debian)
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${debian}/changelog "\
kvferry (${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium

  * Built from the sources of ${PROJECT_VERSION}.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
file(ARCHIVE_CREATE OUTPUT ${debian}/changelog.Debian.gz PATHS ${debian}/changelog
     FORMAT raw COMPRESSION GZip COMPRESSION_LEVEL 9 MTIME "1970-01-01")
file(WRITE ${debian}/copyright "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2026 the kvferry developers
License: Apache-2.0
 On Debian systems the text of this license is in /usr/share/common-licenses/Apache-2.0.
")

# kvf_package(COMPONENT PACKAGE SECTION SUMMARY TEXT [REQUIRED COMPONENT]...)
function(kvf_package component package section summary text)
  string(TOUPPER ${component} upper)
  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${component} PARENT_SCOPE)
  set(CPACK_COMPONENT_${upper}_DEPENDS ${ARGN} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${package} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${summary}
kvferry tracks which KV-cache block holds which part of a token sequence,
plans which blocks must move between memory tiers, and moves them.
.
${text}" PARENT_SCOPE)
  install(FILES ${debian}/copyright ${debian}/changelog.Debian.gz
          DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${package}
          COMPONENT ${component} EXCLUDE_FROM_ALL)
endfunction()

# kvf_library_package(COMPONENT LIBRARY): makes packages that link the library depend on its minor
# version (before 1.0), and runs ldconfig.
function(kvf_library_package component library)
  string(TOUPPER ${component} upper)
  set(package ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
  math(EXPR next "${PROJECT_VERSION_MINOR} + 1")
  set(this "${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}")
  set(next "${PROJECT_VERSION_MAJOR}.${next}")
  file(WRITE ${debian}/${component}/shlibs
       "${library} 0 ${package} (>= ${this}), ${package} (<< ${next})\n")
  file(WRITE ${debian}/${component}/triggers "activate-noawait ldconfig\n")
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA
      ${debian}/${component}/shlibs ${debian}/${component}/triggers PARENT_SCOPE)
endfunction()

kvf_package(runtime libkvferry0 libs "KV-cache block tracking and tier transfers"
    "This package contains the shared library.")
kvf_library_package(runtime libkvferry)
kvf_package(development libkvferry-dev libdevel
    "KV-cache block tracking and tier transfers - development files"
    "This package contains the headers, the static library, and files for\npkg-config and CMake."
    runtime)
if(TARGET kvferry_tool)
  kvf_package(tool kvferry utils "measure transfers of KV-cache blocks between memory tiers"
      "This package contains the tool, which measures transfers and replays\ntraces of requests.")
endif()

# NVIDIA's libraries are not part of Debian, and many users install them without packages. So the
# packages only recommend them: apt installs them where it knows them.
if(KVF_HAS_CUDA)
  list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CUDAToolkit_LIBRARY_DIR})
  set(cudart cuda-cudart-${CUDAToolkit_VERSION_MAJOR}-${CUDAToolkit_VERSION_MINOR})
  set(needs "It needs libcudart.so.${CUDAToolkit_VERSION_MAJOR}")
  set(from "from NVIDIA,\nnot part of Debian.")
  kvf_package(cuda libkvferry-cuda0 libs "KV-cache block transfers with CUDA"
      "This package contains the module for pinned memory and GPUs.\n${needs} ${from}" runtime)
  set(CPACK_DEBIAN_CUDA_PACKAGE_RECOMMENDS ${cudart})
  kvf_package(cuda_development libkvferry-cuda-dev libdevel
      "KV-cache block transfers with CUDA - development files"
      "This package contains headers and the static library of the module for\npinned memory and GPUs."
      cuda development)
  set(CPACK_DEBIAN_CUDA_DEVELOPMENT_PACKAGE_DEPENDS libjansson-dev)
  set(nccl "")
  if(KVF_NCCL_LIBRARY)
    list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${nccl_libdir})
    string(APPEND needs " and libnccl.so.2")
    set(nccl ", libnccl2")
  endif()
  if(TARGET kvferry_tool AND KVF_HAS_NVCC)
    set(CPACK_DEBIAN_TOOL_PACKAGE_RECOMMENDS "${cudart}${nccl}")
    string(APPEND CPACK_DEBIAN_TOOL_DESCRIPTION "\n${needs} ${from}")
  endif()
  kvf_package(nccl_development libkvferry-nccl-dev libdevel
      "KV-cache block transfers with NCCL - development files"
      "This package contains headers and the static library of the module for\nseveral GPUs."
      cuda_development)
  if(TARGET kvferry_nccl_shared)
    kvf_package(nccl libkvferry-nccl0 libs "KV-cache block transfers with NCCL"
        "This package contains the module for several GPUs.\n${needs} ${from}" cuda)
    set(CPACK_DEBIAN_NCCL_PACKAGE_RECOMMENDS "${cudart}${nccl}")
    kvf_library_package(nccl libkvferry_nccl)
    list(APPEND CPACK_COMPONENT_NCCL_DEVELOPMENT_DEPENDS nccl)
  endif()
  kvf_library_package(cuda libkvferry_cuda)
endif()
include(CPack)
