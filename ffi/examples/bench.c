/* What a token costs from C: one JSON line of medians in microseconds.
 *
 *   ./bench OPTIONS_JSON PROVIDER [TIMES]             token() of a good token: with a keeper that is open, and with opening it
 *   ./bench OPTIONS_JSON PROVIDER TIMES REFRESHES     refreshes too, as many times
 */
#define _POSIX_C_SOURCE 200809L
#include <lazaretto.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int by_size(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static lazaretto_keeper *open_or_end(const char *options) {
    char *error = NULL;
    lazaretto_keeper *keeper = lazaretto_open(options, &error);
    if (keeper == NULL) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    return keeper;
}

static void take(char *answer) {
    if (answer == NULL) {
        fprintf(stderr, "%s\n", lazaretto_last_error());
        exit(1);
    }
    lazaretto_free(answer);
}

/* The median over so many runs of one kind. */
static double median(char kind, lazaretto_keeper *keeper, const char *options, const char *provider, int times) {
    double *taken = malloc(sizeof(double) * (size_t)times);
    for (int i = 0; i < times; i++) {
        double begun = now_us();
        if (kind == 'o') {
            lazaretto_keeper *own = open_or_end(options);
            take(lazaretto_token(own, provider, NULL));
            lazaretto_close(own);
        } else if (kind == 'r') {
            take(lazaretto_refresh(keeper, provider, NULL, NULL));
        } else {
            take(lazaretto_token(keeper, provider, NULL));
        }
        taken[i] = now_us() - begun;
    }
    qsort(taken, (size_t)times, sizeof(double), by_size);
    double middle = taken[times / 2];
    free(taken);
    return middle;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s OPTIONS_JSON PROVIDER [TIMES [REFRESHES]]\n", argv[0]);
        return 2;
    }
    const char *options = argv[1], *provider = argv[2];
    int times = argc > 3 ? atoi(argv[3]) : 500;
    int refreshes = argc > 4 ? atoi(argv[4]) : 0;
    if (times < 1) {
        times = 1;
    }
    lazaretto_keeper *keeper = open_or_end(options);
    take(lazaretto_token(keeper, provider, NULL));
    printf("{\"language\":\"c\",\"token_warm_us\":%.1f", median('t', keeper, options, provider, times));
    printf(",\"open_and_token_us\":%.1f", median('o', keeper, options, provider, times > 100 ? 100 : times));
    if (refreshes > 0) {
        printf(",\"refresh_us\":%.1f", median('r', keeper, options, provider, refreshes));
    }
    puts("}");
    lazaretto_close(keeper);
    return 0;
}
