//! What wasmtime makes of `wit/`. Only [`world`](crate::world), [`keeper`](crate::keeper) and
//! [`admin`](crate::admin) look in here.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "keeper-world",
});

/// The component for persons, on the same imports.
pub(crate) mod admin {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "admin-world",
        with: {
            "lazaretto:keeper/storage@0.1.0": super::lazaretto::keeper::storage,
            "lazaretto:keeper/http@0.1.0": super::lazaretto::keeper::http,
            "lazaretto:keeper/events@0.1.0": super::lazaretto::keeper::events,
            "wasi:clocks/wall-clock@0.2.0": super::wasi::clocks::wall_clock,
            "wasi:clocks/monotonic-clock@0.2.0": super::wasi::clocks::monotonic_clock,
            "wasi:random/random@0.2.0": super::wasi::random::random,
        },
    });
}
