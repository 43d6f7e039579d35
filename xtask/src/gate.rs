//! What a stock component may import, and what it must export.

use wit_component::DecodedWasm;

use crate::Result;

/// Interfaces that every host of WASI 0.2 with HTTP has. Sockets are not among them, nor are terminals.
const GRANTED: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/random@"];

/// The imports of a component that runs on WASI alone.
///
/// # Errors
/// It imports something else, or exports not exactly `exports`.
pub(crate) fn only_wasi(name: &str, component: &[u8], exports: &[&str]) -> Result<Vec<String>> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        return Err(format!("{name} is a WIT package and no component").into());
    };
    let world = &resolve.worlds[world];
    let imports: Vec<String> = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    if let Some(other) = imports.iter().find(|import| !GRANTED.iter().any(|granted| import.starts_with(granted))) {
        return Err(format!("{name} imports {other}, which no WASI host has: see xtask/src/compose.rs").into());
    }
    let mut found: Vec<String> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    found.sort();
    if found != exports {
        return Err(format!("{name} exports {found:?}, and should export {exports:?}").into());
    }
    Ok(imports)
}

/// As [`only_wasi`], for a component that must run on every host of WASI 0.2: wasmtime LTS is years behind the newest.
///
/// # Errors
/// It imports something newer than the first version, or what `only_wasi` refuses.
pub(crate) fn only_oldest_wasi(name: &str, component: &[u8], exports: &[&str]) -> Result<()> {
    match only_wasi(name, component, exports)?.iter().find(|import| !import.ends_with("@0.2.0")) {
        Some(newer) => Err(format!("{name} imports {newer}, which a host of WASI 0.2.0 does not have").into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component that does nothing, with the world `w` of these packages.
    fn dummy(packages: &[&str]) -> Vec<u8> {
        let mut resolve = wit_parser::Resolve::default();
        let mut package = None;
        for text in packages {
            package = Some(resolve.push_str("it.wit", text).expect("WIT"));
        }
        let world = resolve.select_world(&[package.expect("a package")], Some("w")).expect("a world");
        let mut module = wit_component::dummy_module(&resolve, world, wit_parser::ManglingAndAbi::Standard32);
        let utf8 = wit_component::StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut module, &resolve, world, utf8, false).expect("a module");
        crate::componentize::component(&module).expect("a component")
    }

    #[test]
    fn what_no_wasi_host_has_is_not_let_through() {
        let wit = "package a:b; world w { import wasi:cli/stderr@0.2.0; import c; export d; } interface c { f: func(); } interface d {}";
        let cli = "package wasi:cli@0.2.0; interface stderr { g: func(); }";
        let error = only_wasi("it", &dummy(&[cli, wit]), &["a:b/d"]).expect_err("let through").to_string();
        assert!(error.contains("a:b/c"), "{error}");
    }

    #[test]
    fn what_only_newer_hosts_have_is_not_let_through() {
        let wit = "package a:b; world w { import wasi:cli/exit@0.2.12; export d; } interface d {}";
        let cli = "package wasi:cli@0.2.12; interface exit { exit-with-code: func(code: u8); }";
        let component = dummy(&[cli, wit]);
        assert!(only_wasi("it", &component, &["a:b/d"]).is_ok());
        let error = only_oldest_wasi("it", &component, &["a:b/d"]).expect_err("let through").to_string();
        assert!(error.contains("wasi:cli/exit@0.2.12"), "{error}");
    }
}
