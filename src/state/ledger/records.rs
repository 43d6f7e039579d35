//! The records of a ledger: one is read when it is asked for, and all others are written as they
//! were spelled.
//!
//! A login of a year has thousands of them, and a refresh needs two. So one that cannot be
//! understood is found when it is asked for, or pruned: it comes as nothing, and what is wrong with
//! it is noted.

use std::cell::OnceCell;
use std::ops::Range;

use crate::json::Value;
use crate::layers::Layers;
use crate::state::document;
use crate::state::fingerprint::Fingerprint;
use std::collections::BTreeMap;

use super::record::Record;

/// Records, by fingerprint.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// The ledger as it was read.
    text: String,
    rows: BTreeMap<Fingerprint, Row>,
    /// What was wrong with the first that could not be understood.
    wrong: OnceCell<String>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    /// Where in the text it stands; nowhere, if it is new.
    span: Range<usize>,
    /// If it was asked for.
    record: OnceCell<Box<Record>>,
}

impl Records {
    /// All that a ledger holds; `text` is the whole of it.
    pub(super) fn read(top: &Layers<'_>, text: &str) -> Self {
        let mut rows = BTreeMap::new();
        for member in top.objects("tokens") {
            let token = document::fingerprint(top, "tokens", &member.key.as_str().unwrap_or_default());
            rows.insert(token, Row { span: member.value.span(), ..Row::default() });
        }
        Self { text: text.to_owned(), rows, wrong: OnceCell::new() }
    }

    /// The record of a token.
    pub fn get(&self, token: &Fingerprint) -> Option<&Record> {
        self.record(token, self.rows.get(token)?)
    }

    /// The record of a token, to be changed.
    pub fn get_mut(&mut self, token: &Fingerprint) -> Option<&mut Record> {
        self.get(token)?;
        self.rows.get_mut(token)?.record.get_mut().map(Box::as_mut)
    }

    /// The record of a token, made if there is none.
    pub(super) fn entry(&mut self, token: &Fingerprint, make: impl FnOnce() -> Record) -> &mut Record {
        if self.get(token).is_none() {
            let row = Row { span: 0..0, record: OnceCell::from(Box::new(make())) };
            self.rows.insert(token.clone(), row);
        }
        self.get_mut(token).expect("it was there, or was made")
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every record: each is read.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Record> {
        self.iter().map(|(_, record)| record)
    }

    /// Every record by its token: each is read.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Fingerprint, &Record)> {
        self.rows.iter().filter_map(|(token, row)| Some((token, self.record(token, row)?)))
    }

    /// Keeps the records that are wanted, and those that were not read.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Record) -> bool) {
        self.rows.retain(|_, row| row.record.get().is_none_or(|record| wanted(record)));
    }

    /// What is wrong with the first that was asked for and could not be understood.
    pub(super) fn wrong(&self) -> Option<&str> {
        self.wrong.get().map(String::as_str)
    }

    /// The members of an object, a line each.
    pub(super) fn spelled(&self) -> String {
        let mut lines = String::with_capacity(self.text.len());
        for (token, row) in self.rows.iter() {
            lines.push_str(if lines.is_empty() { "    \"" } else { ",\n    \"" });
            lines.push_str(token.as_str());
            lines.push_str("\": ");
            match row.record.get() {
                Some(record) => lines.push_str(&record.spelled()),
                None => lines.push_str(&self.text[row.span.start..row.span.end]),
            }
        }
        lines
    }

    fn record<'a>(&self, token: &Fingerprint, row: &'a Row) -> Option<&'a Record> {
        if row.record.get().is_none() {
            let value = Value::at(&self.text, row.span.clone());
            match Layers::read(vec![value], Record::read) {
                Ok(record) => drop(row.record.set(Box::new(record))),
                // Only the first counts.
                Err(misread) => drop(self.wrong.set(format!("{}: {misread}", token.short()))),
            }
        }
        row.record.get().map(Box::as_ref)
    }
}
