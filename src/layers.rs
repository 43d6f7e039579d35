//! One object laid over others: what a layer says hides what those under it say, and null hides it altogether.
//!
//! This is how a profile is read: every member is asked for by name and kind, and whatever is wrong is named.

use std::fmt;

use crate::json::{Kind, Value};
use crate::table::Table;

/// Objects, the top one first, and where they stand.
#[derive(Clone)]
pub struct Layers<'a> {
    layers: Vec<Value<'a>>,
    path: String,
}

/// A member that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread(String);

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> Layers<'a> {
    /// These, the top one first.
    pub fn new(layers: Vec<Value<'a>>) -> Self {
        Self { layers, path: String::new() }
    }

    /// That no layer has a member of another name: a misspelt one would be as good as absent.
    pub fn only(&self, known: &[&str]) -> Result<(), Misread> {
        for layer in &self.layers {
            if layer.kind() != Kind::Object {
                return Err(Misread(format!("`{}` should be an object, and is {}", self.path, layer.kind())));
            }
            if let Some(member) = layer.members().find(|member| !known.iter().any(|name| member.key.is_str(name))) {
                return Err(Misread(format!(
                    "{}{} is not known here; known are {}",
                    self.prefix(),
                    member.key.raw(),
                    known.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// The layers down to the first that has this member.
    pub fn down_to(&self, name: &str) -> Self {
        let depth =
            self.layers.iter().position(|layer| layer.get(name).is_some()).map_or(self.layers.len(), |at| at + 1);
        Self { layers: self.layers[..depth].to_vec(), path: self.path.clone() }
    }

    /// A member, from the first layer that has it.
    pub fn one(&self, name: &str) -> Option<Value<'a>> {
        self.layers.iter().find_map(|layer| layer.get(name)).filter(|value| value.kind() != Kind::Null)
    }

    /// A member that is an object, in layers of its own; empty if there is none.
    pub fn object(&self, name: &str) -> Result<Self, Misread> {
        let mut layers = Vec::new();
        for value in self.layers.iter().filter_map(|layer| layer.get(name)) {
            match value.kind() {
                Kind::Object => layers.push(value),
                Kind::Null => break,
                kind => return Err(self.misread(name, &format!("should be an object, and is {kind}"))),
            }
        }
        Ok(Self { layers, path: format!("{}{name}", self.prefix()) })
    }

    /// A member that is a list of objects.
    pub fn items(&self, name: &str) -> Result<Vec<Self>, Misread> {
        let list = self.list(name)?;
        Ok(list
            .enumerate()
            .map(|(at, item)| Self { layers: vec![item], path: format!("{}{name}[{at}]", self.prefix()) })
            .collect())
    }

    /// A member that is a string, if it is there.
    pub fn maybe_text(&self, name: &str) -> Result<Option<String>, Misread> {
        let Some(value) = self.one(name) else { return Ok(None) };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| self.misread(name, &format!("should be a string, and is {}", value.kind())))
    }

    /// A member that is a string.
    pub fn text(&self, name: &str) -> Result<String, Misread> {
        self.maybe_text(name)?.ok_or_else(|| self.misread(name, "is missing"))
    }

    /// A member that is a list of strings; empty if there is none.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Misread> {
        self.list(name)?
            .map(|item| item.as_str().ok_or_else(|| self.misread(name, "should be a list of strings")))
            .collect()
    }

    /// A member that is a list of whole numbers; empty if there is none.
    pub fn numbers(&self, name: &str) -> Result<Vec<u64>, Misread> {
        self.list(name)?
            .map(|item| item.as_u64().ok_or_else(|| self.misread(name, "should be a list of whole numbers")))
            .collect()
    }

    /// A member that is a whole number.
    pub fn number(&self, name: &str) -> Result<u64, Misread> {
        let value = self.one(name).ok_or_else(|| self.misread(name, "is missing"))?;
        value.as_u64().ok_or_else(|| self.misread(name, &format!("should be a whole number, and is {}", value.kind())))
    }

    /// A member that is true or false; false if it is not there.
    pub fn flag(&self, name: &str) -> Result<bool, Misread> {
        let Some(value) = self.one(name) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.misread(name, &format!("should be true or false, and is {}", value.kind())))
    }

    /// A member that is one of these words.
    pub fn one_of<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<T, Misread> {
        let word = self.text(name)?;
        words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
            self.misread(name, &format!("should be one of {}", known.join(", ")))
        })
    }

    /// Every member, each a string.
    pub fn all_texts(&self) -> Result<Table<String, String>, Misread> {
        let mut texts = Table::default();
        for member in self.layers.iter().rev().flat_map(|layer| layer.members()) {
            let name = member.key.as_str().unwrap_or_default();
            match (member.value.kind(), member.value.as_str()) {
                (Kind::Null, _) => texts.remove(&name),
                (_, Some(text)) => texts.insert(name, text),
                (kind, None) => return Err(self.misread(&name, &format!("should be a string, and is {kind}"))),
            };
        }
        Ok(texts)
    }

    /// What is wrong with a member.
    pub fn misread(&self, name: &str, what: &str) -> Misread {
        Misread(format!("`{}{name}` {what}", self.prefix()))
    }

    fn list(&self, name: &str) -> Result<impl Iterator<Item = Value<'a>> + use<'a>, Misread> {
        let value = self.one(name);
        if let Some(value) = value.filter(|value| value.kind() != Kind::Array) {
            return Err(self.misread(name, &format!("should be a list, and is {}", value.kind())));
        }
        Ok(value.into_iter().flat_map(|value| value.items()))
    }

    fn prefix(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!("{}.", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn the_top_layer_wins_and_null_hides_what_lies_below() {
        let (top, under) =
            (r#"{"a":1,"o":{"x":"1","y":null},"n":null}"#, r#"{"a":2,"b":3,"o":{"x":"2","y":"2","z":"2"},"n":5}"#);
        let layers = Layers::new(vec![json::check(top).unwrap(), json::check(under).unwrap()]);
        assert_eq!((layers.number("a"), layers.number("b")), (Ok(1), Ok(3)));
        assert!(layers.one("n").is_none());
        let texts = layers.object("o").unwrap().all_texts().unwrap();
        let texts: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(texts, [("x", "1"), ("z", "2")]);
    }

    #[test]
    fn whatever_is_wrong_is_named_with_its_path() {
        let text = r#"{"o":{"x":1,"l":[1,"2"]},"s":"q","t":[]}"#;
        let layers = Layers::new(vec![json::check(text).unwrap()]);
        let object = layers.object("o").unwrap();
        for (misread, wanted) in [
            (object.text("x").err(), "`o.x` should be a string, and is a number"),
            (object.text("y").err(), "`o.y` is missing"),
            (object.texts("l").err(), "`o.l` should be a list of strings"),
            (object.only(&["x"]).err(), "o.\"l\" is not known here; known are x"),
            (layers.object("s").err(), "`s` should be an object, and is a string"),
            (layers.one_of("s", &[("a", 1), ("b", 2)]).err(), "`s` should be one of a, b"),
            (layers.number("t").err(), "`t` should be a whole number, and is a list"),
        ] {
            assert_eq!(misread.map(|misread| misread.to_string()).as_deref(), Some(wanted));
        }
    }
}
