//! Key files as `tsig-keygen` prints them: `key "NAME" { algorithm hmac-sha256; secret "…"; };`

use std::path::Path;
use std::str::FromStr;

use domain::base::Name;
use domain::utils::base64;

use super::checked::{TsigAlgorithm, TsigKey};
use super::facts::Facts;
use super::keys;

/// Shortest secret, in bytes. Shorter ones can be guessed.
const LEAST_SECRET: usize = 16;

/// The key in the file at `path`.
pub(super) fn read(path: &Path, facts: &dyn Facts) -> Result<TsigKey, String> {
    let absent = "; copy it from the name server, or make one with `tsig-keygen`";
    let file = keys::private("key file", path, absent, facts)?;
    parse(&file.text).map_err(|problem| format!("key file {}: {problem}", path.display()))
}

/// Reads one key. What is wrong is said without the secret.
fn parse(text: &str) -> Result<TsigKey, String> {
    let words = words(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ["key", name, "{", first, one, ";", second, other, ";", "}", ";"] = words.as_slice() else {
        let expected = "`key \"NAME\" { algorithm hmac-sha256; secret \"…\"; };`";
        return Err(format!("expected {expected} and nothing else, as `tsig-keygen` prints it"));
    };
    let (algorithm, secret) = match (*first, *second) {
        ("algorithm", "secret") => (*one, *other),
        ("secret", "algorithm") => (*other, *one),
        _ => return Err("expected `algorithm` and `secret` in it".to_owned()),
    };
    let name = Name::from_str(name).map_err(|_e| "the name of the key is no domain name")?;
    let algorithm = match algorithm.to_ascii_lowercase().trim_end_matches('.') {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        other => {
            return Err(format!(
                "algorithm {other:?} is not supported; make a key with `tsig-keygen -a \
                 hmac-sha256`, or hmac-sha512"
            ));
        }
    };
    let secret: Vec<u8> = base64::decode(secret).map_err(|_e| "the secret is not in base64")?;
    if secret.len() < LEAST_SECRET {
        return Err(format!("the secret is shorter than {LEAST_SECRET} bytes"));
    }
    Ok(TsigKey { name, algorithm, secret })
}

/// Words, quoted or not, and punctuation; comments to the end of a line are left out.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        let spaced = line.replace('{', " { ").replace('}', " } ").replace(';', " ; ");
        words.extend(spaced.split_whitespace().map(|word| word.trim_matches('"').to_owned()));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_as_it_is_printed() {
        let text = "# for the zone\nkey \"up\" {\n\talgorithm hmac-sha512;\n\tsecret \
                    \"AAECAwQFBgcICQoLDA0ODw==\";\n};\n";
        let key = parse(text).unwrap();
        assert_eq!(key.name, "up.".parse::<Name<Vec<u8>>>().unwrap());
        assert_eq!(key.algorithm, TsigAlgorithm::HmacSha512);
        assert_eq!(key.secret, (0..16).collect::<Vec<u8>>());
        assert_eq!(format!("{key:?}"), "TsigKey(up, HmacSha512, …)");
        let tight = "key up{secret \"AAECAwQFBgcICQoLDA0ODw==\";algorithm HMAC-SHA256.;};";
        assert_eq!(parse(tight).unwrap().algorithm, TsigAlgorithm::HmacSha256);
    }

    // What is wrong with it → part of what is said, which never holds the secret.
    #[test]
    fn what_is_no_key_is_refused() {
        let good = "key \"up\" { algorithm hmac-sha256; secret \"AAECAwQFBgcICQoLDA0ODw==\"; };";
        parse(good).unwrap();
        for (old, new, part) in [
            ("key", "kee", "as `tsig-keygen` prints it"),
            ("};", "}", "as `tsig-keygen` prints it"),
            ("};", "}; x", "as `tsig-keygen` prints it"),
            ("secret", "algorithm", "`algorithm` and `secret`"),
            ("hmac-sha256", "hmac-md5", "\"hmac-md5\" is not supported"),
            ("AAECAwQFBgcICQoLDA0ODw==", "AAECAwQ!", "not in base64"),
            ("AAECAwQFBgcICQoLDA0ODw==", "AAEC", "shorter than 16 bytes"),
            ("\"up\"", "\"a..b\"", "no domain name"),
        ] {
            let message = parse(&good.replacen(old, new, 1)).unwrap_err();
            assert!(message.contains(part), "{new}: {message}");
            assert!(!message.contains("AAEC"), "{message}");
        }
    }
}
