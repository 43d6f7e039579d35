/* Every wrong way to call, and many threads at once. Ends with 0 if each was an error or nothing, and prints what went wrong otherwise. */
#define _POSIX_C_SOURCE 200809L
#include <lazaretto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect(int is_so, const char *what) {
    if (!is_so) {
        fprintf(stderr, "not so: %s\n", what);
        failures++;
    }
}

/* Whether a string is an error with this code. Gives it back. */
static int has_code(char *answer, const char *code) {
    char *error = lazaretto_member(answer, "error");
    char *found = lazaretto_member(error != NULL ? error : answer, "code");
    int is_so = found != NULL && strcmp(found, code) == 0;
    if (!is_so) {
        fprintf(stderr, "%s\n", answer != NULL ? answer : "(null)");
    }
    lazaretto_free(found);
    lazaretto_free(error);
    lazaretto_free(answer);
    return is_so;
}

static int last_has_code(const char *code) {
    char *found = lazaretto_member(lazaretto_last_error(), "code");
    int is_so = found != NULL && strcmp(found, code) == 0;
    lazaretto_free(found);
    return is_so;
}

static int cannot_open(const char *options) {
    char *error = (char *)1;
    lazaretto_keeper *keeper = lazaretto_open(options, &error);
    return keeper == NULL && last_has_code("bad-request") && has_code(error, "bad-request");
}

static void *ask(void *keeper) {
    for (int i = 0; i < 10; i++) {
        char *found = lazaretto_token(keeper, "acme", NULL);
        char *token = lazaretto_member(found, "token");
        if (token == NULL || strcmp(token, "at-good") != 0 || lazaretto_last_error() != NULL) {
            return "a thread got no token";
        }
        lazaretto_free(token);
        lazaretto_free(found);
        if (lazaretto_token(keeper, "nobody", NULL) != NULL || !last_has_code("unknown-provider")) {
            return "a thread has another thread's error";
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return 2;
    }
    expect(cannot_open(NULL), "null options");
    expect(cannot_open(""), "no JSON");
    expect(cannot_open("{}"), "no vault");
    expect(cannot_open("{\"vault\":7}"), "a vault that is no path");
    expect(cannot_open("{\"vault\":\"/tmp/x\",\"valut\":1}"), "an unknown option");
    expect(cannot_open("\xff\xfe"), "no UTF-8");
    expect(lazaretto_open(NULL, NULL) == NULL, "nowhere to say why");

    char *error = (char *)1;
    lazaretto_keeper *keeper = lazaretto_open(argv[1], &error);
    expect(keeper != NULL && error == NULL, "it opens");

    expect(has_code(lazaretto_call(NULL, "{\"call\":\"origins\"}"), "bad-request"), "a null keeper");
    expect(has_code(lazaretto_call((lazaretto_keeper *)&failures, "{\"call\":\"origins\"}"), "bad-request"), "a made up keeper");
    expect(has_code(lazaretto_call(keeper, NULL), "bad-request"), "a null call");
    expect(has_code(lazaretto_call(keeper, "\xc3("), "bad-request"), "a call that is no UTF-8");
    const char *bad[] = {
        "", "{", "[]", "null", "7", "{}", "{\"call\":7}", "{\"call\":\"none\"}", "{\"call\":\"token\"}",
        "{\"call\":\"token\",\"provider\":\"acme\",\"min_valid_s\":-1}", "{\"call\":\"token\",\"provider\":\"acme\",\"other\":1}",
        "{\"call\":\"report\",\"provider\":\"acme\",\"access_token\":\"s3cret\",\"status\":65536}",
        "{\"call\":\"report\",\"provider\":\"acme\",\"access_token\":7}", "{\"call\":\"classify\"}", "{\"call\":\"save_unsaved\"}",
        "{\"call\":\"token\",\"provider\":\"acme\",\"vault\":\"../vault\"}", "{\"call\":\"token\",\"provider\":\"acme\",\"vault\":\"/etc/passwd\"}",
        "{\"call\":\"save_unsaved\",\"unsaved\":\"s3cret\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *answer = lazaretto_call(keeper, bad[i]);
        expect(answer != NULL && strstr(answer, "s3cret") == NULL, "no secret is repeated");
        expect(has_code(answer, "bad-request"), bad[i]);
    }
    size_t depth = 1 << 20;
    char *deep = malloc(depth + 1);
    memset(deep, '[', depth);
    deep[depth] = '\0';
    expect(has_code(lazaretto_call(keeper, deep), "bad-request"), "brackets without end");
    free(deep);

    expect(lazaretto_token(keeper, NULL, NULL) == NULL && last_has_code("bad-request"), "a null provider");
    expect(lazaretto_token(NULL, "acme", NULL) == NULL && last_has_code("bad-request"), "a null keeper of token");
    expect(lazaretto_refresh(keeper, "\xff", NULL, NULL) == NULL && last_has_code("bad-request"), "a provider that is no UTF-8");
    expect(lazaretto_status((lazaretto_keeper *)1, NULL) == NULL && last_has_code("bad-request"), "a made up keeper of status");
    expect(lazaretto_token(keeper, "acme", "nobody") == NULL && last_has_code("unknown-credential"), "an unknown credential");
    char *status = lazaretto_status(keeper, NULL);
    expect(status != NULL && lazaretto_last_error() == NULL, "what went well leaves no error");
    expect(lazaretto_member(status, "none") == NULL && lazaretto_member(NULL, "a") == NULL, "no such member");
    expect(lazaretto_member(status, NULL) == NULL && lazaretto_member("\xff", "a") == NULL, "no such name");
    char *warnings = lazaretto_member(status, "warnings");
    expect(warnings != NULL && strcmp(warnings, "[]") == 0, "a member that is no string");
    lazaretto_free(warnings);
    lazaretto_free(status);
    lazaretto_free(status); /* twice */
    lazaretto_free(NULL);
    lazaretto_free((char *)&failures);
    expect(strcmp(lazaretto_version(), "0.1.0") == 0, "its version");

    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        pthread_create(&threads[i], NULL, ask, keeper);
    }
    for (int i = 0; i < 8; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        expect(wrong == NULL, wrong != NULL ? wrong : "");
    }

    lazaretto_keeper *second = lazaretto_open(argv[1], NULL);
    lazaretto_close(keeper);
    lazaretto_close(keeper);
    lazaretto_close(NULL);
    lazaretto_close((lazaretto_keeper *)&failures);
    expect(lazaretto_token(keeper, "acme", NULL) == NULL && last_has_code("bad-request"), "a keeper that was closed");
    char *found = lazaretto_token(second, "acme", NULL);
    expect(found != NULL, "the other one is open");
    lazaretto_free(found);
    lazaretto_close(second);
    return failures != 0;
}
