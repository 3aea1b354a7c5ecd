# SPDX-License-Identifier: Apache-2.0
# Every library that is not ours, from the packages of Debian 12 and 13. Reasons: docs/decisions/0001-dependencies.md.
# Imported targets are SYSTEM, so their headers raise no warnings here.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
find_package(OpenSSL 3 REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(toml11 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp REQUIRED COMPONENTS core)
find_package(SQLiteCpp REQUIRED)
find_package(CAF 0.17.6 REQUIRED)
if(NOT DOORSTEP_SANITIZE)
  find_package(mimalloc REQUIRED)
endif()
pkg_check_modules(rdkafka REQUIRED IMPORTED_TARGET rdkafka)
pkg_check_modules(mongoc REQUIRED IMPORTED_TARGET libmongoc-1.0>=1.23)
