//! The figures, as they are printed.

use super::items;
use super::prose;
use super::ratchet::Ratchet;
use super::rule::{Limit, Measured};
use super::sources::{Crate, Source};

/// Returns a row of figures for each crate. Tests are not counted.
pub(super) fn crates(crates: &[Crate]) -> String {
    let mut rows = vec![
        [
            "crate",
            "files",
            "lines median/max",
            "fn lines p90/max",
            "unwrap+expect/1000",
            "doc/code",
            "why/code",
            "examples",
        ]
        .map(str::to_owned),
    ];
    rows.extend(crates.iter().map(figures));
    columns(&rows)
}

fn figures(one: &Crate) -> [String; 8] {
    let sources: Vec<&Source> = one.production().map(|(_, source)| source).collect();
    let mut lines: Vec<_> = sources.iter().map(|source| source.lines()).collect();
    let found = sources.iter().flat_map(|source| items::found(source, false).functions);
    let mut functions: Vec<_> = found.filter(|(.., in_test)| !in_test).map(|(_, _, lines, _)| lines).collect();
    lines.sort_unstable();
    functions.sort_unstable();
    let at = |sorted: &[usize], tenths: usize| {
        sorted.get((sorted.len() * tenths / 10).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    let (mut docs, mut whys, mut code) = (0_u32, 0_u32, 0_u32);
    for source in &sources {
        for line in source.text.lines().take(source.lines()).map(str::trim_start).filter(|line| !line.is_empty()) {
            match line {
                _ if line.starts_with("///") || line.starts_with("//!") => docs += 1,
                _ if line.starts_with("//") => whys += 1,
                _ => code += 1,
            }
        }
    }
    let per_code = |lines: u32| format!("{:.2}", f64::from(lines) / f64::from(code.max(1)));
    [
        one.name.clone(),
        sources.len().to_string(),
        format!("{}/{}", at(&lines, 5), at(&lines, 10)),
        format!("{}/{}", at(&functions, 9), at(&functions, 10)),
        format!("{:.1}", items::panics_per_1000_lines(one)),
        per_code(docs),
        per_code(whys),
        prose::examples(std::slice::from_ref(one)).len().to_string(),
    ]
}

/// Returns a row for each rule: what was measured, what is asked, and what is allowed until then.
pub(super) fn rules(rules: &[Measured], ratchet: &Ratchet) -> String {
    let mut rows = vec![["rule", "measured", "asked", "allowed today"].map(str::to_owned)];
    rows.extend(rules.iter().map(|rule| {
        let asked = match rule.limit {
            Limit::Most(limit) => format!("at most {limit}"),
            Limit::Least(limit) => format!("at least {limit}"),
            Limit::None => "-".to_owned(),
        };
        let allowed = ratchet.allowed(rule.name).map_or(String::new(), |allowed| allowed.to_string());
        [rule.name.to_owned(), rule.count().to_string(), asked, allowed]
    }));
    columns(&rows)
}

fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text + "\n"
}
