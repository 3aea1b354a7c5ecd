// SPDX-License-Identifier: Apache-2.0
// The counter for dead letters: listing, requeueing, purging. No actor: each call is a chain of callbacks on the threads of store and log, and what must
// not happen twice is decided by them (dedup key, compare-and-set). Any thread; outlived by the services.
#pragma once

#include "actors/services.hpp"
#include "net/surfaces.hpp"

namespace doorstep {

/// GET /v1/dead-letters: a page, and in `next` the token of the one after it.
void list_dead_letters(const services& parts, dead_letter_filter which, inspection::answer done);
/// GET /v1/dead-letters/<id>; ec::not_found.
void show_dead_letter(const services& parts, std::string id, inspection::answer done);
/// Appends each as a new message with the next requeue number; once that is durable the row says so. Repeating it, or doing it twice at a time, makes no
/// second message: the number is part of the dedup key. A record is read again as its source is configured now. A single one that still cannot be understood fails with
/// ec::unsupported, which says why; among several it is only counted.
void requeue_dead_letters(const services& parts, dead_letter_filter which, inspection::answer done);
/// Deletes those that are still dead.
void purge_dead_letters(const services& parts, dead_letter_filter which, inspection::answer done);

}  // namespace doorstep
