//! A signal ends the command at once, unless a refresh is on its way: that is finished first, for
//! its answer may hold the only refresh token that still works.
//!
//! Until the request leaves, a process may end at any moment. From then on every signal that would
//! end it is only noted until everything is stored; then the process ends by the signal it was sent
//! first. At most the same request goes out once more meanwhile, never another one: a thread that
//! is about to send one waits for the end of the process instead.
//!
//! | signals | here |
//! |---|---|
//! | whose default is to end the process ([`ending`]) | noted, as above |
//! | SIGXFSZ | the write fails instead (`process.rs`) |
//! | SIGPIPE | ignored by Rust's runtime: the write fails instead |
//! | SIGTSTP, SIGTTIN, SIGTTOU | as by default. A stop loses nothing: the locks are kept, and an answer that the kernel holds is read on |
//! | SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP, SIGSYS | as by default: the program itself is broken, and its memory no longer to be trusted |
//! | SIGKILL, SIGSTOP | nobody can catch them |

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
};
use signal_hook::low_level::{emulate_default_handler, signal_name};

use super::events::Events;
use super::failure::Failure;
use super::{terminal, time, unseen};
use lazaretto_host::Event;
use lazaretto_host::http::HttpRequest;

/// What storing an answer may take, beyond what the request itself may. Hardly ever more than a
/// hundredth of it.
const STORING: Duration = Duration::from_secs(30);

/// The signals of one process, and what they must wait for.
#[derive(Debug, Default)]
pub(super) struct Signals {
    state: Mutex<State>,
    /// Who waits for several threads ends the process itself: see [`Signals::ended`].
    is_led: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// By the thread that makes the call.
    sending: HashMap<ThreadId, Sending>,
    /// Whose credential a thread is refreshing.
    providers: HashMap<ThreadId, String>,
    /// The first signal that came meanwhile.
    noted: Option<i32>,
}

/// A request that has left, or is about to.
#[derive(Debug)]
struct Sending {
    request: u64,
    provider: String,
    /// When the answer is stored at the latest.
    until: Instant,
}

/// What a signal leads to.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    End,
    /// `whose`: the providers, each once.
    FinishFirst {
        at_most: Duration,
        whose: Vec<String>,
    },
}

/// What becomes of a request that is about to leave.
#[derive(Debug, PartialEq, Eq)]
enum Leave {
    Now,
    /// A signal came, and what was on its way then is stored.
    NeverEnd(i32),
    /// A signal came, and other threads have requests on their way.
    NeverWait,
}

impl Signals {
    /// From now on signals are taken by a thread of their own. Those that the process was started
    /// to ignore stay ignored.
    pub(super) fn listen(events: Arc<Events>, provider: &str) -> Result<Arc<Self>, Failure> {
        let cannot = |error: io::Error| Failure::broken(format_args!("cannot listen for signals: {error}"));
        let listened = ending().into_iter().filter(|signal| !is_ignored(*signal));
        let mut caught = signal_hook::iterator::Signals::new(listened).map_err(cannot)?;
        let signals = Arc::new(Self::default());
        signals.is_about(provider);
        let taker = signals.clone();
        let take = move || {
            for signal in caught.forever() {
                taker.take(signal, |at_most, provider| events.tell(&finishing(signal, at_most, provider)));
            }
        };
        thread::Builder::new().name("lazaretto-signals".into()).spawn(take).map_err(cannot)?;
        Ok(signals)
    }

    fn take(&self, signal: i32, tell: impl FnOnce(Duration, &str)) {
        let mut state = self.state();
        match state.take(signal, Instant::now()) {
            // With the lock held: nothing is sent any more.
            Then::End => end(signal),
            Then::FinishFirst { at_most, whose } => {
                drop(state);
                tell(at_most, &whose.join(", "));
            }
        }
    }

    /// Whose credential this thread refreshes from now on.
    pub(super) fn is_about(&self, provider: &str) {
        self.state().providers.insert(thread::current().id(), provider.to_owned());
    }

    /// A request of this thread is about to leave.
    pub(super) fn before_send(&self, request: &HttpRequest) {
        let leave = self.state().send(thread::current().id(), request, Instant::now());
        match leave {
            Leave::Now => {}
            Leave::NeverEnd(signal) if !self.is_led.load(Ordering::SeqCst) => end(signal),
            // Whoever waits for the other threads ends the process.
            Leave::NeverEnd(_) | Leave::NeverWait => loop {
                thread::park();
            },
        }
    }

    /// Whatever this thread had on its way is stored. The signal that came meanwhile, if one did.
    pub(super) fn finished(&self) -> Option<i32> {
        let mut state = self.state();
        state.sending.remove(&thread::current().id());
        state.noted
    }

    /// From now on no thread that may not send any more ends the process.
    pub(super) fn leave_the_end_to_the_caller(&self) {
        self.is_led.store(true, Ordering::SeqCst);
    }

    /// The signal that came, once no thread has anything on its way.
    pub(super) fn ended(&self) -> Option<i32> {
        let state = self.state();
        state.noted.filter(|_| state.sending.is_empty())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, signal: i32, now: Instant) -> Then {
        let Some(until) = self.sending.values().map(|sending| sending.until).max() else { return Then::End };
        self.noted.get_or_insert(signal);
        let mut whose: Vec<String> = self.sending.values().map(|sending| sending.provider.clone()).collect();
        whose.sort();
        whose.dedup();
        Then::FinishFirst { at_most: until.saturating_duration_since(now), whose }
    }

    fn send(&mut self, thread: ThreadId, request: &HttpRequest, now: Instant) -> Leave {
        let mut hash = DefaultHasher::new();
        (&request.url, &request.headers, &request.body).hash(&mut hash);
        let (this, deadline) = (hash.finish(), Duration::from_millis(request.deadline_ms));
        let before = self.sending.get(&thread);
        let again = before.is_some_and(|sending| sending.request == this);
        if let Some(signal) = self.noted.filter(|_| !again) {
            // What this thread had on its way is stored, or it would not send another.
            self.sending.remove(&thread);
            return if self.sending.is_empty() { Leave::NeverEnd(signal) } else { Leave::NeverWait };
        }
        // Its answer may get lost, and then it goes out once more.
        let exchanges = if again { deadline } else { deadline * 2 };
        let provider = self.providers.get(&thread).cloned().unwrap_or_default();
        self.sending.insert(thread, Sending { request: this, provider, until: now + exchanges + STORING });
        Leave::Now
    }
}

/// The signals that end a process by default, can be caught, and come from outside: what a program
/// does wrong itself is not among them. SIGABRT is, since service managers send it; `abort` still
/// ends the process.
fn ending() -> Vec<i32> {
    let mut signals =
        vec![SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGABRT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU];
    #[cfg(target_os = "linux")]
    {
        signals.extend([libc::SIGIO, libc::SIGPWR, libc::SIGSTKFLT]);
        signals.extend(libc::SIGRTMIN()..=libc::SIGRTMAX());
    }
    signals
}

/// Ends the process by a signal, as if nobody had listened for it: a shell says 128 and its number.
pub(super) fn end(signal: i32) -> ! {
    unseen::restore();
    terminal::end_progress();
    // The first process of a container is not ended by the default of any signal.
    if std::process::id() != 1 {
        let _ = emulate_default_handler(signal);
        end_by_default(signal);
    }
    std::process::exit(128 + signal)
}

/// For the signals that `signal_hook` does not know, or takes for ignored where Linux does not
/// ignore them.
#[allow(unsafe_code, reason = "the standard library cannot set how a signal is handled")]
fn end_by_default(signal: i32) {
    // SAFETY: the default has no handler that could run.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

fn finishing(signal: i32, at_most: Duration, provider: &str) -> Event {
    let name = signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned);
    Event {
        name: "finishing".into(),
        severity: "warning".into(),
        at_ms: time::now_ms(),
        provider: provider.into(),
        credential: None,
        message: format!(
            "{name} came in the middle of a refresh: it is finished first, so that the new tokens are not lost. \
             That takes {} s at most",
            at_most.as_secs().max(1)
        ),
        attributes: Vec::new(),
    }
}

/// As `nohup` and shells do it for what runs in the background.
#[allow(unsafe_code, reason = "the standard library cannot ask how a signal is handled")]
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action this only writes the present one, into memory of its size;
    // zeroes are one too.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: &str) -> HttpRequest {
        HttpRequest {
            method: "POST".into(),
            url: "https://a.example/token".into(),
            headers: Vec::new(),
            body: body.into(),
            deadline_ms: 10_000,
            reach: lazaretto_host::http::Reach::Any,
        }
    }

    fn first() -> ThreadId {
        thread::current().id()
    }

    fn other() -> ThreadId {
        thread::spawn(|| {}).thread().id()
    }

    fn finish_first(seconds: u64) -> Then {
        Then::FinishFirst { at_most: Duration::from_secs(seconds), whose: vec![String::new()] }
    }

    #[test]
    fn before_a_request_leaves_a_signal_ends_the_process() {
        assert_eq!(State::default().take(SIGTERM, Instant::now()), Then::End);
    }

    /// A request on its way is finished and every signal is told how long that takes.
    #[test]
    fn a_signal_waits_for_the_request_and_reports_how_long() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!(state.send(first(), &request("a"), now), Leave::Now);
        assert_eq!(state.take(SIGTERM, now), finish_first(50));
        let later = now + Duration::from_secs(20);
        assert_eq!(state.take(SIGINT, later), finish_first(30));
        assert_eq!(state.noted, Some(SIGTERM), "it ends by the first");
    }

    #[test]
    fn after_a_signal_the_same_request_may_leave_again_and_no_other() {
        let (mut state, now) = (State::default(), Instant::now());
        let send = |state: &mut State, body: &str| state.send(first(), &request(body), now);
        assert_eq!((send(&mut state, "a"), send(&mut state, "b")), (Leave::Now, Leave::Now));
        let _ = state.take(SIGHUP, now);
        assert_eq!(send(&mut state, "b"), Leave::Now);
        assert_eq!(state.take(SIGHUP, now), finish_first(40), "not a third time");
        assert_eq!(send(&mut state, "c"), Leave::NeverEnd(SIGHUP));
    }

    /// Of several threads none ends the process while another has a request on its way.
    #[test]
    fn no_thread_ends_the_process_during_anothers_request() {
        let (mut state, now) = (State::default(), Instant::now());
        let (second, third) = (other(), other());
        for (thread, provider) in [(first(), "nous"), (second, "acme"), (third, "acme")] {
            state.providers.insert(thread, provider.to_owned());
        }
        assert_eq!(state.send(first(), &request("a"), now), Leave::Now);
        assert_eq!(state.send(second, &request("b"), now + Duration::from_secs(5)), Leave::Now);
        let whose = vec!["acme".to_owned(), "nous".to_owned()];
        assert_eq!(state.take(SIGINT, now), Then::FinishFirst { at_most: Duration::from_secs(55), whose });
        assert_eq!(state.send(third, &request("c"), now), Leave::NeverWait);
        // The answer of the first was lost: only that request leaves once more.
        assert_eq!(state.send(first(), &request("a"), now), Leave::Now);
        assert_eq!(state.send(second, &request("d"), now), Leave::NeverWait, "what it had sent is stored");
        assert_eq!(state.send(first(), &request("e"), now), Leave::NeverEnd(SIGINT));
    }
}
