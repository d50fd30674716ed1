/** @file
 * Includes all headers of the core library, which needs neither CUDA nor NCCL.
 *
 * Every header starts with the same four paragraphs, which hold for everything in it. A function's
 * comment adds only what is specific to it. In short:
 *
 * @par Threads
 * A sequence belongs to one owner at a time, and so does an assignments object with what fills it.
 * Layouts and moves never change and may be shared. Engines, tiers, transfers and completions may
 * be used from any thread.
 *
 * @par Ownership
 * The caller destroys or releases every object that it receives. Arguments are read or copied
 * during the call.
 *
 * @par Lifetimes
 * The bytes of blocks are the caller's and must outlive the tiers that describe them. Other objects
 * may be destroyed in any order: objects keep alive what they still need.
 *
 * @par Errors
 * A failed call changes nothing, unless its comment says otherwise; its details name the rule and
 * the block at fault.
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
