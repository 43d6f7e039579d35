//! Characters beyond ASCII are drawn only where the locale says that a terminal shows them.

use std::env;
use std::sync::OnceLock;

/// What stands for marks, bars and lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Glyphs {
    pub(super) good: &'static str,
    pub(super) bad: &'static str,
    /// Where something was cut.
    pub(super) ellipsis: &'static str,
    /// The keys that move a selection.
    pub(super) up_down: &'static str,
    /// Which row is selected.
    pub(super) selected: &'static str,
    pub(super) line: &'static str,
    pub(super) bar_full: &'static str,
    /// Parts of a column, from none on; as many as a column is divided into.
    pub(super) bar_parts: &'static [&'static str],
    pub(super) bar_empty: &'static str,
}

impl Glyphs {
    pub(super) const UNICODE: Self = Self {
        good: "✓",
        bad: "✗",
        ellipsis: "…",
        up_down: "↑ ↓",
        selected: "▸",
        line: "─",
        bar_full: "█",
        bar_parts: &["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"],
        bar_empty: "·",
    };

    pub(super) const ASCII: Self = Self {
        good: "ok",
        bad: "NO",
        ellipsis: "...",
        up_down: "arrows",
        selected: ">",
        line: "-",
        bar_full: "#",
        bar_parts: &[""],
        bar_empty: ".",
    };

    /// Those of the locale that this process runs in.
    pub(super) fn of_this_process() -> &'static Self {
        // A unit test looks the same wherever it runs.
        if cfg!(test) {
            return &Self::UNICODE;
        }
        static OURS: OnceLock<&Glyphs> = OnceLock::new();
        OURS.get_or_init(|| Self::of(|name| env::var(name).ok()))
    }

    /// POSIX: the first of these three that is set and not empty names the locale, and none is the
    /// C locale.
    fn of(variable: impl Fn(&str) -> Option<String>) -> &'static Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { &Self::UNICODE } else { &Self::ASCII }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        for (all, ctype, lang, is_utf8) in [
            ("", "", "", false),
            ("", "", "en_US.UTF-8", true),
            ("", "", "C.utf8", true),
            ("C", "", "en_US.UTF-8", false),
            ("", "POSIX", "en_US.UTF-8", false),
            ("de_DE.UTF-8", "C", "C", true),
            ("", "de_DE.ISO-8859-1", "", false),
        ] {
            let glyphs = Glyphs::of(|name| {
                let value = match name {
                    "LC_ALL" => all,
                    "LC_CTYPE" => ctype,
                    _ => lang,
                };
                Some(value.to_owned())
            });
            assert_eq!(*glyphs == Glyphs::UNICODE, is_utf8, "{all:?} {ctype:?} {lang:?}");
        }
        assert_eq!(*Glyphs::of(|_| None), Glyphs::ASCII);
    }

    #[test]
    fn the_plain_ones_are_ascii() {
        assert!(format!("{:?}", Glyphs::ASCII).is_ascii());
    }
}
