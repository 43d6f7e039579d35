//! What wasmtime makes of `wit/`. Only [`world`](crate::world) and [`keeper`](crate::keeper) look in here.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "keeper-world",
});
