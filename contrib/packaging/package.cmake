#
# package.cmake  What `cmake --install` and `cpack` carry away
#
# Copyright (C) 2026 The baresip-aastra authors
#
#   cpack -G DEB    baresip-aastra_<version>_<architecture>.deb, for the Debian
#                   that it is built on (or in, see test/chroot)
#   cpack -G TGZ    the same files in a tarball
#
# contrib/release builds and checks them all.
#

set(AASTRA_MAINTAINER
  "The baresip-aastra authors <baresip-aastra@packages.debian.org>"
  CACHE STRING "Maintainer of the Debian package")

set(AASTRA_DOC_DIR ${CMAKE_INSTALL_DATAROOTDIR}/doc/baresip-aastra)
set(AASTRA_PKG_DIR ${CMAKE_CURRENT_BINARY_DIR}/package)


##############################################################################
#
# The version is in version.cmake, and CHANGELOG.md says what is in it
#

file(STRINGS CHANGELOG.md AASTRA_RELEASES REGEX "^## ")
list(GET AASTRA_RELEASES 0 AASTRA_RELEASE)
if(NOT AASTRA_RELEASE MATCHES
    "^## ${PROJECT_VERSION} - (20[0-9][0-9]-[01][0-9]-[0-3][0-9])$")
  message(FATAL_ERROR "CHANGELOG.md begins with '${AASTRA_RELEASE}' and not "
    "with '## ${PROJECT_VERSION} - <date>'")
endif()
set(AASTRA_DATE ${CMAKE_MATCH_1})


##############################################################################
#
# Which Debian, which baresip
#

set(AASTRA_DEBIAN "")
if(EXISTS /etc/os-release)
  file(STRINGS /etc/os-release AASTRA_OS REGEX "^VERSION_ID=")
  if(EXISTS /etc/debian_version AND AASTRA_OS MATCHES "([0-9]+)")
    set(AASTRA_DEBIAN +deb${CMAKE_MATCH_1})
  endif()
endif()
set(AASTRA_DEB_VERSION ${PROJECT_VERSION}${AASTRA_DEBIAN})

# A plug-in fits one series of its host: libre says which
if(LIBRE_VERSION VERSION_LESS 2)
  set(AASTRA_DEB_HOST
    "baresip-core (>= 1.0.0), baresip-core (<< 1.1)"
    "libre0 (>= 1.1.0), libre0 (<< 1.2)")
elseif(LIBRE_VERSION VERSION_LESS 3)
  set(AASTRA_DEB_HOST
    "baresip-core (>= 1.1.0), baresip-core (<< 1.2)"
    "libre1 (>= 2.0.1), libre1 (<< 2.1)")
else()
  set(AASTRA_DEB_HOST "baresip-core (>= ${LIBRE_VERSION})")
endif()


##############################################################################
#
# Files
#

install(FILES README.md CHANGELOG.md DESTINATION ${AASTRA_DOC_DIR})
install(FILES LICENSE DESTINATION ${AASTRA_DOC_DIR} RENAME copyright)

file(GLOB AASTRA_PAGES CONFIGURE_DEPENDS docs/*.md)
install(FILES ${AASTRA_PAGES} DESTINATION ${AASTRA_DOC_DIR}/docs)

foreach(part kamailio raspberry-pi)
  if(IS_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/contrib/${part})
    install(DIRECTORY contrib/${part} DESTINATION ${AASTRA_DOC_DIR}/examples
      USE_SOURCE_PERMISSIONS
      PATTERN __pycache__ EXCLUDE)
  endif()
endforeach()

install(PROGRAMS contrib/aastractl DESTINATION ${AASTRA_DOC_DIR}/examples)

# Debian wants these two compressed, in a way that gives the same bytes again
find_program(GZIP_PROGRAM gzip REQUIRED)

function(aastra_gzip from to)
  execute_process(COMMAND ${GZIP_PROGRAM} -9nc ${from} OUTPUT_FILE ${to}
    COMMAND_ERROR_IS_FATAL ANY)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${from})
endfunction()

execute_process(COMMAND date -u -R -d ${AASTRA_DATE}
  OUTPUT_VARIABLE AASTRA_RFC_DATE OUTPUT_STRIP_TRAILING_WHITESPACE)
configure_file(contrib/packaging/changelog.in ${AASTRA_PKG_DIR}/changelog @ONLY)
aastra_gzip(${AASTRA_PKG_DIR}/changelog ${AASTRA_PKG_DIR}/changelog.gz)
aastra_gzip(${CMAKE_CURRENT_SOURCE_DIR}/docs/aastra.7
            ${AASTRA_PKG_DIR}/aastra.7.gz)

install(FILES ${AASTRA_PKG_DIR}/changelog.gz DESTINATION ${AASTRA_DOC_DIR})
install(FILES ${AASTRA_PKG_DIR}/aastra.7.gz
  DESTINATION ${CMAKE_INSTALL_MANDIR}/man7)


##############################################################################
#
# Packages
#

set(CPACK_GENERATOR "DEB;TGZ" CACHE STRING "Kinds of packages")
set(CPACK_PACKAGE_NAME baresip-aastra)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_VENDOR "The baresip-aastra authors")
set(CPACK_PACKAGE_CONTACT ${AASTRA_MAINTAINER})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
  WORLD_READ WORLD_EXECUTE)

set(CPACK_DEBIAN_PACKAGE_VERSION ${AASTRA_DEB_VERSION})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION comm)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
list(JOIN AASTRA_DEB_HOST ", " CPACK_DEBIAN_PACKAGE_DEPENDS)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "kamailio")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY
  "failover in the way of Aastra SIP phones, for baresip")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"This module gives the softphone baresip a backup server: a backup outbound
proxy, proxy or registrar beside the primary one, as Aastra phones have it.

It notices within milliseconds that a server is gone, registers with the
other one, takes calls, subscriptions and lamps along, and comes back by
itself without a moment in which nobody could call.")

if(CMAKE_CROSSCOMPILING)
  string(REGEX REPLACE "^arm-linux.*" "armhf" AASTRA_DEB_ARCH
    "${CMAKE_LIBRARY_ARCHITECTURE}")
  string(REGEX REPLACE "^aarch64-.*" "arm64" AASTRA_DEB_ARCH
    "${AASTRA_DEB_ARCH}")
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE ${AASTRA_DEB_ARCH})
endif()

string(TOLOWER ${CMAKE_SYSTEM_PROCESSOR} AASTRA_PROCESSOR)
set(CPACK_PACKAGE_FILE_NAME
  baresip-aastra-${AASTRA_DEB_VERSION}-linux-${AASTRA_PROCESSOR})

include(CPack)
