/** @file
 * All of the core library. Needs neither CUDA nor NCCL.
 *
 * Every header begins with the same four paragraphs, which hold for all that is in it; functions
 * say only what is theirs. In short:
 *
 * @par Threads
 * Sequences, trackers and what fills them belong to one owner at a time; layouts and moves never
 * change and may be shared; engines, tiers, transfers and completions may be used from any thread.
 *
 * @par Ownership
 * Whoever is given an object destroys or releases it. Arguments are read, or copied, during the
 * call.
 *
 * @par Lifetimes
 * The bytes of blocks are the caller's, and outlive the tiers over them. Objects may otherwise go
 * in any order, since what is still needed of one is kept.
 *
 * @par Errors
 * A call that fails has changed nothing, and says what is wrong with which block.
 */
#ifndef KVFERRY_KVFERRY_H
#define KVFERRY_KVFERRY_H

#include "status.h"
#include "hash.h"
#include "sequence.h"
#include "assignments.h"
#include "plan.h"
#include "flight.h"
#include "layout.h"
#include "move.h"
#include "hooks.h"
#include "engine.h"
#include "transfer.h"
#include "bound.h"

#endif
