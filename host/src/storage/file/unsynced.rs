//! The ledger's newest text may lie beside it unsynced, and counts only if it is whole and about
//! the ledger that is there: so a store that need not be durable costs no sync, and the ledger
//! itself is never in danger.
//!
//! ```text
//! lazaretto-unsynced 1 <version of the document's file> <version of the text>
//! <the text>
//! ```
//!
//! It is read **before** the document's own file. Whatever is stored meanwhile, the outcome was
//! current at some moment in between; the other way round, a text could come back that two stores
//! had replaced.

use super::super::{Document, StorageError, version_of};
use super::folder::Spot;
use super::text::{MAX_BYTES, Text};

const MARK: &str = "lazaretto-unsynced 1";

/// A text, and the version of the document's file that it was written over.
struct Unsynced {
    base: String,
    document: Document,
}

/// What is to be written beside a document whose file is at `base`. None: it would be too large to
/// be read.
pub(super) fn spelled(base: &str, text: &str) -> Option<String> {
    let file = format!("{MARK} {base} {}\n{text}", version_of(text.as_bytes()));
    (file.len() as u64 <= MAX_BYTES).then_some(file)
}

/// Reads the document at `at`, and what may lie `beside` it unsynced, as `read` reads one file.
/// None: there is no document.
pub(super) fn read(
    at: &Spot,
    beside: &Spot,
    read: impl Fn(&Spot) -> Result<Option<Text>, StorageError>,
) -> Result<Option<Text>, StorageError> {
    let unsynced = match read(beside) {
        Ok(found) => found.and_then(|found| parse(&found.document.text)),
        // A power cut may have left anything.
        Err(error) if error.code == "corrupt" => None,
        Err(error) => return Err(error),
    };
    let Some(mut found) = read(at)? else {
        return Ok(None);
    };
    // One stat cannot tell of two files.
    found.seen = None;
    if let Some(unsynced) = unsynced.filter(|unsynced| unsynced.base == found.base) {
        found.document = unsynced.document;
        found.is_unsynced = true;
    }
    Ok(Some(found))
}

/// None: it is not whole.
fn parse(file: &str) -> Option<Unsynced> {
    let (head, text) = file.split_once('\n')?;
    let (base, version) = head.strip_prefix(MARK)?.strip_prefix(' ')?.split_once(' ')?;
    let is_whole = version_of(text.as_bytes()) == version;
    is_whole.then(|| Unsynced { base: base.into(), document: Document { version: version.into(), text: text.into() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_counts_if_not_one_byte_of_it_is_missing_or_another() {
        let whole = spelled("base", "{\n\"tokens\": {}\n}\n").expect("small");
        let read = parse(&whole).expect("whole");
        assert_eq!((read.base.as_str(), read.document.text.as_str()), ("base", "{\n\"tokens\": {}\n}\n"));
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_none(), "{cut}");
            let zeroed = whole[..cut].to_owned() + &"\0".repeat(whole.len() - cut);
            assert!(parse(&zeroed).is_none(), "{cut}");
        }
        for other in [whole.clone() + "x", whole.replace(" 1 ", " 2 "), whole.replace("tokens", "Tokens"), "{}".into()]
        {
            assert!(parse(&other).is_none(), "{other}");
        }
        assert!(spelled("base", "").is_some_and(|empty| parse(&empty).is_some()));
        assert_eq!(spelled("base", &"x".repeat(MAX_BYTES as usize)), None);
    }
}
