/* Operations and their execution. */
#include "fake_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

fake_ticket *fake_ticket_make(void) {
    fake_ticket *made = calloc(1, sizeof *made);
    if (!made)
        abort();
    made->references = 1;
    pthread_cond_init(&made->changed, NULL);
    return made;
}

fake_ticket *fake_ticket_keep(fake_ticket *ticket) {
    ticket->references++;
    return ticket;
}

void fake_ticket_drop(fake_ticket *ticket) {
    if (ticket && --ticket->references == 0) {
        pthread_cond_destroy(&ticket->changed);
        free(ticket);
    }
}

static void ticket_fire(fake_ticket *ticket) {
    fake_release(ticket);
    ticket->done = true;
    clock_gettime(CLOCK_MONOTONIC, &ticket->at);
    pthread_cond_broadcast(&ticket->changed);
}

fake_op *fake_op_make(fakecuda_kind kind) {
    fake_op *made = calloc(1, sizeof *made);
    if (!made)
        abort();
    made->kind = kind;
    return made;
}

void fake_op_free(fake_op *op) {
    for (size_t i = 0; i < op->copy_count; i++)
        free(op->copies[i].staged);
    free(op->copies);
    fake_ticket_drop(op->ticket);
    free((void *)op->arguments); /* one allocation with the values */
    free(op);
}

/* ---- copies ---- */

size_t fake_copy_span(const fake_side *side, const fake_copy *copy) {
    return side->slice * (copy->depth - 1) + side->pitch * (copy->height - 1) + copy->width;
}

static size_t row_offset(const fake_side *side, size_t row, size_t height) {
    return row / height * side->slice + row % height * side->pitch;
}

/* The program knows device memory by another address than the one that is touched. */
static const char *read_row(const fake_side *side, size_t offset, size_t width) {
    if (side->operand.seen != side->operand.raw)
        fake_saw_read(side->operand.seen + offset, width);
    return side->operand.raw + offset;
}

static char *write_row(const fake_side *side, size_t offset, size_t width) {
    if (side->operand.seen != side->operand.raw)
        fake_saw_write(side->operand.seen + offset, width);
    return side->operand.raw + offset;
}

/* Not hidden from ThreadSanitizer: these are the program's accesses. */
static void copy_execute(const fake_copy *copy) {
    for (size_t row = 0; row < copy->height * copy->depth; row++) {
        size_t to = row_offset(&copy->dst, row, copy->height);
        char *dst = write_row(&copy->dst, to, copy->width);
        if (copy->staged) {
            memcpy(dst, copy->staged + row * copy->width, copy->width);
        } else if (copy->src.operand.raw) {
            size_t from = row_offset(&copy->src, row, copy->height);
            memmove(dst, read_row(&copy->src, from, copy->width), copy->width);
        } else {
            memset(dst, copy->value, copy->width);
        }
    }
}

void fake_copy_stage(fake_copy *copy) {
    size_t rows = copy->height * copy->depth;
    copy->staged = malloc(rows * copy->width);
    if (!copy->staged)
        abort();
    fake_show();
    for (size_t row = 0; row < rows; row++) {
        size_t from = row_offset(&copy->src, row, copy->height);
        memcpy(copy->staged + row * copy->width, read_row(&copy->src, from, copy->width),
               copy->width);
    }
    fake_hide();
}

static bool side_uses(const fake_side *side, const fake_copy *copy, const char *raw, size_t size) {
    const char *begin = side->operand.raw;
    return begin && begin < raw + size && raw < begin + fake_copy_span(side, copy);
}

bool fake_op_uses(const fake_op *op, const char *raw, size_t size) {
    for (size_t i = 0; i < op->copy_count; i++) {
        const fake_copy *copy = &op->copies[i];
        if (side_uses(&copy->dst, copy, raw, size) ||
            (!copy->staged && side_uses(&copy->src, copy, raw, size)))
            return true;
    }
    return false;
}

/* ---- execution ---- */

/* The number of copies that happen before one fails. */
static size_t copies_until_fault(const fake_op *op, cudaError_t *error) {
    size_t count = 0;
    while (count < op->copy_count && *error == cudaSuccess) {
        *error = fake_operation_fault(op->kind);
        count += *error == cudaSuccess;
    }
    return count;
}

static cudaError_t execute_copies(fake_op *op, int device) {
    cudaError_t error = cudaSuccess;
    size_t count = copies_until_fault(op, &error);
    fake_context_busy(device);
    fake_unlock();
    for (size_t i = 0; i < count; i++)
        copy_execute(&op->copies[i]);
    fake_lock();
    fake_context_idle(device);
    return error;
}

static void execute_kernel(fake_op *op, int device) {
    fake_context_busy(device);
    fake_window_open();
    fake_unlock();
    op->body(&op->launch, op->arguments);
    fake_lock();
    fake_window_close();
    fake_context_idle(device);
}

static void execute_function(fake_op *op) {
    fake_self()->in_host_function = true;
    fake_unlock();
    op->function(op->user);
    fake_lock();
    fake_self()->in_host_function = false;
}

/* Runs even in a dead context, so that its owner learns of the end. */
static void execute_external(fake_op *op, int device, bool dead) {
    fake_context_busy(device);
    fake_unlock();
    op->external.run(op->external.user, dead);
    fake_lock();
    op->external.stuck = NULL; /* its answer no longer counts */
    fake_unlock();
    if (op->external.done)
        op->external.done(op->external.user);
    fake_lock();
    fake_context_idle(device);
}

static void wait_for_ticket(fake_op *op) {
    while (!op->ticket->done)
        fake_idle(&op->ticket->changed);
    fake_acquire(op->ticket);
}

static cudaError_t execute_live(fake_op *op, int device) {
    if (op->kind == FAKECUDA_COPY || op->kind == FAKECUDA_MEMSET)
        return execute_copies(op, device);
    if (op->kind == FAKECUDA_WAIT)
        wait_for_ticket(op);
    cudaError_t error = op->internal ? cudaSuccess : fake_operation_fault(op->kind);
    if (error != cudaSuccess)
        return error;
    if (op->kind == FAKECUDA_KERNEL)
        execute_kernel(op, device);
    if (op->kind == FAKECUDA_HOST_FUNCTION)
        execute_function(op);
    return cudaSuccess;
}

static void linger(fakecuda_kind kind) {
    unsigned microseconds = fake_operation_delay(kind);
    if (microseconds > 0) {
        fake_unlock();
        usleep(microseconds);
        fake_lock();
    }
}

/* In a dead context nothing happens, but events fire, so that no wait lasts for ever. */
void fake_op_run(fake_op *op, int device) {
    fake_acquire(op);
    linger(op->kind);
    bool dead = fake_context_dead(device);
    if (!dead) {
        cudaError_t error = execute_live(op, device);
        dead = error != cudaSuccess;
        if (dead)
            fake_context_kill(device, error);
    }
    if (op->kind == FAKECUDA_EXTERNAL)
        execute_external(op, device, dead);
    fake_context_executed(device);
    if (op->kind == FAKECUDA_RECORD)
        ticket_fire(op->ticket);
}
