/* The conformance driver: the first line opens a keeper, each further line is a call, and each answer is one line. */
#define _POSIX_C_SOURCE 200809L
#include <lazaretto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line without its end, to be freed. NULL: there is none. */
static char *next_line(void) {
    char *line = NULL;
    size_t room = 0;
    ssize_t length = getline(&line, &room, stdin);
    if (length < 0) {
        free(line);
        return NULL;
    }
    if (length > 0 && line[length - 1] == '\n') {
        line[length - 1] = '\0';
    }
    return line;
}

int main(void) {
    char *line = next_line();
    char *error = NULL;
    lazaretto_keeper *keeper = lazaretto_open(line, &error);
    free(line);
    while ((line = next_line()) != NULL) {
        if (keeper == NULL) {
            printf("{\"error\":%s}\n", error);
        } else {
            char *answer = lazaretto_call(keeper, line);
            puts(answer);
            lazaretto_free(answer);
        }
        fflush(stdout);
        free(line);
    }
    lazaretto_free(error);
    lazaretto_close(keeper);
    return 0;
}
