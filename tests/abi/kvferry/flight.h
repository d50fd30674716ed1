#ifndef KVFERRY_FLIGHT_H
#define KVFERRY_FLIGHT_H
#include "plan.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef uint64_t kvf_flight;
KVF_API kvf_status kvf_flight_depart(kvf_assignments *dst, const kvf_plan *plan, kvf_flight *flight,
                                     kvf_error *error);
KVF_API kvf_status kvf_flight_land(kvf_assignments *dst, kvf_flight flight, kvf_range *assigned,
                                   kvf_error *error);
KVF_API kvf_status kvf_flight_return(kvf_assignments *dst, kvf_flight flight, size_t landed,
                                     kvf_error *error);
KVF_API bool kvf_flight_is_open(const kvf_assignments *dst, kvf_flight flight);
KVF_API size_t kvf_flight_open_count(const kvf_assignments *dst);
#ifdef __cplusplus
}
#endif
#endif
