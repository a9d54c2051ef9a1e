//! A Rust file as the rules see it: words and punctuation with their lines, and the comments
//! apart. What stands in literals is not seen at all.

/// A word, `::` or one punctuation character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Where it stands, from 1.
    pub line: usize,
    /// It.
    pub text: String,
}

/// A file taken apart.
#[derive(Debug, Default)]
pub struct Source {
    /// The code.
    pub tokens: Vec<Token>,
    /// The comments, a line each.
    pub comments: Vec<Token>,
}

/// A path such as `crate::group::Event`: where it starts, and what follows the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Where it stands, from 1.
    pub line: usize,
    /// Its first word.
    pub root: String,
    /// Its second words: several where a list follows.
    pub next: Vec<String>,
    /// Whether it is in a `use`.
    pub imported: bool,
}

impl Source {
    /// Takes a file apart. What is no Rust gives some tokens or other, never an error.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut reader = Reader { rest: text, line: 1, source: Self::default() };
        while reader.step() {}
        reader.source
    }

    /// Whether these tokens follow one another somewhere; the line of each first one.
    pub fn find(&self, wanted: &[&str]) -> Vec<usize> {
        let matches = |window: &&[Token]| {
            window.iter().zip(wanted).all(|(token, wanted)| token.text == *wanted)
        };
        let windows = self.tokens.windows(wanted.len()).filter(matches);
        windows.filter_map(|window| window.first()).map(|token| token.line).collect()
    }

    /// Every path of two words or more, and every import.
    #[must_use]
    pub fn paths(&self) -> Vec<Path> {
        let text = |index: usize| self.tokens.get(index).map_or("", |token| token.text.as_str());
        let mut paths = Vec::new();
        for (index, token) in self.tokens.iter().enumerate() {
            let before = index.checked_sub(1).map_or("", text);
            let imported = before == "use";
            let goes_on = text(index + 1) == "::";
            if is_word(&token.text) && before != "::" && (imported || goes_on) {
                let next = if goes_on { self.words_at(index + 2) } else { Vec::new() };
                paths.push(Path { line: token.line, root: token.text.clone(), next, imported });
            }
        }
        paths
    }

    /// The word at an index, or the first words of the list that begins there.
    fn words_at(&self, index: usize) -> Vec<String> {
        let mut tokens = self.tokens.iter().skip(index).map(|token| token.text.as_str());
        let mut words = Vec::new();
        let mut depth = 0_usize;
        let mut first = true;
        for token in &mut tokens {
            match token {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                "," if depth == 1 => first = true,
                word if first && is_word(word) => {
                    words.push(word.to_owned());
                    first = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        words
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    source: Source,
}

impl<'a> Reader<'a> {
    /// Reads one token, comment, literal or blank. False at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        if self.rest.starts_with("//") {
            let length = self.rest.find('\n').unwrap_or(self.rest.len());
            let text = self.take(length).to_owned();
            self.comment(text);
        } else if self.rest.starts_with("/*") {
            let length = self.rest.find("*/").map_or(self.rest.len(), |end| end + 2);
            let text = self.rest.get(..length).unwrap_or_default().to_owned();
            self.comment(text);
            self.take(length);
        } else if let Some(length) = literal(self.rest) {
            self.take(length);
        } else if self.rest.starts_with("::") {
            self.token(2);
        } else if is_word(self.rest) {
            let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            self.token(end.unwrap_or(self.rest.len()));
        } else if first.is_whitespace() {
            self.take(first.len_utf8());
        } else {
            self.token(first.len_utf8());
        }
        true
    }

    fn comment(&mut self, text: String) {
        self.source.comments.push(Token { line: self.line, text });
    }

    fn token(&mut self, length: usize) {
        let line = self.line;
        let text = self.take(length).to_owned();
        self.source.tokens.push(Token { line, text });
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (text, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.line += text.matches('\n').count();
        self.rest = rest;
        text
    }
}

/// The length of the string or character literal that `text` begins with, if it does.
fn literal(text: &str) -> Option<usize> {
    let prefix = text.find(|c: char| !matches!(c, 'b' | 'c' | 'r'))?;
    let (letters, body) = text.split_at_checked(prefix)?;
    if letters.len() > 2 {
        return None;
    }
    if letters.contains('r') {
        let hashes = body.find(|c| c != '#')?;
        let inner = body.get(hashes..)?.strip_prefix('"')?;
        let end = format!("\"{}", body.get(..hashes)?);
        let length = inner.find(&end).map_or(inner.len(), |at| at + end.len());
        return Some(prefix + hashes + 1 + length);
    }
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    if quote == '\'' && is_lifetime(body) {
        return None;
    }
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(prefix + at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// Whether a quote begins a lifetime: a word follows, and no quote after its first letter.
fn is_lifetime(text: &str) -> bool {
    let mut following = text.chars().skip(1);
    following.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && following.next() != Some('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Source::new(text).tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn literals_and_comments_are_no_code() {
        let text = r##"let a = "x \" unsafe"; // unsafe
            let b = r#"unsafe " "#; let c = ('"', b'\'', '\u{1f}'); /* unsafe */ f::<'a>(b"unsafe")"##;
        assert!(!words(text).contains(&"unsafe".to_owned()), "{:?}", words(text));
        assert!(words(text).ends_with(&[")".to_owned()]));
    }

    #[test]
    fn lines_are_counted_through_literals_and_comments() {
        let source = Source::new("\"a\nb\" /* c\n */ d // e\nf");
        let lines: Vec<_> = source.tokens.iter().map(|t| (t.text.as_str(), t.line)).collect();
        assert_eq!(lines, [("d", 3), ("f", 4)]);
        assert_eq!(source.comments.iter().map(|c| c.line).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn paths_give_their_first_two_words() {
        let source = Source::new("use crate::{group::{A, B}, dns};\nx = a::b::c(); use std;");
        let path = |line, root: &str, next: &[&str], imported| Path {
            line,
            root: root.into(),
            next: next.iter().map(ToString::to_string).collect(),
            imported,
        };
        let expected = [
            path(1, "crate", &["group", "dns"], true),
            path(1, "group", &[], false),
            path(2, "a", &["b"], false),
            path(2, "std", &[], true),
        ];
        let mut found = source.paths();
        // What a list goes on to is of no interest for a path inside it.
        found.iter_mut().filter(|p| p.root == "group").for_each(|p| p.next.clear());
        assert_eq!(found, expected);
    }

    #[test]
    fn whatever_is_read_ends() {
        for text in ["\"", "r#\"", "'", "/*", "b", "br", "é'é", "'\\"] {
            assert!(Source::new(text).tokens.len() <= text.len());
        }
    }
}
