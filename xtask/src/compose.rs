//! The parts wired together, so that nothing is left to import but WASI.
//!
//! ```text
//! storage ─┬───────────────┬──────────────┐
//! events ──┼──────────┐    │              │
//!          v          v    v              v
//!   closed ─> keeper ─> http ─> keeper ─> front
//!            (origins)          (exported)
//! ```
//!
//! The allow-list of `http` is what a keeper's `origins` says. The exported keeper cannot be asked, as it is what calls `http`; so there
//! is a second one, of the same code, which can send nothing.

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};

use crate::Result;
use crate::parts::Parts;

const STORAGE: &str = "lazaretto:keeper/storage@0.1.0";
const HTTP: &str = "lazaretto:keeper/http@0.1.0";
const EVENTS: &str = "lazaretto:keeper/events@0.1.0";
const KEEPER: &str = "lazaretto:keeper/keeper@0.1.0";
const POOL: &str = "lazaretto:keeper/pool@0.1.0";
const CLASSIFIER: &str = "lazaretto:keeper/classifier@0.1.0";
const RUN: &str = "wasi:cli/run@0.2.0";

/// The keeper for every WASI host, called as `lazaretto.wasm` is.
pub(crate) fn stock(parts: &Parts) -> Result<Vec<u8>> {
    let mut wiring = Wiring::new(parts)?;
    for interface in [KEEPER, POOL, CLASSIFIER] {
        wiring.export(wiring.keeper, interface)?;
    }
    wiring.encode()
}

/// The same as a command, with one of the two fronts.
pub(crate) fn command(parts: &Parts, front: &[u8]) -> Result<Vec<u8>> {
    let mut wiring = Wiring::new(parts)?;
    let front = wiring.instance("front", front)?;
    for interface in [KEEPER, CLASSIFIER] {
        wiring.wire(wiring.keeper, interface, front)?;
    }
    wiring.wire(wiring.storage, STORAGE, front)?;
    wiring.export(front, RUN)?;
    wiring.encode()
}

/// The HTTP alone, with its own allow-list, for tests.
pub(crate) fn http(parts: &Parts) -> Result<Vec<u8>> {
    let mut wiring = Wiring::new(parts)?;
    wiring.export(wiring.http, HTTP)?;
    wiring.encode()
}

struct Wiring {
    graph: CompositionGraph,
    storage: NodeId,
    http: NodeId,
    keeper: NodeId,
}

impl Wiring {
    fn new(parts: &Parts) -> Result<Self> {
        let mut graph = CompositionGraph::new();
        let core = Package::from_bytes("lazaretto:keeper", None, parts.keeper.clone(), graph.types_mut())?;
        let core = graph.register_package(core)?;
        let (asked, keeper) = (graph.instantiate(core), graph.instantiate(core));
        let mut wiring = Self { graph, storage: keeper, http: keeper, keeper };
        wiring.storage = wiring.instance("storage", &parts.storage)?;
        let events = wiring.instance("events", &parts.events)?;
        let closed = wiring.instance("closed", &parts.closed)?;
        let http = wiring.instance("http", &parts.http)?;
        wiring.http = http;
        for (keeper, http) in [(asked, closed), (keeper, http)] {
            wiring.wire(wiring.storage, STORAGE, keeper)?;
            wiring.wire(events, EVENTS, keeper)?;
            wiring.wire(http, HTTP, keeper)?;
        }
        wiring.wire(asked, KEEPER, http)?;
        Ok(wiring)
    }

    fn instance(&mut self, name: &str, component: &[u8]) -> Result<NodeId> {
        let package = Package::from_bytes(&format!("lazaretto:{name}"), None, component, self.graph.types_mut())?;
        let package = self.graph.register_package(package)?;
        Ok(self.graph.instantiate(package))
    }

    fn wire(&mut self, from: NodeId, interface: &str, to: NodeId) -> Result<()> {
        let export = self.graph.alias_instance_export(from, interface)?;
        Ok(self.graph.set_instantiation_argument(to, interface, export)?)
    }

    fn export(&mut self, from: NodeId, interface: &str) -> Result<()> {
        let export = self.graph.alias_instance_export(from, interface)?;
        Ok(self.graph.export(export, interface)?)
    }

    fn encode(&self) -> Result<Vec<u8>> {
        Ok(self.graph.encode(EncodeOptions::default())?)
    }
}
