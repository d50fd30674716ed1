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
