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

# Whoever hands out packages is their maintainer: said by -DAASTRA_MAINTAINER,
# or as to all of Debian's tools by DEBFULLNAME and DEBEMAIL.  Where nobody is
# named, the address is one that cannot exist (RFC 2606) rather than somebody's.
if(NOT "$ENV{DEBEMAIL}" STREQUAL "" AND NOT "$ENV{DEBFULLNAME}" STREQUAL "")
  set(AASTRA_MAINTAINER_DEFAULT "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
else()
  set(AASTRA_MAINTAINER_DEFAULT
    "The baresip-aastra authors <nobody@baresip-aastra.invalid>")
endif()
set(AASTRA_MAINTAINER "${AASTRA_MAINTAINER_DEFAULT}" CACHE STRING
  "Maintainer of the Debian package: Name <address>")
if(NOT AASTRA_MAINTAINER MATCHES "^[^<>\n]+ <[^<>@ \n]+@[^<>@ \n]+>$")
  message(FATAL_ERROR "AASTRA_MAINTAINER is 'Name <address>', not "
    "'${AASTRA_MAINTAINER}'")
endif()

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

install(FILES LICENSE DESTINATION ${AASTRA_DOC_DIR} RENAME copyright)

# What the pages call contrib/ is in examples/ here, as Debian wants it: one
# link makes both names true.  What is left behind (tests, tools of the
# sources) is named, but no link leads there.  test/check_links.py looks.
function(aastra_page from to)
  file(READ ${from} text)
  string(REGEX REPLACE
    "\\[([^]\n]*)\\]\\((\\.\\./)?(test|modules|contrib/(release|demo|packaging))[^)\n]*\\)"
    "\\1" text "${text}")
  file(WRITE ${AASTRA_PKG_DIR}/pages/${to}.new "${text}")
  configure_file(${AASTRA_PKG_DIR}/pages/${to}.new
    ${AASTRA_PKG_DIR}/pages/${to} COPYONLY)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${from})
  get_filename_component(folder ${to} DIRECTORY)
  install(FILES ${AASTRA_PKG_DIR}/pages/${to}
    DESTINATION ${AASTRA_DOC_DIR}/${folder})
endfunction()

file(GLOB AASTRA_PAGES RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}
  CONFIGURE_DEPENDS docs/*.md)
foreach(page README.md CHANGELOG.md ${AASTRA_PAGES})
  aastra_page(${CMAKE_CURRENT_SOURCE_DIR}/${page} ${page})
endforeach()

file(GLOB AASTRA_PICTURES CONFIGURE_DEPENDS docs/*.svg docs/*.png)
install(FILES ${AASTRA_PICTURES} DESTINATION ${AASTRA_DOC_DIR}/docs)

install(DIRECTORY contrib/kamailio contrib/raspberry-pi
  DESTINATION ${AASTRA_DOC_DIR}/examples
  USE_SOURCE_PERMISSIONS
  PATTERN __pycache__ EXCLUDE)
install(PROGRAMS contrib/aastractl DESTINATION ${AASTRA_DOC_DIR}/examples)

file(CREATE_LINK examples ${AASTRA_PKG_DIR}/contrib SYMBOLIC)
install(FILES ${AASTRA_PKG_DIR}/contrib DESTINATION ${AASTRA_DOC_DIR})

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
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_STRIP_FILES ON)
set(CPACK_ERROR_ON_ABSOLUTE_INSTALL_DESTINATION ON)
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
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE ${AASTRA_ARCH})
endif()

string(TOLOWER ${CMAKE_SYSTEM_PROCESSOR} AASTRA_PROCESSOR)
set(CPACK_PACKAGE_FILE_NAME
  baresip-aastra-${AASTRA_DEB_VERSION}-linux-${AASTRA_PROCESSOR})

include(CPack)
