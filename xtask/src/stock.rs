//! `cargo xtask stock`: the components that run on any WASI host.

use std::fs;

use crate::parts::{Parts, target};
use crate::{Result, compose, gate};

/// A component that needs WASI and nothing else.
#[derive(Debug)]
pub(crate) struct Stock {
    pub(crate) name: &'static str,
    pub(crate) component: Vec<u8>,
}

pub(crate) fn build() -> Result<[Stock; 5]> {
    let parts = Parts::build()?;
    let stock = Stock { name: "lazaretto-stock", component: compose::stock(&parts)? };
    let command = Stock { name: "lazaretto-cli", component: compose::command(&parts, &parts.front)? };
    let codes =
        Stock { name: "lazaretto-cli-exit-codes", component: compose::command(&parts, &parts.front_exit_codes)? };
    let exports = ["lazaretto:keeper/classifier@0.1.0", "lazaretto:keeper/keeper@0.1.0", "lazaretto:keeper/pool@0.1.0"];
    gate::only_oldest_wasi(stock.name, &stock.component, &exports)?;
    gate::only_oldest_wasi(command.name, &command.component, &["wasi:cli/run@0.2.0"])?;
    gate::only_wasi(codes.name, &codes.component, &["wasi:cli/run@0.2.0"])?;
    for (part, component) in [
        ("keeper", &parts.keeper),
        ("storage", &parts.storage),
        ("http", &parts.http),
        ("events", &parts.events),
        ("closed", &parts.closed),
        ("front", &parts.front),
        ("with exit codes", &parts.front_exit_codes),
    ] {
        println!("{part:>16} {:>8} bytes", component.len());
    }
    let http = compose::http(&parts)?;
    let storage = Stock { name: "lazaretto-storage", component: parts.storage };
    gate::only_oldest_wasi(storage.name, &storage.component, &["lazaretto:keeper/storage@0.1.0"])?;
    let http = Stock { name: "lazaretto-http", component: http };
    gate::only_oldest_wasi(http.name, &http.component, &["lazaretto:keeper/http@0.1.0"])?;
    Ok([stock, command, codes, storage, http])
}

pub(crate) fn run() -> Result<()> {
    let folder = target().join("stock");
    fs::create_dir_all(&folder)?;
    for Stock { name, component } in build()? {
        let path = folder.join(format!("{name}.wasm"));
        fs::write(&path, &component)?;
        println!("{name:>22} {:>8} bytes  {}", component.len(), path.display());
    }
    Ok(())
}
