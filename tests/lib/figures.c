#include "tests/lib/figures.h"

#include "base/mem.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define FILES_WANTED 40000

void figures_begin(const char *what)
{
    double load[1] = {0};

    signal(SIGPIPE, SIG_IGN); /* who hangs up is told of by its error */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (getloadavg(load, 1) == 1)
        printf("# %s: %ld processors, load %.1f\n", what,
               sysconf(_SC_NPROCESSORS_ONLN), load[0]);
}

void figures_say(const char *name, double value, const char *unit)
{
    printf("%s %.2f %s\n", name, value, unit);
}

static void figures_aim(const char *name, double value, const char *unit,
                        const char *op, double bound, int holds)
{
    printf("%s %.2f %s aim %s %g %s\n", name, value, unit, op, bound,
           holds ? "holds" : "MISSED");
}

void figures_at_most(const char *name, double value, const char *unit,
                     double bound)
{
    figures_aim(name, value, unit, "<=", bound, value <= bound);
}

void figures_at_least(const char *name, double value, const char *unit,
                      double bound)
{
    figures_aim(name, value, unit, ">=", bound, value >= bound);
}

int64_t figures_now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

double figures_cpu_ns(pid_t pid)
{
    char path[320];
    double sum = 0;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    d = opendir(path);
    for (struct dirent *de; d && (de = readdir(d));) {
        unsigned long ns = 0;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid,
                 de->d_name);
        f = de->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (f && fscanf(f, "%lu", &ns) == 1)
            sum += (double)ns;
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
    return sum;
}

double figures_cpu_self_ns(void)
{
    return figures_cpu_ns(getpid());
}

double figures_private_kib(pid_t pid)
{
    char path[64], line[256];
    double sum = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "Private_Clean:", 14) == 0 ||
            strncmp(line, "Private_Dirty:", 14) == 0)
            sum += strtod(line + 14, NULL);
    if (f)
        fclose(f);
    return sum;
}

static int figures_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

double figures_quantile(double *v, size_t n, double q)
{
    qsort(v, n, sizeof(*v), figures_compare);
    return v[(size_t)((double)(n - 1) * q + 0.5)];
}

double figures_median(double *v, size_t n)
{
    return figures_quantile(v, n, 0.5);
}

double figures_ratio(const double *a, const double *b, size_t n)
{
    double *v = mem_zero(n, sizeof(*v)), r;

    for (size_t i = 0; i < n; i++)
        v[i] = b[i] > 0 ? a[i] / b[i] : 0;
    r = figures_median(v, n);
    free(v);
    return r;
}

void figures_many_files(void)
{
    struct rlimit rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
        return;
    if (rl.rlim_max < FILES_WANTED) { /* root may */
        struct rlimit more = {FILES_WANTED, FILES_WANTED};

        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return;
    }
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
}
