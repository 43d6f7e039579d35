//! One object laid over others: what a layer says hides what those under it say, and null hides it
//! altogether.
//!
//! This is how a profile is read: every member is asked for by name and kind, and whatever is wrong
//! is named. What is asked for always comes, if only as nothing; [`Layers::read`] gives the whole
//! away only if nothing was wrong.

use std::cell::OnceCell;
use std::fmt;

use crate::json::{Fields, Items, Kind, Member, Value};
use std::collections::BTreeMap;

/// Objects, the top one first, and where they stand.
#[derive(Clone)]
pub struct Layers<'a> {
    layers: Vec<Fields<'a>>,
    path: String,
    /// What was found wrong first.
    wrong: &'a OnceCell<Misread>,
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
    /// What `read` makes of these, the top one first; or what it found wrong.
    pub fn read<T>(layers: Vec<Value<'_>>, read: impl FnOnce(&Layers<'_>) -> T) -> Result<T, Misread> {
        let wrong = OnceCell::new();
        let layers = layers.into_iter().map(Fields::of).collect();
        let all = read(&Layers { layers, path: String::new(), wrong: &wrong });
        wrong.into_inner().map_or(Ok(all), Err)
    }

    /// A text of our own, as one more layer for these.
    pub fn literal(text: &'a str, beside: &Self) -> Self {
        Self { layers: vec![Fields::of(Value::trusted(text))], path: String::new(), wrong: beside.wrong }
    }

    /// These layers over others.
    pub fn over(&self, under: &Self) -> Self {
        let layers = self.layers.iter().chain(&under.layers).cloned().collect();
        Self { layers, path: self.path.clone(), wrong: self.wrong }
    }

    /// That no layer has a member of another name: a misspelt one would be as good as absent.
    pub fn only(&self, known: &[&str]) {
        for layer in &self.layers {
            if layer.kind() != Kind::Object {
                return self.note(format!("`{}` should be an object, and is {}", self.path, layer.kind()));
            }
            if let Some(member) = layer.members.iter().find(|member| !known.iter().any(|name| member.key.is_str(name)))
            {
                return self.note(format!(
                    "{} is not known here; known are {}",
                    self.below(member.key.raw()),
                    known.join(", ")
                ));
            }
        }
    }

    /// The layers down to the first that has this member.
    pub fn down_to(&self, name: &str) -> Self {
        let depth = self.layers.iter().position(|layer| layer.get(name).is_some());
        let mut layers = self.clone();
        layers.layers.truncate(depth.map_or(usize::MAX, |at| at + 1));
        layers
    }

    /// The first layer that has one of these members, alone.
    pub fn first_with(&self, names: &[&str]) -> Option<Self> {
        let layer = self.layers.iter().find(|layer| names.iter().any(|name| layer.get(name).is_some()))?;
        Some(Self { layers: vec![layer.clone()], path: self.path.clone(), wrong: self.wrong })
    }

    /// A member, from the first layer that has it.
    pub fn one(&self, name: &str) -> Option<Value<'a>> {
        self.layers.iter().find_map(|layer| layer.get(name)).filter(|value| value.kind() != Kind::Null)
    }

    /// A member that is an object, in layers of its own; empty if there is none.
    pub fn object(&self, name: &str) -> Self {
        let mut layers = Vec::new();
        for value in self.layers.iter().filter_map(|layer| layer.get(name)) {
            match value.kind() {
                Kind::Object => layers.push(Fields::of(value)),
                Kind::Null => break,
                _ => self.mistaken(name, "an object", value),
            }
        }
        Self { layers, path: self.below(name), wrong: self.wrong }
    }

    /// A member that is an object, if it is there.
    pub fn maybe_object(&self, name: &str) -> Option<Self> {
        self.one(name).map(|_| self.object(name))
    }

    /// A member that is a list of objects.
    pub fn items(&self, name: &str) -> Vec<Self> {
        let item = |(at, item)| Self {
            layers: vec![Fields::of(item)],
            path: format!("{}[{at}]", self.below(name)),
            wrong: self.wrong,
        };
        self.list(name).enumerate().map(item).collect()
    }

    /// A member that is an object of objects, each with its key.
    pub fn entries(&self, name: &str) -> Vec<(String, Self)> {
        let path = self.below(name);
        let entry = |member: Member<'a>| {
            let key = member.key.as_str().unwrap_or_default();
            let path = format!("{path}.{key}");
            (key, Self { layers: vec![Fields::of(member.value)], path, wrong: self.wrong })
        };
        self.objects(name).into_iter().map(entry).collect()
    }

    /// A member that is an object of objects, as the top layer has it.
    pub fn objects(&self, name: &str) -> Vec<Member<'a>> {
        let section = self.object(name);
        let members = section.layers.first().map(|top| top.members.clone()).unwrap_or_default();
        for member in &members {
            if member.value.kind() != Kind::Object {
                section.mistaken(&member.key.as_str().unwrap_or_default(), "an object", member.value);
            }
        }
        members
    }

    /// A member that is a string, if it is there.
    pub fn maybe_text(&self, name: &str) -> Option<String> {
        let value = self.one(name)?;
        let text = value.as_str();
        if text.is_none() {
            self.mistaken(name, "a string", value);
        }
        text
    }

    /// A member that is a string.
    pub fn text(&self, name: &str) -> String {
        self.maybe_text(name).unwrap_or_else(|| {
            self.misread(name, "is missing");
            String::new()
        })
    }

    /// A member that is a list of strings; empty if there is none.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for item in self.list(name) {
            match item.as_str() {
                Some(text) => texts.push(text),
                None => self.misread(name, "should be a list of strings"),
            }
        }
        texts
    }

    /// A member that is a list of HTTP statuses; empty if there is none.
    pub fn statuses(&self, name: &str) -> Vec<u16> {
        let mut statuses = Vec::new();
        for item in self.list(name) {
            match item.as_u64().and_then(|status| status.try_into().ok()) {
                Some(status) => statuses.push(status),
                None => self.misread(name, "should be a list of HTTP statuses"),
            }
        }
        statuses
    }

    /// A member that is a whole number.
    pub fn number(&self, name: &str) -> u64 {
        let value = self.one(name);
        let number = value.and_then(|value| value.as_u64());
        match (number, value) {
            (Some(_), _) => {}
            (None, Some(value)) => self.mistaken(name, "a whole number", value),
            (None, None) => self.misread(name, "is missing"),
        }
        number.unwrap_or_default()
    }

    /// A member that is true or false; false if it is not there.
    pub fn flag(&self, name: &str) -> bool {
        let value = self.one(name);
        let flag = value.and_then(|value| value.as_bool());
        if let (None, Some(value)) = (flag, value) {
            self.mistaken(name, "true or false", value);
        }
        flag.unwrap_or_default()
    }

    /// A member that is one of these words, each for one of these values.
    pub fn one_of<T: Copy, const N: usize>(&self, name: &str, words: [&str; N], values: [T; N]) -> T {
        values[self.which_of(name, &words)]
    }

    /// Which of these words a member is, counted from 0.
    pub fn which_of(&self, name: &str, words: &[&str]) -> usize {
        let word = self.text(name);
        words.iter().position(|known| *known == word).unwrap_or_else(|| {
            self.misread(name, &format!("should be one of {}", words.join(", ")));
            0
        })
    }

    /// Every member, each a string.
    pub fn all_texts(&self) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for member in self.layers.iter().rev().flat_map(|layer| &layer.members) {
            let name = member.key.as_str().unwrap_or_default();
            match (member.value.kind(), member.value.as_str()) {
                (Kind::Null, _) => {
                    texts.remove(&name);
                }
                (_, Some(text)) => {
                    texts.insert(name, text);
                }
                (_, None) => self.mistaken(&name, "a string", member.value),
            }
        }
        texts
    }

    /// Notes what is wrong with a member.
    pub fn misread(&self, name: &str, what: &str) {
        self.note(format!("`{}` {what}", self.below(name)));
    }

    fn mistaken(&self, name: &str, wanted: &str, value: Value<'_>) {
        self.misread(name, &format!("should be {wanted}, and is {}", value.kind()));
    }

    #[cold]
    fn note(&self, what: String) {
        // Only the first counts: what comes after may follow from it.
        let _ = self.wrong.set(Misread(what));
    }

    fn list(&self, name: &str) -> Items<'a> {
        let Some(value) = self.one(name) else { return Items::default() };
        if value.kind() != Kind::Array {
            self.mistaken(name, "a list", value);
        }
        value.items()
    }

    fn below(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
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
        let read = Layers::read(vec![json::check(top).unwrap(), json::check(under).unwrap()], |layers| {
            assert_eq!((layers.number("a"), layers.number("b")), (1, 3));
            assert!(layers.one("n").is_none());
            layers.object("o").all_texts()
        });
        let texts = read.unwrap();
        let texts: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(texts, [("x", "1"), ("z", "2")]);
    }

    #[test]
    fn whatever_is_wrong_is_named_with_its_path() {
        fn misread<T>(read: impl FnOnce(&Layers<'_>) -> T) -> Option<String> {
            let text = r#"{"o":{"x":1,"l":[1,"2"]},"s":"q","t":[]}"#;
            Layers::read(vec![json::check(text).unwrap()], read).err().map(|misread| misread.to_string())
        }
        for (misread, wanted) in [
            (misread(|layers| layers.object("o").text("x")), "`o.x` should be a string, and is a number"),
            (misread(|layers| layers.object("o").text("y")), "`o.y` is missing"),
            (misread(|layers| layers.object("o").texts("l")), "`o.l` should be a list of strings"),
            (misread(|layers| layers.object("o").only(&["x"])), "o.\"l\" is not known here; known are x"),
            (misread(|layers| layers.entries("o").len()), "`o.x` should be an object, and is a number"),
            (
                misread(|layers| layers.items("t").len() + layers.items("s").len()),
                "`s` should be a list, and is a string",
            ),
            (misread(|layers| layers.object("s").flag("x")), "`s` should be an object, and is a string"),
            (misread(|layers| layers.one_of("s", ["a", "b"], [1, 2])), "`s` should be one of a, b"),
            (misread(|layers| layers.number("t")), "`t` should be a whole number, and is a list"),
        ] {
            assert_eq!(misread.as_deref(), Some(wanted));
        }
    }

    #[test]
    fn of_two_things_that_are_wrong_the_first_is_named() {
        let read = Layers::read(vec![json::check("{}").unwrap()], |layers| (layers.number("a"), layers.text("b")));
        assert_eq!(read.unwrap_err().to_string(), "`a` is missing");
    }
}
