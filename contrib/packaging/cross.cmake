#
# cross.cmake  Build for another architecture of Debian
#
# Copyright (C) 2026 The baresip-aastra authors
#
#   cmake -B build-arm64 -DCMAKE_TOOLCHAIN_FILE=contrib/packaging/cross.cmake \
#       -DAASTRA_ARCH=arm64
#
# Takes crossbuild-essential-<arch>, the libraries with :<arch> behind their
# names, and for the tests qemu-user-static.
#

set(AASTRA_ARCH "arm64" CACHE STRING "amd64, arm64 or armhf")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES AASTRA_ARCH)

set(CMAKE_SYSTEM_NAME Linux)
if(AASTRA_ARCH STREQUAL arm64)
  set(AASTRA_TRIPLET aarch64-linux-gnu)
  set(CMAKE_SYSTEM_PROCESSOR aarch64)
  set(AASTRA_QEMU qemu-aarch64-static)
elseif(AASTRA_ARCH STREQUAL armhf)
  set(AASTRA_TRIPLET arm-linux-gnueabihf)
  set(CMAKE_SYSTEM_PROCESSOR armv7l)
  set(AASTRA_QEMU qemu-arm-static)
elseif(AASTRA_ARCH STREQUAL amd64)
  set(AASTRA_TRIPLET x86_64-linux-gnu)
  set(CMAKE_SYSTEM_PROCESSOR x86_64)
  set(AASTRA_QEMU qemu-x86_64-static)
else()
  message(FATAL_ERROR "AASTRA_ARCH is amd64, arm64 or armhf, not '${AASTRA_ARCH}'")
endif()

set(CMAKE_LIBRARY_ARCHITECTURE ${AASTRA_TRIPLET})
set(CMAKE_C_COMPILER ${AASTRA_TRIPLET}-gcc)
set(CMAKE_STRIP ${AASTRA_TRIPLET}-strip)
set(CMAKE_CROSSCOMPILING_EMULATOR ${AASTRA_QEMU})
set(ENV{PKG_CONFIG_LIBDIR}
  /usr/lib/${AASTRA_TRIPLET}/pkgconfig:/usr/share/pkgconfig)
