//! The keeper for C, and for whatever calls C: JSON in, JSON out, and nothing that a caller passes
//! can make it crash.
//!
//! A keeper and a returned string are known here by their address, and looked up: a pointer that is
//! stale, made up or given back twice is an error or nothing. So what is left to trust is that an
//! input string ends with a NUL.
//!
//! | file | what it holds true |
//! |---|---|
//! | `call.rs` | a line of JSON is one call of the keeper, and one line of JSON its answer |
//! | `strings.rs` | a returned string is wiped when it is given back, and only then |
//! | `keepers.rs` | a keeper lives until it is closed and its last call has ended |

#![cfg(not(target_arch = "wasm32"))]
#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod call;
mod keepers;
mod strings;

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use lazaretto_host::storage::VAULT;
use lazaretto_host::{Keeper, KeeperError};

use call::{Call, Failure};

/// An open keeper. There is nothing behind the pointer to look at.
pub struct LazarettoKeeper {
    _private: [u8; 0],
}

/// What the library frees is wiped. The C program's own heap is its own.
#[global_allocator]
static HEAP: lazaretto_wipe::Wiping<std::alloc::System> = lazaretto_wipe::Wiping(std::alloc::System);

thread_local! {
    /// Why this thread's last call failed, if it did.
    static LAST_ERROR: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Opens a keeper on a vault file, which need not exist.
///
/// `options_json`:
/// {"vault":"~/.hermes/auth.json","providers":null,"allow_loopback_http":false,"environment":false,
/// "also":[],"layout":null,"warm_instances":0,"command":null,"login_hint":null}. Only `vault` must
/// be there; a leading `~/` is the home directory. `layout` states whose file it is where that
/// cannot be told for certain (docs/layouts.md). `providers` names a file with profiles of your
/// own; `allow_loopback_http` is for tests; with `environment`, entries that only name an
/// environment variable are served from it; `also` names other files that may hold the same logins,
/// which are then refreshed only there; `warm_instances` are kept between calls, which is faster,
/// and what they have read stays in memory. `command` are the words by which a person calls the
/// command lazaretto about this vault, if not `lazaretto --vault PATH` with the layout and the
/// profiles named here: the member `run` of an error begins with them. `login_hint` is what a
/// person runs, or does, to log in to your program in place of that command; `{provider}` in it
/// stands for the provider.
///
/// Null: it failed, and why is in `*error`, as JSON, unless `error` is null. Give both back:
/// lazaretto_close, lazaretto_free.
///
/// # Safety
/// `options_json` is null or ends with a NUL; `error` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lazaretto_open(options_json: *const c_char, error: *mut *mut c_char) -> *mut LazarettoKeeper {
    // SAFETY: this function's own condition.
    let options = unsafe { text_at(options_json, "options_json") };
    let opened = guarded(|| call::open(options?));
    let (keeper, failed) = match opened {
        Ok(keeper) => (keepers::keep(keeper), ptr::null_mut()),
        Err(failure) if error.is_null() => {
            remember(&failure);
            (ptr::null_mut(), ptr::null_mut())
        }
        Err(failure) => {
            remember(&failure);
            (ptr::null_mut(), strings::hand_over(&failure))
        }
    };
    if !error.is_null() {
        // SAFETY: it is not null, so it can be written to.
        unsafe { error.write(failed) };
    }
    keeper
}

/// Makes a call, and returns {"ok":value} or {"error":error}. Null only if there is no memory left.
///
/// `call_json` is an object; members that do not matter to a call may be absent or null:
///   {"call":"token","provider":"acme","credential":null,"min_valid_s":0,"refused_access_token":null,"session":null}
///   {"call":"refresh", the same members}
///   {"call":"status","provider":null}
///   {"call":"report","provider":"acme","credential":null,"session":null,"access_token":"..","status":401,"headers":[["a","b"]],"body":""}
///   {"call":"reset","provider":"acme","credential":null}, and so `unquarantine` and `end_use`
///   {"call":"save_unsaved","unsaved":".."}
///   {"call":"origins"}
///   {"call":"classify","answer":{"provider":"acme","status":400,"headers":[],"body":"{}","body_complete":true,"transport_error":null},"now_s":1700000000}
/// A value has the members that wit/keeper.wit, wit/pool.wit and wit/classifier.wit name, in snake
/// case; of `status` it is the list of credentials.
///
/// # Safety
/// `call_json` is null or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lazaretto_call(keeper: *const LazarettoKeeper, call_json: *const c_char) -> *mut c_char {
    // SAFETY: this function's own condition.
    let text = unsafe { text_at(call_json, "call_json") };
    let answer = called(keeper, || Call::parse(text?), |answer| strings::hand_over(&call::WentWell { ok: answer }));
    answer.unwrap_or_else(|failure| strings::hand_over(&call::WentWrong { error: &failure }))
}

/// Returns an access token that is valid, refreshed if need be: the record `access-token` as JSON,
/// with its member `token`. See lazaretto_member.
///
/// `credential` null: the first one that can serve. If the member `unsaved` is not null, the new
/// tokens could be stored nowhere: hand it to `save_unsaved` as soon as the disk works again, or
/// the login is lost.
///
/// Null: it failed, and lazaretto_last_error says why.
///
/// # Safety
/// `provider` and `credential` are null or end with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lazaretto_token(
    keeper: *const LazarettoKeeper,
    provider: *const c_char,
    credential: *const c_char,
) -> *mut c_char {
    // SAFETY: this function's own condition.
    let (provider, credential) = unsafe { (text_at(provider, "provider"), optional_text_at(credential, "credential")) };
    let call = || Ok(Call::Token(call::token_request(provider?, credential?, None)));
    called(keeper, call, strings::hand_over).unwrap_or(ptr::null_mut())
}

/// Returns another access token than `refused_access_token`, which an API refused, or with null
/// than the one that the vault holds now. Else as lazaretto_token.
///
/// # Safety
/// `provider`, `credential` and `refused_access_token` are null or end with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lazaretto_refresh(
    keeper: *const LazarettoKeeper,
    provider: *const c_char,
    credential: *const c_char,
    refused_access_token: *const c_char,
) -> *mut c_char {
    // SAFETY: this function's own condition.
    let (provider, credential, refused) = unsafe {
        (
            text_at(provider, "provider"),
            optional_text_at(credential, "credential"),
            optional_text_at(refused_access_token, "refused_access_token"),
        )
    };
    let call = || Ok(Call::Refresh(call::token_request(provider?, credential?, refused?)));
    called(keeper, call, strings::hand_over).unwrap_or(ptr::null_mut())
}

/// Returns every credential of the vault, or of one provider: {"credentials":[..],"warnings":[..]}.
/// Reads only.
///
/// Null: it failed, and lazaretto_last_error says why.
///
/// # Safety
/// `provider` is null or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lazaretto_status(keeper: *const LazarettoKeeper, provider: *const c_char) -> *mut c_char {
    // SAFETY: this function's own condition.
    let provider = unsafe { optional_text_at(provider, "provider") };
    let call = || Ok(Call::Status { vault: VAULT.into(), provider: provider?.map(Into::into), with_warnings: true });
    called(keeper, call, strings::hand_over).unwrap_or(ptr::null_mut())
}

/// Returns a member of a JSON object that this library returned: a string as it is, anything else
/// as JSON. For callers without a JSON parser.
///
/// Null: there is no such member, or it is null. Does not touch lazaretto_last_error.
///
/// # Safety
/// `json` and `name` are null or end with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lazaretto_member(json: *const c_char, name: *const c_char) -> *mut c_char {
    // SAFETY: this function's own condition.
    let (json, name) = unsafe { (text_at(json, "json"), text_at(name, "name")) };
    guarded(|| Ok(call::member(json?, name?).map_or(ptr::null_mut(), |text| strings::hand_over_text(&text))))
        .unwrap_or(ptr::null_mut())
}

/// Returns why the last call on this thread failed, as JSON; null if it succeeded. It stays valid
/// until this thread's next call. Do not give it back.
#[unsafe(no_mangle)]
pub extern "C" fn lazaretto_last_error() -> *const c_char {
    LAST_ERROR.with_borrow(|last| last.as_ref().map_or(ptr::null(), |text| text.as_ptr()))
}

/// Wipes a string that this library returned, and gives it back. Null, and what is not such a
/// string, is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn lazaretto_free(string: *mut c_char) {
    strings::take_back(string);
}

/// Closes a keeper. Calls under way on other threads run to their end. Null, and what is no open
/// keeper, is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn lazaretto_close(keeper: *mut LazarettoKeeper) {
    // Nothing may unwind into C, also not a storage that is dropped.
    let _ = catch_unwind(|| keepers::close(keeper));
}

/// Returns the version of this library, as in `0.1.0`. Not to be given back.
#[unsafe(no_mangle)]
pub extern "C" fn lazaretto_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"unknown",
    };
    VERSION.as_ptr()
}

/// Makes a call on a keeper, and returns its answer as `shown`. What fails is also this thread's
/// last error.
fn called<T>(
    keeper: *const LazarettoKeeper,
    call: impl FnOnce() -> Result<Call, Failure>,
    shown: impl FnOnce(&call::Answer) -> T,
) -> Result<T, Failure> {
    let made = guarded(|| {
        let keeper: Keeper = keepers::find(keeper).ok_or_else(|| {
            usage("this is no open keeper: it is null, was closed, or did not come from lazaretto_open".into())
        })?;
        let answer = call()?.make(&keeper)?;
        Ok(shown(&answer))
    });
    match &made {
        Ok(_) => LAST_ERROR.with_borrow_mut(|last| *last = None),
        Err(failure) => remember(failure),
    }
    made
}

/// Runs what may panic: into C nothing may unwind.
fn guarded<T>(run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(failure(
            "internal",
            "inspect",
            "lazaretto panicked, and said why on standard error; please report it".into(),
        ))
    })
}

fn remember(failure: &Failure) {
    let text = serde_json::to_string(failure).ok().and_then(|text| CString::new(text).ok());
    LAST_ERROR.with_borrow_mut(|last| *last = text);
}

fn failure(code: &str, action: &str, message: String) -> Failure {
    Failure(KeeperError {
        code: code.into(),
        action: action.into(),
        message,
        run: None,
        provider: None,
        credential: None,
        retry_after_s: None,
    })
}

fn usage(message: String) -> Failure {
    failure("bad-request", "usage", message)
}

/// # Safety
/// `text` is null, or ends with a NUL and stays as it is as long as the answer lives.
unsafe fn text_at<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: this function's own condition.
    unsafe { optional_text_at(text, what) }?.ok_or_else(|| usage(format!("{what} is null")))
}

/// # Safety
/// As of [`text_at`].
unsafe fn optional_text_at<'a>(text: *const c_char, what: &str) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: it is not null, so it ends with a NUL and stays as it is.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|error| usage(format!("{what} is not UTF-8 from byte {} on", error.valid_up_to())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_nothing_of_it_is_told() {
        let failed = guarded(|| -> Result<(), Failure> { panic!("rt-s3cret") }).expect_err("it panicked").0;
        assert_eq!((failed.code.as_str(), failed.action.as_str()), ("internal", "inspect"));
        assert!(!failed.message.contains("s3cret"));
    }

    /// A returned string can be given back once and by its own address only.
    #[test]
    fn a_returned_string_is_freed_once_by_its_own_address() {
        let text = strings::hand_over(&["a", "\0b"]);
        // SAFETY: it was just handed over.
        assert_eq!(unsafe { CStr::from_ptr(text) }.to_str(), Ok("[\"a\",\"\\u0000b\"]"));
        lazaretto_free(text.wrapping_add(1));
        // SAFETY: it is still handed over.
        assert_eq!(unsafe { CStr::from_ptr(text) }.count_bytes(), 15);
        lazaretto_free(text);
        lazaretto_free(text);
        let cut = strings::hand_over_text("a\0b");
        // SAFETY: it was just handed over.
        assert_eq!(unsafe { CStr::from_ptr(cut) }, c"a");
        lazaretto_free(cut);
    }
}
