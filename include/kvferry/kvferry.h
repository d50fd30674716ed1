/** @file
 * The whole core library. Needs neither CUDA nor NCCL.
 *
 * Every header starts with the same four paragraphs, which hold for everything in it. The comment
 * of a function adds only what is particular to it. In short:
 *
 * @par Threads
 * A sequence and an assignments object belong to one owner at a time, and so do the calls that fill
 * them. Layouts and moves never change and may be shared. Engines, tiers, transfers and completions
 * may be used from any thread.
 *
 * @par Ownership
 * Whoever receives an object destroys or releases it. Arguments are read or copied during the call.
 *
 * @par Lifetimes
 * The bytes of blocks are the caller's and must outlive the tiers over them. Other objects may be
 * destroyed in any order: what is still needed of one is kept.
 *
 * @par Errors
 * A call that fails has changed nothing, and its details name the rule and the block at fault.
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
