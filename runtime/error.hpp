// SPDX-License-Identifier: Apache-2.0
// Expected failures as values. Every room returns result<T>; a failure has a code that programs read and a detail that people read.
#pragma once

#include <boost/system/result.hpp>

#include <stdexcept>
#include <string>
#include <string_view>

namespace doorstep {

/// What can go wrong and be expected. One sentence a code: see describe().
enum class ec {
  malformed = 1,  ///< the input cannot be understood; sending it again does not help
  unauthorized,   ///< no credential, or one that is not valid
  forbidden,      ///< the credential is valid and does not allow this
  not_found,      ///< nothing there by that name
  too_large,      ///< over a configured size
  unsupported,    ///< understood, and not something this server does
  queue_full,     ///< a bounded queue is full; again later
  unavailable,    ///< the world behind (disk, broker, database) does not answer; again later
  stopping,       ///< the server drains; connect again
  bad_config,     ///< the configuration cannot be used
  corrupt,        ///< what is stored contradicts itself; needs an operator
  internal,       ///< a bug of ours
};

/// The stable kebab-case name of a code, as it goes over the wire: "queue-full".
std::string_view name(ec code);
/// One sentence for people.
std::string_view describe(ec code);
/// True where the same request may work later.
bool is_temporary(ec code);

/// A code with what was wrong and where. `field` names the part of the input, empty when there is none.
struct failure {
  ec code = ec::internal;
  std::string detail;
  std::string field;
};

/// "queue-full: the log's queue holds 65536 entries (field)".
std::string to_string(const failure& x);

[[noreturn]] inline void throw_exception_from_error(const failure& x, const boost::source_location&) { throw std::runtime_error(to_string(x)); }

template <class T>
using result = boost::system::result<T, failure>;

}  // namespace doorstep
