//! Key files: one line of 64 hexadecimal digits, and comment lines that begin with `#`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use super::checked::{Key, Seal};
use super::facts::{Facts, SecretFile};
use super::reader::{At, Section};

/// Most keys that are accepted at once; a rotation needs two.
const MAX_KEYS: usize = 8;

/// How messages are protected: exactly one of `key_files` and `insecure = true`. None where that
/// was reported as a mistake.
pub(super) fn read(section: &Section<'_>, facts: &dyn Facts) -> Option<Seal> {
    let expected = "the path of a key file in quotes";
    let files = section.list::<PathBuf>("key_files", expected);
    let insecure = section.boolean("insecure");
    if let Some(At { value: true, offset }) = insecure {
        if section.has("key_files") {
            section.document().mistake(
                offset,
                "`insecure = true` and `key_files` exclude each other; remove one of them",
            );
        }
        return Some(Seal::Insecure);
    }
    if files.is_empty() {
        if let Some(offset) = section.empty_list("key_files") {
            let message = "`key_files` names no key file; at least one is needed";
            section.document().mistake(offset, message);
        } else if !section.has("key_files") && (insecure.is_some() || !section.has("insecure")) {
            section.missing(
                "`key_files` is missing in [[group]]: messages would be open to forgery; make a \
                 key with `rais keygen` and name its file on every host, or say \
                 `insecure = true` to try things out",
            );
        }
        return None;
    }
    if let Some(extra) = files.get(MAX_KEYS) {
        section.document().mistake(extra.offset, format!("more than {MAX_KEYS} key files"));
    }
    let mut seen = BTreeMap::new();
    let mut keys = Vec::with_capacity(files.len());
    for At { value: path, offset } in files.iter().take(MAX_KEYS) {
        section.document().once(&mut seen, path, *offset, |_| {
            format!("key file {} is named twice", path.display())
        });
        match key(path, facts) {
            Ok(key) => keys.push(key),
            Err(message) => section.document().mistake(*offset, message),
        }
    }
    Some(Seal::Keys(keys))
}

/// A file that only its owner may use, and that belongs to nobody else than it should. `what` it
/// is, and what to do where there is none, go into messages.
pub(super) fn private(
    what: &str,
    path: &Path,
    absent: &str,
    facts: &dyn Facts,
) -> Result<SecretFile, String> {
    let shown = path.display();
    let file = facts.secret(path).map_err(|e| {
        let remedy = if e.kind() == io::ErrorKind::NotFound {
            absent
        } else if e.kind() == io::ErrorKind::PermissionDenied {
            "; run as root, or as the user it belongs to"
        } else {
            ""
        };
        format!("{what} {shown}: {e}{remedy}")
    })?;
    if file.mode & 0o077 != 0 {
        return Err(format!(
            "{what} {shown} has mode {:04o}: others than its owner may use it; run \
             `chmod 600 {shown}`",
            file.mode
        ));
    }
    if file.owner != 0 && file.owner != facts.user() {
        return Err(format!(
            "{what} {shown} belongs to user {}, neither to root nor to the user this runs as; \
             run `chown root {shown}`",
            file.owner
        ));
    }
    Ok(file)
}

/// The key in the file at `path`.
fn key(path: &Path, facts: &dyn Facts) -> Result<Key, String> {
    let absent = "; copy it from another host, or make one with `rais keygen`";
    let file = private("key file", path, absent, facts)?;
    let shown = path.display();
    let mut lines =
        file.text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next().and_then(decode), lines.next()) {
        (Some(key), None) => Ok(key),
        _ => Err(format!(
            "key file {shown}: expected one line of 64 hexadecimal digits, as `rais keygen` prints"
        )),
    }
}

/// Reads 64 hexadecimal digits.
fn decode(text: &str) -> Option<Key> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    if rest.is_empty() { bytes.try_into().ok().map(Key) } else { None }
}

impl Key {
    /// The key as a key file holds it: 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String does not fail.
            write!(text, "{byte:02x}").ok();
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_it_was_written() {
        let key = Key(std::array::from_fn(|n| u8::try_from(n * 7).unwrap()));
        assert_eq!(decode(&key.to_hex()), Some(key));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)]
        {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
