/* Prints an access token, as an Authorization header has it.
 *
 *   cc -Iffi/include ffi/examples/token.c -Ltarget/debug -llazaretto_ffi -Wl,-rpath,"$PWD/target/debug" -o token
 *   ./token xai-oauth
 */
#include <lazaretto.h>
#include <stdio.h>

int main(int argc, char **argv) {
    const char *provider = argc > 1 ? argv[1] : "xai-oauth";
    char *error = NULL;
    lazaretto_keeper *keeper = lazaretto_open("{\"vault\": \"~/.hermes/auth.json\"}", &error);
    if (keeper == NULL) {
        fprintf(stderr, "%s\n", error);
        lazaretto_free(error);
        return 1;
    }

    int status = 0;
    char *found = lazaretto_token(keeper, provider, NULL); /* refreshed if need be, by one process only */
    if (found != NULL) {
        char *type = lazaretto_member(found, "token_type");
        char *token = lazaretto_member(found, "token");
        printf("%s %s\n", type, token);
        lazaretto_free(token);
        lazaretto_free(type);
        lazaretto_free(found);
    } else {
        const char *why = lazaretto_last_error(); /* not to be given back */
        char *action = lazaretto_member(why, "action");
        char *message = lazaretto_member(why, "message");
        char *run = lazaretto_member(why, "run"); /* null: time alone helps, or the message says what must change */
        fprintf(stderr, "%s (what helps: %s)\n", message, action);
        if (run != NULL) {
            fprintf(stderr, "run: %s\n", run);
        }
        lazaretto_free(run);
        lazaretto_free(message);
        lazaretto_free(action);
        status = 1;
    }

    lazaretto_close(keeper);
    return status;
}
