//! What one call may use up. A guest that wants more is stopped: that costs the call, never the
//! host. Once a request has been sent a stop could cost a login, so from there on there is room for
//! whatever is left to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::{Engine, StoreLimits, StoreLimitsBuilder};

/// How often the guest's time is looked at.
const TICK: Duration = Duration::from_millis(10);
/// How long the ticker goes on after the last call, so that a busy host does not start it again and
/// again.
const IDLE_TICKS: u32 = 100;

/// What a guest's tables may hold: the functions that it calls by number are some hundred.
const TABLE_ELEMENTS: usize = 16 << 10;
/// A component is a few modules; none of ours has more than one memory and two tables.
const INSTANCES: usize = 8;
const MEMORIES: usize = 2;
const TABLES: usize = 8;

/// What storing an answer may take, whatever the call used up before: the largest vault, read and
/// written once more.
const MEMORY_AFTER_A_SEND: usize = 128 << 20;
const GUEST_TIME_AFTER_A_SEND: Duration = Duration::from_secs(60);
const HOSTCALL_BYTES_AFTER_A_SEND: usize = 64 << 20;

/// What one call of the component may use up before it sends its first request.
///
/// An answer that was sent for may hold the only refresh token that still works, and none of these
/// limits may stand between it and the disk. So with each request the guest's time starts anew, at
/// 60 s or more; 128 MiB of memory are added once; and 64 MiB may be handed to the host in one
/// call, at least.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Linear memory, in bytes. A vault of 16 MiB needs about six times its size.
    pub memory_bytes: usize,
    /// Guest code alone, without the time it waits for the host.
    pub guest_time: Duration,
    /// What the guest may hand to the host at once, in bytes.
    pub hostcall_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, guest_time: Duration::from_secs(10), hostcall_bytes: 64 << 20 }
    }
}

impl Limits {
    /// From a call's first request on.
    pub(crate) fn after_a_send(&self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.saturating_add(MEMORY_AFTER_A_SEND),
            guest_time: self.guest_time.max(GUEST_TIME_AFTER_A_SEND),
            hostcall_bytes: self.hostcall_bytes.max(HOSTCALL_BYTES_AFTER_A_SEND),
        }
    }

    pub(crate) fn store_limits(&self) -> StoreLimits {
        StoreLimitsBuilder::new()
            .memory_size(self.memory_bytes)
            .table_elements(TABLE_ELEMENTS)
            .instances(INSTANCES)
            .memories(MEMORIES)
            .tables(TABLES)
            .trap_on_grow_failure(true)
            .build()
    }
}

/// Guest time, as opposed to the time the guest waits for the host.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    started: Instant,
    in_host: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), in_host: Duration::ZERO }
    }

    /// Runs a host call off the guest's clock.
    pub(crate) fn pause<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = call();
        self.in_host += begun.elapsed();
        result
    }

    pub(crate) fn guest_time(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.in_host)
    }
}

/// Ticks an engine's epoch while calls are under way, from a thread that ends by itself.
#[derive(Clone, Debug)]
pub(crate) struct Ticker(Arc<Ticking>);

#[derive(Debug)]
struct Ticking {
    calls: AtomicU32,
    running: AtomicBool,
}

impl Ticker {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Ticking { calls: AtomicU32::new(0), running: AtomicBool::new(false) }))
    }

    /// Ticks for as long as the answer lives, at least.
    pub(crate) fn during_a_call(&self, engine: &Engine) -> CallUnderWay {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        if !self.0.running.swap(true, Ordering::SeqCst) {
            let (engine, ticking) = (engine.weak(), self.0.clone());
            let spawned = thread::Builder::new().name("lazaretto-ticker".into()).spawn(move || {
                let mut idle_ticks = 0;
                while idle_ticks < IDLE_TICKS {
                    thread::sleep(TICK);
                    let Some(engine) = engine.upgrade() else { break };
                    engine.increment_epoch();
                    idle_ticks = if ticking.calls.load(Ordering::SeqCst) == 0 { idle_ticks + 1 } else { 0 };
                }
                ticking.running.store(false, Ordering::SeqCst);
            });
            if spawned.is_err() {
                // Without a thread to spare the limit is not kept; the call itself is more use than
                // none.
                self.0.running.store(false, Ordering::SeqCst);
            }
        }
        CallUnderWay(self.0.clone())
    }
}

/// See [`Ticker::during_a_call`].
pub(crate) struct CallUnderWay(Arc<Ticking>);

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Instance, Module, ResourceLimiter, Store};

    use super::*;
    use crate::engine;

    /// A guest that grows what it is told to, by as much as it is told: `GROWING` of build.rs.
    #[allow(unsafe_code, reason = "compiled by our own build script")]
    fn growing() -> (Module, Store<StoreLimits>) {
        let engine = Engine::new(&engine::config()).expect("an engine");
        let compiled = include_bytes!(concat!(env!("OUT_DIR"), "/growing.cwasm"));
        // SAFETY: the bytes were made by `Engine::precompile_module` in build.rs.
        let module = unsafe { Module::deserialize(&engine, compiled) }.expect("a module");
        let mut store = Store::new(&engine, Limits::default().store_limits());
        store.limiter(|limits| limits);
        store.set_epoch_deadline(u64::MAX / 2);
        (module, store)
    }

    fn grow(export: &str, by: i32) -> wasmtime::Result<i32> {
        let (module, mut store) = growing();
        let instance = Instance::new(&mut store, &module, &[])?;
        instance.get_typed_func::<i32, i32>(&mut store, export)?.call(&mut store, by)
    }

    #[test]
    fn a_table_and_a_memory_grow_to_their_limits_and_no_further() {
        let most = |limit: usize| i32::try_from(limit).expect("small") - 1;
        let pages = Limits::default().memory_bytes >> 16;
        for (export, limit) in [("grow_table", TABLE_ELEMENTS), ("grow_memory", pages)] {
            assert_eq!(grow(export, most(limit)).expect("within the limit"), 1, "{export}");
            for by in [most(limit) + 1, 200_000_000, -1] {
                assert!(grow(export, by).is_err(), "{export} by {by} is a trap");
            }
        }
    }

    #[test]
    fn instances_memories_and_tables_are_counted() {
        let (module, mut store) = growing();
        for _ in 0..MEMORIES {
            Instance::new(&mut store, &module, &[]).expect("within the limits");
        }
        Instance::new(&mut store, &module, &[]).expect_err("a memory too many");
        let limits = Limits::default().store_limits();
        let counted =
            (ResourceLimiter::instances(&limits), ResourceLimiter::memories(&limits), ResourceLimiter::tables(&limits));
        assert_eq!(counted, (INSTANCES, MEMORIES, TABLES));
    }
}
