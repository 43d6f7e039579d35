//! Which origins the profiles name is computed here, by the host: a component that was exchanged
//! cannot name others.
//!
//! A profile is laid over others as `src/provider/mod.rs` of the component does it, and only what
//! matters for an address is read. What the component refuses for another reason still names its
//! origins here: the user's own file named them. A test holds both lists equal.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// `src/provider/providers.json`, and what only the component for persons needs of the same
/// profiles.
const BUILT_IN: &str = include_str!(concat!(env!("OUT_DIR"), "/providers.json"));
const FOR_PERSONS: &str = include_str!(concat!(env!("OUT_DIR"), "/authorization.json"));
/// Under every profile; it names no provider itself.
const GENERIC: &str = "generic";
/// How far profiles may extend each other.
const MAX_LAYERS: usize = 8;

/// For whom origins are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requests {
    /// Refreshes alone.
    Refresh,
    /// Logging in and out too.
    Login,
}

/// The origins that these profiles name: `scheme://host:port`, sorted. `user` is the text of the
/// user's file, if there is one.
pub(crate) fn origins(user: Option<&str>, requests: Requests) -> Result<Vec<String>, String> {
    let mut texts = vec![user.unwrap_or(r#"{"profiles":{}}"#)];
    texts.extend((requests == Requests::Login).then_some(FOR_PERSONS));
    texts.push(BUILT_IN);
    let files: Vec<Map<String, Value>> = texts.into_iter().map(profiles_in).collect::<Result<_, _>>()?;
    let mut named = BTreeSet::new();
    for id in files.iter().flat_map(Map::keys).filter(|id| *id != GENERIC) {
        let mut layers = Vec::new();
        if pile_up(&files, id, &mut layers).is_some() {
            named.extend(named_by(&layers, requests).unwrap_or_default());
        }
    }
    Ok(named.into_iter().collect())
}

fn profiles_in(text: &str) -> Result<Map<String, Value>, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| format!("providers.json: {error}"))?;
    match file {
        Value::Object(mut file) => match file.remove("profiles") {
            Some(Value::Object(profiles)) => Ok(profiles),
            _ => Err("providers.json: `profiles` is no object".to_owned()),
        },
        _ => Err("providers.json is no object".to_owned()),
    }
}

/// What a profile is made of, the top first. None: it extends itself, or what there is not.
fn pile_up<'a>(files: &'a [Map<String, Value>], id: &str, layers: &mut Vec<&'a Value>) -> Option<()> {
    let own: Vec<&Value> = files.iter().filter_map(|profiles| profiles.get(id)).collect();
    let top = own.first().filter(|_| layers.len() <= MAX_LAYERS)?;
    let base = top.get("extends").and_then(Value::as_str);
    // A profile that extends another one is not also the built-in one of its name.
    layers.extend(if base.is_some() { &own[..1] } else { &own[..] });
    match base.unwrap_or(GENERIC) {
        GENERIC if id == GENERIC => Some(()),
        base => pile_up(files, base, layers),
    }
}

/// The origins of one profile. None: one of its addresses is none that may be sent to, so it can do
/// nothing.
fn named_by(layers: &[&Value], requests: Requests) -> Option<Vec<String>> {
    let endpoint = first(layers, "token_endpoint").map_or(Some(""), Value::as_str)?;
    // Who names an endpoint means that one, whatever a profile underneath says of its origins.
    let depth = layers.iter().position(|layer| layer.get("token_endpoint").is_some());
    let of_endpoint = &layers[..depth.map_or(layers.len(), |at| at + 1)];
    let more = first(of_endpoint, "origins").map_or(Some(&[][..]), |more| more.as_array().map(Vec::as_slice))?;
    let mut urls: Vec<&str> = more.iter().map(Value::as_str).collect::<Option<_>>()?;
    urls.extend(Some(endpoint).filter(|endpoint| !endpoint.is_empty()));
    if requests == Requests::Login {
        // The authorization endpoint is for a browser.
        for name in ["device_authorization_endpoint", "revocation_endpoint"] {
            urls.extend(below(of_endpoint, "authorization", name).and_then(Value::as_str));
        }
    }
    urls.into_iter().map(|url| origin(url).filter(|origin| may_be_sent_to(origin))).collect()
}

/// A member, from the first layer that has it; null hides it.
fn first<'a>(layers: &[&'a Value], name: &str) -> Option<&'a Value> {
    layers.iter().find_map(|layer| layer.get(name)).filter(|value| !value.is_null())
}

/// The same in an object that each layer may have a part of; null hides what lies under it.
fn below<'a>(layers: &[&'a Value], object: &str, name: &str) -> Option<&'a Value> {
    let parts: Vec<&Value> =
        layers.iter().filter_map(|layer| layer.get(object)).take_while(|part| !part.is_null()).collect();
    first(&parts, name)
}

/// `scheme://host:port` of a URL, as the component spells it. None: it is no http(s) URL, or names
/// a user.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    if authority.is_empty() || !authority.bytes().all(is_plain) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()?),
        _ => (authority.as_str(), default_port),
    };
    (!host.is_empty()).then(|| format!("{scheme}://{host}:{port}"))
}

/// Over https, or on this machine. The list of a host refuses plain http again, unless it was told
/// to allow it.
fn may_be_sent_to(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").and_then(|rest| rest.rsplit_once(':')).map(|(host, _)| host);
    host.is_none_or(|host| host == "localhost" || host == "[::1]" || is_loopback_v4(host))
}

fn is_loopback_v4(host: &str) -> bool {
    let octets: Vec<Option<u64>> =
        host.split('.').map(|octet| octet.parse().ok().filter(|octet| *octet <= 255)).collect();
    matches!(octets[..], [Some(127), Some(_), Some(_), Some(_)])
}

#[cfg(test)]
mod tests {
    use crate::Keeper;
    use crate::storage::{MemoryStorage, Storage, VAULT};

    use super::*;

    /// What the component says with these profiles: the keeper's, and that for persons.
    fn of_the_components(user: Option<&str>) -> [Result<Vec<String>, String>; 2] {
        let storage = MemoryStorage::new();
        for (name, text) in [("providers.json", user), (VAULT, Some("{}"))] {
            if let Some(text) = text {
                storage.store(name, text, None, true, None).expect("stored");
            }
        }
        let keeper = Keeper::builder().storage(storage).build().expect("a keeper");
        [keeper.origins(), keeper.admin().origins()].map(|origins| origins.map_err(|error| error.code))
    }

    /// The cases are the same for every language.
    #[test]
    fn the_host_and_the_component_name_the_same_origins() {
        let cases: Value = serde_json::from_str(include_str!("../../../tests/cases/origins.json")).expect("JSON");
        for case in cases.as_array().expect("a list") {
            let user = case["providers"].as_str().map(str::to_owned);
            let user = user.or_else(|| case["providers"].as_object().map(|_| case["providers"].to_string()));
            let host = [Requests::Refresh, Requests::Login].map(|requests| origins(user.as_deref(), requests));
            let component = of_the_components(user.as_deref());
            for (host, component) in host.into_iter().zip(component) {
                match (host, component) {
                    (Ok(host), Ok(component)) => assert_eq!(host, component, "{case}"),
                    (Err(_), Err(_)) => {}
                    (host, component) => panic!("{case}: {host:?}, {component:?}"),
                }
            }
            for (wanted, is_there) in [("names", true), ("names_not", false)] {
                let named = origins(user.as_deref(), Requests::Refresh).unwrap_or_default();
                for origin in case[wanted].as_array().into_iter().flatten() {
                    let is_named = named.iter().any(|named| origin == named);
                    assert_eq!(is_named, is_there, "{case}: {named:?}");
                }
            }
        }
    }
}
