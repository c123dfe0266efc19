#
# version.cmake
#
# Copyright (C) 2026 The baresip-aastra authors
#

# The version of baresip-aastra; written here and nowhere else
set(AASTRA_VERSION 1.0.0)


# 1.1.0 becomes 10100, so that the preprocessor can compare
function(aastra_version_number out version)
  if(NOT version MATCHES "^([0-9]+)\\.([0-9]+)(\\.([0-9]+))?")
    message(FATAL_ERROR "aastra: not a version of libre: '${version}'")
  endif()
  set(patch 0)
  if(CMAKE_MATCH_4)
    set(patch ${CMAKE_MATCH_4})
  endif()
  math(EXPR number "${CMAKE_MATCH_1} * 10000 + ${CMAKE_MATCH_2} * 100 + ${patch}")
  set(${out} ${number} PARENT_SCOPE)
endfunction()
