/* lazaretto for C: keeps OAuth credentials alive, and stops dead ones from being used again.
 *
 * Made by cbindgen from ffi/src/lib.rs: do not edit. `BLESS=1 cargo test -p lazaretto-ffi --test header` makes it anew.
 *
 * Strings are UTF-8 and end with a NUL. A string that a function returns is the caller's, who gives it back with lazaretto_free and
 * does not change it; it may hold a secret, and is wiped when it is given back. What is passed in is only read during the call.
 *
 * Any thread may make any call at any time; one keeper may serve many threads at once. A null or an unknown pointer, text that is
 * not UTF-8 or JSON that is not as described is an error like any other, and so is a panic inside.
 *
 * An error is a JSON object:
 *   {"code":"quarantined","action":"login","message":"...","run":"lazaretto login acme","provider":"acme","credential":"login","retry_after_s":null}
 * The member `action` says what helps: it is one of the five words below.
 *
 * Nothing cancels a refresh: from the moment its request leaves until its answer is stored, a call must not be abandoned, or the
 * only refresh token that still works may be lost. A caller that cannot wait makes the call on a thread of its own. A process
 * that ends should let such threads finish.
 */

#ifndef LAZARETTO_H
#define LAZARETTO_H

#ifdef __cplusplus
extern "C" {
#endif

/* A person must log in again. */
#define LAZARETTO_LOGIN_NEEDED "login"
/* The call may succeed later, by itself. */
#define LAZARETTO_RETRY_LATER "retry"
/* A profile, a setting or the client must change. */
#define LAZARETTO_CONFIGURATION_NEEDED "configure"
/* Something around the vault is broken: a person should look. */
#define LAZARETTO_INSPECTION_NEEDED "inspect"
/* The call was wrong. */
#define LAZARETTO_USAGE_ERROR "usage"


/*
 An open keeper. There is nothing behind the pointer to look at.
 */
typedef struct lazaretto_keeper lazaretto_keeper;

/*
 Opens a keeper on a vault file, which need not exist.

 `options_json`:
 {"vault":"~/.hermes/auth.json","providers":null,"allow_loopback_http":false,"environment":false,
 "also":[],"layout":null,"warm_instances":0,"command":null,"login_hint":null}. Only `vault` must
 be there; a leading `~/` is the home directory. `layout` states whose file it is where that
 cannot be told for certain (docs/layouts.md). `providers` names a file with profiles of your
 own; `allow_loopback_http` is for tests; with `environment`, entries that only name an
 environment variable are served from it; `also` names other files that may hold the same logins,
 which are then refreshed only there; `warm_instances` are kept between calls, which is faster,
 and what they have read stays in memory. `command` are the words by which a person calls the
 command lazaretto about this vault, if not `lazaretto --vault PATH` with the layout and the
 profiles named here: the member `run` of an error begins with them. `login_hint` is what a
 person runs, or does, to log in to your program in place of that command; `{provider}` in it
 stands for the provider.

 Null: it failed, and why is in `*error`, as JSON, unless `error` is null. Give both back:
 lazaretto_close, lazaretto_free.
 */
struct lazaretto_keeper *lazaretto_open(const char *options_json, char **error);

/*
 Makes a call, and returns {"ok":value} or {"error":error}. Null only if there is no memory left.

 `call_json` is an object; members that do not matter to a call may be absent or null:
   {"call":"token","provider":"acme","credential":null,"min_valid_s":0,"refused_access_token":null,"session":null}
   {"call":"refresh", the same members}
   {"call":"status","provider":null}
   {"call":"report","provider":"acme","credential":null,"session":null,"access_token":"..","status":401,"headers":[["a","b"]],"body":""}
   {"call":"reset","provider":"acme","credential":null}, and so `unquarantine` and `end_use`
   {"call":"save_unsaved","unsaved":".."}
   {"call":"origins"}
   {"call":"classify","answer":{"provider":"acme","status":400,"headers":[],"body":"{}","body_complete":true,"transport_error":null},"now_s":1700000000}
 A value has the members that wit/keeper.wit, wit/pool.wit and wit/classifier.wit name, in snake
 case; of `status` it is the list of credentials.
 */
char *lazaretto_call(const struct lazaretto_keeper *keeper,
                     const char *call_json);

/*
 Returns an access token that is valid, refreshed if need be: the record `access-token` as JSON,
 with its member `token`. See lazaretto_member.

 `credential` null: the first one that can serve. If the member `unsaved` is not null, the new
 tokens could be stored nowhere: hand it to `save_unsaved` as soon as the disk works again, or
 the login is lost.

 Null: it failed, and lazaretto_last_error says why.
 */
char *lazaretto_token(const struct lazaretto_keeper *keeper,
                      const char *provider,
                      const char *credential);

/*
 Returns another access token than `refused_access_token`, which an API refused, or with null
 than the one that the vault holds now. Else as lazaretto_token.
 */
char *lazaretto_refresh(const struct lazaretto_keeper *keeper,
                        const char *provider,
                        const char *credential,
                        const char *refused_access_token);

/*
 Returns every credential of the vault, or of one provider: {"credentials":[..],"warnings":[..]}.
 Reads only.

 Null: it failed, and lazaretto_last_error says why.
 */
char *lazaretto_status(const struct lazaretto_keeper *keeper, const char *provider);

/*
 Returns a member of a JSON object that this library returned: a string as it is, anything else
 as JSON. For callers without a JSON parser.

 Null: there is no such member, or it is null. Does not touch lazaretto_last_error.
 */
char *lazaretto_member(const char *json, const char *name);

/*
 Returns why the last call on this thread failed, as JSON; null if it succeeded. It stays valid
 until this thread's next call. Do not give it back.
 */
const char *lazaretto_last_error(void);

/*
 Wipes a string that this library returned, and gives it back. Null, and what is not such a
 string, is left alone.
 */
void lazaretto_free(char *string);

/*
 Closes a keeper. Calls under way on other threads run to their end. Null, and what is no open
 keeper, is left alone.
 */
void lazaretto_close(struct lazaretto_keeper *keeper);

/*
 Returns the version of this library, as in `0.1.0`. Not to be given back.
 */
const char *lazaretto_version(void);

#ifdef __cplusplus
}
#endif

#endif /* LAZARETTO_H */
