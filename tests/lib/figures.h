/*
 * What benches share: a clock, the CPU time and memory of other processes,
 * medians, and the lines that are printed. A line is
 *
 *   NAME VALUE UNIT [aim OP BOUND holds|MISSED]
 *
 * Only values of one run may be compared: hence the ratios.
 */
#ifndef PODTERM_TESTS_LIB_FIGURES_H
#define PODTERM_TESTS_LIB_FIGURES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Lines leave at once; the machine is told of. */
void figures_begin(const char *what);
void figures_say(const char *name, double value, const char *unit);
/* The same with an aim: value at most, or at least, bound. */
void figures_at_most(const char *name, double value, const char *unit,
                     double bound);
void figures_at_least(const char *name, double value, const char *unit,
                      double bound);

int64_t figures_now_us(void);
/* CPU time of a process with all its living threads; 0 = no such process. */
double figures_cpu_ns(pid_t pid);
double figures_cpu_self_ns(void);
/* Private_Clean + Private_Dirty; 0 = no such process. */
double figures_private_kib(pid_t pid);

/* v is sorted by this. q: 0..1 */
double figures_quantile(double *v, size_t n, double q);
double figures_median(double *v, size_t n);
/* Median of a[i] / b[i]: what was measured side by side is compared. */
double figures_ratio(const double *a, const double *b, size_t n);

/* Every descriptor the system lets us have, for us and our children. */
void figures_many_files(void);

#endif
