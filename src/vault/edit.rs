//! Changes to a text, as replacements of byte spans. Nothing outside the edited values changes.

use std::ops::Range;

use crate::json::{self, Kind, Value};

/// What should become of one member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has this value, spelled as JSON; it is added at the end if it was not there.
    Set(String),
    /// It is gone.
    Remove,
}

/// Changes by key.
type Changes = Vec<(String, Change)>;

/// Why an edit would not be safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditError {
    /// The key stands more than once in the object, so which one counts depends on the reader.
    RepeatedKey(String),
    /// Something on the way to the value is of another kind than an object.
    NotAnObject(String),
}

impl std::fmt::Display for EditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RepeatedKey(key) => write!(f, "the key `{key}` stands more than once in one object"),
            Self::NotAnObject(path) => write!(f, "`{path}` is not an object"),
        }
    }
}

/// Edits gathered against one text, and applied at once.
///
/// ```
/// use lazaretto::json::check;
/// use lazaretto::vault::edit::{Change, Edits};
///
/// let text = "{ \"b\":1.0,\n  \"a\" : {\"t\": \"old\"} }";
/// let mut edits = Edits::default();
/// edits.members(check(text).expect("JSON"), &[("/a/t".into(), Change::Set("\"new\"".into()))])?;
/// assert_eq!(edits.apply(text), "{ \"b\":1.0,\n  \"a\" : {\"t\": \"new\"} }");
/// # Ok::<(), lazaretto::vault::edit::EditError>(())
/// ```
#[derive(Default)]
pub struct Edits {
    replacements: Vec<(Range<usize>, String)>,
}

impl Edits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.replacements.is_empty()
    }

    /// Changes members below `root`, each named by a JSON pointer. Objects that are missing on the
    /// way to a value that is set are made. Members of one object must be changed by one call.
    pub fn members(&mut self, root: Value<'_>, changes: &[(String, Change)]) -> Result<(), EditError> {
        let mut groups: Vec<(Vec<String>, Changes)> = Vec::new();
        for (pointer, change) in changes {
            let mut path: Vec<String> = json::tokens(pointer).collect();
            let Some(key) = path.pop() else { continue };
            match groups.iter_mut().find(|(parent, _)| *parent == path) {
                Some((_, members)) => members.push((key, change.clone())),
                None => groups.push((path, vec![(key, change.clone())])),
            }
        }
        // What is missing on the way becomes one new member of the deepest object that is there.
        let mut there: Vec<(Value<'_>, Changes)> = Vec::new();
        for (path, members) in groups {
            let (parent, missing) = descend(root, &path)?;
            let members = match missing.split_first() {
                None => members,
                Some((first, deeper)) => match new_object(deeper, &members) {
                    Some(object) => vec![(first.clone(), Change::Set(object))],
                    None => continue,
                },
            };
            match there.iter_mut().find(|(object, _)| object.span() == parent.span()) {
                Some((_, known)) => known.extend(members),
                None => there.push((parent, members)),
            }
        }
        there.iter().try_for_each(|(object, members)| self.object(*object, members))
    }

    /// Removes the items at `indices` from a list.
    pub fn remove_items(&mut self, list: Value<'_>, indices: &[usize]) {
        let items: Vec<Part> = list
            .items()
            .enumerate()
            .map(|(index, item)| Part { span: item.span(), keep: !indices.contains(&index) })
            .collect();
        self.cut(list, &items);
    }

    /// Appends an item, spelled as JSON, to a list.
    pub fn push_item(&mut self, list: Value<'_>, item: &str) {
        let items: Vec<Part> = list.items().map(|item| Part { span: item.span(), keep: true }).collect();
        let lead = lead(list, &items);
        self.append(list, &items, &format!("{lead}{item}"));
    }

    /// The text with every edit made.
    pub fn apply(mut self, text: &str) -> String {
        // By insertion: there are few, and mostly in order already.
        for at in 1..self.replacements.len() {
            let key = |edits: &[(Range<usize>, String)], at: usize| (edits[at].0.start, edits[at].0.end);
            let mut to = at;
            while to > 0 && key(&self.replacements, to - 1) > key(&self.replacements, to) {
                self.replacements.swap(to - 1, to);
                to -= 1;
            }
        }
        let mut result = String::with_capacity(text.len() + 256);
        let mut at = 0;
        for (range, replacement) in &self.replacements {
            // An insertion sorts before the cut that begins where it stands, so no edit begins
            // inside another.
            result.push_str(&text[at..range.start.max(at)]);
            result.push_str(replacement);
            at = range.end.max(at);
        }
        result.push_str(&text[at..]);
        result
    }

    fn object(&mut self, object: Value<'_>, changes: &[(String, Change)]) -> Result<(), EditError> {
        let members: Vec<_> = object.members().collect();
        let mut parts: Vec<Part> = members
            .iter()
            .map(|member| Part { span: member.key.span().start..member.value.span().end, keep: true })
            .collect();
        let mut added = String::new();
        let lead = lead(object, &parts);
        let colon = members.last().map_or(": ", |last| &object.text[last.key.span().end..last.value.span().start]);
        for (key, change) in changes {
            let mut places = members.iter().enumerate().filter(|(_, member)| member.key.is_str(key));
            let place = places.next();
            if places.next().is_some() {
                return Err(EditError::RepeatedKey(key.clone()));
            }
            match (place, change) {
                (Some((_, member)), Change::Set(value)) if member.value.raw() == value => {}
                (Some((_, member)), Change::Set(value)) => self.replacements.push((member.value.span(), value.clone())),
                (Some((index, _)), Change::Remove) => parts[index].keep = false,
                (None, Change::Set(value)) => {
                    if !added.is_empty() {
                        added.push(',');
                    }
                    added.push_str(&format!("{lead}{}{colon}{value}", json::quote(key)));
                }
                (None, Change::Remove) => {}
            }
        }
        self.cut(object, &parts);
        if !added.is_empty() {
            self.append(object, &parts, &added);
        }
        Ok(())
    }

    /// Cuts what is not kept out of a container, with the commas that would be left over.
    fn cut(&mut self, container: Value<'_>, parts: &[Part]) {
        if parts.iter().all(|part| part.keep) {
            return;
        }
        if !parts.iter().any(|part| part.keep) {
            let inner = container.span().start + 1..container.span().end - 1;
            self.replacements.push((inner, String::new()));
            return;
        }
        let mut last_kept: Option<usize> = None;
        for (index, part) in parts.iter().enumerate() {
            if !part.keep {
                continue;
            }
            match last_kept {
                // A run at the front goes up to the first that is kept.
                None if index > 0 => self.replacements.push((parts[0].span.start..part.span.start, String::new())),
                // A run in the middle goes with the comma before it.
                Some(before) if index > before + 1 => {
                    self.replacements.push((parts[before].span.end..parts[index - 1].span.end, String::new()));
                }
                _ => {}
            }
            last_kept = Some(index);
        }
        if let Some(before) = last_kept.filter(|&before| before + 1 < parts.len()) {
            self.replacements.push((parts[before].span.end..parts[parts.len() - 1].span.end, String::new()));
        }
    }

    fn append(&mut self, container: Value<'_>, parts: &[Part], added: &str) {
        match parts.iter().rfind(|part| part.keep) {
            Some(last) => self.replacements.push((last.span.end..last.span.end, format!(",{added}"))),
            None => {
                let start = container.span().start + 1;
                self.replacements.push((start..start, added.to_owned()));
            }
        }
    }
}

struct Part {
    span: Range<usize>,
    keep: bool,
}

/// The space that a new member or item begins with: what stands before the last one.
fn lead<'a>(container: Value<'a>, parts: &[Part]) -> &'a str {
    let text = container.text;
    match parts {
        [] => "",
        [only] => &text[container.span().start + 1..only.span.start],
        [.., before, last] => {
            let between = &text[before.span.end..last.span.start];
            between.split_once(',').map_or("", |(_, space)| space)
        }
    }
}

/// The deepest object on the way along `path`, and what of the path is missing below it.
fn descend<'a, 'p>(root: Value<'a>, path: &'p [String]) -> Result<(Value<'a>, &'p [String]), EditError> {
    let mut object = root;
    for (index, key) in path.iter().enumerate() {
        if object.kind() != Kind::Object {
            return Err(EditError::NotAnObject(path[..index].join("/")));
        }
        let mut places = object.members().filter(|member| member.key.is_str(key));
        match (places.next(), places.next()) {
            (Some(_), Some(_)) => return Err(EditError::RepeatedKey(key.clone())),
            (Some(member), None) => object = member.value,
            (None, _) => return Ok((object, &path[index..])),
        }
    }
    if object.kind() == Kind::Object { Ok((object, &[])) } else { Err(EditError::NotAnObject(path.join("/"))) }
}

/// Spells an object below missing parents; none if it would hold nothing.
fn new_object(parents: &[String], members: &[(String, Change)]) -> Option<String> {
    let members: Vec<String> = members
        .iter()
        .filter_map(|(key, change)| match change {
            Change::Set(value) => Some(format!("{}: {value}", json::quote(key))),
            Change::Remove => None,
        })
        .collect();
    if members.is_empty() {
        return None;
    }
    let object = format!("{{{}}}", members.join(", "));
    Some(parents.iter().rev().fold(object, |inner, key| format!("{{{}: {inner}}}", json::quote(key))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, changes: &[(&str, Option<&str>)]) -> Result<String, EditError> {
        let changes: Vec<_> = changes
            .iter()
            .map(|(pointer, value)| {
                ((*pointer).to_owned(), value.map_or(Change::Remove, |value| Change::Set(value.to_owned())))
            })
            .collect();
        let mut edits = Edits::default();
        edits.members(json::check(text).unwrap(), &changes)?;
        Ok(edits.apply(text))
    }

    #[test]
    fn only_the_edited_value_changes() {
        let text = "{ \"n\" : 1.00e+2 ,\n\t\"t\":{\"a\" :\"x\\u0041\",  \"b\":9007199254740993}, \"z\":[ ] }\n";
        assert_eq!(
            edited(text, &[("/t/a", Some("\"new\""))]).unwrap(),
            "{ \"n\" : 1.00e+2 ,\n\t\"t\":{\"a\" :\"new\",  \"b\":9007199254740993}, \"z\":[ ] }\n"
        );
    }

    #[test]
    fn members_are_removed_with_exactly_one_comma() {
        let text = r#"{"a":1, "b":2, "c":3, "d":4}"#;
        for (gone, left) in [
            ("a", r#"{"b":2, "c":3, "d":4}"#),
            ("b", r#"{"a":1, "c":3, "d":4}"#),
            ("d", r#"{"a":1, "b":2, "c":3}"#),
            ("ab", r#"{"c":3, "d":4}"#),
            ("cd", r#"{"a":1, "b":2}"#),
            ("ad", r#"{"b":2, "c":3}"#),
            ("bc", r#"{"a":1, "d":4}"#),
            ("abcd", "{}"),
        ] {
            let pointers: Vec<String> = gone.chars().map(|key| format!("/{key}")).collect();
            let changes: Vec<_> = pointers.iter().map(|pointer| (pointer.as_str(), None)).collect();
            assert_eq!(edited(text, &changes).unwrap(), left, "{gone}");
        }
    }

    #[test]
    fn a_new_member_is_laid_out_like_its_neighbours() {
        let text = "{\n  \"a\": 1,\n  \"t\": {\n    \"x\": 1\n  }\n}";
        assert_eq!(
            edited(text, &[("/t/y", Some("2")), ("/b", Some("3"))]).unwrap(),
            "{\n  \"a\": 1,\n  \"t\": {\n    \"x\": 1,\n    \"y\": 2\n  },\n  \"b\": 3\n}"
        );
        assert_eq!(edited("{}", &[("/a/b/c", Some("1"))]).unwrap(), "{\"a\": {\"b\": {\"c\": 1}}}");
    }

    #[test]
    fn removing_all_and_adding_leaves_only_what_was_added() {
        assert_eq!(edited("{\n \"a\": 1\n}", &[("/a", None), ("/b", Some("2"))]).unwrap(), "{\n \"b\": 2}");
        assert_eq!(edited(r#"{"a":1,"b":2}"#, &[("/b", None), ("/c", Some("3"))]).unwrap(), r#"{"a":1,"c":3}"#);
    }

    #[test]
    fn a_repeated_key_on_the_path_is_refused_and_elsewhere_it_is_not() {
        assert_eq!(
            edited(r#"{"t":{"a":1},"t":{"a":2}}"#, &[("/t/a", Some("3"))]),
            Err(EditError::RepeatedKey("t".into()))
        );
        assert_eq!(edited(r#"{"t":{"a":1,"a":2}}"#, &[("/t/a", None)]), Err(EditError::RepeatedKey("a".into())));
        assert!(edited(r#"{"z":1,"z":2,"t":{"a":1}}"#, &[("/t/a", Some("3"))]).is_ok());
    }

    #[test]
    fn a_value_on_the_way_that_is_no_object_is_refused() {
        assert_eq!(edited(r#"{"t":7}"#, &[("/t/a", Some("3"))]), Err(EditError::NotAnObject("t".into())));
    }

    #[test]
    fn items_are_removed_and_appended() {
        let text = "[ 1 ,\n 2 ,\n 3 ]";
        let list = json::check(text).unwrap();
        for (gone, left) in
            [(vec![0], "[ 2 ,\n 3 ]"), (vec![1], "[ 1 ,\n 3 ]"), (vec![1, 2], "[ 1 ]"), (vec![0, 1, 2], "[]")]
        {
            let mut edits = Edits::default();
            edits.remove_items(list, &gone);
            assert_eq!(edits.apply(text), left, "{gone:?}");
        }
        let mut edits = Edits::default();
        edits.push_item(list, "4");
        assert_eq!(edits.apply(text), "[ 1 ,\n 2 ,\n 3,\n 4 ]");
    }
}
