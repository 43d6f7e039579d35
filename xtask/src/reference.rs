//! Two pages end with a section that is written from the types of the core: `docs/providers.md`
//! with every member of a profile, `docs/errors.md` with every error code.
//!
//! A row of the first is a field of a struct: its name is the member, its documentation the
//! meaning. The default is that of the `generic` profile.

mod errors;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use syn::{Attribute, Fields, Item, ItemEnum, ItemStruct, Type};

use crate::workspace::{Result, root};

const PAGE: &str = "docs/providers.md";
/// Stands between the heading of such a section and what is written.
const NOTE: &str = "\nWritten from the types by `cargo xtask reference`; a test says when it is not current.\n";
/// Holds the types, and those that they are made of.
const SOURCES: [&str; 2] = ["src/provider", "src/classify/rules.rs"];

/// The sections of the page: a struct, its heading, and a sentence before its rows.
const SECTIONS: [(&str, &str, &str); 10] = [
    ("Profile", "A profile", "`profiles` holds one object for each provider, under its id."),
    ("RequestShape", "`request`", ""),
    ("Authorization", "`authorization`", "For `login` and `logout`; a host that only serves tokens does not read it."),
    ("Layout", "`login` and `entry`", "Pointers are JSON pointers (RFC 6901) below the login or the entry."),
    ("ExpiryAt", "An item of `expiry`", "It has one of these forms."),
    ("Rules", "`rules`", ""),
    ("SubCodes", "`rules.sub_codes`", ""),
    ("Rule", "An item of `rules.rules`", ""),
    ("StatusRule", "`rules.status_rule`", ""),
    ("Fields", "`rules.fields`", ""),
];

/// Fields that no file can set.
const NOT_MEMBERS: [&str; 3] = ["id", "wrong", "offers_login"];

/// Writes the sections, or with `check` fails if one is not current.
pub(crate) fn run(check: bool) -> Result<()> {
    let members = reference(&Types::read(&root())?)?;
    renew(PAGE, "## Every member\n", &members, check)?;
    renew("docs/errors.md", "## Every code\n", &errors::tables()?, check)
}

/// Writes the last section of a page, which begins with `heading`.
fn renew(path: &str, heading: &str, section: &str, check: bool) -> Result<()> {
    let page = fs::read_to_string(root().join(path))?;
    let (before, _) = page.split_once(heading).ok_or(format!("{path} has no {}", heading.trim()))?;
    let current = format!("{before}{heading}{NOTE}{section}");
    if page == current {
        return Ok(());
    }
    if check {
        return Err(format!("{path} is not what the types say: run cargo xtask reference").into());
    }
    fs::write(root().join(path), current)?;
    Ok(())
}

/// Says whether a type is the one of this name.
fn names(of: &Type, name: &str) -> bool {
    matches!(of, Type::Path(path) if path.path.is_ident(name))
}

/// The structs and enums of the sources.
struct Types {
    structs: Vec<ItemStruct>,
    enums: Vec<ItemEnum>,
}

impl Types {
    fn read(root: &Path) -> Result<Self> {
        let mut types = Self { structs: Vec::new(), enums: Vec::new() };
        for source in SOURCES {
            let path = root.join(source);
            let files = if path.is_dir() {
                fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?
            } else {
                vec![path]
            };
            for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
                for item in syn::parse_file(&fs::read_to_string(file)?)?.items {
                    match item {
                        Item::Struct(found) => types.structs.push(found),
                        Item::Enum(found) => types.enums.push(found),
                        _ => {}
                    }
                }
            }
        }
        Ok(types)
    }

    fn members(&self, name: &str) -> Result<Vec<Member>> {
        if let Some(found) = self.structs.iter().find(|found| found.ident == name) {
            return Ok(self.members_of(&found.fields));
        }
        let found = self.enums.iter().find(|found| found.ident == name).ok_or(format!(
            "there is no type {name} in {SOURCES:?}: xtask/src/reference.rs names the types of {PAGE}"
        ))?;
        let forms = found.variants.iter().map(|form| Member {
            name: self
                .members_of(&form.fields)
                .iter()
                .map(|member| member.name.as_str())
                .collect::<Vec<_>>()
                .join("`, `"),
            kind: "an object".to_owned(),
            meaning: documentation(&form.attrs),
        });
        Ok(forms.collect())
    }

    fn members_of(&self, fields: &Fields) -> Vec<Member> {
        let named = fields.iter().filter_map(|field| Some((field.ident.as_ref()?.to_string(), field)));
        let members = named.filter(|(name, _)| !NOT_MEMBERS.contains(&name.as_str()));
        members
            .map(|(name, field)| Member {
                name: name.trim_start_matches("r#").to_owned(),
                kind: self.kind(&field.ty),
                meaning: documentation(&field.attrs),
            })
            .collect()
    }

    /// Returns what kind of JSON value a field is read from.
    fn kind(&self, of: &Type) -> String {
        let Type::Path(path) = of else { return "a value".to_owned() };
        let Some(last) = path.path.segments.last() else { return "a value".to_owned() };
        let inner: Vec<&Type> = match &last.arguments {
            syn::PathArguments::AngleBracketed(arguments) => arguments
                .args
                .iter()
                .filter_map(|one| if let syn::GenericArgument::Type(of) = one { Some(of) } else { None })
                .collect(),
            _ => Vec::new(),
        };
        let name = last.ident.to_string();
        match (name.as_str(), &inner[..]) {
            ("Option" | "Box" | "Rc", [of]) => self.kind(of),
            ("Vec", [Type::Tuple(_)]) => {
                "a list of pointers, or an object from pointer to what stands there then".to_owned()
            }
            ("Vec", [of]) => format!("a list: {}", self.kind(of)),
            ("BTreeMap", [_, of]) => format!("an object: {}", self.kind(of)),
            ("String", _) => "text".to_owned(),
            ("bool", _) => "`true` or `false`".to_owned(),
            ("u16" | "u64", _) => "a number".to_owned(),
            ("ClientSecret", _) => "see above".to_owned(),
            ("Source", _) => "a word of the list below, or `{\"value\": ...}`".to_owned(),
            _ if SECTIONS.iter().any(|(section, ..)| *section == name) => "an object, below".to_owned(),
            _ => self.words(&name).unwrap_or_else(|| "a value".to_owned()),
        }
    }

    /// Returns the words of an enum without data.
    fn words(&self, name: &str) -> Option<String> {
        if name == "Verdict" {
            return Some("a verdict".to_owned());
        }
        let found = self.enums.iter().find(|found| found.ident == name)?;
        let words: Vec<String> = found
            .variants
            .iter()
            .map(|one| format!("`{}`", separated(&one.ident.to_string(), if name == "Field" { '_' } else { '-' })))
            .collect();
        Some(words.join(", "))
    }
}

/// One row.
struct Member {
    name: String,
    kind: String,
    meaning: String,
}

/// Spells a variant as its word: `EpochMs` is `epoch-ms`.
fn separated(name: &str, by: char) -> String {
    let mut word = String::new();
    let mut before: Option<char> = None;
    for letter in name.chars() {
        let begins = letter.is_ascii_uppercase() && before.is_some_and(|before| !before.is_ascii_uppercase());
        if begins {
            word.push(by);
        }
        word.push(letter.to_ascii_lowercase());
        before = Some(letter);
    }
    word
}

/// Returns a doc comment as one line of a table.
fn documentation(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        if let syn::Meta::NameValue(line) = &attribute.meta
            && let syn::Expr::Lit(literal) = &line.value
            && let syn::Lit::Str(text) = &literal.lit
        {
            lines.push(text.value().trim().to_owned());
        }
    }
    // A link to another field leads nowhere on this page.
    lines.join(" ").replace('|', "\\|").replace("[`Self::", "`").replace("`]", "`")
}

fn reference(types: &Types) -> Result<String> {
    let generic = Defaults::read(&root())?;
    let mut text = String::new();
    for (name, heading, about) in SECTIONS {
        write!(text, "\n### {heading}\n\n")?;
        if !about.is_empty() {
            write!(text, "{about}\n\n")?;
        }
        let is_profile = name == "Profile";
        text += "| member | value | meaning |";
        text += if is_profile { " default |\n|---|---|---|---|\n" } else { "\n|---|---|---|\n" };
        if is_profile {
            text += "| `extends` | text | The profile that this one lies over. | `generic` |\n";
        }
        for member in types.members(name)? {
            let default = if is_profile { format!(" {} |", generic.of(&member.name)) } else { String::new() };
            writeln!(text, "| `{}` | {} | {} |{default}", member.name, member.kind, member.meaning)?;
        }
        if name == "Layout" {
            let fields = types.words("Field").ok_or("there is no type Field")?;
            write!(text, "\n`write` maps a pointer to what a refresh writes there: {fields}.\n")?;
        }
    }
    Ok(text)
}

/// The values of the generic profile that a table can show.
struct Defaults(serde_json::Value);

impl Defaults {
    fn read(root: &Path) -> Result<Self> {
        Ok(Self(serde_json::from_str(&fs::read_to_string(root.join("src/provider/providers.json"))?)?))
    }

    fn of(&self, member: &str) -> String {
        match &self.0["profiles"]["generic"][member] {
            value @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => format!("`{value}`"),
            serde_json::Value::String(text) if !text.is_empty() => text.clone(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_references_are_current() {
        run(true).expect("cargo xtask reference was run");
    }

    /// What the built-in profiles use, a reader can look up.
    #[test]
    fn each_member_of_a_built_in_profile_has_a_row() {
        let page = fs::read_to_string(root().join(PAGE)).expect("the page");
        for file in ["src/provider/providers.json", "src/provider/authorization.json"] {
            let text = fs::read_to_string(root().join(file)).expect("profiles");
            let all: serde_json::Value = serde_json::from_str(&text).expect("json");
            for (id, profile) in all["profiles"].as_object().expect("profiles") {
                for (member, value) in profile.as_object().expect("an object") {
                    let below = ["request", "authorization", "rules"].contains(&member.as_str());
                    let inner = value.as_object().filter(|_| below).into_iter().flatten().map(|(name, _)| name);
                    for name in inner.chain([member]).filter(|name| !name.starts_with('$')) {
                        assert!(page.contains(&format!("| `{name}` |")), "{id}: {name}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_variant_is_spelled_as_its_word() {
        assert_eq!(separated("EpochMs", '-'), "epoch-ms");
        assert_eq!(separated("ExpiresAtRfc3339", '_'), "expires_at_rfc3339");
    }
}
