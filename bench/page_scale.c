#include "page_scale.h"

#include <math.h>

/* A finite stand-in for what JSON may hold. */
#define LARGEST 1e200

bool scale_takes(scale_type type, double value) {
    bool fits = isfinite(value) && fabs(value) < LARGEST;
    return fits && (type == SCALE_LINEAR || value > 1 / LARGEST);
}

/* A round step, of 1, 2 or 5 times a power of ten, that `parts` of reach `range` or nearly so. */
static double round_step(double range, int parts) {
    double raw = range / parts;
    double power = pow(10, floor(log10(raw)));
    double digit = raw / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

static double of_log(scale_type type, double value) {
    return type == SCALE_LOG2 ? log2(value) : log10(value);
}

static double to_log(scale_type type, double exponent) {
    return type == SCALE_LOG2 ? exp2(exponent) : pow(10, exponent);
}

scale scale_make(scale_type type, double low, double high, double from, double to) {
    scale made = {.type = type, .low = low, .high = high, .from = from, .to = to};
    if (type == SCALE_LINEAR) {
        made.low = fmin(low, 0);
        made.high = high > made.low ? high : made.low + 1;
        double step = round_step(made.high - made.low, 5);
        made.low = floor(made.low / step) * step;
        made.high = ceil(made.high / step) * step;
    } else if (!(of_log(type, high) - of_log(type, low) > 0.01)) {
        made.low = low / 2;
        made.high = high * 2;
    }
    return made;
}

double scale_at(const scale *scale, double value) {
    double low = scale->low, high = scale->high;
    value = fmin(fmax(value, low), high);
    if (scale->type != SCALE_LINEAR) {
        low = of_log(scale->type, low);
        high = of_log(scale->type, high);
        value = of_log(scale->type, value);
    }
    return scale->from + (value - low) / (high - low) * (scale->to - scale->from);
}

size_t scale_ticks(const scale *scale, double ticks[SCALE_MOST_TICKS]) {
    double low = scale->low, high = scale->high, step;
    size_t count = 0;
    if (scale->type == SCALE_LINEAR) {
        step = round_step(high - low, 5);
    } else {
        low = of_log(scale->type, low);
        high = of_log(scale->type, high);
        step = fmax(1, ceil((high - low) / (SCALE_MOST_TICKS - 2)));
    }
    double first = ceil(low / step - 1e-9);
    while (count < SCALE_MOST_TICKS) { /* each from its number, so that no error adds up */
        double at = (first + (double)count) * step;
        if (!(at <= high + step * 1e-9)) {
            break;
        }
        ticks[count++] = scale->type == SCALE_LINEAR ? at + 0 : to_log(scale->type, at); /* no -0 */
    }
    if (count == 0) { /* between two powers */
        ticks[count++] = scale->low;
        ticks[count++] = scale->high;
    }
    return count;
}
