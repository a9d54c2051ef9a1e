//! Reading values out of a TOML document: each is either there and right, not there, or reported.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration;
use super::mistakes::{Mistake, position};

/// A value and the byte of the file where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) offset: usize,
}

impl<T> At<T> {
    /// Another value in the same place.
    pub(super) fn with<U>(&self, value: U) -> At<U> {
        At { value, offset: self.offset }
    }
}

/// The text of a file and what was found wrong with it so far.
pub(super) struct Document<'a> {
    text: &'a str,
    /// Lines were left out because they are not TOML: what seems to be missing may be in them.
    holes: bool,
    found: RefCell<Vec<Mistake>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(text: &'a str, holes: bool) -> Self {
        Self { text, holes, found: RefCell::default() }
    }

    /// Notes what is wrong at byte `offset`.
    pub(super) fn mistake(&self, offset: usize, message: impl Into<String>) {
        let position = Some(position(self.text, offset));
        self.found.borrow_mut().push(Mistake { position, message: message.into() });
    }

    /// Notes a mistake where `key` was seen before, and tells so; `message` is given the line of
    /// the first.
    pub(super) fn once<K: Ord>(
        &self,
        seen: &mut BTreeMap<K, usize>,
        key: K,
        offset: usize,
        message: impl FnOnce(usize) -> String,
    ) -> bool {
        let first = seen.get(&key).copied();
        match first {
            Some(first) => self.mistake(offset, message(position(self.text, first).0)),
            None => drop(seen.insert(key, offset)),
        }
        first.is_some()
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.found.into_inner()
    }
}

/// One table of the file. It remembers what was asked for; [`Section::finish`] reports the rest.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    table: &'a DeTable<'a>,
    offset: usize,
    /// As it is written in the file, for messages.
    name: &'static str,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn root(document: &'a Document<'a>, table: &'a DeTable<'a>) -> Self {
        Self { document, table, offset: 0, name: "the file", asked: RefCell::default() }
    }

    fn below(&self, value: &'a Spanned<DeValue<'a>>, name: &'static str) -> Option<Self> {
        let table = value.get_ref().as_table()?;
        let offset = value.span().start;
        Some(Self { document: self.document, table, offset, name, asked: RefCell::default() })
    }

    pub(super) fn document(&self) -> &'a Document<'a> {
        self.document
    }

    /// Where it begins.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The whole section is at fault.
    pub(super) fn mistake(&self, message: impl Into<String>) {
        self.document.mistake(self.offset, message);
    }

    /// Something is not there that has to be.
    pub(super) fn missing(&self, message: impl Into<String>) {
        if !self.document.holes {
            self.mistake(message);
        }
    }

    /// `value`, or a mistake because `key` is not there.
    pub(super) fn required<T>(&self, key: &str, value: Option<T>, expected: &str) -> Option<T> {
        if value.is_none() && !self.table.contains_key(key) {
            self.missing(format!("`{key}` is missing in {}; expected {expected}", self.name));
        }
        value
    }

    /// Whether `key` is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where `key` is, if it holds an empty list.
    pub(super) fn empty_list(&self, key: &str) -> Option<usize> {
        let value = self.table.get(key)?;
        value.get_ref().as_array().filter(|list| list.is_empty()).map(|_| value.span().start)
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Reports that `key` holds something else than `expected`.
    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = self.document.text.get(value.span()).unwrap_or_default();
        let found = if found.len() > 60 || found.contains('\n') {
            value.get_ref().type_str().to_owned()
        } else {
            found.to_owned()
        };
        self.document
            .mistake(value.span().start, format!("`{key}`: expected {expected}, found {found}"));
    }

    /// The value of `key` as `convert` understands it; else a mistake.
    pub(super) fn value<T>(
        &self,
        key: &'static str,
        expected: &str,
        convert: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.get(key)?;
        let converted = convert(value.get_ref());
        if converted.is_none() {
            self.wrong(key, value, expected);
        }
        Some(At { value: converted?, offset: value.span().start })
    }

    pub(super) fn string(&self, key: &'static str, expected: &str) -> Option<At<&'a str>> {
        self.value(key, expected, DeValue::as_str)
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<At<bool>> {
        self.value(key, "true or false", DeValue::as_bool)
    }

    /// A whole number of at least `least`.
    pub(super) fn number(&self, key: &'static str, least: u32) -> Option<At<u32>> {
        let expected = format!("a whole number from {least} to {}", u32::MAX);
        self.value(key, &expected, |value| {
            let integer = value.as_integer()?;
            let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            (number >= least).then_some(number)
        })
    }

    /// A string that parses as a `T`.
    pub(super) fn parsed<T: FromStr>(&self, key: &'static str, expected: &str) -> Option<At<T>> {
        self.value(key, expected, |value| value.as_str()?.parse().ok())
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<At<T>> {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        self.value(key, &words.join(" or "), |value| {
            let word = value.as_str()?;
            choices.iter().find(|(choice, _)| *choice == word).map(|(_, value)| *value)
        })
    }

    /// A positive duration of at least `least`.
    pub(super) fn duration(&self, key: &'static str, least: Duration) -> Option<At<Duration>> {
        let value = self.get(key)?;
        let offset = value.span().start;
        let text = match value.get_ref() {
            DeValue::String(text) => text,
            DeValue::Integer(number) => {
                self.document.mistake(
                    offset,
                    format!(
                        "`{key}`: the unit is missing; write for example \"{number}ms\" or \
                         \"{number}s\" ({})",
                        duration::UNITS
                    ),
                );
                return None;
            }
            DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.wrong(key, value, "a duration such as \"100ms\"");
                return None;
            }
        };
        match duration::parse(text) {
            Ok(span) if span < least => {
                let least = duration::show(least);
                self.wrong(key, value, &format!("a duration of at least {least}"));
                None
            }
            Ok(span) => Some(At { value: span, offset }),
            Err(reason) => {
                self.document.mistake(offset, format!("`{key}`: \"{text}\": {reason}"));
                None
            }
        }
    }

    /// An absolute path.
    pub(super) fn path(&self, key: &'static str) -> Option<At<PathBuf>> {
        self.value(key, "an absolute path in quotes", |value| {
            let path = PathBuf::from(value.as_str()?);
            path.is_absolute().then_some(path)
        })
    }

    /// A list of strings that parse as `T`; those that do not are reported and left out. Empty
    /// where `key` is not there.
    pub(super) fn list<T: FromStr>(&self, key: &'static str, expected: &str) -> Vec<At<T>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(key, value, &format!("a list, each entry {expected}"));
            return Vec::new();
        };
        let mut list = Vec::with_capacity(array.len());
        for entry in array {
            match entry.get_ref().as_str().and_then(|text| text.parse().ok()) {
                Some(value) => list.push(At { value, offset: entry.span().start }),
                None => self.wrong(key, entry, expected),
            }
        }
        list
    }

    /// A string, or a list of strings that is not empty.
    pub(super) fn string_or_list(
        &self,
        key: &'static str,
        expected: &str,
    ) -> Option<At<Vec<String>>> {
        self.value(key, expected, |value| match value {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(array) => {
                let list: Option<Vec<_>> =
                    array.iter().map(|v| v.get_ref().as_str().map(str::to_owned)).collect();
                list.filter(|list| !list.is_empty())
            }
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => None,
        })
    }

    /// The table `key`, called `name` in messages.
    pub(super) fn table(&self, key: &'static str, name: &'static str) -> Option<Section<'a>> {
        let value = self.get(key)?;
        let section = self.below(value, name);
        if section.is_none() {
            self.wrong(key, value, &format!("a table, {name}"));
        }
        section
    }

    /// The list of tables `key`, each called `name` in messages.
    pub(super) fn tables(&self, key: &'static str, name: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.document
                .mistake(value.span().start, format!("expected {name}, in double brackets"));
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for entry in array {
            match self.below(entry, name) {
                Some(section) => sections.push(section),
                None => self.wrong(key, entry, &format!("a table, {name}")),
            }
        }
        sections
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for key in self.table.keys().filter(|key| !asked.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let near = asked
                .iter()
                .map(|known| (distance(known, name), known))
                .filter(|(distance, known)| *distance <= 2 && *distance < known.len())
                .min();
            let hint = near.map_or_else(
                || format!("known are {}", asked.join(", ")),
                |(_, known)| format!("did you mean `{known}`?"),
            );
            self.document.mistake(
                key.span().start,
                format!("unknown key `{name}` in {}; {hint}", self.name),
            );
        }
    }
}

/// How many characters have to be inserted, deleted or replaced to make one word of the other
/// (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.chars().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
