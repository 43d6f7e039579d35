/* Prints an access token, as an Authorization header has it.
 *
 *   cc -Iffi/include ffi/examples/token.c -Ltarget/debug -llazaret_ffi -Wl,-rpath,"$PWD/target/debug" -o token
 *   ./token xai-oauth
 */
#include <lazaret.h>
#include <stdio.h>

int main(int argc, char **argv) {
    const char *provider = argc > 1 ? argv[1] : "xai-oauth";
    char *error = NULL;
    lazaret_keeper *keeper = lazaret_open("{\"vault\": \"~/.hermes/auth.json\"}", &error);
    if (keeper == NULL) {
        fprintf(stderr, "%s\n", error);
        lazaret_free(error);
        return 1;
    }

    int status = 0;
    char *found = lazaret_token(keeper, provider, NULL); /* refreshed if need be, by one process only */
    if (found != NULL) {
        char *type = lazaret_member(found, "token_type");
        char *token = lazaret_member(found, "token");
        printf("%s %s\n", type, token);
        lazaret_free(token);
        lazaret_free(type);
        lazaret_free(found);
    } else {
        const char *why = lazaret_last_error(); /* not to be given back */
        char *action = lazaret_member(why, "action");
        char *message = lazaret_member(why, "message");
        char *run = lazaret_member(why, "run"); /* null: time alone helps, or the message says what must change */
        fprintf(stderr, "%s (what helps: %s)\n", message, action);
        if (run != NULL) {
            fprintf(stderr, "run: %s\n", run);
        }
        lazaret_free(run);
        lazaret_free(message);
        lazaret_free(action);
        status = 1;
    }

    lazaret_close(keeper);
    return status;
}
